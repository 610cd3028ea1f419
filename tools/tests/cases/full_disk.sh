# Standard output on a full device: exit code 1 and a message, whatever is being printed.
[ -c /dev/full ] || { echo "there is no /dev/full"; exit 77; }
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    for question in --help --version --complete; do
        code=0
        "$program" $question >/dev/full 2>err || code=$?
        [ $code = 1 ] && grep -q "^$tool: cannot write to standard output: No space left" err ||
            { echo "$tool $question: exit $code"; exit 1; }
    done
done
