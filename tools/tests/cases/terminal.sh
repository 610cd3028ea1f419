# On a terminal: no binary data goes there, nobody waits for a model to be typed, progress is drawn and erased.
command -v script >/dev/null || { echo "script(1) is not installed"; exit 77; }
on_terminal() { # a command with all three descriptors on a terminal: its output in `screen`, its exit code in `code`
    code=0
    TERM=xterm script -qec "$1" /dev/null </dev/null >screen 2>&1 || code=$?
}
tiny-model dit source
import source -q -o model.zst >/dev/null
generate model.zst --steps 2 -q --latents latents

for command in "import source" "quantize model.zst" "prune model.zst --remove x" "generate model.zst --steps 2" \
    "cache-schedule model.zst --steps 4 --interval 2"; do
    on_terminal "$command"
    [ "$code" = 2 ] && grep -q "standard output is a terminal: name a file with -o" screen ||
        { echo "$command: exit $code"; cat screen; exit 1; }
done
for command in inspect "quantize -o x" "prune --remove x -o x" profile "generate --steps 2 -o x.png"; do
    on_terminal "timeout 10 $command"
    [ "$code" = 2 ] && grep -q "standard input is a terminal" screen || { echo "$command: exit $code"; cat screen; exit 1; }
done
on_terminal "inspect model.zst"
[ "$code" = 0 ] && grep -q '^denoiser\|  denoiser: ' screen

on_terminal "generate model.zst --steps 1000 --count 60 -o pictures"
[ "$code" = 0 ]
if ! grep -q ' of [0-9]*, .* left' screen; then
    # A machine that is done within the first second draws nothing.
    [ ! -s screen ] || { cat -v screen | tail -n 5; exit 1; }
else
    tail -c 5 screen | grep -q $'\r\e\[K$' || { cat -v screen | tail -c 300; exit 1; }
fi
on_terminal "generate model.zst --steps 50 -q -o x.png"
[ ! -s screen ]
