# profile on CUDA: kernels by events, and by CUPTI (its stand-in checks kinds, buffers and flushes) what they wait, one by
# one and as a graph; without CUPTI, when another profiler has it or records are lost, the rest stays.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" -o dit.zst -q
run() {
    profile dit.zst --backend cuda --repeat 3 --actions off -o dit.profile.zst --json "$@" >profile.json || fail "exit $?"
    grep -q '"full_ms"' profile.json || fail "profile: $(head -c 300 profile.json)"
    for peak in peak_f32_gflops peak_bf16_gflops peak_int8_gops copy_gbs; do
        grep -q "\"$peak\": *[1-9]" profile.json || fail "profile: no $peak in $(head -c 600 profile.json)"
    done
}
if [ "${HASTEN_TEST_DEVICE-}" ]; then
    run -v 2>err
    ! grep -q 'CUPTI found' err || run --trace trace.json
    finish
fi
run --trace trace.json
for of in launch graph_launch; do
    grep -q "\"$of\":{[^}]*\"tklqt_ms\":[0-9.e-]*,\"total_ms\":[0-9.e-]*,\"waiting\":0" profile.json || fail "no $of: $(cat profile.json)"
done
kernels=$(grep -o '"cat":"kernel"' trace.json | wc -l)
[ "$kernels" -gt 20 ] && grep -q 'attention_f32' trace.json || fail "a trace of $kernels kernels"
# No kernel begins before the one in front of it has ended (microseconds).
grep -o '"dur":[-0-9.e+]*,"name":"[a-z0-9_]*","ph":"X","pid":0,"tid":0,"ts":[-0-9.e+]*' trace.json |
    sed 's/"dur":\([^,]*\),.*"ts":\(.*\)/\1 \2/' |
    awk '$2 < end - 0.01 || $1 <= 0 {bad = 1} {end = $1 + $2} END {exit bad || NR == 0}' || fail "kernels overlap"
profile dit.zst --backend cuda --repeat 3 --actions off | grep -q "^$kernels kernels of .*TKLQT" || fail "no text of $kernels kernels"
for how in absent busy lost; do
    HASTEN_CUPTI=$how run
    ! grep -q '"launch"' profile.json || fail "$how: $(cat profile.json)"
done
code=0
HASTEN_CUDA_LIBRARIES=none profile dit.zst --backend cuda --repeat 3 --actions off --trace no.json 2>err >/dev/null || code=$?
[ $code = 2 ] && [ ! -e no.json ] && grep -q 'is there a CUPTI' err || fail "--trace without CUPTI: exit $code, $(cat err)"
code=0
profile dit.zst --backend cuda --predict none.zst 2>err || code=$?
[ $code = 2 ] && grep -q 'on the CPU' err || fail "--predict: exit $code, $(cat err)"
finish
