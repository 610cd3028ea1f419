/* Products that NVIDIA's libraries compute, seen from the host: which of struct matmul fit, and as what.
 * Plain C; plugin.h has the functions that take them.
 *
 *     struct cuda_product p;
 *     struct cuda_launches after;
 *     if (cuda_library_product(&m, half_bias, CUDA_WHOLE, &p, &after))    // fits: bias and activation inside
 *         status = plugin->product(&p, &f);                               // 1: the library does not have it
 *
 * A product fits when it is a plain one: bfloat16 rows of one source at an even distance, a linear layer or a
 * 1x1 convolution, everything at multiples of 16 bytes. It is then asked for in one of two ways:
 *   CUDA_WHOLE  the library's epilogue does all: bias, then nothing or GELU (tanh), one output
 *   CUDA_BARE   float32 sums into the product's scratch; `after` has the kernel for what comes behind
 * Which way a product goes does not depend on its rows: an image stays independent of its batch.
 *
 * Weights in e4m3 with float rows are asked for likewise, when rows may be rounded to e4m3 as well, each with
 * a scale of its own (largest number / 448): `before` has the kernel for that, CUDA_WHOLE wants the scales of
 * rows and columns inside (the library has that for compute capability 9.0), CUDA_BARE leaves them to
 * `after`. */
#ifndef HASTEN_KERNELS_CUDA_LIBRARY_H
#define HASTEN_KERNELS_CUDA_LIBRARY_H

#include "kernels/cuda/launch.h"

enum { CUDA_LIBRARY_WORKSPACE = 4 << 20, CUDA_LIBRARY_ALIGNED = 256 };

/* out[row][n] = act(bias[n] + scales * sum over k of in[row][k] * weights[n][k]): bfloat16 or e4m3 factors,
 * float32 sums. */
struct cuda_product {
    int64_t rows;
    int n, k, e4m3;
    const void *in, *weights; /* device pointers, at multiples of 16 bytes as all rows of them */
    int64_t in_ld, weights_ld, out_ld;
    const float *row_scale, *column_scale; /* e4m3: [rows] and [n], or both NULL: 1 */
    void *out;                             /* float, or bfloat16 */
    int out_bf16, gelu;
    const void *bias; /* [n] of out's type, or NULL */
    void *workspace;  /* CUDA_LIBRARY_WORKSPACE bytes, at a multiple of CUDA_LIBRARY_ALIGNED */
};

enum cuda_way { CUDA_WHOLE, CUDA_BARE, CUDA_WAYS };

/* 1 and *p, *after when m can be asked for in this way, else 0. half_bias: m's bias as bfloat16, zeros for
 * none. */
int cuda_library_product(const struct matmul *m, const uint16_t *half_bias, enum cuda_way way,
                         struct cuda_product *p, struct cuda_launches *after);
/* Bytes of scratch that a product may want for it; pointers of m need not be set. 0 when it never fits. */
size_t cuda_library_scratch(const struct matmul *m);

/* The same for e4m3. */
int cuda_fp8_product(const struct matmul *m, const uint16_t *half_bias, enum cuda_way way,
                     struct cuda_product *p, struct cuda_launches *before, struct cuda_launches *after);
size_t cuda_fp8_scratch(const struct matmul *m);
/* Can a product with these weights be such a one, as a linear layer or 1x1 convolution? */
int cuda_fp8_fits(const struct mm_shape *s);

#endif
