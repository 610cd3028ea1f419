# A real Slurm of two nodes: an array of generation, an element killed and requeued, the merge after it; the files are
# those of one process.
# shellcheck source=tools/tests/slurm.bash
. "$SRC/tools/tests/slurm.bash"
code=0
slurm_start || code=$?
[ $code = 0 ] || exit $code
tiny-model dit dit
import dit -q -o m.zst >/dev/null
export MODEL=$PWD/m.zst OUT=$PWD/got COUNT=120 STEPS=200 GENERATE=$BIN/generate
generate m.zst --count $COUNT --steps $STEPS -o want

# The slurmd of a node runs jobs by their script, so options that the scripts leave open are given here.
reply=$("$SRC/scripts/slurm/submit" 4 --output="$PWD/job-%A_%a.log" --chdir="$PWD")
echo "$reply"
array=${reply#array }
array=${array%%,*}
merge=${reply##* }

# Kill element 1 in the middle of its work, as a lost node or a preemption would, and have it run again.
pictures() { find got -name '*.png' 2>/dev/null | wc -l; }
wait_for() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "waited too long for: $*"; squeue; tail -n 5 job-*.log slurm/daemons.log; exit 1; }
        sleep 0.05
    done
}
has_begun() { [ -s got.manifest-1-of-4.jsonl ]; }
wait_for 60 has_begun
scontrol requeue "${array}_1"
killed_at=$(wc -l <got.manifest-1-of-4.jsonl)
echo "element 1 was requeued after $killed_at of 30 pictures"
[ "$killed_at" -lt 30 ]

ended() { [ -z "$(squeue -h -o %i)" ]; }
# A requeued element waits two minutes by default; there is no reason to.
release() { scontrol update JobId="${array}_1" StartTime=now >/dev/null 2>&1 || true; ended; }
wait_for 90 release
scontrol show job "$merge" | grep -q 'JobState=COMPLETED' || { scontrol show job "$merge"; cat job-*.log; exit 1; }
diff -r want got
sort want.manifest.jsonl | diff - got.manifest.jsonl
scontrol show job "$array" | grep -q 'Restarts=1' || { scontrol show job "$array"; exit 1; }

# Calibration as an array, and its merge.
export TOOL=$BIN/cache-schedule IMAGES=5 OUT=$PWD/calibration OPTIONS="--steps 20"
array=$(sbatch --parsable --array=0-2 --output="$PWD/job-%A_%a.log" "$SRC/scripts/slurm/calibrate.sbatch")
sbatch --dependency="afterok:$array" --output="$PWD/job-%A.log" "$SRC/scripts/slurm/calibrate-merge.sbatch"
cache-schedule m.zst --measure-only --calibrate 5 --steps 20 -q -o calibration.zst
wait_for 60 ended
cmp calibration.zst calibration/whole.zst
unset OPTIONS

# A measurement as an array, and its merge.
generate m.zst --count $COUNT --steps 30 -o near
export REFERENCE=$PWD/want GOT=$PWD/near OUT=$PWD/measures EVALUATE=$BIN/evaluate
array=$(sbatch --parsable --array=1-3 --output="$PWD/job-%A_%a.log" "$SRC/scripts/slurm/evaluate.sbatch")
sbatch --dependency="afterok:$array" --output="$PWD/job-%A.log" "$SRC/scripts/slurm/evaluate-merge.sbatch"
wait_for 60 ended
evaluate --reference want near --report whole.json >/dev/null
cmp whole.json measures/report.json

# srun's ranks are shards as well.
timeout 60 srun -N2 -n2 "$BIN/generate" m.zst --count 6 --steps 3 --shard auto -o ranks
generate m.zst --count 6 --steps 3 -o one
diff -r one ranks
slurm_stop
