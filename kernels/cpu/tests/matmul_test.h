/* What the tests of the matrix products share: shapes, made data, packing. All arrays have exact sizes, so
 * that a sanitizer sees a step beyond them. */
#ifndef HASTEN_MATMUL_TEST_H
#define HASTEN_MATMUL_TEST_H

#include "kernels/cpu/tests/kernel_test.h"

/* height and width are what the kernel window walks over: a source with up = 2 stores a quarter of it. */
struct shape {
    int images, height, width, up[2], channels[2], n;
    int kernel_h, kernel_w, stride, top, left, bottom, right;
    int shared; /* all images read the same rows */
};

enum { BIAS = 1, IMAGE_BIAS = 2, GATE = 4, RESIDUAL = 8, TAP = 16, SCALE = 32, ALL_PIECES = 63 };

/* Products of floats and of codes, and what convolutions of either may be turned into. */
enum kind { FLOATS, CODES, TURNED, TURNED_CODES };

struct data {
    struct matmul m;
    struct mm_shape s;
    void *in[2], *weight, *packed, *scratch;
    struct code_scale *scale[2];
    float *column_scale, *bias, *image_bias, *gate, *residual, *out, *tap;
    int64_t rows, out_size; /* out and tap: out_size floats, rows out_ld apart */
};

static inline struct code_scale *code_scales(int64_t n, unsigned seed)
{
    struct code_scale *s = calloc((size_t)n, sizeof *s);
    for (int64_t i = 0; i < n; i++) {
        s[i].scale = noise(&seed) * 0.01f + 0.02f;
        s[i].zero = (int32_t)lrintf(127.5f + 127.5f * noise(&seed));
    }
    return s;
}

static inline void make_source(struct data *d, const struct shape *c, int i)
{
    struct matmul *m = &d->m;
    int h = c->height / c->up[i], w = c->width / c->up[i], images = c->shared ? 1 : c->images;
    int64_t ld = m->int8 ? (c->channels[i] + 63) / 64 * 64 : c->channels[i] + 3, image_ld = ld * h * w + 64;
    int64_t size = (images - 1) * image_ld + ((int64_t)h * w - 1) * ld + (m->int8 ? ld : c->channels[i]);
    float *values = floats(size, 11 + (unsigned)i, 1, 0);
    d->in[i] = values;
    d->scale[i] = code_scales((int64_t)c->images * h * w, 21 + (unsigned)i);
    if (m->int8) {
        uint8_t *codes = d->in[i] = malloc((size_t)size);
        for (int64_t k = 0; k < size; k++)
            codes[k] = (uint8_t)lrintf(127.5f + 127.5f * values[k]); /* also behind the channels */
        free(values);
    }
    m->source[i] = (struct mm_source){d->in[i], c->channels[i], ld,         c->shared ? 0 : image_ld, h,
                                      w,        c->up[i],       d->scale[i]};
}

static inline int kinds_of(const struct shape *c)
{
    return c->kernel_h == 3 && c->kernel_w == 3 && c->stride == 1 ? TURNED_CODES + 1 : CODES + 1;
}

static inline void make(struct data *d, const struct shape *c, int kind, int pieces, enum activation act)
{
    struct matmul *m = &d->m;
    int int8 = kind == CODES || kind == TURNED_CODES;
    memset(d, 0, sizeof *d);
    *m = (struct matmul){.images = c->images,
                         .out_height = (c->height + c->top + c->bottom - c->kernel_h) / c->stride + 1,
                         .out_width = (c->width + c->left + c->right - c->kernel_w) / c->stride + 1,
                         .n = c->n,
                         .kernel_h = c->kernel_h,
                         .kernel_w = c->kernel_w,
                         .stride = c->stride,
                         .pad_top = c->top,
                         .pad_left = c->left,
                         .sources = c->channels[1] ? 2 : 1,
                         .int8 = int8,
                         .form = kind == TURNED         ? MM_WINOGRAD
                                 : kind == TURNED_CODES ? MM_WINOGRAD_INT8
                                                        : MM_NATIVE,
                         .scale_per_row = c->kernel_h * c->kernel_w * c->stride * c->up[0] * c->up[1] == 1 &&
                                          c->height == 1 && !c->shared,
                         .out_ld = c->n + 3};
    d->rows = (int64_t)m->images * m->out_height * m->out_width;
    d->out_size = (d->rows - 1) * m->out_ld + c->n;
    d->s = (struct mm_shape){c->n, c->kernel_h, c->kernel_w, {c->channels[0], c->channels[1]}};
    for (int i = 0; i < m->sources; i++)
        make_source(d, c, i);
    int64_t weights = (int64_t)c->n * (c->channels[0] + c->channels[1]) * c->kernel_h * c->kernel_w;
    d->weight = floats(weights, 31, 1, 0);
    for (int64_t i = 0; int8 && i < weights; i++) /* each byte is written below the float that is read next */
        ((int8_t *)d->weight)[i] = (int8_t)lrintf(127 * ((float *)d->weight)[i]);
    d->column_scale = floats(c->n, 32, 0.01f, 0.02f);
    d->bias = floats(c->n, 33, 1, 0);
    d->image_bias = floats((int64_t)c->images * c->n, 34, 1, 0);
    d->gate = floats((int64_t)c->images * c->n, 35, 1, 0);
    d->residual = floats(d->rows * c->n, 36, 1, 0);
    d->out = floats(d->out_size, 37, 1, 0);
    d->tap = floats(d->out_size, 38, 1, 0);
    m->column_scale = int8 ? d->column_scale : NULL;
    m->out = d->out;
    m->epilogue = (struct mm_epilogue){.bias = pieces & BIAS ? d->bias : NULL,
                                       .image_bias = pieces & IMAGE_BIAS ? d->image_bias : NULL,
                                       .image_bias_ld = c->n,
                                       .act = act,
                                       .tap = pieces & TAP ? d->tap : NULL,
                                       .tap_ld = m->out_ld,
                                       .gate = pieces & GATE ? d->gate : NULL,
                                       .gate_ld = c->n,
                                       .residual = pieces & RESIDUAL ? d->residual : NULL,
                                       .residual_ld = c->n,
                                       .scale = pieces & SCALE ? 0.5f : 0};
}

enum { MOST_PARTS = 10 };

/* In two pieces, the second first: the split must not matter. What a level does not turn is multiplied as it
 * is. */
static inline void pack(struct data *d, const struct cpu_kernels *k)
{
    int middle = d->s.n / 2 / k->mm_panel * k->mm_panel, at[3] = {0, middle, d->s.n};
    if (d->m.form == MM_WINOGRAD_INT8 && k->winograd_size(&d->s, 1) == 0)
        d->m.form = MM_NATIVE;
    int turned = d->m.form != MM_NATIVE, int8 = d->m.int8;
    free(d->packed);
    d->packed = malloc(turned ? k->winograd_size(&d->s, int8) : k->matmul_packed_size(&d->s, int8));
    d->m.weights = d->packed;
    for (int i = 1; i >= 0; i--)
        if (turned)
            k->winograd_pack(d->packed, d->weight, &d->s, int8, at[i], at[i + 1]);
        else if (int8)
            k->matmul_pack_int8(d->packed, d->weight, &d->s, at[i], at[i + 1]);
        else
            k->matmul_pack(d->packed, d->weight, &d->s, at[i], at[i + 1]);
    if (turned) {
        d->m.scratch_ld = k->matmul_scratch(&d->m);
        free(d->scratch);
        d->m.scratch = d->scratch = aligned_alloc(64, MOST_PARTS * d->m.scratch_ld + 64);
        memset(d->scratch, 0xff, MOST_PARTS * d->m.scratch_ld); /* NaN: what is read must have been written */
    }
}

static inline void release(struct data *d)
{
    free(d->in[0]), free(d->in[1]), free(d->weight), free(d->packed), free(d->scratch), free(d->scale[0]),
        free(d->scale[1]);
    free(d->column_scale), free(d->bias), free(d->image_bias), free(d->gate), free(d->residual);
    free(d->out), free(d->tap);
}

/* One and primes, whole panels and tiles, tails in every direction; linear layers, then windows with and
 * without padding, stride, upsampling, two sources (one of them upsampled), more taps than one run list
 * holds, more channels than the row of zeros. */
static const struct shape shapes[] = {
    {1, 1, 1, {1, 1}, {1, 0}, 1, 1, 1, 1, 0, 0, 0, 0, 0},
    {1, 1, 5, {1, 1}, {7, 0}, 3, 1, 1, 1, 0, 0, 0, 0, 0},
    {2, 1, 29, {1, 1}, {64, 0}, 33, 1, 1, 1, 0, 0, 0, 0, 0},
    {1, 1, 14, {1, 1}, {128, 0}, 64, 1, 1, 1, 0, 0, 0, 0, 0},
    {1, 1, 131, {1, 1}, {130, 0}, 96, 1, 1, 1, 0, 0, 0, 0, 0},
    {5, 1, 1, {1, 1}, {300, 0}, 101, 1, 1, 1, 0, 0, 0, 0, 0},
    {3, 1, 7, {1, 1}, {24, 0}, 47, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 1, 9, {1, 1}, {5, 9}, 64, 1, 1, 1, 0, 0, 0, 0, 0},
    {3, 5, 7, {1, 1}, {6, 0}, 10, 3, 3, 1, 1, 1, 1, 1, 0},
    {1, 8, 9, {1, 1}, {20, 12}, 31, 3, 3, 1, 1, 1, 1, 1, 0},
    {2, 9, 6, {1, 1}, {16, 0}, 40, 3, 3, 2, 0, 0, 1, 1, 0},
    {1, 9, 10, {1, 1}, {13, 0}, 16, 3, 3, 2, 1, 1, 1, 1, 0},
    {1, 8, 10, {2, 1}, {24, 0}, 17, 3, 3, 1, 1, 1, 1, 1, 0},
    {2, 6, 8, {2, 1}, {11, 65}, 35, 3, 3, 1, 1, 1, 1, 1, 0},
    {1, 6, 8, {2, 2}, {4, 4}, 33, 3, 3, 2, 0, 1, 1, 0, 0},
    {2, 12, 12, {1, 1}, {4, 0}, 8, 4, 4, 4, 0, 0, 0, 0, 0},
    {1, 5, 6, {1, 1}, {8, 0}, 9, 1, 5, 1, 0, 3, 0, 0, 0},
    {1, 7, 5, {1, 1}, {3, 5}, 12, 4, 2, 3, 2, 0, 3, 4, 0},
    {2, 11, 30, {1, 1}, {64, 0}, 64, 3, 3, 1, 1, 1, 1, 1, 0},
    {2, 13, 14, {1, 1}, {2, 3}, 7, 9, 9, 1, 4, 4, 4, 4, 0},
    {1, 2, 2, {1, 1}, {5000, 0}, 5, 3, 3, 1, 1, 1, 1, 1, 0},
    {1, 1, 3, {1, 1}, {40, 0}, 2 * 32 * 14 + 5, 1, 1, 1, 0, 0, 0, 0, 0},
    {1, 2, 13, {1, 1}, {24, 330}, 97, 3, 3, 1, 1, 1, 1, 1, 0},
    {1, 1, 99, {1, 1}, {660, 0}, 260, 1, 1, 1, 0, 0, 0, 0, 1},
    {1, 6, 8, {2, 1}, {20, 36}, 97, 3, 3, 1, 1, 1, 1, 1, 0},
    {2, 17, 15, {1, 1}, {19, 10}, 70, 3, 3, 1, 1, 1, 1, 1, 0},
    {1, 16, 18, {1, 2}, {16, 9}, 150, 3, 3, 1, 0, 2, 1, 0, 0},
    {3, 9, 1, {1, 1}, {17, 0}, 20, 3, 3, 1, 1, 1, 1, 1, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

#endif
