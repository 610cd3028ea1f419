# A plain safetensors file of somebody else, and files that are none.
safetensors() { # one tensor of 8 bytes; the header is in $1
    # shellcheck disable=SC2059  # the length is part of the format
    printf "\\x$(printf %02x ${#1})\\0\\0\\0\\0\\0\\0\\0"
    printf '%s\0\0\0\0\0\0\0\0' "$1"
}
refused() {
    local want=$1 code=0
    shift
    inspect "$@" >out 2>err || code=$?
    if [ $code != "$want" ] || [ -s out ] || [ "$(wc -l <err)" != 1 ] || grep -q $'\e' err; then
        echo "$*: exit $code"
        cat out err
        exit 1
    fi
}
safetensors '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"n":"\u001b[31m"}}' >plain.bin
inspect plain.bin >out
grep -q 'safetensors, 1 tensors, 8 bytes, without hashes$' out
if grep -q $'\e' out; then exit 1; fi
inspect --verify plain.bin --json | grep -q '"bytes":8'

safetensors '{"a\u001b[31m":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' >bad.bin
refused 4 bad.bin
refused 4 /dev/null
refused 4 "$SRC/Makefile"
refused 1 nothing-here
refused 1 .
