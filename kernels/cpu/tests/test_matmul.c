/* Matrix products of every level against the scalar reference, over shapes with tails, taps outside the
 * image, strides, upsampling, two sources and every part of the epilogue; independence of rows and of the
 * split. */
#include "kernels/cpu/cpu.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape_case {
    int images, h, w, channels[2], n, kernel, stride, pad, upsample;
};

static const struct shape_case cases[] = {
    {1, 1, 1, {1, 0}, 1, 1, 1, 0, 1},    {1, 1, 5, {7, 0}, 3, 1, 1, 0, 1},
    {2, 1, 29, {64, 0}, 33, 1, 1, 0, 1}, {1, 1, 17, {130, 0}, 96, 1, 1, 0, 1},
    {3, 5, 7, {6, 0}, 10, 3, 1, 1, 1},   {1, 8, 9, {20, 12}, 31, 3, 1, 1, 1},
    {2, 9, 6, {16, 0}, 40, 3, 2, 0, 1},  {1, 4, 5, {24, 0}, 17, 3, 1, 1, 2},
    {1, 6, 6, {5, 9}, 64, 1, 1, 0, 1},   {2, 12, 12, {4, 0}, 8, 4, 4, 0, 1},
    {1, 3, 3, {33, 0}, 70, 3, 1, 1, 1},  {5, 1, 1, {300, 0}, 100, 1, 1, 0, 1},
    {1, 2, 2, {5000, 0}, 5, 3, 1, 1, 1},
};

struct data {
    struct matmul m;
    struct mm_shape s;
    void *in[2], *weight, *packed;
    float *scale[2], *column_scale, *bias, *image_bias, *gate, *residual, *out, *tap;
    int64_t rows;
};

static unsigned noise_state;

static float noise(void)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state / 2147483648.0f;
}

static float *floats(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x + 64);
    for (int64_t i = 0; i < n; i++)
        x[i] = noise();
    return x;
}

enum { LD_EXTRA = 3, CODES = 64 };

static void make(struct data *d, const struct shape_case *c, int int8, int epilogue)
{
    struct matmul *m = &d->m;
    memset(d, 0, sizeof *d);
    noise_state = 12345u + (unsigned)c->n;
    *m = (struct matmul){.images = c->images,
                         .n = c->n,
                         .kernel_h = c->kernel,
                         .kernel_w = c->kernel,
                         .stride = c->stride,
                         .pad_top = c->pad,
                         .pad_left = c->pad,
                         .int8 = int8,
                         .scale_per_row = c->kernel == 1};
    int end = c->stride == 2 ? 1 : c->pad;
    m->out_height = c->kernel == 1 ? c->h : (c->h * c->upsample + c->pad + end - c->kernel) / c->stride + 1;
    m->out_width = c->kernel == 1 ? c->w : (c->w * c->upsample + c->pad + end - c->kernel) / c->stride + 1;
    d->rows = (int64_t)m->images * m->out_height * m->out_width;
    d->s = (struct mm_shape){c->n, c->kernel, c->kernel, {c->channels[0], c->channels[1]}};
    m->sources = c->channels[1] ? 2 : 1;
    for (int i = 0; i < m->sources; i++) {
        int64_t ld = int8 ? (c->channels[i] + CODES - 1) / CODES * CODES : c->channels[i] + LD_EXTRA;
        int64_t pixels = (int64_t)c->images * c->h * c->w;
        d->scale[i] = floats(pixels);
        if (!int8) {
            d->in[i] = floats(pixels * ld);
        } else {
            uint8_t *codes = d->in[i] = malloc((size_t)(pixels * ld));
            for (int64_t k = 0; k < pixels * ld; k++)
                codes[k] = k % ld < c->channels[i] ? (uint8_t)(128 + (int)(noise() * 127)) : 128;
        }
        m->source[i] = (struct mm_source){d->in[i], c->channels[i], ld,          ld * c->h * c->w,
                                          c->h,     c->w,           c->upsample, d->scale[i]};
    }
    int64_t weights = (int64_t)c->n * (c->channels[0] + c->channels[1]) * c->kernel * c->kernel;
    d->weight = floats(weights);
    if (int8)
        for (int64_t i = 0; i < weights; i++)
            ((int8_t *)d->weight)[i] = (int8_t)(int)(noise() * 127);
    d->column_scale = floats(c->n);
    m->column_scale = d->column_scale;
    m->out_ld = c->n + LD_EXTRA;
    d->out = floats(d->rows * m->out_ld);
    d->tap = floats(d->rows * m->out_ld);
    d->bias = floats(c->n);
    d->image_bias = floats((int64_t)c->images * c->n);
    d->gate = floats((int64_t)c->images * c->n);
    d->residual = floats(d->rows * c->n);
    m->out = d->out;
    struct mm_epilogue *e = &m->epilogue;
    e->bias = epilogue & 1 ? d->bias : NULL;
    e->image_bias = epilogue & 2 ? d->image_bias : NULL;
    e->image_bias_ld = e->gate_ld = e->residual_ld = c->n;
    e->gate = epilogue & 4 ? d->gate : NULL;
    e->residual = epilogue & 8 ? d->residual : NULL;
    e->tap = epilogue & 16 ? d->tap : NULL;
    e->tap_ld = m->out_ld;
    e->scale = epilogue & 32 ? 0.5f : 0;
    e->act = (enum activation)(epilogue >> 6);
}

static void pack(struct data *d, const struct cpu_kernels *k)
{
    free(d->packed);
    /* Exact size, so that a sanitizer sees a step beyond it. */
    d->packed = aligned_alloc(64, (k->matmul_packed_size(&d->s, d->m.int8) + 63) / 64 * 64);
    d->m.weights = d->packed;
    int middle = d->s.n / 2 / k->mm_panel * k->mm_panel;
    if (d->m.int8) {
        k->matmul_pack_int8(d->packed, d->weight, &d->s, middle, d->s.n);
        k->matmul_pack_int8(d->packed, d->weight, &d->s, 0, middle);
    } else {
        k->matmul_pack(d->packed, d->weight, &d->s, middle, d->s.n);
        k->matmul_pack(d->packed, d->weight, &d->s, 0, middle);
    }
}

static void release(struct data *d)
{
    void *all[] = {d->in[0], d->in[1],      d->weight, d->packed,   d->scale[0], d->scale[1], d->column_scale,
                   d->bias,  d->image_bias, d->gate,   d->residual, d->out,      d->tap};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* A sum of k float products in any order is off by at most about k/2 rounding errors of its largest partial
 * sums; with operands in [-1, 1] sqrt(k) * 1e-6 is far above what is seen and far below any real mistake. */
static double allowed(const struct data *d)
{
    double k = (double)(d->s.channels[0] + d->s.channels[1]) * d->s.kernel_h * d->s.kernel_w;
    return d->m.int8 ? 2e-5 * k : 2e-6 * (sqrt(k) + 4);
}

static void compare(struct data *d, const struct cpu_kernels *k, const float *want, const float *want_tap)
{
    for (int64_t r = 0; r < d->rows; r++)
        for (int n = 0; n < d->m.n; n++) {
            int64_t i = r * d->m.out_ld + n;
            double size = fmax(1, fabs(want[i]));
            ck_assert_msg(fabs(d->out[i] - want[i]) <= allowed(d) * size,
                          "%s: row %d column %d: %g, expected %g", cpu_level_name(k->level), (int)r, n,
                          d->out[i], want[i]);
            if (d->m.epilogue.tap)
                ck_assert_msg(fabs(d->tap[i] - want_tap[i]) <= allowed(d) * fmax(1, fabs(want_tap[i])),
                              "tap");
        }
    for (int64_t r = 0; r + 1 < d->rows; r++)
        for (int n = d->m.n; n < d->m.out_ld; n++)
            ck_assert_msg(d->out[r * d->m.out_ld + n] == want[r * d->m.out_ld + n], "wrote between rows");
}

START_TEST(every_level_equals_the_reference)
{
    const struct shape_case *c = &cases[_i];
    static const int epilogues[] = {0,
                                    1,
                                    3 | ACT_SILU << 6,
                                    1 | 4 | 8 | 16,
                                    63 | ACT_GELU_TANH << 6,
                                    9 | ACT_GELU_ERF << 6,
                                    1 | ACT_RELU << 6,
                                    1 | ACT_TANH << 6,
                                    1 | ACT_SIGMOID << 6};
    for (int int8 = 0; int8 < 2; int8++)
        for (size_t e = 0; e < sizeof epilogues / sizeof *epilogues; e++) {
            struct data want, got;
            make(&want, c, int8, epilogues[e]);
            pack(&want, cpu_kernels(CPU_REF));
            cpu_kernels(CPU_REF)->matmul(&want.m, 0, 1);
            for (int level = CPU_AVX2; level <= (int)cpu_best_level(); level++) {
                const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
                make(&got, c, int8, epilogues[e]);
                pack(&got, k);
                k->matmul(&got.m, 0, 1);
                compare(&got, k, want.out, want.tap);
                release(&got);
            }
            release(&want);
        }
}
END_TEST

START_TEST(parts_and_batch_do_not_change_a_bit)
{
    const struct shape_case *c = &cases[_i];
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int int8 = 0; int8 < 2; int8++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, c, int8, 63 | ACT_SILU << 6);
            pack(&d, k);
            size_t bytes = (size_t)(d.rows * d.m.out_ld) * sizeof(float);
            k->matmul(&d.m, 0, 1);
            float *whole = malloc(bytes);
            memcpy(whole, d.out, bytes);
            for (int parts = 2; parts < 5; parts++) {
                for (int p = 0; p < parts; p++)
                    k->matmul(&d.m, p, parts);
                ck_assert_msg(!memcmp(whole, d.out, bytes), "%s: %d parts differ", cpu_level_name(k->level),
                              parts);
            }
            /* The last image alone. */
            int last = c->images - 1;
            struct matmul one = d.m;
            for (int s = 0; s < one.sources; s++) {
                int64_t skip = last * one.source[s].image_ld;
                one.source[s].data = (const char *)one.source[s].data + skip * (int8 ? 1 : 4);
                one.source[s].scale += last * (one.scale_per_row ? c->h * c->w : 1);
            }
            int64_t rows = (int64_t)one.out_height * one.out_width;
            one.images = 1;
            one.epilogue.image_bias += last * c->n;
            one.epilogue.gate += last * c->n;
            one.epilogue.residual += last * rows * c->n;
            one.epilogue.tap += last * rows * one.out_ld;
            float *alone = calloc((size_t)(rows * one.out_ld), sizeof *alone);
            one.out = alone;
            k->matmul(&one, 0, 1);
            for (int64_t r = 0; r < rows; r++)
                ck_assert(!memcmp(alone + r * one.out_ld, whole + (last * rows + r) * one.out_ld,
                                  (size_t)c->n * 4));
            free(alone);
            free(whole);
            release(&d);
        }
}
END_TEST

/* With all scales 1 the float results are the integers themselves, as long as they are below 2^24. */
START_TEST(int8_sums_are_equal_at_all_levels)
{
    const struct shape_case *c = &cases[_i];
    float *want = NULL;
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d;
        make(&d, c, 1, 0);
        for (int s = 0; s < d.m.sources; s++)
            for (int i = 0; i < c->images * c->h * c->w; i++)
                d.scale[s][i] = 1;
        for (int n = 0; n < c->n; n++)
            d.column_scale[n] = 1;
        pack(&d, k);
        k->matmul(&d.m, 0, 1);
        if (level == CPU_REF) {
            want = malloc((size_t)(d.rows * d.m.out_ld) * 4);
            memcpy(want, d.out, (size_t)(d.rows * d.m.out_ld) * 4);
        }
        for (int64_t r = 0; r < d.rows; r++)
            ck_assert(!memcmp(want + r * d.m.out_ld, d.out + r * d.m.out_ld, (size_t)c->n * 4));
        release(&d);
    }
    free(want);
}
END_TEST

START_TEST(levels_have_names)
{
    for (int i = 0; i < CPU_LEVELS; i++)
        ck_assert_int_eq(cpu_level_from_name(cpu_level_name((enum cpu_level)i)), i);
    ck_assert_int_eq(cpu_level_from_name("avx"), -1);
}
END_TEST

int main(void)
{
    int count = (int)(sizeof cases / sizeof *cases);
    Suite *s = suite_create("matmul");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_level_equals_the_reference, 0, count);
    tcase_add_loop_test(t, parts_and_batch_do_not_change_a_bit, 0, count);
    tcase_add_loop_test(t, int8_sums_are_equal_at_all_levels, 0, count);
    tcase_add_test(t, levels_have_names);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
