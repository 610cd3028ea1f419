# Where an output may go, and what it leaves alone.
source=$PWD/source
tiny-model dit source
code() { # the exit code of a command, its messages in `err`
    local c=0
    "$@" >out 2>err </dev/null || c=$?
    echo $c
}
import "$source" -q -o good.zst >/dev/null

# Names: blanks, a newline, a leading dash, 255 bytes, not UTF-8.
for name in 'a b' $'a\nb' ./-x "$(printf 'n%.0s' {1..255})" $'\xff\xfe'; do
    [ "$(code import "$source" -o "$name")" = 0 ]
    cmp "$name" good.zst
    [ "$(code inspect "$name" --verify)" = 0 ]
    if grep -q $'\xff' out; then exit 1; fi
done
[ "$(code import "$source" -o -- -y)" = 2 ] # "--" is the value of -o, -y an option
[ "$(code import -o z -- "$source")" = 0 ]

# Standard output by each of its names, and a FIFO.
import "$source" -q >plain 2>/dev/null && cmp plain good.zst
import "$source" -q -o - >plain 2>/dev/null && cmp plain good.zst
import "$source" -q -o /dev/stdout 2>/dev/null | cmp - good.zst
mkfifo fifo
import "$source" -q -o fifo >/dev/null &
cmp fifo good.zst
wait $!

# A link is followed, a mode is kept, a new file has what the umask leaves.
echo old >target && chmod 600 target && ln -s target link && ln target hard
[ "$(code import "$source" -o link)" = 0 ]
[ -L link ] && cmp target good.zst && [ "$(stat -c %a target)" = 600 ]
[ "$(cat hard)" = old ]
(umask 027 && import "$source" -q -o fresh >/dev/null)
[ "$(stat -c %a fresh)" = 640 ]

# Places that do not do.
mkdir folder
[ "$(code import "$source" -o folder)" = 1 ] && grep -q "^import: .*folder" err
[ "$(code import "$source" -o missing/x)" = 1 ] && grep -q "^import: cannot write 'missing/x': No such file" err
[ "$(code import "$source" -o "$(printf 'n%.0s' {1..256})")" = 1 ]
[ "$(code import "$source" -o /dev/full)" = 1 ] && grep -q 'No space left' err
code=0
import "$source" -q >/dev/full 2>err || code=$?
[ $code = 1 ]
code=0
import "$source" >&- 2>err || code=$?
[ $code = 1 ]
(ulimit -f 10 && trap '' XFSZ && import "$source" -q -o big >/dev/null 2>err) && exit 1
[ ! -e big ]
# The data and the report cannot both have standard output; this is said before any work.
[ "$(code import "$source" --json)" = 2 ]
[ "$(code import "$source" -o same --report same)" = 2 ] && [ ! -e same ]
[ -z "$(find . -name '.*' -type f)" ] || { find . -name '.*' -type f; exit 1; }
