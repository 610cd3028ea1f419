/* Inside kernels/cpu: the functions of each level, which cpu.c puts into tables. */
#ifndef HASTEN_KERNELS_LEVELS_H
#define HASTEN_KERNELS_LEVELS_H

#include "kernels/cpu/cpu.h"

#include <string.h>

static inline float bf16_to_float(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; a NaN keeps its upper bits and becomes quiet. */
static inline uint16_t bf16_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

#define DECLARE_PRODUCTS(level)                                                                              \
    size_t matmul_packed_size_##level(const struct mm_shape *s, int int8);                                   \
    void matmul_pack_##level(void *packed, const float *weight, const struct mm_shape *s, int begin,         \
                             int end);                                                                       \
    void matmul_pack_int8_##level(void *packed, const int8_t *weight, const struct mm_shape *s, int begin,   \
                                  int end);                                                                  \
    size_t matmul_bf16_size_##level(const struct mm_shape *s);                                               \
    void matmul_pack_bf16_##level(void *packed, const uint16_t *weight, const struct mm_shape *s, int begin, \
                                  int end);                                                                  \
    size_t matmul_int4_size_##level(int n, int channels, int group);                                         \
    void matmul_pack_int4_##level(void *packed, const struct mm_int4 *w, int begin, int end);                \
    size_t winograd_size_##level(const struct mm_shape *s, int int8);                                        \
    void winograd_pack_##level(void *packed, const void *weight, const struct mm_shape *s, int int8,         \
                               int begin, int end);                                                          \
    size_t matmul_scratch_##level(const struct matmul *m);                                                   \
    void matmul_##level(const struct matmul *m, int part, int parts);

#define DECLARE_ROWS(level)                                                                      \
    void row_norm_##level(const struct row_norm *r, int part, int parts);                        \
    void group_norm_##level(const struct group_norm *g, int phase, int part, int parts);         \
    void image_quantize_##level(const struct image_quantize *q, int phase, int part, int parts); \
    void attention_##level(const struct attention *a, int part, int parts);                      \
    void elementwise_##level(const struct elementwise *e, int part, int parts);                  \
    void cache_read_##level(const struct cache_read *c, int part, int parts);

DECLARE_PRODUCTS(ref)
DECLARE_PRODUCTS(avx2)
DECLARE_PRODUCTS(avx512)
DECLARE_PRODUCTS(vnni)
DECLARE_PRODUCTS(bf16)
DECLARE_ROWS(ref)
DECLARE_ROWS(avx2)
DECLARE_ROWS(avx512)
DECLARE_ROWS(bf16)

#endif
