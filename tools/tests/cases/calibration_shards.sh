# Calibration in parts: the merged file is that of one run byte for byte, for any split, thread count and interruption;
# what does not belong together is refused by name.
tiny-model dit dit
import dit -q -o m.zst >/dev/null
refused() { # EXIT TEXT COMMAND...
    want=$1 text=$2
    shift 2
    code=0
    "$@" >out 2>err || code=$?
    [ $code = "$want" ] && grep -q -e "$text" err && [ "$(wc -l <err)" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
}
steps=3
measure() { $tool m.zst --measure-only -q --steps $steps "$@" >/dev/null; }
both() { # TOOL IMAGES OTHER: another number of images
    tool=$1 images=$2 other=$3
    measure --calibrate "$images" -o whole.zst
    for n in 1 2 3 5; do
        parts=()
        for ((i = n - 1; i >= 0; i--)); do
            measure --calibrate "$images" --shard $i/$n -j $((i % 2 + 1)) -o $n-$i.zst
            parts+=("$n-$i.zst")
        done
        $tool --merge "${parts[@]}" -q -o merged.zst >/dev/null
        cmp merged.zst whole.zst
    done
    # Going on: nothing is measured again of a part that is whole; another part or measurement is not overwritten.
    cp 2-1.zst again.zst
    measure --calibrate "$images" --shard 1/2 -o again.zst
    cmp again.zst 2-1.zst
    refused 4 'begins with image' measure --calibrate "$images" --shard 0/2 -o again.zst
    refused 4 'images' measure --calibrate "$other" --shard 1/2 -o again.zst
    cmp again.zst 2-1.zst
    measure --calibrate "$other" --shard 1/2 -o other.zst
    steps=2
    measure --calibrate "$images" --shard 1/2 -o steps.zst
    steps=3
    refused 4 'are in none of the 1 files' $tool --merge 2-0.zst -o x.zst
    refused 4 'images 0 to' $tool --merge 2-1.zst -o x.zst
    refused 4 '2-1.zst: image .* is in 2-1.zst as well' $tool --merge 2-0.zst 2-1.zst 2-1.zst -o x.zst
    refused 4 'other.zst: .*images' $tool --merge 2-0.zst other.zst -o x.zst
    refused 4 "steps.zst: .*'steps' is 2, in 2-0.zst 3" $tool --merge 2-0.zst steps.zst -o x.zst
    refused 4 'm.zst' $tool --merge 2-0.zst m.zst -o x.zst
    refused 2 'no files' $tool --merge -o x.zst
    refused 2 'goes with -o only' $tool --merge 2-0.zst --shard 0/2 -o x.zst
    refused 2 'goes with --measure-only' $tool m.zst --shard 0/2 -o x.zst
    refused 2 'too many' $tool m.zst m.zst -o x.zst
    refused 2 'shard' measure --calibrate "$images" --shard 2/2 -o x.zst
    [ ! -e x.zst ]
    for k in 1 20 60; do
        HASTEN_FAULT=alloc:$k $tool --merge 2-1.zst 2-0.zst -o x.zst 2>err && exit 1 || [ $? = 5 ]
    done
}
both quantize 18 14
quantize m.zst --calibration whole.zst --calibrate 18 --steps 3 --type w4a8 -q -o a.zst >/dev/null 2>&1
quantize m.zst --calibrate 18 --steps 3 --type w4a8 -q -o b.zst >/dev/null 2>&1
cmp a.zst b.zst
refused 4 'begins with image 8, this one with 0' quantize m.zst --calibration 2-1.zst --calibrate 18 --steps 3 -q -o x.zst
refused 2 'needs --calibrate' quantize m.zst --measure-only -o x.zst

find . -name "*.zst" ! -name m.zst -delete
both cache-schedule 7 5
# The part of a run that was killed goes on: the same bytes.
cache-schedule m.zst --measure-only -q --steps 3 --calibrate 5 --shard 1/2 -o killed.zst >/dev/null
cmp killed.zst other.zst
prices() { cache-schedule m.zst --steps 3 --speedup 1.2 --profile p.zst --polish 2 --validate 2 -q --json "$@"; }
profile m.zst --repeat 3 -q -o p.zst >/dev/null 2>&1
claim() { sed 's/"measured[^,]*,//g'; }
prices --calibrate 7 -o a.zst | claim >a.json
prices --calibration merged.zst -o b.zst | claim >b.json
cmp a.json b.json
cp 2-0.zst kept.zst # goes on from three images, and keeps seven
prices --calibrate 7 --calibration kept.zst -o c.zst | claim | cmp - a.json
cmp kept.zst merged.zst
refused 2 'no schedule' cache-schedule m.zst --measure-only --speedup 2 -o x.zst
refused 2 'not --verify' cache-schedule m.zst --verify a.zst --calibration merged.zst
refused 4 'is of another measurement' cache-schedule m.zst --steps 4 --speedup 1.2 --calibration merged.zst -o x.zst
