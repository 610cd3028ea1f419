# Schedules in the whole: those of two refreshes and of differences run the same with any batch, fronts fall, rounds make
# no budget worse, and pictures show what was found.
for kind in unet dit; do
    tiny-model $kind $kind
    import $kind -q -o $kind.zst >/dev/null
    quantize $kind.zst -q -o $kind.small.zst >/dev/null
    profile $kind.small.zst -q --repeat 3 -o $kind.profile >/dev/null
done
value() { sed "s/.*\"$1\":\([^,}]*\).*/\1/" <<<"$2"; }
make_one() { cache-schedule "$1.small.zst" -q --json --profile "$1.profile" --steps 8 --validate 2 --calibrate 2 "${@:2}"; }

# A span is served as a difference; two streams, any batch and threads.
for action in span:0-1 blocks:0-1 output; do
    make_one dit --speedup 1.5 --solver dp --predictor two --action $action -o a.schedule >/dev/null
    for how in "1 1" "3 2" "2 1"; do
        set -- $how
        generate dit.small.zst -q --schedule a.schedule --count 5 --batch "$1" -j "$2" --latents "l$1"
    done
    cmp l1 l2
    cmp l1 l3
    cache-schedule dit.small.zst -q --verify a.schedule --profile dit.profile --validate 2 >/dev/null
done

# A profile of another machine is used, with a word about it.
cache-schedule unet.small.zst -j 1 --cpu-level ref --profile unet.profile --steps 4 --interval 2 --solver uniform \
    --validate 1 --calibrate 1 -o x 2>err >/dev/null
grep -q 'may not hold' err && rm x

# Wide calls at the start are an action of their own, and count in the budget.
make_one unet --speedup 1.1 --solver dp --wide 2 -o wide.schedule >/dev/null || [ $? = 3 ]
make_one unet --interval 2 --solver uniform --wide 2 -o wide.schedule >/dev/null
inspect wide.schedule --json | grep -q '"wide":true'
generate unet.small.zst -q --schedule wide.schedule --latents wide
make_one unet --interval 2 --solver uniform -o narrow.schedule >/dev/null
generate unet.small.zst -q --schedule narrow.schedule --latents narrow
if cmp -s wide narrow; then echo "wide calls changed nothing"; exit 1; fi

# Bits as part of the action: the profile prices them, the solvers choose, the schedule runs and is verified, and the
# front has both. The text names the wide calls. Such small models' times are noise: here a served call costs a fifth of
# a computed one, and a wide one a twentieth more.
set_times() {
    full=$(grep -aoE 'ms\\":[0-9.e-]+,\\"name\\":\\"full\\' "$1" | sed -E 's/^[^:]*:([^,]*),.*/\1/')
    grep -aoE 'ms\\":[0-9.e-]+,\\"name\\":\\"[^\\]*' "$1" | sed 's/ms\\":\([^,]*\),.*"/\1 /' | while read -r ms name; do
        now=$(awk -v full="$full" -v n=${#ms} -v name="$name" 'BEGIN {
            ms = full * (name ~ /^full/ ? 1 : .2) * (name ~ /, wide$/ ? 1.05 : 1); printf "%.*f", n - 2, ms }')
        sed -i "s|ms\\\\\":$ms,\\\\\"name\\\\\":\\\\\"$name\\\\|ms\\\\\":$now,\\\\\"name\\\\\":\\\\\"$name\\\\|" "$1"
    done
}
for kind in unet dit; do
    profile $kind.small.zst -q --repeat 3 -o $kind.safetensors >/dev/null
    set_times $kind.safetensors
    mv $kind.safetensors $kind.profile
    for solver in dp joint; do
        report=$(make_one $kind --speedup 1.2 --solver $solver --bits both -o bits.schedule)
        awk -v a="$(value predicted_ms "$report")" -v b="$(value full_ms "$report")" 'BEGIN { exit !(a <= b / 1.2 * 1.000001) }'
    done
    [ "$(value wide_calls "$report")" -gt 0 ]
    inspect bits.schedule --json | grep -q '"wide":true'
    inspect bits.schedule | grep -q 'full, wide'
    again=$(cache-schedule $kind.small.zst -q --json --verify bits.schedule --profile $kind.profile --validate 2)
    [ "$(value rel_l2 "$again")" = "$(value rel_l2 "$report")" ] && [ "$(value predicted_ms "$again")" = "$(value predicted_ms "$report")" ]
    for how in "1 1" "3 2"; do
        set -- $how
        generate $kind.small.zst -q --schedule bits.schedule --count 3 --batch "$1" -j "$2" --latents "w$1"
    done
    cmp w1 w3
done
cache-schedule dit.small.zst -q --profile dit.profile --steps 6 --front --solver dp --bits both --validate 1 --calibrate 1 >front
letter=$(sed -n 's/^\(.\) = full, wide$/\1/p' front)
grep -E '^ +[0-9.]+ +[0-9.]+x' front | grep -q "$letter" && grep -E '^ +[0-9.]+ +[0-9.]+x' front | grep -q '#'

# The closed loop under a bound of the error, for the front and for blocks: the bound holds, no round is slower than none.
for rounds in 0 1; do
    make_one dit --max-error 0.5 --solver dp --rounds $rounds -o e.schedule >e$rounds
    awk -v a="$(value validation_rel_l2 "$(cat e$rounds)")" 'BEGIN { exit !(a <= 0.5) }'
    make_one dit --front --solver dp --rounds $rounds -o f >/dev/null
    generate dit.small.zst -q --schedule f --latents f$rounds
    make_one dit --solver bac --interval 2 --rounds $rounds -o b.schedule >b$rounds
done
# Masks of its own, which no profile has, are priced all the same.
cache-schedule dit.small.zst -q --verify b.schedule --profile dit.profile --validate 1 >/dev/null
awk -v a="$(value predicted_ms "$(cat e0)")" -v b="$(value predicted_ms "$(cat e1)")" 'BEGIN { exit !(b <= a) }'
if cmp -s f0 f1; then echo "a round changed nothing"; exit 1; fi

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

