# Products of bfloat16 weights by cuBLASLt and convolutions by cuDNN (their stand-ins check layouts, distances, alignment
# and workspace): the CPU's latents, with epilogues inside or behind; own kernels when a library is absent, refuses or is
# not wanted.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" --dtype bf16 -o dit.zst -q
import "$TESTDATA/tiny/unet" --dtype bf16 -o unet.zst -q
bf16=3e-2 # 8 bits of each factor; the two round at different places
# products WANT: whether the stand-in computed any.
products() {
    [ -n "${HASTEN_TEST_DEVICE-}" ] || [ "$([ "$(logged products)" = 0 ] && echo none || echo some)" = "$1" ] ||
        fail "$2: $(logged products) products by the library, expected $1"
}
same $bf16 dit.zst --steps 3 --count 3 --batch 2
products some dit
same $bf16 unet.zst --steps 2
products some unet
HASTEN_CUDA_LIBRARIES=cudnn same $bf16 unet.zst --steps 2
products some 'convolutions'
HASTEN_CUDA_LIBRARIES=cudnn HASTEN_DNN=refuse-whole same $bf16 unet.zst --steps 2 --count 2 --batch 1
products some 'sums of convolutions'
HASTEN_CUDA_LIBRARIES=cudnn HASTEN_DNN=absent same $bf16 unet.zst --steps 2
products none 'a cuDNN that does not open'
HASTEN_BLAS=refuse-whole same $bf16 dit.zst --steps 2
products some 'sums alone'
HASTEN_BLAS=absent same $bf16 dit.zst --steps 2
products none 'a library that does not open'
HASTEN_CUDA_LIBRARIES=none same $bf16 dit.zst --steps 2
products none 'a library that is not wanted'
# Attention, which small models leave to the own kernel.
import "$TESTDATA/tiny/resample" --dtype bf16 -o resample.zst -q
products=0
for libraries in cudnn cudnn,sdpa; do
    for backend in cpu cuda; do
        HASTEN_CUDA_LIBRARIES=$libraries HASTEN_DRIVER=log=log generate resample.zst --backend $backend --steps 2 \
            --sampler-config "$TESTDATA/tiny/unet/scheduler_config.json" --latents $backend.safetensors -q
    done
    got=$(evaluate --backend cpu --reference cpu.safetensors cuda.safetensors --json | sed 's/.*"rel_l2": *\([-0-9.e+]*\).*/\1/')
    awk -v got="$got" -v limit=$bf16 'BEGIN {exit !(got + 0 <= limit)}' || fail "$libraries: relative L2 $got"
    [ -n "${HASTEN_TEST_DEVICE-}" ] || [ "$(logged products)" -gt $products ] || fail "$libraries: no more than $products products"
    [ -n "${HASTEN_TEST_DEVICE-}" ] || products=$(logged products)
done
# The same images in another batch have the same bytes.
for model in dit unet; do
    generate $model.zst --steps 2 --count 3 --batch 3 --latents three.safetensors --backend cuda -q
    generate $model.zst --steps 2 --count 3 --batch 1 --latents one.safetensors --backend cuda -q
    cmp three.safetensors one.safetensors || fail "$model: an image depends on its batch"
done
# Their calls fail like the driver's: one line, exit code 5 for a full memory, nothing left behind.
[ "${HASTEN_TEST_DEVICE-}" ] && finish
failing() {
    local model=$1 first=$2 step=$3 kind want k code calls
    HASTEN_DRIVER=log=log generate $model --steps 2 --backend cuda --latents out.safetensors -q
    calls=$(logged calls)
    for kind in 2 719,lost; do
        want=$([ $kind = 2 ] && echo 5 || echo 1)
        for ((k = first; k <= calls; k += step)); do
            code=0
            HASTEN_DRIVER=fail=$k:$kind generate $model --steps 2 --backend cuda --latents out.safetensors -q 2>err || code=$?
            [ $code != 0 ] || continue
            { [ $code = $want ] && [ "$(wc -l <err)" = 1 ] && grep -q 'CUDA' err; } ||
                fail "$model: call $k of $calls fails with $kind: exit $code, $(cat err)"
        done
    done
}
failing dit.zst 40 47
export HASTEN_CUDA_LIBRARIES=cudnn
failing unet.zst 300 71
finish
