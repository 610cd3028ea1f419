# What every program refuses with exit code 2 and one line that names the program and points to --help.
failed=0
refused() {
    local why=$1 code=0
    shift
    "$BIN/$tool" "$@" >out 2>err </dev/null || code=$?
    if [ $code != 2 ] || [ -s out ] || [ "$(wc -l <err)" != 1 ] || grep -q $'\e' err ||
        ! grep -q "^$tool: .*$why.*; try '$tool --help'\$" err; then
        echo "$tool $*: exit $code, expected: $why"
        cat out err
        failed=1
    fi
}
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    refused "unknown option '--no-such-option'" --no-such-option
    refused "unknown option '-Z'" -Z
    refused "unknown option '-Z'" -qZ
    refused "unknown option '--verbos' (is --verbose meant?)" --verbos
    refused "unknown option '--repor=x' (is --report meant?)" --repor=x
    refused "unknown option '--re" --re x
    refused "verbose takes no value" --verbose=1
    refused "report needs a value" --report
    refused "report: the value is empty" --report ''
    refused "report: the value is empty" --report=
    refused "json writes the report to standard output" --report - x
    refused "progress: 'sometimes' is none of: auto never jsonl" --progress sometimes
    refused "progress is given twice" --progress never --progress auto
    refused "an operand is empty" ''
    refused "': one operand too many" a b c
    refused "unknown option '--a?b?\[31m'" $'--a\nb\e[31m' # control characters do not reach the terminal
done
exit $failed
