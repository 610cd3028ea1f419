# The tools that compute when memory, threads and system calls fail.
. "$SRC/tools/tests/faults.bash"
tiny-model unet source
import source -q -o model.zst >/dev/null
quantize model.zst -q -o small.zst >/dev/null
profile small.zst -q --repeat 3 -o profile >/dev/null
generate model.zst --steps 2 -q --latents one
generate model.zst --steps 2 -q --latents other --seed 5

try alloc 5 15 generate model.zst --steps 2 -q --latents out
try alloc 5 15 generate small.zst --steps 2 -q -o - >/dev/null
try alloc 5 15 evaluate --reference one other --json
for kind in read write rename open; do
    try $kind 1 12 generate model.zst --steps 2 -q --latents out
done
try thread 1 10 generate model.zst --steps 2 -q -j 3 --latents out
try alloc 5 15 quantize model.zst -q -o out
bytes=$(inspect small.zst --json | grep -o '"tensors":.*' | grep -o '"bytes":[0-9]*' | awk -F: '{s += $2} END {print s}')
try alloc 5 4 quantize model.zst -q --max-bytes $((bytes * 11 / 10)) --validate 1 --steps 1 -o out
try alloc 5 15 prune model.zst -q --remove mid_block.attentions.0.to_out.0 -o out
finish
