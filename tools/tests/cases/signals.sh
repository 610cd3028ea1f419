# SIGUSR1 asks for one line of progress; SIGTERM ends a run that has an output open and leaves nothing.
tiny-model dit source
import source -q -o model.zst >/dev/null
generate model.zst --steps 1000 --count 200 -o out 2>err >/dev/null &
run=$!
for ((i = 0; i < 50; i++)); do
    sleep 0.1
    kill -USR1 $run 2>/dev/null || break
    [ ! -s err ] || break
done
if ! kill -TERM $run 2>/dev/null; then echo "the run was over too soon to be asked"; exit 77; fi
code=0
wait $run || code=$?
[ $code = 143 ] || { echo "after SIGTERM: exit $code"; exit 1; }
grep -qE '^[a-z ]+ +[0-9]+ %, [0-9]+ of [0-9]+, [0-9a-z ]+ left$' err || { echo "no progress on SIGUSR1"; cat err; exit 1; }
[ -z "$(find out -name '.*' -type f)" ] || { find out; exit 1; }
