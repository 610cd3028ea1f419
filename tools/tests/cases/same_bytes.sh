# The same command gives the same bytes: again, with 1, 2 and 3 threads, in any batch, from a file or through a pipe.
for kind in dit unet; do
    tiny-model $kind $kind
    import $kind -q -o $kind.zst >/dev/null
    import $kind -q -j 1 | cmp - $kind.zst
    import $kind -q -j 3 | cmp - $kind.zst
    generate $kind.zst --steps 5 --count 3 -q -o all --latents latents -j 1
    for options in "-j 2" "-j 3" "--batch 1 -j 2" "--batch 2" "--batch 3"; do
        # shellcheck disable=SC2086  # a list of options
        generate --steps 5 --count 3 -q -o again --latents again.latents $options <$kind.zst
        diff -r all again
        cmp latents again.latents
        rm -r again
    done
    # One image alone is the image of its seed among others.
    generate $kind.zst --steps 5 --seed 2 --class 2 -q >alone.png 2>/dev/null ||
        generate $kind.zst --steps 5 --seed 2 -q >alone.png
    cmp alone.png all/000002.png
    rm -r all
done
