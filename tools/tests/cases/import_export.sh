# Diffusers directories there and back, and short runs against the latents of PyTorch (scripts/parity/make_tiny.py).
tiny=$TESTDATA/tiny # "$BIN/export", because export alone is the shell's own

for kind in unet resample dit vae; do
    import "$tiny/$kind" -q -o a.zst >/dev/null
    "$BIN/export" a.zst -q -o back >/dev/null
    import back -q -o b.zst >/dev/null
    "$BIN/export" b.zst -q -o again >/dev/null
    diff -r back again
    import again -q -o c.zst >/dev/null
    cmp b.zst c.zst
    case $kind in
    unet) cmp a.zst b.zst ;; # flat or not, old names come back as they were
    vae) "$BIN/export" a.zst -o again 2>&1 >/dev/null | grep -q 'beside the decoder were not imported' ;;
    esac
    # The same numbers before and after, from other threads and through a pipe.
    generate a.zst -q --once "$tiny/$kind/golden.safetensors" -o got.safetensors
    "$BIN/export" -q -o piped <a.zst >/dev/null
    diff -r back piped
    generate b.zst -q -j 2 --once "$tiny/$kind/golden.safetensors" -o same.safetensors
    cmp got.safetensors same.safetensors
    rm -r back again piped
done

# Five steps against torch: the sums of some 40 layers in another order, five times; 1e-5 is fifty times the difference seen.
near() {
    evaluate --reference "$1" "$2" --json >report
    sed 's/.*"rel_l2": *\([-0-9.e+]*\).*/\1/' report | awk -v what="$1" '!($1 <= 1e-5) {print what ": relative error " $1; exit 1}'
}
import "$tiny/unet" -q -o unet.zst >/dev/null
for sampler in ddim ddpm pndm dpmpp-2m; do
    generate unet.zst -q --sampler $sampler --steps 5 --count 2 --class 0,1 --latents got
    near "$tiny/unet/$sampler.safetensors" got
done
import "$tiny/dit" -q -o dit.zst >/dev/null
generate dit.zst -q --steps 5 --count 2 --class 2,0 --latents got # guidance 4 is the pipeline's default
near "$tiny/dit/ddim.safetensors" got

# Quantized: the same names and shapes, floats again, near the weights they came from.
quantize dit.zst -q -o small.zst >/dev/null
"$BIN/export" small.zst -q -o small >/dev/null
import small -q -o back.zst >/dev/null
generate back.zst -q --steps 5 --count 2 --class 2,0 --latents got
if near "$tiny/dit/ddim.safetensors" got >/dev/null; then echo "quantized weights came back exactly"; exit 1; fi
evaluate --reference "$tiny/dit/ddim.safetensors" got --min-psnr 25 -q >/dev/null

# --dtype: half the bytes, and the export says so.
import "$tiny/unet" -q --dtype bf16 -o half.zst >/dev/null
"$BIN/export" half.zst -q -o half >/dev/null
[ "$(wc -c <half/unet/diffusion_pytorch_model.safetensors)" -lt 80000 ]
grep -aq '"BF16"' half/unet/diffusion_pytorch_model.safetensors

# Quantized, it comes back in half floats as well: every tensor's type is the one that it was imported with.
kinds() { inspect "$1" --json | grep -o '"dtype":"[^"]*","name":"[^"]*"' | sort; }
for dtype in f16 bf16; do
    import "$tiny/dit" -q --dtype $dtype -o narrow.zst >/dev/null
    quantize narrow.zst -q --type w4a8 --calibrate 1 --steps 2 --validate 0 -o small.zst >/dev/null
    rm -rf small
    "$BIN/export" small.zst -q -o small >/dev/null
    import small -q -o back.zst >/dev/null
    cmp <(kinds narrow.zst) <(kinds back.zst)
done
