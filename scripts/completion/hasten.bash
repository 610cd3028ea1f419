# bash completion of the hasten programs: options, choices and file names, asked from the programs themselves.
# Installed once for each program; to try it: . scripts/completion/hasten.bash && complete -F _hasten bin/quantize

_hasten() {
    local program=$1 word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} name argument type range
    COMPREPLY=()
    while IFS=$'\x1f' read -r name argument type range; do
        if [[ $word == -* ]]; then
            COMPREPLY+=("$name")
        elif [[ $before == "$name" && $type == choice ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$range" -- "$word")
            return
        elif [[ $before == "$name" && $type != flag && $argument != *FILE* && $argument != *DIR* ]]; then
            return
        fi
    done < <("$program" --complete 2>/dev/null | tr '\t' '\037')
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${COMPREPLY[*]}" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames 2>/dev/null
    fi
}

# An installed copy bears the name of its program.
complete -F _hasten "${BASH_SOURCE[0]##*/}"
