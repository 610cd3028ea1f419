/* The kinds of numbers that products and attention multiply. */
#ifndef HASTEN_KERNELS_CUDA_MULTIPLY_H
#define HASTEN_KERNELS_CUDA_MULTIPLY_H

#include "kernels/cuda/device.h"

/* What is multiplied: numbers in 64 bytes; the bytes of a number in memory, which is copied if that is what
 * is multiplied, and a float32 that is converted if it is not; the type of sums; a product over 32 bytes of
 * k. */
struct of_f32 {
    enum { CHUNK = 16, BYTES = 4, COPIED = 0 };
    typedef float sum;
    DEVICE void multiply(float *d, const uint32_t *a, const uint32_t *b)
    {
        uint32_t a_high[4], a_low[4], b_high[2], b_low[2];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a_high[i] = to_tf32(bits_float(a[i]));
            a_low[i] = to_tf32(bits_float(a[i]) - bits_float(a_high[i]));
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            b_high[i] = to_tf32(bits_float(b[i]));
            b_low[i] = to_tf32(bits_float(b[i]) - bits_float(b_high[i]));
        }
        mma_tf32(d, a_low, b_high);
        mma_tf32(d, a_high, b_low);
        mma_tf32(d, a_high, b_high);
    }
};

struct of_bf16 {
    enum { CHUNK = 32, BYTES = 4, COPIED = 0 };
    typedef float sum;
    DEVICE void multiply(float *d, const uint32_t *a, const uint32_t *b) { mma_bf16(d, a, b); }
};

/* bfloat16 in memory as well. */
struct of_bf16_rows : of_bf16 {
    enum { BYTES = 2, COPIED = 1 };
};

/* uint8 codes by int8 weights. */
struct of_s8 {
    enum { CHUNK = 64, BYTES = 1, COPIED = 1 };
    typedef int sum;
    DEVICE void multiply(int *d, const uint32_t *a, const uint32_t *b) { mma_u8s8(d, a, b); }
};

#endif
