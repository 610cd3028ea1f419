/* What the tests of kernels share: noise, arrays of exact size (so that a sanitizer sees a step beyond them),
 * levels. */
#ifndef HASTEN_KERNEL_TEST_H
#define HASTEN_KERNEL_TEST_H

#include "kernels/cpu/cpu.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* For the levels above the reference that run here: `k` is the table. */
#define FOR_LEVELS(k)                                                      \
    for (int level_ = CPU_AVX2; level_ <= (int)cpu_best_level(); level_++) \
        for (const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level_); k; k = NULL)

/* Uniform in [-1, 1). */
static inline float noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

/* n numbers of noise * size + middle, made by a seed. */
static inline float *floats(int64_t n, unsigned seed, float size, float middle)
{
    float *x = calloc((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = noise(&seed) * size + middle;
    return x;
}

static inline float *copy_of(const float *x, int64_t n)
{
    float *y = calloc((size_t)n, sizeof *y);
    memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

/* Attention whose keys and values lie in the same rows, as in a merged projection; distances in elements.
 * Pointers to values, out and scratch are the caller's. */
struct attention_shape {
    int images, heads, dim, queries, keys, causal;
};
struct attention_lds {
    int64_t q, kv, out, q_image, kv_image, out_image;
};
static inline struct attention merged_attention(const struct attention_shape *s,
                                                const struct attention_lds *ld)
{
    return (struct attention){.q_ld = ld->q,
                              .k_ld = ld->kv,
                              .v_ld = ld->kv,
                              .q_image_ld = ld->q_image,
                              .k_image_ld = ld->kv_image,
                              .v_image_ld = ld->kv_image,
                              .images = s->images,
                              .heads = s->heads,
                              .head_dim = s->dim,
                              .queries = s->queries,
                              .keys = s->keys,
                              .causal = s->causal,
                              .scale = 1 / sqrtf((float)s->dim),
                              .out_ld = ld->out,
                              .out_image_ld = ld->out_image};
}

/* An assertion of Check that holds still costs a system call: loops over values call it only when one does
 * not. */
static inline void near(const float *got, const float *want, int64_t n, double tolerance, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i]))))
            ck_abort_msg("%s: at %lld: %.9g, expected %.9g", what, (long long)i, got[i], want[i]);
}

static inline void equal(const void *got, const void *want, int64_t bytes, const char *what)
{
    ck_assert_msg(!memcmp(got, want, (size_t)bytes), "%s: not the same bits", what);
}

/* Codes of one row are the nearest to value / scale + zero, up to the rounding of value and inverse (the
 * largest may be half a code beyond the last); what is behind is zero. */
static inline void codes_fit(const uint8_t *codes, const float *value, const struct code_scale *s,
                             int channels, int64_t codes_ld, const char *what)
{
    for (int c = 0; c < channels; c++) {
        double exact = s->scale > 0 ? (double)value[c] / s->scale + s->zero : 0;
        if (!(fabs(codes[c] - exact) <= 0.502))
            ck_abort_msg("%s: code %d at %d for %.9g", what, codes[c], c, exact);
    }
    for (int64_t c = channels; c < codes_ld; c++)
        if (codes[c] != s->zero)
            ck_abort_msg("%s: pad at %lld", what, (long long)c);
}

/* What the codes of these numbers, `ld` apart, must be scaled by: the zero from its definition, the scale to
 * two roundings. */
static inline void scale_fits(const struct code_scale *s, const float *value, int64_t ld, int64_t rows,
                              int channels, double tolerance, const char *what)
{
    double top = 0, low = 0;
    for (int64_t i = 0; i < rows * channels; i++) {
        top = fmax(top, value[i / channels * ld + i % channels]);
        low = fmin(low, value[i / channels * ld + i % channels]);
    }
    double scale = (top - low) / 255, zero = scale > 0 ? -low / scale : 0;
    if (!(fabs(s->scale - scale) <= tolerance * scale) || !(fabs(s->zero - zero) <= 0.502))
        ck_abort_msg("%s: scale %.9g and zero %d, expected %.9g and %.9g", what, s->scale, s->zero, scale,
                     zero);
}

/* A zero may lie on the other side of a half. */
static inline void scales_near(const struct code_scale *got, const struct code_scale *want, int64_t n,
                               double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i].scale - want[i].scale) <= tolerance * fabs(want[i].scale)) ||
            abs(got[i].zero - want[i].zero) > 1)
            ck_abort_msg("scale %.9g and zero %d at %lld, expected %.9g and %d", got[i].scale, got[i].zero,
                         (long long)i, want[i].scale, want[i].zero);
}

/* bfloat16, independent of the kernels: by the neighbour that is nearer. */
static inline uint16_t rounded(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t low = u & 0xFFFF, high = u >> 16;
    return (uint16_t)(low > 0x8000 || (low == 0x8000 && high % 2) ? high + 1 : high);
}

static inline float widened(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Rounds n floats in place and gives them back as bfloat16. */
static inline uint16_t *round_all(float *x, int64_t n)
{
    uint16_t *h = calloc((size_t)n, sizeof *h);
    for (int64_t i = 0; i < n; i++)
        x[i] = widened(h[i] = rounded(x[i]));
    return h;
}

static inline int run_suite(TCase *t, const char *name)
{
    tcase_set_timeout(t, 120);
    Suite *s = suite_create(name);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

#endif
