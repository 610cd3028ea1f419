#!/bin/bash
# Runs the unit tests (Check programs) and the shell cases, two at a time, and counts.
#
#     tools/tests/run.sh BIN [NAME...]      BIN: the folder of the programs; NAME: only these tests or cases
#
# A case is tools/tests/cases/NAME.sh. It runs under `bash -eu` in an empty scratch folder, with BIN (programs), SRC
# (the project) and TESTDATA in its environment, and BIN and BIN/tests in front of PATH. Its first comment may say
# `# exit: N` (default 0). When NAME.out or NAME.err lie beside it, each line of standard output or standard error must
# match the glob pattern in the same line there. A case or test program that exits 77 is skipped, and its last line of
# output says why.
# SWEEP=1 in the environment asks for the long form of those that have one.
#
# The last line is "N passed, N failed, N skipped"; the exit code is 1 when anything failed.
set -u
LC_ALL=C
export LC_ALL

# Each line of file $1 against the glob in the same line of file $2.
matches() {
    local line pattern n=0
    [ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] || { echo "  $(wc -l <"$1") lines instead of $(wc -l <"$2")"; return 1; }
    while IFS= read -r pattern <&3; do
        n=$((n + 1))
        IFS= read -r line <&4
        # shellcheck disable=SC2053  # the right side is a pattern on purpose
        [[ $line == $pattern ]] || { echo "  line $n does not match: $pattern"; return 1; }
    done 3<"$2" 4<"$1"
}

# One shell case: prints what went wrong, gives 0, 1 or 77.
run_case() {
    local file=$1 scratch=$2 name want got why stream
    name=${file%.sh}
    want=$(sed -n 's/^# exit: *\([0-9]*\).*/\1/p;/^[^#]/q' "$file" | head -n 1)
    mkdir "$scratch/work"
    (cd "$scratch/work" && PATH=$BIN:$BIN/tests:$PATH exec timeout "${CASE_SECONDS:-300}" bash -eu "$file") \
        >"$scratch/out" 2>"$scratch/err" </dev/null
    got=$?
    if [ $got = 77 ]; then
        cat "$scratch/out" "$scratch/err" | tail -n 1
        return 77
    fi
    why=
    [ "$got" = "${want:-0}" ] || why="  exit status $got instead of ${want:-0}"$'\n'
    for stream in out err; do
        [ ! -e "$name.$stream" ] || why+=$(matches "$scratch/$stream" "$name.$stream")
    done
    [ -n "$why" ] || return 0
    printf '%s\n' "$why"
    sed 's/^/  out: /' "$scratch/out" | tail -n 15
    sed 's/^/  err: /' "$scratch/err" | tail -n 15
    return 1
}

# One Check program: its counts come from the line "100%: Checks: N, Failures: N, Errors: N".
run_unit() {
    local scratch=$2 got counts
    (cd "$SRC" && CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT:-120} exec timeout "${UNIT_SECONDS:-600}" "$1") >"$scratch/all" 2>&1 </dev/null
    got=$?
    counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$scratch/all" |
        awk '{p += $1 - $2 - $3; f += $2 + $3} END {print p + 0, f + 0}')
    if [ $got = 77 ]; then
        tail -n 1 "$scratch/all"
        return 77
    fi
    grep -i 'skip' "$scratch/all" | sed 's/^/  /' | head -n 5
    echo "$counts" >"$scratch/counts"
    [ $got != 0 ] || return 0
    [ "${counts#* }" != 0 ] || echo "${counts% *} 1" >"$scratch/counts"
    echo "  exit status $got"
    grep -vE '^Running suite|^[0-9]+%:' "$scratch/all" | sed 's/^/  /' | tail -n 25
    return 1
}

# A job of its own process: `run.sh --one SCRATCH FILE`, which writes passed, failed, skipped into SCRATCH/result.
run_one() {
    local file=$1 name text status start=$SECONDS result
    name=$(basename "$file" .sh)
    local scratch=$2/$name
    mkdir "$scratch" || exit 1
    case $file in
    *.sh) text=$(run_case "$file" "$scratch") ;;
    *) text=$(run_unit "$file" "$scratch") ;;
    esac
    status=$?
    case $status in
    0) result="1 0 0" ;;
    77) result="0 0 1" ;;
    *) result="0 1 0" ;;
    esac
    [ ! -e "$scratch/counts" ] || result="$(cat "$scratch/counts") 0"
    echo "$result" >"$scratch/result"
    case $status in
    0) printf 'ok    %s (%d s)\n' "$name" $((SECONDS - start)) ;;
    77) printf 'skip  %s: %s\n' "$name" "$text" && text= ;;
    *) printf 'FAIL  %s\n' "$name" ;;
    esac
    [ -z "$text" ] || printf '%s\n' "$text"
}

if [ "${1-}" = --one ]; then
    run_one "$3" "$2"
    exit 0
fi

[ $# -ge 1 ] || { echo "usage: tools/tests/run.sh BIN [NAME...]" >&2; exit 2; }
BIN=$(cd "$1" && pwd) || exit 2
SRC=$(cd "$(dirname "$0")/../.." && pwd)
TESTDATA=$SRC/testdata
HASTEN_PLUGIN_PATH=none # tests that are not about a device run on the CPU
export BIN SRC TESTDATA HASTEN_PLUGIN_PATH
shift

jobs=()
add() {
    local name
    [ -e "$1" ] || return 0
    name=$(basename "$1" .sh)
    [ $# = 1 ] || case " ${*:2} " in *" $name "*) ;; *) return 0 ;; esac
    jobs+=("$1")
}
for file in "$BIN"/tests/test-* "$SRC"/tools/tests/cases/*.sh; do
    add "$file" "$@"
done
[ ${#jobs[@]} -gt 0 ] || { echo "no such test: $*" >&2; exit 2; }

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
printf '%s\0' "${jobs[@]}" | xargs -0 -n 1 -P "${TEST_JOBS:-2}" bash "$0" --one "$scratch"

# A job that died without a result counts as one failure.
for file in "${jobs[@]}"; do
    cat "$scratch/$(basename "$file" .sh)/result" 2>/dev/null || echo "0 1 0"
done | awk '{p += $1; f += $2; s += $3}
    END {printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0}'
