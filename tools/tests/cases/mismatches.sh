# Files that do not belong together, gates that are not met, files of the wrong kind: exit codes 3 and 4 with one line.
refused() {
    local want=$1 text=$2 code=0
    shift 2
    "$@" >out 2>err </dev/null || code=$?
    if [ $code != "$want" ] || ! tail -n 1 err | grep -q -e "^${1##*/}: .*$text"; then
        echo "$*: exit $code, expected $want: $text"
        cat err
        exit 1
    fi
}
tiny-model dit a
tiny-model unet b
import a -q -o a.zst >/dev/null
import b -q -o b.zst >/dev/null
profile a.zst -q --repeat 3 -o a.profile >/dev/null
cache-schedule a.zst -q --steps 4 --interval 2 --solver uniform -o a.schedule >/dev/null
generate a.zst --steps 2 -q --latents samples

refused 4 'made for model' generate b.zst --steps 4 --schedule a.schedule -o x.png
refused 4 'of model' cache-schedule b.zst --steps 4 --profile a.profile --speedup 1.2 -o x
refused 4 'is for 4 steps.* this run has 5' generate a.zst --steps 5 --schedule a.schedule -o x.png
refused 4 'made for the sampler ddim, this run uses euler' generate a.zst --sampler euler --schedule a.schedule -o x.png
refused 4 'latents of 8x8, these are 16x12' generate a.zst --size 16x12 --schedule a.schedule -o x.png
refused 4 'made for model' cache-schedule b.zst --verify a.schedule
refused 4 'is for 4 steps, --steps says 5' cache-schedule a.zst --steps 5 --verify a.schedule
refused 4 'made for the sampler ddim, this is euler' cache-schedule a.zst --sampler euler --verify a.schedule
refused 3 PSNR quantize a.zst -q -o x --min-psnr 300
refused 4 'profile' generate a.profile -o x.png
refused 4 . quantize a.schedule -o x
refused 4 . cache-schedule samples --steps 4 --speedup 1.2 -o x
refused 4 . generate a.zst --schedule a.profile -o x.png
refused 4 . generate "$SRC/Makefile" -o x.png
refused 1 'No such file' generate a.zst --schedule nothing -o x.png
refused 2 . generate a.zst --count 2 -o x.png
refused 2 . generate a.zst --class 4 -o x.png # classes are 0 to 2
refused 2 . generate b.zst --class 0 -o x.png # without classes
refused 2 . generate b.zst --guidance 2 -o x.png # without a null class
refused 2 . cache-schedule a.zst --steps 4 -o x
refused 2 . cache-schedule a.zst --steps 4 --speedup 2 --max-ms 1 -o x
refused 4 . evaluate --reference "$SRC/Makefile" samples
refused 1 . import nothing -o x
refused 1 'config.json' import . -o x # a folder that is no model

# Weights that are not numbers: calibration stops at the first call and node that has them.
zstd -dcq a.zst >nan.safetensors
printf '\x00\x00\xc0\x7f' | dd of=nan.safetensors bs=1 seek=$(($(stat -c %s nan.safetensors) - 4)) conv=notrunc status=none
refused 1 "network call 1 of 4: values that are not finite, first from node 'transformer_blocks" \
    cache-schedule nan.safetensors --steps 4 --speedup 1.2 --calibrate 1 --validate 1 -o x
[ ! -e x ] && [ ! -e x.png ]
