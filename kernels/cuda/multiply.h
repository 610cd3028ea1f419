/* The kinds of numbers that products and attention multiply. */
#ifndef HASTEN_KERNELS_CUDA_MULTIPLY_H
#define HASTEN_KERNELS_CUDA_MULTIPLY_H

#include "kernels/cuda/device.h"

/* What is multiplied: numbers in 64 bytes, the type of sums, and a product over 32 bytes of k. */
struct of_f32 {
    enum { CHUNK = 16 };
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
    enum { CHUNK = 32 };
    typedef float sum;
    DEVICE void multiply(float *d, const uint32_t *a, const uint32_t *b) { mma_bf16(d, a, b); }
};

struct of_s8 {
    enum { CHUNK = 64 };
    typedef int sum;
    DEVICE void multiply(int *d, const uint32_t *a, const uint32_t *b) { mma_s8(d, a, b); }
};

#endif
