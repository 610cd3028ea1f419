# For cases, sourced: programs on the recording driver (kernels/cuda/tests/driver), which runs the CUDA kernels in an
# emulator and ends a program with status 99 when it breaks a law of the driver.
# With HASTEN_TEST_DEVICE=1 (scripts/gpu-check) they run on the machine's device instead, and nothing is counted.
unset HASTEN_PLUGIN_PATH # the plugin lies beside the programs
[ "${HASTEN_TEST_DEVICE-}" ] || export LD_LIBRARY_PATH=$BIN/tests/cuda
failed=0

fail() {
    echo "$*"
    failed=1
}

# What the driver counted: logged NAME
logged() {
    sed "s/.*\b$1 \([0-9]*\).*/\1/" log
}

# same LIMIT ARGUMENTS...: generate gives the same latents on both backends within this relative L2, in recordings alone,
# without an allocation after the first, and leaves nothing behind.
same() {
    local limit=$1 got
    shift
    generate "$@" --backend cpu --latents cpu.safetensors -q
    HASTEN_DRIVER=log=log generate "$@" --backend cuda --latents cuda.safetensors -q || fail "$*: exit $?"
    got=$(evaluate --backend cpu --reference cpu.safetensors cuda.safetensors --json | sed 's/.*"rel_l2": *\([-0-9.e+]*\).*/\1/')
    awk -v got="$got" -v limit="$limit" 'BEGIN {exit !(got != "" && got + 0 <= limit)}' || fail "$*: relative L2 $got above $limit"
    [ -z "${HASTEN_TEST_DEVICE-}" ] || return 0
    [ "$(logged late)" = 0 ] || fail "$*: $(logged late) allocations after the first replay"
    [ "$(logged live)" = 0 ] || fail "$*: $(logged live) things left behind"
    [ "$(logged graphs)" -gt 0 ] || fail "$*: nothing was recorded"
}

finish() {
    exit $failed
}
