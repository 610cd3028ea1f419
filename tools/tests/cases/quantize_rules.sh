# Rules by layer, what is quantized already, calibrations in a file; an export of quantized weights is a model again.
import "$TESTDATA/models/fashion-dit" -q -o dit.zst 2>/dev/null
for type in w8a16 w4a8; do
    quantize dit.zst --type $type --validate 0 -q -o $type.zst >/dev/null
    "$BIN/export" $type.zst -q -o back-$type >/dev/null
done
# An exported model is a model again, and its latents are those of the quantized weights with float inputs.
import back-w8a16 -q -o again.zst 2>/dev/null
generate w8a16.zst -q --steps 3 --latents a.zst
generate again.zst -q --steps 3 --latents b.zst
evaluate --reference a.zst b.zst --min-psnr 80 >/dev/null # weights go out as float16
import back-w4a8 -q -o again.zst 2>/dev/null
generate w4a8.zst -q --steps 3 --latents a.zst
generate again.zst -q --steps 3 --latents b.zst
evaluate --reference a.zst b.zst --min-psnr 30 >/dev/null # only activations differ
# Rules: the last one wins, plain is a type, unknown ones are refused.
quantize dit.zst --type w8a8 --type-of '*.ff.*=w4a8' --type-of '*.0.ff.*=plain' --keep '*.1.*' --validate 0 \
    -o x.zst --json | grep -q '"format":"w4a8"'
quantize dit.zst --type-of '*=w3a3' -o x.zst 2>err && exit 1
grep -q 'w3a3' err
# What is quantized is not quantized again.
code=0; quantize w4a8.zst -o x.zst 2>err || code=$?
[ $code = 4 ]
grep -q 'quantized already' err
# A calibration file goes on, and belongs to one model, and to one layout of statistics.
tiny-model dit tiny
import tiny -q -o small.zst >/dev/null
calibrated() { quantize "$1" --type w4a8 --steps 2 --validate 0 -q "${@:2}" >/dev/null; }
calibrated small.zst --calibrate 1 --calibration c.zst -o p.zst
calibrated small.zst --calibrate 2 --calibration c.zst -o p.zst
calibrated small.zst --calibrate 2 -o q.zst
cmp p.zst q.zst
inspect c.zst >/dev/null
tiny-model unet source
import source -q -o unet.zst >/dev/null
code=0; calibrated unet.zst --calibrate 2 --calibration c.zst -o p.zst 2>err || code=$?
[ $code = 4 ]
