# What cannot go well is refused before the work, says what would, and leaves nothing behind.
tiny-model dit source
import source -q -o m.zst >/dev/null
mkdir folder
refused() { # exit code, text, command: within a second, for the commands would take minutes
    local want=$1 text=$2 code=0
    shift 2
    timeout 10 "$@" >out 2>err </dev/null || code=$?
    if [ $code != "$want" ] || [ "$(wc -l <err)" != 1 ] || ! grep -q -e "^${1##*/}: .*$text" err; then
        echo "$*: exit $code, expected $want: $text"
        cat err
        exit 1
    fi
}
long="generate m.zst --steps 1000 --count 100000"
for option in latents trace sheet report manifest; do
    refused 1 "cannot write 'missing/x': No such file" $long -o pictures --$option missing/x
    refused 1 "cannot write 'folder': it is a directory" $long -o pictures --$option folder
done
refused 1 "cannot write 'missing/pictures'" $long -o missing/pictures
refused 2 'latents and --trace are the same file' $long --latents x --trace x
refused 2 'sheet and --report are the same file' $long --latents y --sheet x --report x
refused 1 'No such file' profile m.zst --repeat 10000 --svg missing/x
refused 1 'No such file' profile m.zst --repeat 10000 --trace missing/x
refused 1 'No such file' cache-schedule m.zst --steps 500 --speedup 2 --validate 10000 -o x --svg missing/x
refused 1 'No such file' quantize m.zst --calibrate 100000 -o x --report missing/x
refused 1 'it is a directory' quantize m.zst --calibrate 100000 -o folder
refused 1 'it is a directory' prune m.zst --speedup 1.1 --seeds 10000 -o folder

# Latents of a size that the model cannot do.
refused 2 'no latents of 7x9, the next are 8x10' $long --size 7x9 -o pictures
refused 2 'no latents of 7x9, the next are 8x10' profile m.zst --size 7x9
refused 2 'no latents of 7x9, the next are 8x10' profile m.zst --size 7x9 --plan

# A run that makes nothing leaves no folder and no manifest; a folder that was there stays.
refused 1 'No such file' generate m.zst --jobs missing -o pictures
refused 1 'No such file' generate m.zst --count 2 --noise missing -o pictures
generate m.zst --steps 2 --count 2 --latents two
refused 4 "'latents' is F32 \[2, 1, 8, 8\], floats \[3 or more, 1, 8, 8\]" generate m.zst --count 3 --noise two -o pictures
refused 1 'No such file' generate m.zst --count 2 --noise missing -o folder
[ "$(echo *)" = 'err folder m.zst out source two' ] || { ls -A; exit 1; }

# Messages name a file once.
refused 1 "cannot open 'none': No such" generate m.zst --schedule none -o x.png
! grep -q 'none.*none' err
refused 4 "two: this is a file of kind 'samples', a schedule" generate m.zst --schedule two -o x.png
! grep -q 'two.*two' err

# Sets that cannot be compared say why; SSIM is not told of what is smaller than its window.
generate m.zst --steps 2 --count 2 -o pictures
refused 4 'the reference holds pictures, the others are latents' evaluate --reference pictures two
evaluate --reference two two >out
grep -q '^2 pairs: PSNR 999.00 dB, relative L2 0.00000 (identical)$' out
