/* One launch after the other, one block after the other, its threads as fibres in a drawn order: emulate.h.
 */
#include "kernels/cuda/emulate.h"
#include "kernels/cuda/names.h"
#include "kernels/cuda/tests/emulator/emulator.h"
#include "kernels/cuda/tests/emulator/fibre.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 1024, LANES = 32, STACK = 256 << 10 };

struct emulator_index emulator_thread, emulator_block, emulator_threads, emulator_blocks;

enum state { READY, AT_BARRIER, AT_WARP, DONE };

static struct {
    const char *kernel;
    emulator_kernel *run;
    const void *args;
    unsigned threads;
    uint64_t random;
    unsigned char *shared;
    struct fibre *fibre[MOST_THREADS];
    enum state state[MOST_THREADS];
    unsigned ready[MOST_THREADS], ready_count; /* those that may go on */
    unsigned at_barrier;
    struct meeting {
        unsigned count;
        void (*act)(void **lane);
        void *lane[LANES];
    } warp[MOST_THREADS / LANES];
} now;

void emulator_stop(const char *why)
{
    fprintf(stderr, "emulator: kernel %s, block %u, thread %u: %s\n", now.kernel, emulator_block.x,
            emulator_thread.x, why);
    abort();
}

unsigned char *emulator_shared(void) { return now.shared; }

static unsigned draw(unsigned below)
{
    now.random = now.random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((now.random >> 32) * below >> 32);
}

static void make_ready(unsigned thread)
{
    now.state[thread] = READY;
    now.ready[now.ready_count++] = thread;
}

static void wait_as(enum state state)
{
    unsigned me = emulator_thread.x;
    now.state[me] = state;
    fibre_leave();
}

void emulator_barrier(void)
{
    if (++now.at_barrier < now.threads) {
        wait_as(AT_BARRIER);
        return;
    }
    now.at_barrier = 0;
    for (unsigned t = 0; t < now.threads; t++)
        if (now.state[t] == AT_BARRIER)
            make_ready(t);
    make_ready(emulator_thread.x); /* and take its turn with the others */
    fibre_leave();
}

void emulator_warp(void (*act)(void **lane), void *mine)
{
    unsigned me = emulator_thread.x, first = me / LANES * LANES;
    struct meeting *w = &now.warp[me / LANES];
    if (w->count && w->act != act)
        emulator_stop("the threads of a warp wait for different things");
    w->act = act;
    w->lane[me % LANES] = mine;
    if (++w->count < LANES) {
        wait_as(AT_WARP);
        return;
    }
    w->count = 0;
    act(w->lane);
    for (unsigned t = first; t < first + LANES; t++)
        if (t != me)
            make_ready(t);
}

static void run_thread(void *argument)
{
    (void)argument;
    now.run(now.args);
}

static void run_block(void)
{
    now.at_barrier = now.ready_count = 0;
    memset(now.warp, 0, sizeof now.warp);
    emulator_copies_reset(now.threads);
    for (unsigned t = 0; t < now.threads; t++) {
        if (!now.fibre[t])
            now.fibre[t] = fibre_open(STACK);
        fibre_start(now.fibre[t], run_thread, NULL);
        make_ready(t);
    }
    unsigned done = 0;
    while (now.ready_count) {
        unsigned i = draw(now.ready_count), t = now.ready[i];
        now.ready[i] = now.ready[--now.ready_count];
        emulator_thread.x = t;
        if (!fibre_enter(now.fibre[t])) {
            now.state[t] = DONE;
            done++;
        }
    }
    if (done < now.threads)
        emulator_stop("threads wait for others that never come");
}

static const struct {
    const char *name;
    emulator_kernel *run;
} kernels[] = {
#define ENTRY(name) {#name, emulate_##name},
    CUDA_KERNELS(ENTRY)
#undef ENTRY
};

int emulate(const char *kernel, const unsigned grid[3], const unsigned block[3], unsigned shared,
            const void *args, unsigned seed)
{
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(kernels[i].name, kernel)) {
            emulate_function(kernel, kernels[i].run, grid, block, shared, args, seed);
            return 0;
        }
    return -1;
}

void emulate_function(const char *name, emulator_kernel *run, const unsigned grid[3], const unsigned block[3],
                      unsigned shared, const void *args, unsigned seed)
{
    now.kernel = name;
    now.run = run;
    now.args = args;
    now.threads = block[0];
    now.random = seed;
    emulator_threads.x = block[0];
    emulator_blocks.x = grid[0];
    emulator_block.x = emulator_thread.x = 0;
    if (grid[1] != 1 || grid[2] != 1 || block[1] != 1 || block[2] != 1 || block[0] % LANES ||
        block[0] > MOST_THREADS || block[0] == 0)
        emulator_stop("launches have one dimension, and whole warps up to 1024 threads");
    now.shared = aligned_alloc(16, (shared + 15) / 16 * 16);
    for (unsigned b = 0; b < grid[0]; b++) {
        emulator_block.x = b;
        if (shared)
            memset(now.shared, 0xff, shared);
        run_block();
    }
    free(now.shared);
    now.shared = NULL;
}

/* Stacks are kept from launch to launch, until the library goes. */
__attribute__((destructor)) static void free_fibres(void)
{
    for (unsigned t = 0; t < MOST_THREADS; t++)
        if (now.fibre[t])
            fibre_close(now.fibre[t]);
}
