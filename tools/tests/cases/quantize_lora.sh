# --lora: merged before quantizing, twice half is once whole, scale 0 changes nothing; a file that is none is refused.
import "$TESTDATA/models/fashion-dit" -q -o dit.zst 2>/dev/null

# lora NAME COLUMNS ROWS: factors of rank 1 of 0.25 each, in a safetensors file made here
lora() {
    local header n i
    header=$(printf '{"%s.lora_A.weight":{"dtype":"F32","shape":[1,%d],"data_offsets":[0,%d]},"%s.lora_B.weight":{"dtype":"F32","shape":[%d,1],"data_offsets":[%d,%d]}}' \
        "$1" "$2" $((4 * $2)) "$1" "$3" $((4 * $2)) $((4 * ($2 + $3))))
    n=${#header}
    printf "\\x$(printf %02x $((n % 256)))\\x$(printf %02x $((n / 256)))\\0\\0\\0\\0\\0\\0%s" "$header"
    for ((i = 0; i < $2 + $3; i++)); do printf '\0\0\x80\x3e'; done
}
width=$(inspect dit.zst | sed -n 's/.*F16 *\[\([0-9]*\), \([0-9]*\)\].*transformer_blocks.0.attn1.to_q.weight/\2/p;s/.*F32 *\[\([0-9]*\), \([0-9]*\)\].*transformer_blocks.0.attn1.to_q.weight/\2/p')
[ -n "$width" ]
lora transformer.transformer_blocks.0.attn1.to_q "$width" "$width" >q.safetensors
q() { quantize dit.zst --type w8a16 --validate 0 -q "$@" >/dev/null; }
q -o plain.zst
q --lora q.safetensors -o one.zst
q --lora q.safetensors:0.5 --lora q.safetensors:0.5 -o halves.zst
q --lora q.safetensors:0 -o none.zst
for f in plain one halves none; do
    generate $f.zst -q --steps 2 --latents $f.latents.zst
done
evaluate --reference plain.latents.zst none.latents.zst --min-psnr 120 >/dev/null
evaluate --reference one.latents.zst halves.latents.zst --min-psnr 60 >/dev/null # weights are stored in half precision
code=0; evaluate --reference plain.latents.zst one.latents.zst --min-psnr 60 >/dev/null 2>&1 || code=$?
[ $code = 3 ]
# A calibration of the model without it is another model's.
quantize dit.zst --calibrate 1 --calibration c.zst --steps 1 --validate 0 -q -o x.zst >/dev/null
code=0; quantize dit.zst --lora q.safetensors --calibrate 1 --calibration c.zst --steps 1 --validate 0 -q -o x.zst 2>err || code=$?
[ $code = 4 ]
# Names that match nothing are told; so are quantized weights.
lora transformer.blocks.0.nowhere "$width" "$width" >bad.safetensors
code=0; q --lora bad.safetensors -o x.zst 2>err || code=$?
[ $code = 4 ]
code=0; quantize dit.zst --lora bad.safetensors --validate 0 -o x.zst 2>err || code=$?
grep -q 'transformer.blocks.0.nowhere.lora_A.weight' err
grep -q '2 of 2 tensors match no layer' err
code=0; quantize plain.zst --lora q.safetensors --validate 0 -o x.zst 2>err || code=$?
[ $code = 4 ]
grep -q 'is quantized' err
