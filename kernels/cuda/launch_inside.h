/* Inside kernels/cuda: lists of launches. */
#ifndef HASTEN_KERNELS_CUDA_LAUNCH_INSIDE_H
#define HASTEN_KERNELS_CUDA_LAUNCH_INSIDE_H

#include "kernels/cuda/args.h"
#include "kernels/cuda/library.h"

#include <string.h>

/* With tiles of 64 or 128 rows and columns (128: not float32, not int8 with two sources). */
void cuda_matmul_tile(const struct matmul *m, enum cuda_precision p, int tile, struct cuda_launches *l);

/* Compressed weights into the product's scratch. */
void cuda_decode(const struct matmul *m, enum cuda_precision p, struct cuda_launches *l);

/* How attention's kernel takes heads of this size: so many slabs of one width. Queries of a tile. */
enum { CUDA_ATTENTION_QUERIES = 64 };
void cuda_attention_tile(int head_dim, int *width, int *slabs);

/* pack.c: bytes to the sums of the columns, in weights of 4 bits. */
size_t cuda_int4_sums(int n, int channels, int group);

/* Another launch in one dimension. */
static inline void add_launch(struct cuda_launches *l, const char *kernel, int64_t blocks, unsigned threads,
                              size_t shared, const void *args, size_t args_size)
{
    struct cuda_launch *x = &l->launch[l->count++];
    *x = (struct cuda_launch){.kernel = kernel,
                              .grid = {(unsigned)blocks, 1, 1},
                              .block = {threads, 1, 1},
                              .shared = (unsigned)shared,
                              .args_size = (unsigned)args_size};
    memcpy(x->args, args, args_size);
}

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- what libraries are asked for ---- */

static inline int64_t rows_of(const struct matmul *m)
{
    return (int64_t)m->images * m->out_height * m->out_width;
}

static inline int is_aligned(const void *p) { return (uintptr_t)p % 16 == 0; }

/* Parts of scratch memory begin at whole units. */
static inline size_t whole_units(size_t bytes)
{
    return (bytes + CUDA_LIBRARY_ALIGNED - 1) / CUDA_LIBRARY_ALIGNED * CUDA_LIBRARY_ALIGNED;
}

static inline char *scratch_of(const struct matmul *m) { return (char *)whole_units((uintptr_t)m->scratch); }

/* Is there nothing behind the bias but an activation? */
static inline int has_plain_epilogue(const struct mm_epilogue *e)
{
    return !e->image_bias && !e->tap && !e->gate && !e->residual && (e->scale == 0 || e->scale == 1);
}

/* The kernel for everything behind float32 sums [rows][n]; row_scale: NULL, or [rows]. */
static inline void finish_sums(const struct matmul *m, const void *sums, const float *row_scale,
                               struct cuda_launches *after)
{
    enum { THREADS = 256 };
    struct finish_args a = {.m = *m, .sums = sums, .row_scale = row_scale};
    add_launch(after, "product_finish", divide_up(rows_of(m) * (m->n / 4), THREADS), THREADS, 0, &a,
               sizeof a);
}

#endif
