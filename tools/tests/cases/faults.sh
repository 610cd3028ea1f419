# import and inspect when memory, threads and system calls fail.
. "$SRC/tools/tests/faults.bash"
tiny-model dit source
import source -q -o model.zst >/dev/null

try alloc 5 500 import source -q -o out
try alloc 5 100 inspect model.zst
try alloc 5 30 inspect --verify --json model.zst
for kind in read write open rename close; do
    try $kind 1 100 import source -q -o out
done
try read 1 100 inspect --verify model.zst
try thread 1 10 inspect --verify -j 2 model.zst
finish
