# A reader that goes away ends the program quietly by SIGPIPE.
for program in "$BIN"/*; do
    [[ -f $program && $program != *.so ]] || continue # no plugin
    code=0
    bash -c 'trap "" USR1; "$1" --help 2>err | true; echo "${PIPESTATUS[0]}"' - "$program" >status
    read -r code <status
    [ "$code" = 0 ] || [ "$code" = 141 ] || { echo "$program: exit $code"; exit 1; }
    [ ! -s err ]
done
