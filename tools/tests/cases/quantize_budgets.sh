# Budgets: refused with what is nearest, which then is reachable; reported as predicted and measured; calibrations at
# the edge.
tiny-model dit source
import source -q -o dit.zst >/dev/null
bytes_of() { inspect "$1" --json | grep -o '"tensors":.*' | grep -o '"bytes":[0-9]*' | awk -F: '{s += $2} END {print s}'; }
q() { quantize dit.zst --validate 2 --steps 2 -q "$@"; }
number() { sed -E "s/.*\"$1\":([0-9.e+-]+).*/\1/" "$2"; }

# What cannot be: exit 3 with the nearest, and nothing is written.
code=0; q --max-bytes 100 -o none.zst 2>err || code=$?
[ $code = 3 ]
nearest=$(sed -E 's/.*nearest reachable is ([0-9]+) bytes.*/\1/' err)
[ ! -e none.zst ]
q --max-bytes "$nearest" --json -o small.zst >report.json
[ "$(number predicted_bytes report.json)" = "$nearest" ]
[ "$(bytes_of small.zst)" = "$nearest" ] # markers and all
grep -q '"measured_change"' report.json
grep -q '"predicted_change"' report.json
code=0; q --max-bytes $((nearest - 1)) -o none.zst 2>err || code=$?
[ $code = 3 ]
# Half way between: some layers are left, and what is written keeps the budget.
q --max-bytes $((nearest * 13 / 10)) --json -o half.zst >half.json
[ "$(number predicted_bytes half.json)" -le $((nearest * 13 / 10)) ]
better=$(awk "BEGIN{print $(number measured_change half.json) < $(number measured_change report.json)}")
[ "$better" = 1 ]
code=0; q --max-ms 0.000001 -o none.zst 2>err || code=$?
[ $code = 3 ]
grep -q 'nearest reachable' err
code=0; q --min-psnr 150 -o none.zst 2>err || code=$?
[ $code = 3 ]
grep -q 'nearest reachable is [0-9.]* dB' err
# A band that the asked type meets needs no search; without validation there is nothing to hold a budget against.
q --min-psnr 10 --json -o fine.zst >report.json
grep -q '"quantized":' report.json
code=0; quantize dit.zst --validate 0 --max-bytes 5600 -q -o none.zst 2>err || code=$?
[ $code = 2 ]
# One image of one step is a calibration too; none is data-free.
quantize dit.zst --type w4a8 --calibrate 1 --steps 1 --validate 0 -q -o one.zst >/dev/null
quantize dit.zst --type w4a8 --calibrate 0 --validate 0 -q -o zero.zst >/dev/null
quantize dit.zst --type w4a8 --validate 0 -q -o free.zst >/dev/null
cmp zero.zst free.zst
if cmp -s one.zst free.zst; then exit 1; fi
# Corrected biases are float32: in a model of float16 they take more than what they replace, and the budget knows.
import source --dtype f16 -q -o half_floats.zst >/dev/null
quantize half_floats.zst --type w8a8 --calibrate 1 --steps 1 --validate 0 -q -o asked.zst >/dev/null
bytes=$(bytes_of asked.zst)
quantize half_floats.zst --calibrate 1 --steps 1 --validate 1 --max-bytes "$bytes" --json -q -o fits.zst >report.json
[ "$(number predicted_bytes report.json)" -le "$bytes" ]
[ "$(bytes_of fits.zst)" -le "$bytes" ]
# Each layer by itself is another choice, or the same; it keeps the budget too.
quantize half_floats.zst --calibrate 1 --steps 1 --validate 1 --max-bytes "$bytes" --allocation separate -q -o apart.zst >/dev/null
# Without corrections the biases stay as they were.
quantize half_floats.zst --type w8a8 --calibrate 1 --steps 1 --validate 0 --correct off -q -o kept.zst >/dev/null
[ "$(inspect kept.zst --json | grep -o 'F32.,"name":"[^"]*bias"' | wc -l)" = 0 ]
[ "$(inspect asked.zst --json | grep -o 'F32.,"name":"[^"]*bias"' | wc -l)" -gt 0 ]
