# generate --jobs: one load for all, batches that do not change bytes, bad lines, duplicates, resuming, pipes.
tiny-model dit dit
import dit -q -o m.zst >/dev/null

# Kinds of jobs mixed, against each of them alone.
cat >good.jsonl <<'END'
{"class":1,"seed":5,"steps":3,"out":"a.png"}
{"class":2,"seed":6,"steps":3,"guidance":1.5,"out":"b.png"}

{"class":0,"seed":7,"steps":3,"out":"c.png"}
{"class":1,"seed":8,"steps":4,"sampler":"euler","out":"d.png"}
{"class":1,"seed":9,"steps":3,"size":"8x12","out":"e.png"}
{"class":1,"seed":10,"steps":3,"negative":2,"out":"f.png"}
{"seed":"18446744073709551615","steps":3,"out":"g.png"}
END
mkdir alone
one() {
    out=$1
    shift
    generate m.zst -q "$@" >"alone/$out.png"
}
one a --class 1 --seed 5 --steps 3
one b --class 2 --seed 6 --steps 3 --guidance 1.5
one c --class 0 --seed 7 --steps 3
one d --class 1 --seed 8 --steps 4 --sampler euler
one e --class 1 --seed 9 --steps 3 --size 8x12
echo '{"class":1,"seed":10,"steps":3,"negative":2,"out":"alone/f.png"}' | generate m.zst --jobs -
for negative in 2 3; do # 3 is the null class
    echo "{\"class\":1,\"seed\":10,\"steps\":3,\"negative\":$negative,\"out\":\"$negative.png\"}"
done | generate m.zst --jobs - --no-metadata
generate m.zst -q --class 1 --seed 10 --steps 3 --no-metadata | cmp - 3.png
cmp -s 2.png 3.png && { echo "negative does nothing"; exit 1; }
one g --class 0 --seed 18446744073709551615 --steps 3
for options in "" "--batch 1" "--batch 3 -j 2" "-j 1"; do
    # shellcheck disable=SC2086  # a list of options
    generate m.zst --jobs good.jsonl -o out $options --json >status
    [ "$(grep -c '"status":"done"' status)" = 7 ]
    diff -r alone out
    rm -r out out.manifest.jsonl
done

# Again: all is there. A file that is gone or of other making is made again.
generate m.zst --jobs good.jsonl -o out
rm out/c.png
cp out/a.png out/b.png
generate m.zst --jobs good.jsonl -o out --json --report report >status
[ "$(grep -c '"status":"skipped"' status)" = 5 ]
[ "$(cat report)" = '{"done":2,"failed":0,"skipped":5}' ]
diff -r alone out
[ "$(wc -l <out.manifest.jsonl)" = 7 ]

# Bad lines: each one message with its number, the others are made, exit code 1.
cat >bad.jsonl <<'END'
{"class":1,"steps":3,"out":"1.png"}
{"clas":1,"out":"2.png"}
{"class":44,"out":"3.png"}
not json
{"class":1,"out":"1.png"}
{"prompt":"a cat","out":"6.png"}
{"class":1,"out":"nowhere/7.png","steps":3}
{"class":1,"out":"8.jpg"}
{"class":1,"steps":3,"schedule":"none.zst","out":"9.png"}
{"class":1,"steps":2,"sampler":"nosuch","out":"10.png"}
{"class":1,"steps":3,"size":"7x9","out":"11.png"}
{"class":2,"steps":3,"out":"12.png"}
END
{
    cat bad.jsonl
    head -c 100000 /dev/zero | tr '\0' x
    printf '\n{"class":0,"steps":3,"out":"14.png"}'
} >long.jsonl
code=0
generate m.zst --jobs long.jsonl -o bad --json >status 2>err || code=$?
[ $code = 1 ]
sed -n 's/^generate: line \([0-9]*\): .*/\1/p' err | sort -n | tr '\n' ' ' >lines
[ "$(cat lines)" = "2 3 4 5 6 7 8 9 10 11 13 " ] || { cat err; exit 1; }
grep -q "^generate: 11 of 14 jobs failed" err
[ "$(wc -l <err)" = 12 ]
[ "$(ls bad)" = "$(printf '1.png\n12.png\n14.png')" ]
grep -q "'out' is '1.png', which is the output of line 1" err
grep -q "'prompt'" err

# Shards: the same files, bad lines are reported by one of them only.
cp long.jsonl all.jsonl
for i in 0 1 2; do
    generate m.zst --jobs all.jsonl -o parts --shard $i/3 --batch 2 2>err.$i || [ $? = 1 ]
done
diff -r bad parts
[ "$(cat err.? | grep -c 'line ')" = 11 ]
sort -u parts.manifest-?-of-3.jsonl | diff - <(sort -u bad.manifest.jsonl)

# A slow producer: each job is done before the next is written.
mkfifo queue status.pipe
generate m.zst --jobs - -o slow --json <queue >status.pipe &
exec 8>queue 9<status.pipe
for i in 1 2 3; do
    echo "{\"steps\":2,\"seed\":$i,\"out\":\"$i.png\"}" >&8
    IFS= read -r -t 20 line <&9
    [[ $line == *"\"out\":\"$i.png\",\"status\":\"done\""* ]]
    [ -s slow/$i.png ]
done
exec 8>&- 9<&-
wait $!

# A job file that cannot be read: one message. The reader of the status lines leaves: no message.
refused() {
    want=$1
    shift
    code=0
    generate "$@" >out.text 2>err || code=$?
    [ $code = "$want" ] && [ "$(wc -l <err)" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
}
refused 1 m.zst --jobs missing.jsonl -o out
refused 1 m.zst --jobs . -o out
refused 2 m.zst --jobs good.jsonl -o -
refused 2 m.zst --jobs good.jsonl --count 3 -o out
refused 2 --jobs - -o out
refused 2 m.zst --jobs good.jsonl -o out --shard 3/3
refused 2 m.zst --count 4 --shard 0/2 --latents x.zst
refused 2 m.zst --count 4 --shard 0/2
yes '{"steps":2}' | head -n 200 >many.jsonl
bash -c 'generate m.zst --jobs many.jsonl -o many --json 2>err | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"' >status
[ "$(cat status)" = 141 ] && [ ! -s err ]
[ -z "$(find many -name '.*.png.*')" ]
generate m.zst --jobs many.jsonl -o many
[ "$(find many -name '*.png' | wc -l)" = 200 ]
[ "$(wc -l <many.manifest.jsonl)" = 200 ]

# A full disk stops the run with one message; what was finished stays, and the rest is made later.
head -n 60 many.jsonl >sixty.jsonl
code=0
HASTEN_FAULT=write:40+:ENOSPC generate m.zst --jobs sixty.jsonl -o full --json >status 2>err || code=$?
[ $code = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q 'No space left on device' err || { cat err; exit 1; }
finished=$(grep -c '"status":"done"' status)
[ "$finished" -gt 0 ]
[ -z "$(find full -name '.*.png.*')" ]
generate m.zst --jobs sixty.jsonl -o full --json >status
[ "$(grep -c '"status":"skipped"' status)" -ge "$finished" ]
for f in full/*.png; do
    cmp "$f" "many/${f#full/}"
done
[ "$(wc -l <full.manifest.jsonl)" = 60 ]
