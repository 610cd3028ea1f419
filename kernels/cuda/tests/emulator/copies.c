/* Copies that a thread has started: nothing arrives before the thread waits for it, which is the latest that
 * the hardware may be. */
#include "kernels/cuda/tests/emulator/emulator.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COPIES = 256, MOST_THREADS = 1024 };

struct copy {
    unsigned char *to;
    const unsigned char *from;
    int bytes, group;
};

static struct copies {
    struct copy *copy;
    int count, group; /* group: commits so far */
} of_thread[MOST_THREADS];

void emulator_copies_reset(unsigned threads)
{
    for (unsigned t = 0; t < threads; t++) {
        of_thread[t].count = of_thread[t].group = 0;
        if (!of_thread[t].copy)
            of_thread[t].copy = calloc(MOST_COPIES, sizeof(struct copy));
    }
}

void emulator_copy16(void *shared, const void *global, int bytes)
{
    struct copies *c = &of_thread[emulator_thread.x];
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16)
        emulator_stop("a copy is not aligned");
    if (c->count == MOST_COPIES)
        emulator_stop("more copies under way than the emulator holds");
    c->copy[c->count++] = (struct copy){shared, global, bytes, c->group};
}

void emulator_copy_commit(void) { of_thread[emulator_thread.x].group++; }

void emulator_copy_wait(int groups)
{
    struct copies *c = &of_thread[emulator_thread.x];
    int kept = 0;
    for (int i = 0; i < c->count; i++) {
        const struct copy *x = &c->copy[i];
        if (x->group >= c->group - groups) {
            c->copy[kept++] = *x;
            continue;
        }
        memset(x->to, 0, 16);
        if (x->bytes)
            memcpy(x->to, x->from, (size_t)x->bytes);
    }
    c->count = kept;
}

__attribute__((destructor)) static void free_copies(void)
{
    for (unsigned t = 0; t < MOST_THREADS; t++)
        free(of_thread[t].copy);
}
