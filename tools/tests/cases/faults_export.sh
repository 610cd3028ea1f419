# import of every layout and export when memory and system calls fail: the exit code says so, nothing crashes, no temporary
# file remains, and what export left is the whole old file or the whole new one.
. "$SRC/tools/tests/faults.bash"
import "$TESTDATA/tiny/unet" -q -o model.zst >/dev/null
for kind in unet dit vae; do
    try alloc 5 60 import "$TESTDATA/tiny/$kind" -q -o out
    try read 1 40 import "$TESTDATA/tiny/$kind" -q -o out
    try open 1 40 import "$TESTDATA/tiny/$kind" -q -o out
done
"$BIN/export" model.zst -q -o good-folder >/dev/null
for kind in alloc read write open rename close; do
    want=1
    [ $kind != alloc ] || want=5
    step=1 k=0 survived=0
    while [ $survived -lt 2 ]; do
        k=$((k + step))
        [ "${SWEEP:-0}" != 0 ] || [ $k -lt 40 ] || step=$((k / 4 + 1))
        rm -rf folder
        code=0
        HASTEN_FAULT=$kind:$k "$BIN/export" model.zst -q -o folder >/dev/null 2>err </dev/null || code=$?
        survived=$((survived + 1))
        [ $code = 0 ] || survived=0
        if [ $code != 0 ] && { [ $code != $want ] || [ ! -s err ]; }; then
            echo "$kind:$k export: exit $code"
            failed=1
        fi
        [ ! -e folder ] || find folder -type f | while IFS= read -r file; do
            cmp "$file" "good-${file}" || echo "$kind:$k export left $file"
        done >left
        [ ! -s left ] || { cat left; failed=1; }
    done
done
finish
