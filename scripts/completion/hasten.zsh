#compdef -p hasten-*
# zsh completion of the hasten programs: options, choices and file names, asked from the programs themselves.

local line name argument type range
local -a specs
for line in ${(f)"$(_call_program options $words[1] --complete 2>/dev/null)"}; do
    IFS=$'\x1f' read -r name argument type range <<<"${line//$'\t'/$'\x1f'}"
    case $type in
    flag) specs+=("$name") ;;
    choice) specs+=("$name:$argument:($range)") ;;
    text) specs+=("$name:$argument:_files") ;;
    list) specs+=("*$name:$argument: ") ;;
    *) specs+=("$name:$argument: ") ;;
    esac
done
_arguments -s $specs '*:file:_files'
