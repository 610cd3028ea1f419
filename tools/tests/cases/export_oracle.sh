# PyTorch loads what export makes of quantized models, and computes what generate does with the quantized ones.
python=$SRC/build/oracle/bin/python3
[ -x "$python" ] || { echo "no PyTorch here (scripts/setup --oracle)"; exit 77; }
[ -d "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/diffusers" ] || { echo "no diffusers in build/oracle"; exit 77; }
OMP_NUM_THREADS=1 "$python" "$SRC/scripts/parity/quantized.py" --bin "$BIN" --quick "$TESTDATA/tiny/dit" "$TESTDATA/tiny/resample"
