# Models of e4m3 weights: on a device that multiplies e4m3, and when it is asked for, rows are rounded to e4m3 as well and
# cuBLASLt (its stand-in checks types, scales, distances) multiplies; else the CPU's latents by own kernels.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" -o dit.zst -q
quantize --backend cpu dit.zst --type fp8 -o dit.fp8.zst --force -q >/dev/null
float=2e-5
fp8=8e-2 # 4 bits of each number of a row
# products WANT WHAT: whether the stand-in computed any.
products() {
    [ -n "${HASTEN_TEST_DEVICE-}" ] || [ "$([ "$(logged products)" = 0 ] && echo none || echo some)" = "$1" ] ||
        fail "$2: $(logged products) products by the library, expected $1"
}
same $float dit.fp8.zst --steps 3 --count 3 --batch 2
products none 'rows as they are'
export HASTEN_CUDA_LIBRARIES=cublaslt,fp8
same $fp8 dit.fp8.zst --steps 3 --count 3 --batch 2
products some dit
[ -z "${HASTEN_TEST_DEVICE-}" ] || finish
# Scales inside where only a bias comes behind and bfloat16 is wanted, as attention does: one kernel less a product.
import "$TESTDATA/tiny/conditioned" -o once.zst -q
quantize --backend cpu once.zst --type fp8 -o once.fp8.zst --force -q >/dev/null
least=0
for word in "" refuse-scales; do
    HASTEN_BLAS=$word HASTEN_DRIVER=log=log generate once.fp8.zst --once "$TESTDATA/tiny/conditioned/golden.safetensors" \
        --backend cuda -o out.safetensors -q
    products some "once, $word"
    [ "$(logged launches)" -gt $least ] || fail "once, $word: $(logged launches) launches, $least with scales inside"
    least=$(logged launches)
done
# Own kernels, with the CPU's numbers, where there is no such product; only attention reads bfloat16.
HASTEN_BLAS=refuse-fp8 same 3e-2 dit.fp8.zst --steps 3
products none 'a library without'
HASTEN_DRIVER=capability=86,log=log generate dit.fp8.zst --steps 3 --backend cuda --latents old.safetensors -v 2>err
products none 'a device without'
grep -q 'products of e4m3 not on this device' err || fail "a device without: $(cat err)"
generate dit.fp8.zst --steps 3 --backend cpu --latents cpu.safetensors -q
got=$(evaluate --backend cpu --reference cpu.safetensors old.safetensors --json | sed 's/.*"rel_l2": *\([-0-9.e+]*\).*/\1/')
awk -v got="$got" -v limit=$float 'BEGIN {exit !(got != "" && got + 0 <= limit)}' || fail "a device without: relative L2 $got"
# The same images in another batch have the same bytes.
generate dit.fp8.zst --steps 2 --count 3 --batch 3 --latents three.safetensors --backend cuda -q
generate dit.fp8.zst --steps 2 --count 3 --batch 1 --latents one.safetensors --backend cuda -q
cmp three.safetensors one.safetensors || fail "an image depends on its batch"
# Failing calls: one line, exit code 5 for a full memory, nothing left behind.
HASTEN_DRIVER=log=log generate dit.fp8.zst --steps 2 --backend cuda --latents out.safetensors -q
calls=$(logged calls)
for kind in 2 719,lost; do
    want=$([ $kind = 2 ] && echo 5 || echo 1)
    for ((k = 40; k <= calls; k += 41)); do
        code=0
        HASTEN_DRIVER=fail=$k:$kind generate dit.fp8.zst --steps 2 --backend cuda --latents out.safetensors -q 2>err || code=$?
        [ $code != 0 ] || continue
        { [ $code = "$want" ] && [ "$(wc -l <err)" = 1 ] && grep -q 'CUDA' err; } ||
            fail "call $k of $calls fails with $kind: exit $code, $(cat err)"
    done
done
finish
