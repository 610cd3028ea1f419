# Without a device: auto takes the CPU and says why under -v; cuda is exit 1 with what to do.
. "$SRC/tools/tests/cuda.bash"
import "$TESTDATA/tiny/dit" -o dit.zst -q
# refused PATTERN: --backend cuda is exit 1 with a line like that, auto works and notes it.
refused() {
    local code=0
    generate dit.zst --steps 1 --latents out.safetensors --backend cuda 2>err || code=$?
    [ $code = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q "$1" err || fail "$1: exit $code, $(cat err)"
    generate dit.zst --steps 1 --latents out.safetensors 2>err || fail "auto: exit $?"
    [ ! -s err ] || fail "auto without -v: $(cat err)"
    generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null || fail "auto -v: exit $?"
    grep -q "runs on the CPU: .*$1" err || fail "auto -v: $(cat err)"
}
HASTEN_DRIVER=none refused 'no CUDA-capable device.*see nvidia-smi and CUDA_VISIBLE_DEVICES'
HASTEN_DRIVER=fail=1:999 refused 'starting the driver: .*see nvidia-smi, or use --backend cpu'
HASTEN_DRIVER=capability=75 refused 'compute capability 7.5, 8.0 or more is needed'
HASTEN_DRIVER=fail=20:209 refused 'update the driver, or --backend cpu'
HASTEN_PLUGIN_PATH=none refused 'HASTEN_PLUGIN_PATH=none'
HASTEN_PLUGIN_PATH=/nonexistent/plugin.so refused 'no CUDA plugin: .*set HASTEN_PLUGIN_PATH'
HASTEN_PLUGIN_PATH=$LD_LIBRARY_PATH/libcuda.so.1 refused 'is no CUDA plugin'
mkdir empty
/sbin/ldconfig -p | grep -q 'libcuda\.so\.1' || LD_LIBRARY_PATH=$PWD/empty refused 'no NVIDIA driver'
generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null
grep -q 'runs on CUDA: recording driver, compute capability 9.0.*; cuBLASLt found, cuDNN found, CUPTI found' err || fail "$(cat err)"
# Of several devices each process of a machine has its own.
HASTEN_DRIVER=devices=4 SLURM_LOCALID=6 generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null
grep -q 'runs on CUDA: recording driver 2,' err || fail "$(cat err)"
# A library that is missing or not wanted is named.
HASTEN_CUDA_LIBRARIES=none generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null
grep -q 'cuBLASLt not wanted, cuDNN not wanted, CUPTI not wanted' err || fail "$(cat err)"
HASTEN_BLAS=absent generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null
grep -q 'cuBLASLt not usable' err || fail "$(cat err)"
HASTEN_DNN=absent generate dit.zst --steps 1 --latents out.safetensors -v 2>err >/dev/null
grep -q 'cuBLASLt found, cuDNN not usable' err || fail "$(cat err)"
# A device that is too full: auto takes the CPU and says so, cuda is exit 5; the same latents as on the CPU.
HASTEN_DRIVER=memory=3000 generate dit.zst --steps 1 --latents full.safetensors 2>err || fail "auto, full: exit $?"
grep -q 'runs on the CPU, since the device is full: .*MiB free' err || fail "$(cat err)"
generate dit.zst --steps 1 --latents cpu.safetensors --backend cpu -q
cmp full.safetensors cpu.safetensors || fail "the CPU instead of a full device is not the CPU"
code=0
HASTEN_DRIVER=memory=3000 generate dit.zst --steps 1 --latents full.safetensors --backend cuda 2>err || code=$?
[ $code = 5 ] || fail "cuda, full: exit $code, $(cat err)"
finish
