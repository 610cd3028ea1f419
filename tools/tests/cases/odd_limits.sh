# Budgets that bind nothing or are nothing, patterns that match nothing, options that every program takes, pipes that are
# read to their end, a small stack.
tiny-model dit source
import source -q -o m.zst >/dev/null

# A budget that the model keeps as it is leaves it so, and says it.
quantize m.zst --max-bytes 1G -o same.zst >out 2>err
grep -q 'no layer is quantized' err
for f in m same; do generate $f.zst --steps 2 --latents $f.latents; done
evaluate --reference m.latents same.latents --json | grep -q '"identical":true'
for bad in "--max-bytes 0" "--max-ms 0" "--memory 0"; do
    code=0
    # shellcheck disable=SC2086  # words
    quantize m.zst $bad -o x >out 2>err || code=$?
    [ $code = 2 ] && [ ! -e x ] || { echo "$bad: exit $code"; cat err; exit 1; }
done

quantize m.zst --validate 0 --keep 'nothing*' --type-of '*.none=w4a8' --keep '*ff*' -o x >out 2>err
grep -q -- "--keep 'nothing\*' matches no layer" err
grep -q -- "--type-of '\*.none' matches no layer" err
[ "$(wc -l <err)" = 2 ]

for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    "$program" --seed 1 --force --help >out
done

# Who writes a pipe that inspect reads does not die of SIGPIPE, however the pipe is named; and the id is told.
import "$TESTDATA/models/fashion-unet" -q -o big.zst >/dev/null
for name in - /dev/stdin; do
    (set -o pipefail; cat big.zst | inspect $name >out)
    head -n 1 out | grep -q ', id [0-9a-f]\{32\}$'
done

# The kernels want more stack than 256 KiB: it is taken where the limit may be raised, and asked for elsewhere.
case $BIN in */sanitize) exit 0 ;; esac # ASan wants more itself
(ulimit -S -s 256 && profile big.zst --repeat 3 --actions off >out)
code=0
(ulimit -s 256 && exec profile big.zst --repeat 3) >out 2>err || code=$?
[ $code = 1 ] && grep -q '^profile: the limit of the stack is 256 KiB, 2048 are needed: ulimit -s 2048$' err
