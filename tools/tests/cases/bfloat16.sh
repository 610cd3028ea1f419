# Models with bfloat16 weights: the same bytes for any number of threads and in any batch at every level of this
# machine, near float32 (a factor is off by 2^-9 at most: 3e-2 after a few calls), and not equal to it.
for model in dit unet; do
    import "$TESTDATA/tiny/$model" -q -o whole.zst 2>/dev/null
    import "$TESTDATA/tiny/$model" -q --dtype bf16 -o half.zst 2>/dev/null
    generate whole.zst --steps 3 --count 3 -q --latents whole.safetensors
    for level in ref avx2 avx512 avx512-vnni avx512-bf16; do
        generate half.zst --cpu-level $level --steps 3 --count 3 -q --latents half.safetensors -j 1 2>err || continue
        for options in "-j 2" "--batch 1 -j 3"; do
            # shellcheck disable=SC2086  # a list of options
            generate half.zst --cpu-level $level --steps 3 --count 3 -q --latents again.safetensors $options
            cmp half.safetensors again.safetensors
        done
        ! cmp -s whole.safetensors half.safetensors
        got=$(evaluate --reference whole.safetensors half.safetensors --json | sed 's/.*"rel_l2": *\([-0-9.e+]*\).*/\1/')
        awk -v got="$got" 'BEGIN { exit !(got != "" && got + 0 <= 3e-2) }' || { echo "$model, $level: relative L2 $got"; exit 1; }
    done
done
[ -s again.safetensors ]
# What computes in it is called so, and is held against its own peak.
profile half.zst --actions off --repeat 3 -q --json >profile.json
grep -q '"type":"bf16"' profile.json && grep -q '"peak_bf16_gflops":[1-9]' profile.json
profile whole.zst --actions off --repeat 3 -q --json >profile.json
! grep -q '"type":"bf16"' profile.json
# Attention with scores of int8 codes, said by the file: near the model without, and not the same.
import "$TESTDATA/models/fashion-dit" -q -o dit.zst 2>/dev/null
quantize dit.zst --validate 0 -q -o plain.zst >/dev/null
quantize dit.zst --validate 0 --scores int8 -q -o codes.zst >/dev/null
generate plain.zst -q --steps 3 --latents a.zst
generate codes.zst -q --steps 3 --latents b.zst
evaluate --reference a.zst b.zst --min-psnr 40 >/dev/null
! cmp -s a.zst b.zst
