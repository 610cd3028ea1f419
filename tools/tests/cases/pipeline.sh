# The whole pipeline in one shell line and with files between, on models of a few kilobytes.
for kind in unet dit; do
    tiny-model $kind source
    import source -q -o model.zst >/dev/null
    # The part to remove is named (by prune's own message), so that nothing depends on measured time.
    part=$(prune model.zst -o x --remove nothing 2>&1 | sed -n "s/.*the first is '\([^']*\)'.*/\1/p")
    prune model.zst -q --remove "$part" -o pruned.zst >/dev/null
    quantize pruned.zst -q -o small.zst >/dev/null
    import source -q 2>/dev/null | prune -q --remove "$part" 2>/dev/null | quantize -q 2>/dev/null >piped.zst
    cmp small.zst piped.zst
    inspect small.zst --json | grep -q '"provenance":.*"import".*"prune".*"quantize"'

    profile small.zst -q --repeat 3 -o small.profile >/dev/null
    cache-schedule small.zst -q --profile small.profile --steps 6 --speedup 1.3 -o fast.schedule >/dev/null
    cache-schedule small.zst -q --steps 6 --interval 1 --solver uniform -o full.schedule >/dev/null
    generate small.zst --steps 6 --count 2 -q --no-metadata -o plain --latents plain.latents
    generate small.zst --steps 6 --count 2 -q --no-metadata -o same --latents same.latents --schedule full.schedule
    diff -r plain same # a schedule that computes everything changes nothing, to the bit
    cmp plain.latents same.latents
    for threads in 1 2 3; do
        generate small.zst --steps 6 --count 2 -q -o fast --latents fast$threads --schedule fast.schedule -j $threads --batch $threads
    done
    cmp fast1 fast2
    cmp fast1 fast3
    if cmp -s plain.latents fast1; then echo "$kind: the schedule did not change anything"; exit 1; fi

    evaluate --reference plain.latents fast1 --json | grep -q '"psnr_db":'
    evaluate --reference plain same --json | grep -q '"identical":true'
    rm -r source plain same fast
done
