# Whole trajectories on CUDA give the CPU's latents: float, int8, bfloat16, schedules with guidance, a last batch that
# is smaller; and where the sampler has to stay on the host. cuda_samplers has the samplers.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" -o dit.zst -q
import "$TESTDATA/tiny/unet" -o unet.zst -q
import "$TESTDATA/tiny/dit" --dtype bf16 -o bf16.zst -q
quantize --backend cpu dit.zst -o dit8.zst --force -q >/dev/null
quantize --backend cpu unet.zst -o unet8.zst --force -q >/dev/null
cache-schedule --backend cpu dit8.zst --steps 4 --solver uniform --interval 2 -o fast.zst -q >/dev/null
float=2e-5   # 21 bits of each factor, float32 sums in another order, over some steps
int8=2e-2    # a value on a rounding border may fall to the other side; attention reads bfloat16
bf16=3e-2    # 8 bits of each factor; the two round at different places
same $float dit.zst --steps 3 --count 3 --batch 2
same $float unet.zst --steps 3 --count 2
same $int8 dit8.zst --schedule fast.zst --count 2
same $int8 unet8.zst --steps 3
same $bf16 bf16.zst --steps 3
# Rows before compressed weights are what the model's others are: float here, bfloat16 where there are such weights.
for type in w4a16 w8a16 fp8; do
    for model in dit bf16; do
        quantize --backend cpu $model.zst --type $type -o small.zst --force -q >/dev/null
        same "$([ $model = dit ] && echo $float || echo $bf16)" small.zst --steps 3
    done
done
# Where the device has no memory for the graph of a whole trajectory, there is one for each call; the same latents.
if [ -z "${HASTEN_TEST_DEVICE-}" ]; then
    generate dit8.zst --schedule fast.zst --count 2 --backend cuda --latents whole.safetensors -q
    nodes=$(HASTEN_DRIVER=log=log generate dit8.zst --schedule fast.zst --count 2 --backend cuda --latents out.safetensors -q && logged replayed)
    HASTEN_DRIVER=log=log,graph=$((nodes - 1)) generate dit8.zst --schedule fast.zst --count 2 --backend cuda --latents calls.safetensors -q
    [ "$(logged graphs)" = 4 ] && [ "$(logged late)" = 0 ] && [ "$(logged live)" = 0 ] || fail "a graph a call: $(cat log)"
    cmp whole.safetensors calls.safetensors || fail "a graph a call gives other latents"
    code=0
    HASTEN_DRIVER=graph=1 generate dit8.zst --schedule fast.zst --backend cuda --latents out.safetensors -q 2>err || code=$?
    [ $code = 5 ] && [ "$(wc -l <err)" = 1 ] || fail "no memory for any graph: exit $code, $(cat err)"
fi
# A trace is taken call by call; one component once.
generate dit.zst --steps 3 --trace cpu.safetensors --backend cpu -q
HASTEN_DRIVER=log=log generate dit.zst --steps 3 --trace cuda.safetensors --backend cuda -q
[ "${HASTEN_TEST_DEVICE-}" ] || { [ "$(logged graphs)" = 0 ] && [ "$(logged live)" = 0 ]; } || fail "trace: $(cat log)"
# The same images in another batch have the same bytes.
generate dit.zst --steps 2 --count 3 --batch 3 --latents three.safetensors --backend cuda -q
generate dit.zst --steps 2 --count 3 --batch 1 --latents one.safetensors --backend cuda -q
cmp three.safetensors one.safetensors || fail "an image depends on its batch"
finish
