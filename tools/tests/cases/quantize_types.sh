# Every type: a file that runs, the same bytes for any number of threads, names and markers on disk, rules by layer,
# and export back to floats that are near the original ones.
import "$TESTDATA/models/fashion-dit" -q -o dit.zst 2>/dev/null
import "$TESTDATA/models/fashion-unet" -q -o unet.zst 2>/dev/null
for type in w8a8 w4a8 w4a16 w8a16 fp8; do
    quantize dit.zst --type "$type" --validate 0 -q -j 1 -o one.safetensors >/dev/null
    quantize dit.zst --type "$type" --validate 0 -q -j 3 -o three.safetensors >/dev/null
    cmp one.safetensors three.safetensors
    inspect one.safetensors --verify >/dev/null
    generate one.safetensors -q --steps 2 --latents latents.zst
    "$BIN/export" one.safetensors -q -o "back-$type" >/dev/null
    quantize unet.zst --type "$type" --validate 0 -q -o unet.small.zst >/dev/null
    generate unet.small.zst -q --steps 2 --latents latents.zst
    "$BIN/export" unet.small.zst -q -o "back-unet-$type" >/dev/null
done
# An exported model is a model again, and its latents are those of the quantized weights with float inputs.
quantize dit.zst --type w8a16 --validate 0 -q -o wide.zst >/dev/null
import back-w8a16 -q -o again.zst 2>/dev/null
generate wide.zst -q --steps 3 --latents a.zst
generate again.zst -q --steps 3 --latents b.zst
evaluate --reference a.zst b.zst --min-psnr 90 >/dev/null
import back-w4a8 -q -o again.zst 2>/dev/null
quantize dit.zst --type w4a8 --validate 0 -q -o small.zst >/dev/null
generate small.zst -q --steps 3 --latents a.zst
generate again.zst -q --steps 3 --latents b.zst
evaluate --reference a.zst b.zst --min-psnr 30 >/dev/null # only activations differ
# Rules: the last one wins, plain is a type, unknown ones are refused.
quantize dit.zst --type w8a8 --type-of '*.ff.*=w4a8' --type-of '*.0.ff.*=plain' --keep '*.1.*' --validate 0 \
    -o x.zst --json | grep -q '"format":"w4a8"'
quantize dit.zst --type-of '*=w3a3' -o x.zst 2>err && exit 1
grep -q 'w3a3' err
# What is quantized is not quantized again.
code=0; quantize small.zst -o x.zst 2>err || code=$?
[ $code = 4 ]
grep -q 'quantized already' err
# A calibration file goes on, and belongs to one model.
quantize dit.zst --type w4a8 --calibrate 1 --calibration c.zst --steps 2 --validate 0 -q -o p.zst >/dev/null
quantize dit.zst --type w4a8 --calibrate 2 --calibration c.zst --steps 2 --validate 0 -q -o p.zst >/dev/null
quantize dit.zst --type w4a8 --calibrate 2 --steps 2 --validate 0 -q -o q.zst >/dev/null
cmp p.zst q.zst
inspect c.zst >/dev/null
code=0; quantize unet.zst --calibrate 2 --calibration c.zst --steps 2 --validate 0 -q -o p.zst 2>err || code=$?
[ $code = 4 ]
