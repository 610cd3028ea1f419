# evaluate in shards: the merged report is that of one run to the last digit, for any split; bad sets of parts are refused.
[ -e "$TESTDATA/models/fashion-features" ] || { echo "testdata/models/fashion-features is not there"; exit 77; }
tiny-model unet unet
import unet -q -o m.zst >/dev/null
seed=0
for set in a b; do
    generate m.zst --steps 2 --count 23 --seed "$seed" -q -o $set --latents $set.zst
    seed=100
done
for kind in pictures latents; do
    if [ $kind = pictures ]; then ref=a got=b; else ref=a.zst got=b.zst; fi
    evaluate --reference $ref $got --json >want
    for n in 1 2 5 23 30; do
        parts=()
        for ((i = n - 1; i >= 0; i--)); do
            evaluate --reference $ref $got --measure-only --shard $i/$n -o part-$i.zst
            parts+=("part-$i.zst")
        done
        evaluate --merge "${parts[@]}" --json | cmp - want
    done
done
# The peak is the range of the whole reference, not of each image: with a second image that is ten times as large the
# first one's PSNR goes up by what that range grows.
latents() { # FILE HEX: two images of four float32
    local head='{"latents":{"dtype":"F32","shape":[2,1,1,4],"data_offsets":[0,32]}} '
    { printf '%b' "\x$(printf %x ${#head})\0\0\0\0\0\0\0"; printf %s "$head"; printf '%b' "$(sed 's/../\\x&/g' <<<"$2")"; } >"$1"
}
latents two 000000000000803e0000003f0000803f0000a0c000000000000000400000a040 # 0 .25 .5 1, -5 0 2 5
latents off 0000003f0000803e0000003f0000803f0000a0c000000000000000400000c040 # .5 .25 .5 1, -5 0 2 6
evaluate --reference two off --json | grep -q '"psnr_db":29.03[01]' # 10 log10(100 / .0625), 10 log10(100 / .25)
evaluate --reference two off --measure-only --shard 1/2 -o part-1.zst
evaluate --reference two off --measure-only --shard 0/2 -o part-0.zst
evaluate --merge part-0.zst part-1.zst --json | grep -q '"psnr_db":29.03[01]'
refused() {
    want=$1
    shift
    code=0
    evaluate "$@" >out 2>err || code=$?
    [ $code = "$want" ] && [ "$(wc -l <err)" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
}
for i in 0 1; do
    evaluate --reference a b --measure-only --shard $i/2 -o p$i.zst
    evaluate --reference a.zst b.zst --measure-only --shard $i/2 -o q$i.zst
done
rm a/000022.png b/000022.png
evaluate --reference a b --measure-only --shard 1/2 -o r1.zst
refused 4 --merge p0.zst
refused 4 --merge p0.zst p0.zst p1.zst
refused 4 --merge p0.zst r1.zst
refused 4 --merge p0.zst m.zst
refused 2 --merge
refused 2 --merge p0.zst p1.zst --features m.zst
refused 2 --reference a b --shard 0/2
refused 2 --reference a b -o x
refused 2 --reference a b c
refused 2 --reference a b --measure-only --min-psnr 3 -o x
evaluate --merge p1.zst p0.zst --min-psnr 900 2>err && exit 1 || [ $? = 3 ]
HASTEN_FAULT=alloc:40 evaluate --merge p1.zst p0.zst >/dev/null 2>err && exit 1 || [ $? = 5 ]

# Features: the distance and its interval, to another set and to stored statistics.
models=$TESTDATA/models
import "$models/fashion-features/weights.safetensors" --graph "$models/fashion-features/graph.json" -q -o f.zst >/dev/null
import "$models/fashion-unet" -q -o u.zst >/dev/null
generate u.zst --steps 1 --count 160 --batch 16 -q -o c
generate u.zst --steps 1 --count 160 --batch 16 --seed 1000 -q -o d
for ref in c "$models/fashion-features/reference.safetensors"; do
    again=()
    [ "$ref" = c ] || again=(--reference "$ref")
    evaluate --reference "$ref" d --features f.zst --resamples 9 --json >want
    grep -q frechet_low want
    for i in 0 1; do
        evaluate --reference "$ref" d --features f.zst --measure-only --shard $i/2 -o f$i.zst
    done
    evaluate --merge f1.zst f0.zst "${again[@]}" --resamples 9 --json | cmp - want
done
refused 2 --merge f0.zst f1.zst
