# Every type on a U-Net: a file that runs, and export back to floats.
import "$TESTDATA/models/fashion-unet" -q -o unet.zst 2>/dev/null
for type in w8a8 w4a8 w4a16 w8a16 fp8; do
    quantize unet.zst --type "$type" --validate 0 -q -o small.zst >/dev/null
    generate small.zst -q --steps 2 --latents latents.zst
    "$BIN/export" small.zst -q -o "back-$type" >/dev/null
done
