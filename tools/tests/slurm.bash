# For cases, sourced: a Slurm of this machine's own, two nodes on the loopback address, with everything it needs below
# the present folder. `slurm_start` gives 77 where it cannot be; `slurm_stop` ends what was started, and is called at
# the exit of the case as well.

slurm_daemons=()

# A free TCP port from $1 on.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done
    echo "$port"
}

slurm_stop() {
    local pid i
    [ ${#slurm_daemons[@]} -gt 0 ] || return 0
    timeout 10 scancel --user="$(id -un)" --full --signal=KILL 2>/dev/null || true
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    for i in {1..50}; do # the steps end before their slurmd does
        [ -n "$(timeout 5 squeue -h -o %i 2>/dev/null)" ] || break
        sleep 0.1
    done
    for pid in "${slurm_daemons[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for i in {1..50}; do
        kill -0 "${slurm_daemons[@]}" 2>/dev/null || break
        sleep 0.1
    done
    for pid in "${slurm_daemons[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    slurm_daemons=()
}

# Start a daemon in the foreground of its own background job.
daemon() {
    "$@" >>"$slurm_folder/daemons.log" 2>&1 </dev/null &
    slurm_daemons+=($!)
}

slurm_start() {
    local program port i user
    for program in munged slurmctld slurmd sbatch; do
        PATH=$PATH:/usr/sbin command -v $program >/dev/null || { echo "Slurm is not installed: scripts/setup --slurm"; return 77; }
    done
    [ "$(id -u)" = 0 ] || { echo "slurmd needs root"; return 77; }
    PATH=$PATH:/usr/sbin
    user=$(id -un)
    slurm_folder=$PWD/slurm
    mkdir -m 755 "$slurm_folder" "$slurm_folder/state" "$slurm_folder/spool1" "$slurm_folder/spool2"
    mkdir -m 700 "$slurm_folder/munge"
    head -c 128 /dev/urandom >"$slurm_folder/munge/key"
    chmod 600 "$slurm_folder/munge/key"
    port=$(free_port $((20000 + RANDOM % 9000)))
    export SLURM_CONF=$slurm_folder/slurm.conf
    cat >"$SLURM_CONF" <<END
ClusterName=hasten
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldParameters=enable_configless
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=$port
AuthType=auth/munge
AuthInfo=socket=$slurm_folder/munge/socket
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$slurm_folder/state
SlurmctldPidFile=$slurm_folder/slurmctld.pid
SlurmdPidFile=$slurm_folder/slurmd.%n.pid
SlurmdSpoolDir=$slurm_folder/spool%n
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=1
SlurmdTimeout=60
RequeueExit=143
NodeName=1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=1 RealMemory=100
NodeName=2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=1 RealMemory=100
PartitionName=all Nodes=1,2 Default=YES State=UP MaxTime=10
END
    trap slurm_stop EXIT
    trap 'exit 143' INT TERM HUP
    daemon munged --foreground --force --key-file="$slurm_folder/munge/key" --socket="$slurm_folder/munge/socket" \
        --pid-file="$slurm_folder/munge/pid" --log-file="$slurm_folder/munge/log" --seed-file="$slurm_folder/munge/seed"
    for i in {1..50}; do
        [ ! -S "$slurm_folder/munge/socket" ] || break
        sleep 0.1
    done
    daemon slurmctld -D -c
    daemon slurmd -D -N 1
    daemon slurmd -D -N 2
    for i in {1..150}; do
        [ "$(timeout 5 sinfo -h -t idle -o %D 2>/dev/null)" != 2 ] || return 0
        sleep 0.2
    done
    echo "Slurm did not start:"
    tail -n 20 "$slurm_folder/daemons.log"
    return 1
}
