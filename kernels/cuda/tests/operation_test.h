/* What the tests of cuDNN's operations share: convolutions of a U-Net. Addresses are numbers that nobody
 * follows. */
#ifndef HASTEN_OPERATION_TEST_H
#define HASTEN_OPERATION_TEST_H

#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/operation.h"

/* The plainest of a resnet's. */
static inline struct matmul resnet(int images, int side, int from, int to)
{
    return (struct matmul){
        .images = images,
        .out_height = side,
        .out_width = side,
        .n = to,
        .kernel_h = 3,
        .kernel_w = 3,
        .stride = 1,
        .pad_top = 1,
        .pad_left = 1,
        .sources = 1,
        .source = {{(void *)0x1000, from, from, (int64_t)side * side * from, side, side, 1, NULL}},
        .weights = (void *)0x2000,
        .bf16 = 1,
        .scratch = (void *)0x3010,
        .scratch_ld = 1 << 20,
        .out = (void *)0x4000,
        .out_ld = to,
        .epilogue = {.bias = (void *)0x5000}};
}

/* To half the size: a row and a column of zeros in front of and behind the image, or behind it alone. */
static inline struct matmul smaller(int images, int side, int channels, int behind)
{
    struct matmul m = resnet(images, side, channels, channels);
    m.out_height = m.out_width = side / 2;
    m.stride = 2;
    m.pad_top = m.pad_left = !behind;
    return m;
}

static inline struct matmul larger(int images, int side, int channels)
{
    struct matmul m = resnet(images, side * 2, channels, channels);
    m.source[0].height = m.source[0].width = side;
    m.source[0].image_ld /= 4;
    m.source[0].upsample = 2;
    return m;
}

static inline struct cuda_operation asked(const struct matmul *m, enum cuda_way way, int before_it,
                                          int after_it)
{
    struct cuda_operation o;
    struct cuda_launches before, after;
    ck_assert(cuda_convolution(m, way, &o, &before, &after));
    ck_assert_int_eq(before.count, before_it);
    ck_assert_int_eq(after.count, after_it);
    ck_assert_uint_eq((uintptr_t)o.workspace % CUDA_LIBRARY_ALIGNED, 0);
    ck_assert_uint_le((size_t)((char *)o.workspace - (char *)m->scratch), cuda_convolution_scratch(m, way));
    return o;
}

/* Attention of a merged projection. */
static inline struct attention heads_of(int heads, int dim, int rows)
{
    int64_t width = (int64_t)heads * dim, ld = 3 * width;
    return (struct attention){.q_bf16 = (void *)0x1000,
                              .k_bf16 = (void *)0x2000,
                              .v_bf16 = (void *)0x3000,
                              .q_ld = ld,
                              .k_ld = ld,
                              .v_ld = ld,
                              .q_image_ld = ld * rows,
                              .k_image_ld = ld * rows,
                              .v_image_ld = ld * rows,
                              .images = 2,
                              .heads = heads,
                              .head_dim = dim,
                              .queries = rows,
                              .keys = rows,
                              .scale = 0.5f,
                              .out_bf16 = (void *)0x4000,
                              .out_ld = width,
                              .out_image_ld = width * rows};
}

#endif
