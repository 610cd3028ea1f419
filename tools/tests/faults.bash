# For cases, sourced: a command under faults at every place. Allocations, threads and system calls fail once and from then
# on; the exit code says so, nothing crashes, the output is the old or the whole new one, no temporary file remains.
# Commands with many places try a sample unless SWEEP=1. The case ends with `finish`.
failed=0

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

finish() {
    exit $failed
}
