# Common options are the same in all programs, and no option is without help or twice in a table.
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    "$program" --complete | cut -f 1 | sort >names
    uniq -d names >twice
    [ ! -s twice ] || { echo "$tool has twice: $(cat twice)"; exit 1; }
    for name in --json --report --progress --quiet --verbose --help --version; do
        grep -qx -e "$name" names || { echo "$tool lacks $name"; exit 1; }
    done
    "$program" --help >help
    while read -r name; do
        grep -qE -e "(^ *|, )$name( |\$)" help || { echo "$tool --help does not tell $name"; exit 1; }
    done <names
    # What computes takes the same four.
    if grep -qx -e --threads names; then
        [ "$(grep -cxE -e '--(threads|backend|cpu-level|memory)' names)" = 4 ]
    fi
done
