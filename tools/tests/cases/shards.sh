# generate --count in shards, interrupted and resumed: always the files of one uninterrupted run. 100 moments with
# SWEEP=1.
tiny-model dit dit
import dit -q -o m.zst >/dev/null
generate m.zst --steps 4 --count 12 -o all
for n in 1 3 13; do
    for ((i = 0; i < n; i++)); do
        HASTEN_SHARDS=$n JOB_COMPLETION_INDEX=$i generate m.zst --steps 4 --count 12 -o part --shard auto --batch $((i % 5 + 1))
    done
    diff -r all part
    sort -u part.manifest*.jsonl | diff - <(sort all.manifest.jsonl)
    rm -r part part.manifest*
done

# Other settings make the files again, the same ones do not.
cp -r all other
before=$(stat -c %i other/000003.png)
generate m.zst --steps 4 --count 12 -o other --json >report
grep -q '"skipped":12' report
[ "$before" = "$(stat -c %i other/000003.png)" ]
generate m.zst --steps 3 --count 2 -o other --json >report
grep -q '"skipped":0' report
generate m.zst --steps 4 --count 12 -o other --json >report
grep -q '"skipped":10' report
diff -r all other
# Without notes the manifest tells.
generate m.zst --steps 4 --count 3 -o bare --no-metadata
generate m.zst --steps 4 --count 3 -o bare --no-metadata --json >report
grep -q '"skipped":3' report
rm bare.manifest.jsonl
generate m.zst --steps 4 --count 3 -o bare --no-metadata --json >report
grep -q '"skipped":0' report

# Killed at any moment. What is there is whole; the same command finishes the rest and the manifest.
moments=4
[ "${SWEEP:-0}" = 0 ] || moments=100
for ((i = 1; i <= 150; i++)); do
    echo "{\"class\":$((i % 3)),\"seed\":$i,\"steps\":$((i % 2 + 3)),\"out\":\"$i.png\"}"
done >list
begin=$(date +%s%N)
generate m.zst --jobs list -o want
micros=$((($(date +%s%N) - begin) / 1000))
caught=0
RANDOM=7
for ((i = 0; i < moments; i++)); do
    signal=KILL
    [ $((i % 3)) != 0 ] || signal=TERM
    # Twice on the way, then to the end.
    for again in 1 2; do
        timeout --foreground --preserve-status -s $signal "$((RANDOM * 3 % micros / again + 1))e-6" \
            "$BIN/generate" m.zst --jobs list -o got >/dev/null 2>&1 || caught=$((caught + 1))
        [ ! -d got ] || for f in got/*.png; do
            [ ! -e "$f" ] || cmp "$f" "want/${f#got/}"
        done
    done
    generate m.zst --jobs list -o got
    find got -name '.*.png.*' -delete # of SIGKILL only
    diff -r want got
    sort got.manifest.jsonl | diff - <(sort want.manifest.jsonl)
    rm -r got got.manifest.jsonl
done
echo "killed $caught times"
[ $caught -ge $((moments / 2)) ]
