# Every type on a transformer: a file that runs, the same bytes for any number of threads, through pipes and with a
# temporary file elsewhere, and export back to floats.
import "$TESTDATA/models/fashion-dit" -q -o dit.zst 2>/dev/null
mkdir elsewhere
for type in w8a8 w4a8 w4a16 w8a16 fp8; do
    quantize dit.zst --type "$type" --validate 0 -q -j 1 -o one.safetensors >/dev/null
    quantize dit.zst --type "$type" --validate 0 -q -j 3 -o three.safetensors >/dev/null
    cmp one.safetensors three.safetensors
    quantize dit.zst --type "$type" --validate 0 -q -o file.zst >/dev/null
    # shellcheck disable=SC2002  # a pipe on purpose
    cat dit.zst | TMPDIR=$PWD/elsewhere quantize --type "$type" --validate 0 -q 2>/dev/null | cat >pipe.zst
    cmp file.zst pipe.zst
    inspect one.safetensors --verify >/dev/null
    generate one.safetensors -q --steps 2 --latents latents.zst
    "$BIN/export" one.safetensors -q -o "back-$type" >/dev/null
done
[ -z "$(ls -A elsewhere)" ]
