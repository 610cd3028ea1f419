/* CUDA kernels run on the CPU: the .cu sources compiled as C++ for the host (host.h), one fibre a thread.
 *
 *     emulate("row_norm", grid, block, shared, &args, 7);
 *
 * A block runs after the other. The threads of a block run in an order drawn from `seed`, each until it has
 * to wait (a barrier, a warp's shuffle or matrix product), so that a result which needs a missing
 * barrier comes out wrong for most seeds. Shared memory has exactly the size asked for and starts as NaN;
 * copies that a kernel starts asynchronously arrive no earlier than it waits for them. Global memory is host
 * memory: under AddressSanitizer every access is checked. A vector access that is not aligned ends the
 * program, as do threads that wait for each other for ever and a barrier that some threads of a block never
 * reach.
 *
 * Part of bin/tests only: nothing here is in libhasten.a. */
#ifndef HASTEN_KERNELS_CUDA_EMULATE_H
#define HASTEN_KERNELS_CUDA_EMULATE_H

#ifdef __cplusplus
extern "C" {
#endif

/* Runs one launch. args: the kernel's one parameter. 0, or -1 when there is no kernel of that name. */
int emulate(const char *kernel, const unsigned grid[3], const unsigned block[3], unsigned shared,
            const void *args, unsigned seed);

/* How many rows of ldmatrix had to wait for another one of the same bank, since the last time this was asked.
 */
long emulator_bank_conflicts(void);

#ifdef __cplusplus
}
#endif

#endif
