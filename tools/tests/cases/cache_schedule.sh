# cache-schedule: every solver and predictor meets its budget, fronts fall, caches keep to their bytes, schedules of two
# refreshes and of differences run the same with any batch, and budgets out of reach say what is possible.
for kind in unet dit; do
    tiny-model $kind $kind
    import $kind -q -o $kind.zst >/dev/null
    quantize $kind.zst -q -o $kind.small.zst >/dev/null
    profile $kind.small.zst -q --repeat 3 -o $kind.profile >/dev/null
done
value() { sed "s/.*\"$1\":\([^,}]*\).*/\1/" <<<"$2"; }
make_one() { cache-schedule "$1.small.zst" -q --json --profile "$1.profile" --steps 8 --validate 2 --calibrate 2 "${@:2}"; }

for solver in auto dp minimax lemica uniform cachequant deepcache power fora taylorseer magcache cem coordinate spsa; do
    report=$(make_one unet --speedup 1.5 --solver $solver --polish 2 -o $solver.schedule)
    awk -v a="$(value predicted_ms "$report")" -v b="$(value full_ms "$report")" 'BEGIN { exit !(a <= b / 1.5 * 1.000001) }'
done
for predictor in reuse magnitude corrected taylor two; do
    make_one dit --speedup 1.5 --solver dp --predictor $predictor -o $predictor.schedule >/dev/null
done
inspect two.schedule --json | grep -q '\[8,3,\|\[8, 3, '
inspect corrected.schedule --json | grep -q '\[8,2,\|\[8, 2, '

# Closed loop: rounds measure where the best schedule leads, whatever the threads; validation images choose among all.
for threads in 1 2; do
    cache-schedule dit.small.zst --profile dit.profile --steps 8 --validate 2 --calibrate 2 --speedup 1.5 --solver dp \
        --predictor two --polish 0 --rounds 2 -v -j $threads -o closed$threads.schedule 2>rounds$threads >/dev/null
    generate dit.small.zst -q --schedule closed$threads.schedule --count 2 --latents c$threads
done
for round in 0 1 2; do grep -q "round $round:" rounds1; done
cmp <(grep 'round .:' rounds1) <(grep 'round .:' rounds2) && cmp c1 c2

# A span is served as a difference; two streams, any batch and threads.
for action in span:0-1 blocks:0-1 output; do
    make_one dit --speedup 1.5 --solver dp --predictor two --action $action -o a.schedule >/dev/null
    for how in "1 1" "3 2" "2 1"; do
        set -- $how
        generate dit.small.zst -q --schedule a.schedule --count 5 --batch "$1" -j "$2" --latents "l$1"
    done
    cmp l1 l2
    cmp l1 l3
    cache-schedule dit.small.zst -q --verify a.schedule --profile dit.profile --validate 2 >/dev/null 2>&1 ||
        cache-schedule dit.small.zst -q --verify a.schedule --validate 2 >/dev/null
done

# A profile of another machine is used, with a word about it.
cache-schedule unet.small.zst -j 1 --cpu-level ref --profile unet.profile --steps 4 --interval 2 --solver uniform \
    --validate 1 --calibrate 1 -o x 2>err >/dev/null
grep -q 'may not hold' err && rm x

# Wide calls at the start are an action of their own, and count in the budget.
report=$(make_one unet --speedup 1.1 --solver dp --wide 2 -o wide.schedule) || [ $? = 3 ]
make_one unet --interval 2 --solver uniform --wide 2 -o wide.schedule >/dev/null
inspect wide.schedule --json | grep -q '"wide":true'
generate unet.small.zst -q --schedule wide.schedule --latents wide
make_one unet --interval 2 --solver uniform -o narrow.schedule >/dev/null
generate unet.small.zst -q --schedule narrow.schedule --latents narrow
if cmp -s wide narrow; then echo "wide calls changed nothing"; exit 1; fi

# The front: faster is worse, computing everything is on it, and the file keeps it.
cache-schedule dit.small.zst -q --profile dit.profile --steps 8 --front --solver dp --validate 1 --calibrate 1 >front
awk '/x / { if (n && ($1 < ms || $3 > error)) exit 1; ms = $1; error = $3; n++ } /########/ { all = 1 }
    END { exit !(n > 3 && all) }' <(grep -E '^ +[0-9.]+ +[0-9.]+x' front)
cache-schedule dit.small.zst -q --profile dit.profile --steps 8 --front --solver dp --validate 1 --calibrate 1 -o f >/dev/null
inspect f --json | grep -q '"front":\[{'
generate dit.small.zst -q --schedule f --latents lf

# Pictures: a point for each choice, a cell for each call; names from a file are text there.
cache-schedule dit.small.zst -q --profile dit.profile --steps 8 --front --solver dp --validate 1 --calibrate 1 \
    --svg front.svg --json >front.json
[ "$(grep -c '<circle' front.svg)" = "$(grep -o '"predictor":' front.json | tail -n +2 | wc -l)" ]
cp dit.small.zst '<b>&.zst'
cache-schedule '<b>&.zst' -q --verify f --validate 1 --svg verify.svg >/dev/null
[ "$(grep -c '<title>call ' verify.svg)" = 8 ] && [ "$(tail -n 1 verify.svg)" = '</svg>' ]
grep -q '&lt;b&gt;&amp;.zst' verify.svg && ! grep -q '<b>' verify.svg

# Caches that may hold one output of one image and stream at most leave the output alone.
report=$(make_one unet --speedup 1.2 --max-cache-bytes 1K -o small.schedule) || [ $? = 3 ]
refused() {
    local want=$1 text=$2 code=0
    shift 2
    "$@" >out 2>err </dev/null || code=$?
    [ $code = "$want" ] && grep -q "$text" err || { echo "$*: exit $code, expected $want: $text"; cat err; exit 1; }
}
refused 3 'fastest possible' make_one unet --speedup 500 -o x
refused 3 'fastest possible' make_one unet --max-cache-bytes 4 --speedup 1.2 -o x
refused 3 'fastest possible' cache-schedule unet.small.zst -q --steps 1 --speedup 2 -o x
refused 3 'relative L2' make_one unet --max-error 0.000000001 -o x
refused 2 'calibrate' make_one unet --speedup 2 --calibrate 0 -o x
refused 2 'interval' make_one unet --interval 9 --solver uniform -o x
refused 2 'contradict' make_one unet --speedup 2 --correct off --predictor two -o x
refused 2 'one value' make_one unet --speedup 1.2 --solver minimax --predictor two -o x
refused 4 'of model' cache-schedule dit.zst -q --profile dit.profile --steps 8 --speedup 1.2 -o x
refused 2 'rounds' make_one unet --front --rounds 1 -o x
refused 2 'action' make_one unet --speedup 1.2 --action nothing -o x
cache-schedule unet.small.zst -q --steps 1 --interval 1 --solver uniform --validate 1 --calibrate 1 -o one.schedule >/dev/null
cache-schedule unet.small.zst -q --steps 2 --interval 2 --validate 1 --calibrate 1 -o two.schedule >/dev/null
[ ! -e x ]
