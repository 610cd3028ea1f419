# Values that every option of a type refuses, with exit code 2, in every program (reliability: numbers are taken whole).
failed=0
refused() {
    local code=0
    "$BIN/$tool" "$@" >out 2>err </dev/null || code=$?
    if [ $code != 2 ] || [ -s out ] || [ "$(wc -l <err)" != 1 ] || ! grep -q -e "^$tool: $name" err; then
        echo "$tool $*: exit $code"
        cat out err
        failed=1
    fi
}
count=0
never=("" " 5" "5 " "5x" "0x10" "+" "-" "--" "nan" "inf" "-inf" "0.1.2" "1e" "1e400" "1,5" "1_000" "٣" "true")
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    tool=${program##*/}
    while IFS=$'\x1f' read -r name _ type range; do
        bad=("${never[@]}")
        case $type in
        int) bad+=("1e9" "1.0" "99999999999999999999" "-99999999999999999999" "9223372036854775808") ;;
        seed) bad+=("-1" "1e9" "1.0" "18446744073709551616") ;;
        size) bad+=("-1" "1e9" "1T" "1KB" "99999999999999999999G") ;;
        double) ;;
        choice) bad=("" "nonsense" "${range%% *} " "${range%% *}x" "$range ${range%% *}") ;;
        *) continue ;;
        esac
        if [ "$type" = int ]; then # just outside the range, when awk can tell
            bad+=("$(awk -v n="${range% *}" 'BEGIN {printf "%.0f", n - 1}')" "$(awk -v n="${range#* }" 'BEGIN {printf "%.0f", n + 1}')")
        fi
        for value in "${bad[@]}"; do
            refused "$name=$value"
            refused "$name" "$value"
            count=$((count + 2))
        done
        refused "$name"
    done < <("$program" --complete | tr '\t' '\037')
done
[ $count -gt 100 ]
exit $failed
