# Calls that compute the conditional stream alone: a schedule meets its budget, gives the same bytes whatever threads and
# batch, is verified and drawn as what it is; what cannot be is refused.
tiny-model dit dit
import dit -q -o dit.zst >/dev/null
profile dit.zst -q --repeat 3 -o dit.profile >/dev/null
value() { sed "s/.*\"$1\":\([^,}]*\).*/\1/" <<<"$2"; }
make_one() { cache-schedule dit.zst -q --json --profile dit.profile --steps 12 --guidance 3 --validate 4 --calibrate 2 "$@"; }

for threads in 1 2; do
    report=$(make_one --speedup 2 --solver dp --action output --polish 2 --streams split -j $threads -o split$threads.schedule)
    awk -v a="$(value predicted_ms "$report")" -v b="$(value full_ms "$report")" 'BEGIN { exit !(a <= b / 2 * 1.000001) }'
    generate dit.zst -q --schedule split$threads.schedule --guidance 3 --count 3 --batch $threads --latents l$threads
done
cmp l1 l2
both=$(value both_streams "$report") computed=$(value computed "$report")
[ "$both" -ge 1 ] && [ "$both" -lt "$computed" ]
[ "$(value both_streams "$(cache-schedule dit.zst -q --json --verify split1.schedule --profile dit.profile --validate 2)")" = "$both" ]
inspect split1.schedule | grep -q difference
# Programs that do not know such actions refuse the file: by its version, later ones by what it needs.
inspect split1.schedule --json | grep -q '"needs":\["difference"\].*"version":2'
cache-schedule dit.zst -q --profile dit.profile --steps 4 --interval 2 --solver uniform --validate 1 --calibrate 1 -o plain.schedule >report
inspect plain.schedule --json | grep -q '"version":1'

# Without guidance there is one stream and nothing to split.
report=$(cache-schedule dit.zst -q --json --profile dit.profile --steps 8 --guidance 1 --speedup 2 --solver dp --validate 2 \
    --calibrate 2 --streams split -o one.schedule 2>err) && exit 1 || [ $? = 2 ]
grep -q -- '--streams split' err
refused() {
    local code=0
    make_one "$@" -o x 2>err >/dev/null || code=$?
    [ $code = 2 ] && grep -q -- '--streams split' err || { echo "$*: exit $code"; cat err; exit 1; }
}
refused --streams split --max-error 0.1
refused --streams split --front
refused --streams split --speedup 2 --gain off
refused --streams split --speedup 2 --solver uniform
