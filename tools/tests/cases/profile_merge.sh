# profile --merge: medians over the files in any order, and what does not belong together is refused by name.
tiny-model dit dit
import dit -q -o m.zst >/dev/null
for i in 1 2 3; do
    profile m.zst --repeat 3 -j 1 -q -o p$i.zst >/dev/null
done
profile --merge p1.zst p2.zst p3.zst -q --json -o a.zst >a.json
profile --merge p3.zst p1.zst p2.zst -q -o b.zst >/dev/null
cmp a.zst b.zst
# The whole call and the third kernel, by hand.
full() { zstd -dcq "$1" | tr -d '\\' | grep -a -o '"full_ms":[0-9.e-]*' | head -n 1 | cut -d: -f2; }
kernel() { zstd -dcq "$1" | tr -d '\\' | grep -a -o '"ms":[0-9.e-]*,"node":"transformer_blocks.1.ff.net.2"' | cut -d: -f2 | cut -d, -f1; }
for what in full kernel; do
    want=$(for i in 1 2 3; do $what p$i.zst; done | sort -g | sed -n 2p)
    [ -n "$want" ] && [ "$($what a.zst)" = "$want" ] || { echo "$what: $($what a.zst) instead of $want"; exit 1; }
done
grep -q '"merged":3' a.json
cache-schedule m.zst --steps 4 --speedup 1.2 --profile a.zst --polish 0 --validate 1 -q -o s.zst >/dev/null # is a profile

refused() { # EXIT TEXT OPERANDS...
    want=$1 text=$2
    shift 2
    code=0
    profile "$@" >out 2>err || code=$?
    [ $code = "$want" ] && grep -q -e "$text" err && [ "$(wc -l <err)" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
}
profile m.zst --repeat 3 -j 1 --batch 2 -q -o batch.zst >/dev/null
quantize m.zst --validate 0 -q -o small.zst >/dev/null 2>&1
profile small.zst --repeat 3 -j 1 -q -o small.p.zst >/dev/null
refused 4 "batch.zst: 'batch' is not that of p1.zst" --merge p1.zst p2.zst batch.zst -o x.zst
refused 4 "small.p.zst: .* is not that of p1.zst" --merge p1.zst small.p.zst -o x.zst
refused 4 'm.zst' --merge p1.zst m.zst -o x.zst
refused 2 'no files' --merge -o x.zst
refused 2 'stands alone' --merge p1.zst --plan -o x.zst
refused 2 'too many' m.zst m.zst -o x.zst
[ ! -e x.zst ]
for k in 1 30 200; do
    HASTEN_FAULT=alloc:$k profile --merge p1.zst p2.zst -o x.zst >/dev/null 2>err && exit 1 || [ $? = 5 ]
done
