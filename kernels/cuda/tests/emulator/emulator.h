/* Inside the emulator, and for tests that bring kernels of their own. */
#ifndef HASTEN_EMULATOR_H
#define HASTEN_EMULATOR_H

#include "kernels/cuda/names.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void emulator_kernel(const void *args);

/* Runs one launch of a function that KERNEL() has made. */
void emulate_function(const char *name, emulator_kernel *run, const unsigned grid[3], const unsigned block[3],
                      unsigned shared, const void *args, unsigned seed);

struct emulator_index {
    unsigned x;
};
extern struct emulator_index emulator_thread, emulator_block, emulator_threads, emulator_blocks;
void emulator_barrier(void);
unsigned char *emulator_shared(void);
void emulator_stop(const char *why) __attribute__((noreturn));
void emulator_warp(void (*act)(void **lane), void *mine);
void emulator_copies_reset(unsigned threads);
void emulator_copy16(void *shared, const void *global, int bytes);
void emulator_copy_commit(void);
void emulator_copy_wait(int groups);

#define DECLARE(name) emulator_kernel emulate_##name;
CUDA_KERNELS(DECLARE)
#undef DECLARE

#ifdef __cplusplus
}
#endif

#endif
