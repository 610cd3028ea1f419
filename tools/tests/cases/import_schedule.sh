# Schedules of other tools: what each method becomes, and triggers, which decide image by image while they run.
tiny-model dit source
import source -q -o dit.zst >/dev/null
tiny-model unet usource
import usource -q -o unet.zst >/dev/null

# is STRIP MODEL STEPS JSON: both streams as # (computed) and letters, worked out by hand from the papers.
is() {
    echo "$4" >in.json
    cache-schedule "$2" -q --steps "$3" --validate 1 --import in.json -o out.schedule >/dev/null
    got=$(inspect out.schedule | sed -n '/^network calls/,$s/^  \([#a-z]*\)$/\1/p' | tr '\n' ' ')
    [ "$got" = "$1 " ] || { echo "$4 gives $got, not $1"; exit 1; }
}
is '#aaa#aaa#a #aaa#aaa#a' unet.zst 10 '{"method":"deepcache","cache_interval":4}'
is '#aa#a#a#aa#aa#aa#aaa #aa#a#a#aa#aa#aa#aaa' dit.zst 20 \
    '{"method":"deepcache","cache_interval":3,"uniform":false,"center":6}'
is '#a#aa#aa#aa# #a#aa#aa#aa#' dit.zst 12 '{"method":"fora","interval":3}'
is '##aa#a ##aa#a' dit.zst 6 '{"method":"cache-dit","steps_computation_mask":"110010"}'
is '##aa#a ##aa#a' unet.zst 6 '{"method":"cache-dit","steps_computation_mask":[1,1,0,0,1,0],"serve":"output"}'
is '##aaa#a### ##aaa#a###' dit.zst 10 '{"method":"magcache","magcache_thresh":0.06,"magcache_K":3,
    "mag_ratios":[1,1,1,0.99,0.99,0.98,0.98,0.95,0.9,0.8]}'
is '#aaa #aa#' dit.zst 4 '{"method":"magcache","magcache_thresh":0.1,"magcache_K":3,"retention_ratio":0,
    "mag_ratios":[1,1,1,1,1,1,1,0.5]}'
is '#ab#a #ab#a' dit.zst 5 \
    '{"method":"harmonica","router":[[5,-5,5,-5],[-5,-5,-5,-5],[5,5,5,5],[5,-5,5,-5]]}'
is '#a#b #a#b' dit.zst 4 \
    '{"method":"learning-to-cache","activation":"none","router":[[0.2,0,0.2,0],[0,0,0,0]]}'
is '##aaaa ##aaaa' dit.zst 6 '{"method":"dbcache","residual_diff_threshold":0.3,"max_warmup_steps":2}'
is '##aa#a ##aa#a' dit.zst 6 '{"method":"profilingdit","background":[1],"first":2,"interval":3,"steps":[4]}'
is '##aa#aa ##aa#aa' dit.zst 7 '{"method":"profilingdit","background":[0,1],"interval":3}'
is '##########aaa# ##########aaa#' unet.zst 14 '{"method":"easycache","thresh":0.3}'

# ProfilingDiT by what profile reports: the blocks that it calls background, and the same schedule as their list.
profile dit.zst --actions off --repeat 3 -q --activations 1 --json >report
echo "{\"method\":\"profilingdit\",\"interval\":2,\"activations\":$(sed 's/.*"activations":\({.*}\),"backend".*/\1/' report)}" >in.json
cache-schedule dit.zst -q --steps 6 --validate 1 --import in.json -o taken.schedule >/dev/null
blocks=$(grep -o '"foreground":[a-z]*,"name":"[^"]*"\|"name":"[^"]*"[^}]*"foreground":[a-z]*' report | grep false | sed 's/.*transformer_blocks\.\([0-9]*\).*/\1/')
echo "{\"method\":\"profilingdit\",\"interval\":2,\"background\":[$(paste -sd, <<<"$blocks")]}" >in.json
cache-schedule dit.zst -q --steps 6 --validate 1 --import in.json -o listed.schedule >/dev/null
for made in taken listed; do
    generate dit.zst -q --schedule $made.schedule --count 2 --latents $made
done
cmp taken listed
echo '{"method":"profilingdit","background":[]}' >in.json
if cache-schedule dit.zst -q --steps 6 --import in.json -o no 2>err >/dev/null; then exit 1; fi
grep -q 'said to be background' err

# Block-wise: the first call computes everything, as few as asked for or a few more; U-Nets are not measured block by block.
cache-schedule dit.zst -q --steps 8 --validate 1 --solver bac --interval 2 -o bac.schedule >/dev/null
generate dit.zst -q --schedule bac.schedule --count 3 --batch 1 --latents one
generate dit.zst -q --schedule bac.schedule --count 3 --batch 3 -j 2 --latents three
cmp one three
inspect bac.schedule | grep -q 'mask:1, serves [1-4]'
if cache-schedule unet.zst -q --steps 8 --validate 1 --solver bac --interval 2 -o no 2>err >/dev/null; then exit 1; fi
grep -q 'was not measured' err

# make NAME JSON: a schedule of 8 steps.
make_schedule() {
    echo "$2" >in.json
    cache-schedule dit.zst -q --steps 8 --validate 1 --import in.json -o "$1" >/dev/null
}
# A trigger that never fires computes everything, to the bit; one that always does is the schedule of its calls.
make_schedule static '{"method":"cache-dit","steps_computation_mask":"10000001"}'
for node in input transformer_blocks.0.norm1.modulate; do
    make_schedule never '{"method":"teacache","rel_l1_thresh":0,"node":"'$node'"}'
    make_schedule always '{"method":"teacache","rel_l1_thresh":1000,"node":"'$node'"}'
    generate dit.zst -q --steps 8 --count 3 --latents plain
    generate dit.zst -q --schedule never --count 3 --latents got
    cmp plain got
    generate dit.zst -q --schedule static --count 3 --latents plain
    generate dit.zst -q --schedule always --count 3 --latents got --json >report
    cmp plain got
    grep -q '"computed_passes":12,.*"served_passes":36,.*"tried_passes":0' report
done
# Images decide by themselves: the same in any batch, with any number of threads, and not all alike.
make_schedule tea '{"method":"teacache","rel_l1_thresh":0.5,"coefficients":[1,0]}'
make_schedule easy '{"method":"easycache","thresh":0.2,"ret_steps":2}'
make_schedule db '{"method":"dbcache","residual_diff_threshold":0.3,"max_continuous_cached_steps":3}'
for s in tea easy db; do
    generate dit.zst -q --schedule $s --count 5 --batch 1 -j 1 --latents one --json | grep -o '"[a-z]*_passes":[0-9]*' >counts1
    generate dit.zst -q --schedule $s --count 5 --batch 4 -j 2 --latents four --json | grep -o '"[a-z]*_passes":[0-9]*' >counts4
    generate dit.zst -q --schedule $s --count 5 --batch 5 -j 3 --latents five --guidance 1 >/dev/null
    generate dit.zst -q --schedule $s --count 5 --batch 2 --latents two --guidance 1 >/dev/null
    cmp one four
    cmp five two
    cmp counts1 counts4
    if grep -q 'served_passes":0' counts1; then echo "$s never served"; exit 1; fi
done

# What does not fit is refused by name.
refused() {
    echo "$1" >in.json
    if cache-schedule dit.zst -q --steps 6 --validate 1 --import in.json -o no 2>err >/dev/null; then exit 1; else status=$?; fi
    [ $status = 4 ] && grep -q "$2" err || { cat err; exit 1; }
}
refused '{"method":"magic"}' "the method 'magic' is unknown"
refused '{"method":"deepcache"}' 'cache_interval'
refused '{"method":"deepcache","cache_interval":2,"serve":"branch"}' 'this network has 0'
refused '{"method":"cache-dit","steps_computation_mask":"1100"}' 'must be 6 digits'
refused '{"method":"cache-dit","steps_computation_mask":[0,1,1,1,1,1]}' 'first call must be computed'
refused '{"method":"magcache","magcache_thresh":0.1,"mag_ratios":[]}' 'mag_ratios is empty'
refused '{"method":"harmonica","router":[[1,1,1]]}' 'for 3 branches, this network has 4'
refused '{"method":"harmonica","router":[[1,1,1,1]]}' 'has 1 rows'
refused '{"method":"harmonica"}' "either 'router' or 'file'"
refused '{"method":"teacache","rel_l1_thresh":1,"node":"nothing"}' 'does not have'
refused '{"method":"teacache","rel_l1_thresh":1,"node":"transformer_blocks.1.norm1.modulate","serve":"blocks"}' 'is served'
refused '{"method":"dbcache","residual_diff_threshold":1,"Fn_compute_blocks":2}' 'make no span'
