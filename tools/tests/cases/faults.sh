# Allocations, threads and system calls that fail, once and from then on, at every place: the exit code says so, nothing
# crashes, the output is the old or the whole new one and no temporary file remains. Tools with many places try a sample unless SWEEP=1.
failed=0
tiny-model dit source
import source -q -o model.zst >/dev/null

# try KIND CODE MOST COMMAND...: a fault ends in exit code CODE. After the first MOST places ever fewer are tried.
try() {
    local kind=$1 want=$2 most=$3 k=0 step=1 code sticky survived=0 places=0
    shift 3
    echo old >old
    cp old out
    "$@" >stdout
    mv out good
    while [ $survived -lt 2 ]; do # two places in a row that were never reached
        k=$((k + step))
        [ "${SWEEP:-0}" != 0 ] || [ $k -lt "$most" ] || step=$((k / 4 + 1))
        survived=$((survived + 1))
        for sticky in '' +; do
            cp old out
            code=0
            HASTEN_FAULT=$kind:$k$sticky "$@" >stdout 2>err </dev/null || code=$?
            [ $code = 0 ] || survived=0
            if [ $code != 0 ] && { [ $code != "$want" ] || { ! cmp -s out old && ! cmp -s out good; } || [ ! -s err ]; }; then
                echo "$kind:$k$sticky $*: exit $code"
                head -n 5 err
                failed=1
            fi
            if compgen -G '.out*' >/dev/null; then
                echo "$kind:$k$sticky $*: left a temporary file"
                rm .out*
                failed=1
            fi
        done
        places=$((places + 1))
        [ $places -lt 100000 ]
    done
    [ $places -gt 2 ] || { echo "$kind $*: no place was reached"; failed=1; }
}

try alloc 5 500 import source -q -o out
try alloc 5 100 inspect model.zst
try alloc 5 30 inspect --verify --json model.zst
try alloc 5 20 generate model.zst --steps 2 -q --latents out
for kind in read write open rename close; do
    try $kind 1 100 import source -q -o out
done
try read 1 100 inspect --verify model.zst
try thread 1 10 inspect --verify -j 2 model.zst
exit $failed
