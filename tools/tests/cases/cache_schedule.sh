# cache-schedule: every solver and predictor meets its budget, the closed loop does not depend on threads, and budgets out
# of reach say what is possible.
for kind in unet dit; do
    tiny-model $kind $kind
    import $kind -q -o $kind.zst >/dev/null
    quantize $kind.zst -q -o $kind.small.zst >/dev/null
    profile $kind.small.zst -q --repeat 3 -o $kind.profile >/dev/null
done
value() { sed "s/.*\"$1\":\([^,}]*\).*/\1/" <<<"$2"; }
make_one() { cache-schedule "$1.small.zst" -q --json --profile "$1.profile" --steps 8 --validate 2 --calibrate 2 "${@:2}"; }

for solver in auto dp joint minimax lemica uniform cachequant deepcache power fora taylorseer magcache cem coordinate spsa; do
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
grep -q 'search: about [0-9.e-]* s' rounds1
for round in 0 1 2; do grep -q "round $round:" rounds1; done
cmp <(grep 'round .:' rounds1) <(grep 'round .:' rounds2) && cmp c1 c2

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
refused 2 'one value' make_one unet --speedup 1.2 --solver joint --predictor taylor -o x
refused 2 'bits' make_one unet --speedup 1.2 --solver cachequant --bits both -o x
refused 2 'bits' make_one unet --speedup 1.2 --bits both --wide 1 -o x
refused 4 'no layer' cache-schedule dit.zst -q --steps 8 --speedup 1.2 --bits both -o x
refused 4 'of model' cache-schedule dit.zst -q --profile dit.profile --steps 8 --speedup 1.2 -o x
refused 2 'rounds' cache-schedule unet.small.zst --verify two.schedule --rounds 1
refused 2 'action' make_one unet --speedup 1.2 --action nothing -o x
cache-schedule unet.small.zst -q --steps 1 --interval 1 --solver uniform --validate 1 --calibrate 1 -o one.schedule >/dev/null
cache-schedule unet.small.zst -q --steps 2 --interval 2 --validate 1 --calibrate 1 -o two.schedule >/dev/null
[ ! -e x ]
