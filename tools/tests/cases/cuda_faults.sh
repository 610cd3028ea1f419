# Every call of the driver fails once, and from then on: one line says what happened, the exit code is 5 for a full memory
# and 1 for anything else, and nothing is left behind (the recording driver would end with 99).
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" -o dit.zst -q
run() {
    HASTEN_DRIVER=$1 generate dit.zst --steps 2 --backend cuda --latents out.safetensors -q 2>err
}
run log=log || fail "exit $? without a fault"
calls=$(logged calls)
step=$([ "${SWEEP:-0}" = 0 ] && echo 29 || echo 1)
for kind in 2 719,lost 209; do
    want=$([ $kind = 2 ] && echo 5 || echo 1)
    for ((k = 1; k <= calls; k += k < 12 ? 1 : step)); do
        rm -f out.safetensors
        code=0
        run "fail=$k:$kind" || code=$?
        [ $code != 0 ] || continue # the end of something, where nothing depends on it
        { [ $code = $want ] && [ "$(wc -l <err)" = 1 ] && grep -q 'CUDA' err && [ ! -e out.safetensors ]; } ||
            fail "call $k of $calls fails with $kind: exit $code, $(cat err)"
    done
done
# And every allocation on the host.
for ((k = 1; k < 2000; k += 1 + k / 8)); do
    code=0
    HASTEN_FAULT=alloc:$k run log=log || code=$?
    [ $code != 0 ] || { [ $k -gt 100 ] && break; }
    [ $code = 5 ] || [ $code = 0 ] || fail "alloc:$k: exit $code, $(cat err)"
done
run memory=50000 && fail "50000 bytes were enough"
grep -q 'MiB free.*smaller --batch' err || fail "$(cat err)"
finish
