# What branches do over trajectories: the same for any number of threads, in the file as well.
import "$TESTDATA/tiny/dit" -q -o dit.zst >report
for threads in 1 3; do
    profile dit.zst --actions off --repeat 3 -q -j $threads --activations 2 --json -o dit.p.zst >activations
    sed 's/.*"activations":\(.*\),"backend".*/\1/' activations >activations.$threads
done
cmp activations.1 activations.3
grep -q '"foreground":true' activations && grep -q '"overlap":0\.' activations
inspect dit.p.zst --json | grep -q '"changes":\[0,'
profile dit.zst --actions off --repeat 3 -q --activations 1 >table
grep -q 'foreground$' table
