# Progress: nothing where standard error is no terminal, JSON lines when asked for.
tiny-model unet source
import source -q -o m.zst >/dev/null
generate m.zst --steps 3 --count 1 -o a.png 2>err >/dev/null
[ ! -s err ]
generate m.zst --steps 3 --count 1 -o b.png --progress jsonl 2>err >/dev/null
[ -s err ]
if grep -qvE '^\{"done":[0-9.]+,"eta_s":[0-9.]+,"total":[0-9.]+,"what":"[a-z ]+"\}$' err; then cat err; exit 1; fi
cmp a.png b.png
