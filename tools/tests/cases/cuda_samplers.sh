# The samplers' steps on CUDA, those with noise and with several calls a step included, give the CPU's latents.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/unet" -o unet.zst -q
float=2e-5 # 21 bits of each factor, float32 sums in another order, over some steps
for sampler in ddpm euler-a heun dpmpp-2m unipc; do
    same $float unet.zst --sampler $sampler --steps 4
done
finish
