# Killed at any moment while it replaces a file, a program leaves the old file or the whole new one, and after a signal
# that it can catch nothing else either. 400 moments with SWEEP=1.
moments=12
[ "${SWEEP:-0}" = 0 ] || moments=400
failed=0
source=$TESTDATA/models/fashion-dit # large enough to be caught writing
[ -e "$source" ] || { echo "testdata/models/fashion-dit is not there"; exit 77; }
cp -r "$source" source
import source -q -o new.zst >/dev/null
cp new.zst good.zst
begin=$(date +%s%N)
import source -q -o new.zst >/dev/null
micros=$((($(date +%s%N) - begin) / 1000 + 2000))
old=0 whole=0
for signal in INT TERM HUP KILL; do
    for ((i = 0; i < moments; i++)); do
        echo old >out.zst
        timeout --foreground --preserve-status -s $signal "$((micros * i / moments + 1))e-6" \
            "$BIN/import" source -q -o out.zst >/dev/null 2>&1 || true
        if cmp -s out.zst good.zst; then
            whole=$((whole + 1))
        elif [ "$(head -c 4 out.zst)" = old ]; then
            old=$((old + 1))
        else
            echo "SIG$signal at moment $i of $moments: the output is neither old nor new"
            failed=1
        fi
        if [ $signal != KILL ] && [ -n "$(find . -name '.out*')" ]; then
            echo "SIG$signal at moment $i of $moments: a temporary file is left"
            failed=1
        fi
        find . -name '.out*' -delete
    done
done
[ $old -gt 0 ] # the sweep reached into the run
echo "$old times the old file, $whole times the new one"
exit $failed
