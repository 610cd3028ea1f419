# Cuts and refits: really smaller, the same bytes for any number of threads, and what other tools make of it.
"$BIN/import" "$TESTDATA/tiny/dit" -o dit.zst -q >/dev/null
profile dit.zst -o p.zst -q >/dev/null
quick="--profile p.zst --seeds 2 --calls 3 --validate 2 -q"
prune dit.zst $quick --packages 2 --speedup 1.2 -j 1 -o one.zst --report one.json
prune dit.zst $quick --packages 2 --speedup 1.2 -j 3 -o three.zst
cmp one.zst three.zst
[ "$(stat -c %s one.zst)" -lt "$(stat -c %s dit.zst)" ]
grep -q '"compensated":' one.json
prune dit.zst --profile p.zst --seeds 2 --calls 2 --validate 0 --speedup 1.1 -o x.zst >/dev/null 2>err
grep -q 'scoring [0-9]* changes takes about' err && grep -q 'other sets of parts takes about [1-9]' err
for score in joint latent magnitude random; do
    for compensate in on off; do
        prune dit.zst $quick --speedup 1.1 --score $score --compensate $compensate --packages 1 -o x.zst
        inspect x.zst --verify >/dev/null
    done
done
bytes=$(sed 's/.*"bytes_before":\([0-9]*\).*/\1/' one.json)
prune dit.zst $quick --max-bytes $((bytes * 9 / 10)) -o small.zst --report small.json
[ "$(sed 's/.*"bytes_after":\([0-9]*\).*/\1/' small.json)" -le $((bytes * 9 / 10)) ]
# More than there is to save names the nearest; a large share needs --force.
status=0
prune dit.zst $quick --speedup 2 -o x.zst 2>err || status=$?
[ $status = 3 ] && grep -q -- --force err
status=0
prune dit.zst $quick --speedup 50 --force -o x.zst 2>err || status=$?
[ $status = 3 ] && grep -q 'cannot be reached: with all that may go it takes' err
# As much as a PSNR allows; one that cannot be kept names what the smallest step gives.
prune dit.zst $quick --packages 1 --min-psnr 12 -o quality.zst --report quality.json
[ "$(sed 's/.*"psnr_db":\([0-9]*\).*/\1/' quality.json)" -ge 12 ]
[ "$(stat -c %s quality.zst)" -lt "$(stat -c %s dit.zst)" ]
status=0
prune dit.zst $quick --packages 1 --min-psnr 200 -o x.zst 2>err || status=$?
[ $status = 3 ] && grep -q 'is not kept: already 2.5 % of the time less gives' err
status=0
prune dit.zst $quick --min-psnr 20 --validate 0 -o x.zst 2>err || status=$?
[ $status = 2 ]
# A product whose result was cut as well: the refit of its input takes the rows that are left.
tiny-model unet unet
"$BIN/import" unet -o unet.zst -q >/dev/null
profile unet.zst --actions off -o u.zst -q >/dev/null
prune unet.zst --profile u.zst --seeds 2 --calls 2 --validate 2 --max-bytes 169620 -q -o both.zst --report both.json \
    --keep 'down*' --keep 'mid*' --keep 'up_blocks.0*' --keep '*attentions*' >/dev/null
grep -q '"name":"conv_out"' both.json && grep -q '"name":"up_blocks.1.resnets.1.conv2"' both.json
inspect both.zst --verify >/dev/null
# The chain.
quantize one.zst -q -o q.zst >/dev/null
cache-schedule q.zst --steps 4 --speedup 1.3 -q -o s.zst >/dev/null
generate q.zst --schedule s.zst --count 2 --latents out.safetensors -q
# Parts of blocks are nothing that the family has; without whole blocks it is a smaller one.
status=0
"$BIN/export" one.zst -o exported 2>err || status=$?
[ $status = 4 ] && [ ! -e exported ] && grep -q 'transformer_blocks' err
prune dit.zst --remove 'transformer_blocks.1.*' --validate 0 -q -o blocks.zst >/dev/null
"$BIN/export" blocks.zst -o exported -q >/dev/null
"$BIN/import" exported -o again.zst -q >/dev/null
generate blocks.zst --count 2 --latents without.safetensors -q
generate again.zst --count 2 --latents again.safetensors -q
[ "$("$BIN/evaluate" --reference without.safetensors again.safetensors --json | sed 's/.*"rel_l2":\([0-9.e-]*\).*/\1/')" = 0 ]
prune dit.zst --remove 'transformer_blocks.1.attn1.*' --validate 0 -q -o part.zst >/dev/null
status=0
"$BIN/export" part.zst -o part 2>err || status=$?
[ $status = 4 ] && [ ! -e part ] && grep -q "transformer_blocks.1.*left out" err
