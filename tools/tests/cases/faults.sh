# Allocations and system calls that fail, once and from then on: the exit code says so, nothing crashes, an old output stays
# and no temporary file remains. Every place with SWEEP=1, else the first ones and then ever fewer.
failed=0
model=$TESTDATA/models/fashion-dit
import "$model" -q -o model.zst

# try FAULT-KIND MOST-EXIT-CODE COMMAND...: the command writes out.zst or nothing.
try() {
    local kind=$1 most=$2 k=0 step=1 code sticky quiet=0
    shift 2
    while [ $quiet -lt 2 ]; do # until two places in a row were never reached
        k=$((k + step))
        [ "${SWEEP:-0}" != 0 ] || [ $k -lt 12 ] || step=$((k / 3))
        quiet=$((quiet + 1))
        for sticky in '' +; do
            echo old >out.zst
            code=0
            HASTEN_FAULT=$kind:$k$sticky "$@" >stdout 2>err </dev/null || code=$?
            [ $code = 0 ] || quiet=0
            if [ $code != 0 ] && { [ $code -gt 5 ] || [ $code -lt "$most" ] || [ "$(cat out.zst)" != old ] || [ ! -s err ]; }; then
                echo "$kind:$k$sticky $*: exit $code"
                head -n 5 err
                failed=1
            fi
            # fsync of a folder can fail after the name is there: then the file is whole.
            if [ -n "$(find . -name '.out.zst*')" ]; then
                echo "$kind:$k$sticky $*: left a temporary file"
                find . -name '.out.zst*' -delete
                failed=1
            fi
        done
    done
}
try alloc 5 import "$model" -q -o out.zst
try alloc 5 inspect model.zst
try alloc 5 inspect --verify --json model.zst
for kind in read write open rename close; do
    try $kind 1 import "$model" -q -o out.zst
done
try read 1 inspect --verify model.zst
try thread 1 inspect --verify -j 2 model.zst
exit $failed
