#!/bin/bash
# Does each man page name exactly the options that its program takes, and is mandoc silent about all pages?
# `man_options.sh BIN` prints every difference and every message.
# The program's side is `TOOL --complete`; the page's side are the `.It Fl -NAME` items of man/hasten-TOOL.1
# (`.It Fl o Ar FILE , Fl -output Ar FILE` counts as --output).
set -u
LC_ALL=C
export LC_ALL
[ $# = 1 ] || { echo "usage: man_options.sh BIN" >&2; exit 2; }
man=$(cd "$(dirname "$0")/../../man" && pwd) || exit 2
status=0
for program in "$1"/*; do
    [ -f "$program" ] && [[ $program != *.so ]] || continue
    tool=${program##*/}
    page=$man/hasten-$tool.1
    if [ ! -e "$page" ]; then
        echo "man/hasten-$tool.1: there is no such page"
        status=1
        continue
    fi
    differences=$(diff <("$program" --complete | sed 's/\t.*//' | sort -u) \
        <(grep '^\.It Fl' "$page" | grep -oE 'Fl -[a-z0-9-]+' | sed 's/^Fl -/--/' | sort -u) |
        sed -n "s@^< @man/hasten-$tool.1 lacks @p; s@^> @$tool does not take @p")
    [ -z "$differences" ] || { printf '%s\n' "$differences"; status=1; }
done
messages=$(mandoc -T lint -W all "$man"/*.[1-8] 2>/dev/null)
[ -z "$messages" ] || { printf '%s\n' "$messages" | sed "s@mandoc: $man/@man/@"; status=1; }
exit $status
