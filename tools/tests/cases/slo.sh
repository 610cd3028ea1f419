# generate --slo: the best branch that keeps to the limit, from given times, so that no clock decides; reports, resuming,
# refusals. The controller under load is a unit test.
tiny-model dit dit
import dit -q -o m.zst >/dev/null
tiny-model dit other # the same weights: a model of its own all the same
import other -q -o second.zst >/dev/null
profile m.zst -q -o m.profile.zst >/dev/null
cat >table <<'END'
{"steps":8,"quality":30,"ms":1.8e8}

{"steps":4,"quality":20,"ms":1e8}
{"steps":3,"quality":10,"ms":1e7,"model":"second.zst"}
{"steps":2,"quality":15,"ms":1e7}
END
# The times are far larger than the real ones: the load falls, and better branches come in reach.
generate m.zst --slo 1.2e8 --branches table --count 9 -o first --json >report
generate m.zst --steps 4 --count 9 -o four
cmp first/000000.png four/000000.png
generate m.zst --steps 8 --count 9 -o eight
cmp first/000008.png eight/000008.png
grep -q '"limit_ms":120000000,"load":0.*"met":9' report
[ "$(grep -o '"steps":[0-9]*' first.manifest.jsonl | sort -u | tr '\n' ' ')" = '"steps":4 "steps":8 ' ]
# Again: any branch's picture is there.
rm first/000003.png
generate m.zst --slo 1.2e8 --branches table --count 9 -o first --json >report
grep -q '"skipped":8' report
# Just one fits, of another model; prices of a profile and a run of its own are times as well.
generate m.zst --slo 1.2e7 --branches table --count 1 -o low --json >report
cmp low/000000.png <(generate m.zst --steps 2 -q)
cat >measured <<'END'
{"steps":5,"quality":2,"profile":"m.profile.zst"}
{"steps":3,"quality":1}
{"steps":3,"quality":3,"model":"second.zst"}
END
generate m.zst --slo 1e9 --branches measured --count 2 -o timed --json >report
grep -q '"images":2,"model":"second.zst","ms":[0-9.e-]*,"quality":3,"steps":3' report
cmp timed/000001.png <(generate second.zst --steps 3 --seed 1 --class 1 -q)
refused() {
    want=$1
    shift
    code=0
    generate m.zst "$@" >out 2>err || code=$?
    [ $code = "$want" ] && [ "$(wc -l <err)" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
}
refused 3 --slo 1e6 --branches table -o x
grep -q 'the fastest takes 1e+07 ms' err
refused 2 --slo 1e6 -o x
refused 2 --branches table -o x
refused 2 --slo 1e9 --branches table
refused 2 --slo 1e9 --branches table -o x --steps 3
refused 1 --slo 1e9 --branches missing -o x
echo '{"steps":3}' >bad
refused 4 --slo 1e9 --branches bad -o x
echo '{"steps":3,"quality":1,"colour":2}' >bad
refused 4 --slo 1e9 --branches bad -o x
grep -q 'bad: line 1: unknown key' err
: >bad
refused 4 --slo 1e9 --branches bad -o x
echo '{"steps":3,"quality":1,"model":"m.profile.zst"}' >bad
refused 4 --slo 1e9 --branches bad -o x
for k in 1 30 60 200 400; do
    HASTEN_FAULT=alloc:$k generate m.zst --slo 1e9 --branches table -o x >/dev/null 2>err && [ ! -s err ] || [ $? = 5 ]
done
