# --memory is held, in the sizes that people write, and a small address space ends in exit code 5.
model=m.zst
tiny-model unet source
import source -q -o $model >/dev/null
for size in 1 64K 0.1M 0.0001G; do
    code=0
    inspect --verify --memory $size $model >out 2>err || code=$?
    [ $code = 5 ] || [ $code = 0 ] || { echo "$size: exit $code"; cat err; exit 1; }
    [ $code = 0 ] || grep -q '^inspect: ' err
done
inspect --verify --memory 1G $model >/dev/null
code=0
inspect --memory 1K $model >out 2>err || code=$?
[ $code = 5 ]
case $BIN in */sanitize) exit 0 ;; esac # ASan itself reserves terabytes of addresses
code=0
(ulimit -v 60000 && exec inspect --verify -j 1 $model) >out 2>err || code=$?
[ $code = 5 ] || [ $code = 0 ] || { echo "ulimit -v: exit $code"; cat err; exit 1; }
