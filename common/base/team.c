/* See team.h. A forward pass has hundreds of short kernels, and a sleeping thread costs tens of microseconds
 * to wake, so who waits spins for a short while before it sleeps on a futex; much shorter where there are
 * more threads than cores, as the spinning thread then holds the core of one that works. Not sched_yield:
 * beside a busy program each call gives away a whole time slice (scripts/bench/contention: 16 times as slow).
 * Waking costs a system call only where somebody sleeps. */
#include "common/base/team.h"
#include "common/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPINS = 4000,        /* some 200 microseconds */
    SPINS_CROWDED = 100, /* more threads than cores */
};

struct team {
    int size, spins;
    int started; /* threads created, without the caller */
    pthread_t *threads;
    struct worker *workers;
    team_fn *fn;
    void *job;
    atomic_uint round;    /* counts team_run calls and the end */
    atomic_uint running;  /* workers still inside the current call */
    atomic_uint barriers; /* barriers passed */
    atomic_int arrived;   /* at the barrier */
    atomic_int asleep;    /* threads in or on the way into the futex */
    atomic_int quit;
    int caller_pinned;
};

struct worker {
    struct team *team;
    int part;
    int cpu; /* -1: not pinned */
};

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#endif
}

static void futex(atomic_uint *word, int operation, unsigned value)
{
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Wait until *word is not old. No wake-up is lost: the sleeper counts itself before the kernel compares the
 * word, who changes the word does so before it looks for sleepers. */
static void wait_change(struct team *t, atomic_uint *word, unsigned old)
{
    for (int i = 0; i < t->spins; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        relax();
    }
    atomic_fetch_add(&t->asleep, 1);
    while (atomic_load(word) == old)
        futex(word, FUTEX_WAIT, old);
    atomic_fetch_sub(&t->asleep, 1);
}

/* After a change of the word. */
static void announce(struct team *t, atomic_uint *word)
{
    if (atomic_load(&t->asleep))
        futex(word, FUTEX_WAKE, INT_MAX);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct team *t = w->team;
    unsigned round = 0;
    if (w->cpu >= 0)
        pin(w->cpu);
    for (;;) {
        wait_change(t, &t->round, round);
        round = atomic_load(&t->round);
        if (atomic_load(&t->quit))
            return NULL;
        t->fn(t->job, w->part, t->size);
        if (atomic_fetch_sub(&t->running, 1) == 1)
            announce(t, &t->running);
    }
}

/* Cores allowed by cgroup v2's cpu.max ("QUOTA PERIOD" or "max PERIOD"), 0 when unlimited or unknown. */
static int quota_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    long quota = 0, period = 0;
    int n = f ? fscanf(f, "%ld %ld", &quota, &period) : 0;
    if (f)
        fclose(f);
    return n == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* The CPUs of the process, asked for once: later the answer would be the one CPU that the caller was pinned
 * to. */
static cpu_set_t allowed;
static int allowed_known;
static pthread_once_t allowed_once = PTHREAD_ONCE_INIT;

static void ask_allowed(void) { allowed_known = sched_getaffinity(0, sizeof allowed, &allowed) == 0; }

int team_cores(void)
{
    pthread_once(&allowed_once, ask_allowed);
    int cores = allowed_known ? CPU_COUNT(&allowed) : 1;
    int quota = quota_cores();
    if (quota && quota < cores)
        cores = quota;
    return cores > 0 ? cores : 1;
}

/* Pin only a team that takes every CPU of the process: smaller ones of several processes (shards on one
 * machine) would all be on the first CPUs. Failing to pin only costs speed. */
static void choose_cpus(struct team *t)
{
    pthread_once(&allowed_once, ask_allowed);
    int known = allowed_known && CPU_COUNT(&allowed) == t->size && t->size > 1;
    int cpu = -1;
    for (int i = 0; i < t->size; i++) {
        if (known)
            do
                cpu++;
            while (!CPU_ISSET(cpu, &allowed));
        t->workers[i] = (struct worker){.team = t, .part = i, .cpu = cpu};
    }
}

/* Of the stack that team.h promises, whatever limit the process has. */
static int start_worker(struct team *t, int i)
{
    pthread_attr_t attributes;
    int why = fault_hit("thread") ? EAGAIN : pthread_attr_init(&attributes);
    if (why)
        return why;
    pthread_attr_setstacksize(&attributes, TEAM_STACK + (1 << 18)); /* thread-local data are there as well */
    why = pthread_create(&t->threads[i], &attributes, work, &t->workers[i]);
    pthread_attr_destroy(&attributes);
    return why;
}

struct team *team_open(int threads, struct error *e)
{
    struct team *t = mem_array(1, sizeof *t, e);
    if (!t)
        return NULL;
    t->size = threads > 0 ? threads : team_cores();
    t->spins = t->size > team_cores() ? SPINS_CROWDED : SPINS;
    t->threads = mem_array((size_t)t->size, sizeof *t->threads, e);
    t->workers = mem_array((size_t)t->size, sizeof *t->workers, e);
    if (!t->threads || !t->workers)
        goto fail;
    choose_cpus(t);
    for (int i = 1; i < t->size; i++) {
        int why = start_worker(t, i);
        if (why) {
            errno = why;
            error_errno(e, HASTEN_EFAIL, "cannot start thread %d of %d (use fewer with --threads)", i + 1,
                        t->size);
            goto fail;
        }
        t->started++;
    }
    if (t->workers[0].cpu >= 0) {
        pin(t->workers[0].cpu);
        t->caller_pinned = 1;
    }
    return t;
fail:
    team_close(t);
    return NULL;
}

void team_close(struct team *t)
{
    if (!t)
        return;
    atomic_store(&t->quit, 1);
    atomic_fetch_add(&t->round, 1);
    announce(t, &t->round);
    for (int i = 1; i <= t->started; i++)
        pthread_join(t->threads[i], NULL);
    if (t->caller_pinned) /* threads made later inherit the caller's mask */
        (void)pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
    mem_free(t->threads);
    mem_free(t->workers);
    mem_free(t);
}

int team_size(const struct team *t) { return t->size; }

void team_run(struct team *t, team_fn *fn, void *job)
{
    if (t->size == 1) {
        fn(job, 0, 1);
        return;
    }
    t->fn = fn;
    t->job = job;
    atomic_store(&t->running, (unsigned)t->size - 1);
    atomic_fetch_add(&t->round, 1);
    announce(t, &t->round);
    fn(job, 0, t->size);
    for (unsigned left; (left = atomic_load(&t->running)) != 0;)
        wait_change(t, &t->running, left);
}

void team_barrier(struct team *t)
{
    if (t->size == 1)
        return;
    unsigned now = atomic_load(&t->barriers);
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->size) {
        atomic_store(&t->arrived, 0);
        atomic_fetch_add(&t->barriers, 1);
        announce(t, &t->barriers);
    } else {
        wait_change(t, &t->barriers, now);
    }
}

struct span team_span(int64_t n, int64_t chunk, int part, int parts)
{
    int64_t chunks = (n + chunk - 1) / chunk;
    int64_t begin = chunks * part / parts * chunk, end = chunks * (part + 1) / parts * chunk;
    return (struct span){begin < n ? begin : n, end < n ? end : n};
}
