# Programs started without standard input, output or error: no descriptor of theirs is reused, lost data is an error.
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    code=0
    "$program" --help >&- 2>err || code=$?
    [ $code = 1 ] && grep -q "^$tool: cannot write to standard output" err || { echo "$tool --help >&-: exit $code"; exit 1; }
    "$program" --version 2>&- <&- | grep -q hasten
    code=0
    "$program" --no-such-option <&- >&- 2>&- || code=$?
    [ $code = 2 ] || { echo "$tool: all closed: exit $code"; exit 1; }
    code=0
    "$program" /nonexistent/file <&- >&- 2>&- || code=$?
    [ $code != 0 ] && [ $code -le 5 ] || { echo "$tool: all closed, no such file: exit $code"; exit 1; }
    [ "$(find . -type f)" = ./err ] || { echo "$tool left files behind"; find .; exit 1; }
done
