/* See team.h. Workers spin for a short while, then sleep: a forward pass has hundreds of short kernels, and a
 * sleeping worker costs some 50 us to wake, while a spinning one must not burn a core when nothing runs. */
#include "common/base/team.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SPINS = 4000 };

struct team {
    int size;
    int started; /* threads created, without the caller */
    pthread_t *threads;
    struct worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    team_fn *fn;
    void *job;
    atomic_uint round;    /* counts team_run calls and the end */
    atomic_int running;   /* workers still inside the current call */
    atomic_int arrived;   /* at the barrier */
    atomic_uint barriers; /* barriers passed */
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

/* Wait until *word differs from old. */
static void wait_change(struct team *t, atomic_uint *word, unsigned old)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        relax();
    }
    pthread_mutex_lock(&t->lock);
    while (atomic_load(word) == old)
        pthread_cond_wait(&t->changed, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void announce(struct team *t)
{
    pthread_mutex_lock(&t->lock);
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

/* Take the n-th CPU of the process's mask. Failing to pin only costs speed. */
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
            announce(t);
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

/* Pin only when each thread can have a core of its own. */
static void choose_cpus(struct team *t)
{
    pthread_once(&allowed_once, ask_allowed);
    int known = allowed_known && CPU_COUNT(&allowed) >= t->size && t->size > 1;
    int cpu = -1;
    for (int i = 0; i < t->size; i++) {
        if (known)
            do
                cpu++;
            while (!CPU_ISSET(cpu, &allowed));
        t->workers[i] = (struct worker){.team = t, .part = i, .cpu = cpu};
    }
}

struct team *team_open(int threads, struct error *e)
{
    struct team *t = mem_array(1, sizeof *t, e);
    if (!t)
        return NULL;
    t->size = threads > 0 ? threads : team_cores();
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->threads = mem_array((size_t)t->size, sizeof *t->threads, e);
    t->workers = mem_array((size_t)t->size, sizeof *t->workers, e);
    if (!t->threads || !t->workers)
        goto fail;
    choose_cpus(t);
    for (int i = 1; i < t->size; i++) {
        int why = fault_hit("thread") ? EAGAIN : pthread_create(&t->threads[i], NULL, work, &t->workers[i]);
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
    announce(t);
    for (int i = 1; i <= t->started; i++)
        pthread_join(t->threads[i], NULL);
    if (t->caller_pinned) /* threads made later inherit the caller's mask */
        (void)pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
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
    atomic_store(&t->running, t->size - 1);
    atomic_fetch_add(&t->round, 1);
    announce(t);
    fn(job, 0, t->size);
    for (int i = 0; i < SPINS && atomic_load_explicit(&t->running, memory_order_acquire); i++)
        relax();
    if (atomic_load(&t->running)) {
        pthread_mutex_lock(&t->lock);
        while (atomic_load(&t->running))
            pthread_cond_wait(&t->changed, &t->lock);
        pthread_mutex_unlock(&t->lock);
    }
}

void team_barrier(struct team *t)
{
    if (t->size == 1)
        return;
    unsigned now = atomic_load(&t->barriers);
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->size) {
        atomic_store(&t->arrived, 0);
        atomic_fetch_add(&t->barriers, 1);
        announce(t);
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
