# Every program answers --help and --version on standard output, in 80 columns, with exit code 0.
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    for question in --help -h --version -V; do
        "$program" $question >out 2>err
        [ -s out ] && [ ! -s err ] || { echo "$tool $question: answer missing or on standard error"; exit 1; }
    done
    "$program" --help >out
    awk -v t="$tool" 'length > 80 {print t ": " $0; bad = 1} END {exit bad}' out
    grep -q "^usage: $tool " out
    grep -q '^Example:$' out || { echo "$tool: --help has no example"; exit 1; }
    "$program" --version | grep -q "^$tool (hasten) [0-9]"
    # Whatever the name: an installed program calls itself as it was called.
    (exec -a "/opt/hasten-$tool" "$program" --help) | grep -q "^usage: hasten-$tool "
    # Help asked for behind other options is still help.
    "$program" --quiet --help | grep -q '^usage:'
done
