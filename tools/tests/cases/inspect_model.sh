# inspect tells the same of a file, a pipe and an unpacked copy, and --verify finds a cut and a flipped byte.
model=m.zst
tiny-model dit source
import source -o $model -q >out
inspect $model --json >file.json
inspect --json <$model >redirected.json
# shellcheck disable=SC2002  # a pipe on purpose
cat $model | inspect --json >pipe.json
cmp file.json redirected.json
cmp file.json pipe.json
grep -q '"kind":"model"' file.json
grep -q '"attention":2' file.json
inspect $model --report report.json | grep -q '^  denoiser: .* nodes'
cmp file.json report.json
inspect --verify $model --json | grep -q '"verified":true'

head -c 30000 $model >cut.zst
code=0
inspect --verify cut.zst >out 2>err || code=$?
[ $code = 4 ] && grep -q '^inspect: cut.zst: ' err
cp $model bad.zst
printf '\x55' | dd of=bad.zst bs=1 seek=20000 conv=notrunc status=none
code=0
inspect --verify bad.zst >out 2>err || code=$?
[ $code = 4 ] && grep -q "^inspect: bad.zst: tensor '" err

zstd -dc $model >plain.safetensors
inspect --verify plain.safetensors --json | grep -q '"kind":"model"'
