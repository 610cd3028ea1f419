# The modes of profile: pictures, memory plans, sweeps and comparisons. Times are not looked at, only that they are there.
tiny-model unet unet
import unet -q -o m.zst >report
quantize m.zst -q -o small.zst --validate 0 >report
quick="-q --repeat 3 --actions off -j 1"

profile m.zst $quick --trace trace.json --svg flame.svg --fold -o p.zst >table
grep -q '^down_blocks.0 *block' table
grep -q 'TKLQT' table
head -c 4 flame.svg | grep -q '<svg'
tail -n 1 flame.svg | grep -q '</svg>'
! grep -q 'nan\|inf' flame.svg
head -c 16 trace.json | grep -q '"traceEvents"'

# What a trajectory needs grows with the batch.
profile m.zst --plan --batch 2 --steps 4 --json >plan
total=$(sed 's/.*"total_bytes":\([0-9]*\)[,}].*/\1/' plan)
[ "$total" -gt 10000 ]
# generate plans the same without loading anything, and writes nothing.
generate m.zst --plan --count 2 --batch 2 --steps 4 --json -o never >other
number='s/.*"weight_bytes":\([0-9]*\)[,}].*/\1/'
[ "$(sed "$number" plan)" = "$(sed "$number" other)" ]
[ ! -e never ]
profile m.zst --plan --batch 8 --steps 4 --json >bigger
[ "$(sed 's/.*"total_bytes":\([0-9]*\)[,}].*/\1/' bigger)" -gt "$total" ]

profile m.zst $quick --sweep batch --batch 8 --json >sweep
[ "$(grep -o '"batch"' sweep | wc -l)" = 4 ]
profile m.zst $quick --sweep threads >sweep
profile m.zst $quick --compare small.zst --json | grep -q '"ratio_low"'
cache-schedule m.zst --steps 4 --solver uniform --interval 2 --calibrate 1 --validate 1 -q -o s.zst >report
profile m.zst $quick --compare s.zst | grep -q 'against the schedule'

profile small.zst $quick -o q.zst >table
profile --learn p.zst --learn q.zst -o prior.zst -q --json | grep -q "\"profiles\":2"
profile m.zst --predict prior.zst -q --json | grep -q '"predicted_ms":[0-9.]'

refused() { # EXIT ARGUMENTS...
    want=$1 code=0
    shift
    "$@" >out 2>err || code=$?
    [ $code = "$want" ] || { echo "$*: exit $code: $(cat err)"; exit 1; }
}
refused 2 profile m.zst --plan --sweep batch
refused 2 profile m.zst --plan -o x
refused 2 profile m.zst --sweep colour
refused 2 profile m.zst --size 8 --plan
refused 2 profile m.zst --learn p.zst -o x
refused 2 profile m.zst --size 8x8 --activations 1
refused 4 profile --learn m.zst -o x
refused 4 profile m.zst --predict p.zst
refused 1 profile m.zst --compare absent.zst --repeat 3
refused 4 profile small.zst --compare s.zst --repeat 3
refused 2 profile m.zst --sweep batch --format csv
refused 2 profile m.zst --plan --format md
refused 2 profile m.zst --steps 4
refused 2 profile m.zst --repeat 3 --guidance 2
profile m.zst --plan --steps 4 --format json >plan
grep -q '"total_bytes"' plan
# Lines of CSV say where they come from; no kernel is above the peak, whatever else the machine does.
profile m.zst $quick --format csv >table
[ "$(head -n 1 table | tr ',' '\n' | wc -l)" = 19 ]
awk -F, 'NF != 19 || NR > 1 && $2 == "attention" && $7 > 100.01 { exit 1 }' table
# Of sizes that a model cannot do, a sweep leaves out what does not fit.
import "$TESTDATA/models/fashion-unet" -q -o unet.zst >report
profile unet.zst --repeat 3 --sweep size --json >sweep 2>err
[ "$(grep -o '"size"' sweep | wc -l)" = 2 ]
grep -q '14x14 is left out: .*the next are 16x16' err
tiny-model dit dit
import dit -q -o dit.zst >report
refused 4 profile dit.zst --schedule s.zst
grep -q 's.zst was made for model' err
# Pictures are well-formed XML whatever the file is called.
name=$'we<ird & "n\x01\xffame'
cp m.zst "$name"
profile "$name" $quick --svg weird.svg >table
grep -q 'we&lt;ird &amp; &quot;n??ame' weird.svg
! LC_ALL=C grep -q $'[\x01\xff]' weird.svg
