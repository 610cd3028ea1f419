/* Inside kernels/cuda: lists of launches. */
#ifndef HASTEN_KERNELS_CUDA_LAUNCH_INSIDE_H
#define HASTEN_KERNELS_CUDA_LAUNCH_INSIDE_H

#include "kernels/cuda/args.h"

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

#endif
