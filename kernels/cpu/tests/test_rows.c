/* Norms, quantization, attention, elementwise kernels and cache reads of every level against the scalar reference,
 * and the same bits for any split. */
#include "kernels/cpu/cpu.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned noise_state = 7;

static float noise(void)
{
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state / 2147483648.0f;
}

static float *floats(int64_t n)
{
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 127) / 64 * 64);
    for (int64_t i = 0; i < n; i++)
        x[i] = noise();
    return x;
}

static float *copy_of(const float *x, int64_t n)
{
    float *y = floats(n);
    memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

/* Results of size about 1 from sums of up to some thousand terms in float lanes. */
static void near(const float *got, const float *want, int64_t n, double tolerance, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i])), "%s: %lld: %.9g, expected %.9g", what,
                      (long long)i, got[i], want[i]);
}

/* A code may differ by one where a value lies on the border between two. */
static void near_codes(const uint8_t *got, const uint8_t *want, int64_t n)
{
    int64_t off = 0;
    for (int64_t i = 0; i < n; i++) {
        ck_assert_int_le(abs(got[i] - want[i]), 1);
        off += got[i] != want[i];
    }
    ck_assert_int_le(off, n / 500 + 2);
}

#define FOR_LEVELS(k) for (int level_ = CPU_AVX2; level_ <= (int)cpu_best_level(); level_++)                           \
        for (const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level_); k; k = NULL)

static const int widths[] = {1, 7, 16, 33, 192, 1152, 9000};

START_TEST(row_norm_equals_reference)
{
    int channels = widths[_i], rows = 13, ld = channels + 3, codes_ld = (channels + 63) / 64 * 64;
    float *x = floats((int64_t)rows * ld), *w = floats(channels), *b = floats(channels);
    float *mod = floats(3 * 2 * channels), *out = floats((int64_t)rows * ld), *want = floats((int64_t)rows * ld);
    float *scales = floats(rows), *want_scales = floats(rows);
    uint8_t *codes = malloc((size_t)(rows * codes_ld)), *want_codes = malloc((size_t)(rows * codes_ld));
    for (int c = 0; c < channels; c++)
        x[2 * ld + c] = 0;
    for (int option = 0; option < 16; option++) {
        struct row_norm r = {.x = x, .x_ld = ld, .images = 1, .rows_per_image = rows, .channels = channels,
                             .norm = option & 1, .eps = 1e-5f, .out = want, .out_ld = ld};
        if (option & 2)
            r.weight = w, r.bias = b;
        if (option & 4)
            r.scale = mod, r.shift = mod + channels, r.mod_ld = 2 * channels;
        cpu_kernels(CPU_REF)->row_norm(&r, 0, 1);
        struct row_norm q = r;
        q.out = NULL;
        q.codes = want_codes;
        q.codes_ld = codes_ld;
        q.row_scale = want_scales;
        cpu_kernels(CPU_REF)->row_norm(&q, 0, 1);
        FOR_LEVELS(k)
        {
            memcpy(out, want, (size_t)rows * (size_t)ld * 4);
            for (int i = 0; i < rows; i++)
                memset(out + i * ld, 0, (size_t)channels * 4);
            r.out = out;
            for (int p = 0; p < 3; p++)
                k->row_norm(&r, p, 3);
            /* A row of one channel is 0/0-like: only its eps keeps it finite. */
            near(out, want, (int64_t)rows * ld, 3e-5, "row_norm");
            q.codes = codes;
            q.row_scale = scales;
            q.tap = out;
            q.tap_ld = ld;
            k->row_norm(&q, 0, 1);
            near(out, want, (int64_t)rows * ld, 3e-5, "row_norm tap");
            near(scales, want_scales, rows, 1e-5, "scale");
            near_codes(codes, want_codes, (int64_t)rows * codes_ld);
            q.tap = NULL;
        }
    }
    free(x), free(w), free(b), free(mod), free(out), free(want), free(scales), free(want_scales), free(codes), free(want_codes);
}
END_TEST

START_TEST(what_is_not_finite_is_not_lost)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int i = 0; i < 3; i++)
            for (int at = 0; at < 40; at += 13) {
                const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
                float x[40], scale = 0, workspace[4];
                uint8_t codes[64];
                for (int c = 0; c < 40; c++)
                    x[c] = c == at ? bad[i] : 1;
                struct row_norm r = {.x = x, .x_ld = 40, .images = 1, .rows_per_image = 1, .channels = 40, .codes = codes,
                                     .codes_ld = 64, .row_scale = &scale};
                k->row_norm(&r, 0, 1);
                ck_assert(isnan(scale));
                scale = 0;
                struct image_quantize q = {x, 40, 1, 1, 40, codes, 64, &scale, workspace};
                k->image_quantize(&q, 0, 0, 1);
                k->image_quantize(&q, 1, 0, 1);
                ck_assert(isnan(scale));
            }
}
END_TEST

static void run_group_norm(const struct cpu_kernels *k, const struct group_norm *g, int parts)
{
    for (int phase = 0; phase < (g->codes[0] ? 4 : 3); phase++)
        for (int p = 0; p < parts; p++)
            k->group_norm(g, phase, p, parts);
}

START_TEST(group_norm_equals_reference)
{
    static const struct {
        int c0, c1, groups, pixels;
    } cases[] = {{8, 0, 8, 5}, {32, 0, 8, 784}, {64, 96, 8, 49}, {320, 0, 32, 130}, {6, 6, 4, 64}, {96, 32, 32, 65}, {1, 0, 1, 1}};
    int c0 = cases[_i].c0, c1 = cases[_i].c1, all = c0 + c1, images = 2, pixels = cases[_i].pixels;
    int64_t rows = (int64_t)images * pixels, ld = all + 5, codes_ld = (all + 63) / 64 * 64;
    float *x0 = floats(rows * ld), *x1 = floats(rows * ld), *w = floats(all), *b = floats(all), *mod = floats(4 * all);
    float *out = floats(rows * ld), *want = copy_of(out, rows * ld), *scale[2] = {floats(2), floats(2)};
    float *want_scale[2] = {floats(2), floats(2)};
    uint8_t *codes[2], *want_codes[2];
    for (int i = 0; i < 2; i++) {
        codes[i] = malloc((size_t)(rows * codes_ld));
        want_codes[i] = malloc((size_t)(rows * codes_ld));
    }
    for (int64_t i = 0; i < rows * ld; i++)
        x0[i] = x0[i] * 3 + 10; /* a mean that a naive variance would choke on */
    for (int option = 0; option < 8; option++) {
        struct group_norm g = {.x = {x0, c1 ? x1 : NULL}, .x_ld = {ld, ld}, .channels = {c0, c1}, .images = images,
                               .pixels = pixels, .groups = cases[_i].groups, .eps = 1e-5f, .act = option & 4 ? ACT_SILU : ACT_NONE,
                               .out = want, .out_ld = ld};
        if (option & 1)
            g.weight = w, g.bias = b;
        if (option & 2)
            g.scale = mod, g.shift = mod + all, g.mod_ld = 2 * all;
        g.workspace = floats((int64_t)group_norm_workspace(&g));
        run_group_norm(cpu_kernels(CPU_REF), &g, 1);
        struct group_norm q = g;
        q.out = NULL;
        for (int i = 0; i < 2; i++)
            q.codes[i] = want_codes[i], q.image_scale[i] = want_scale[i], q.codes_ld[i] = codes_ld;
        run_group_norm(cpu_kernels(CPU_REF), &q, 1);
        FOR_LEVELS(k)
        {
            g.out = out;
            run_group_norm(k, &g, 1);
            near(out, want, rows * ld, 4e-5, "group_norm");
            float *once = copy_of(out, rows * ld);
            run_group_norm(k, &g, 3);
            ck_assert(!memcmp(once, out, (size_t)(rows * ld) * 4));
            free(once);
            for (int i = 0; i < 2; i++)
                q.codes[i] = codes[i], q.image_scale[i] = scale[i];
            run_group_norm(k, &q, 2);
            for (int i = 0; i < (c1 ? 2 : 1); i++) {
                near(scale[i], want_scale[i], images, 4e-5, "scale");
                for (int64_t r = 0; r < rows; r++)
                    near_codes(codes[i] + r * codes_ld, want_codes[i] + r * codes_ld, ((i ? c1 : c0) + 63) / 64 * 64);
            }
        }
        free(g.workspace);
    }
    for (int i = 0; i < 2; i++)
        free(codes[i]), free(want_codes[i]), free(scale[i]), free(want_scale[i]);
    free(x0), free(x1), free(w), free(b), free(mod), free(out), free(want);
}
END_TEST

START_TEST(image_quantize_equals_reference)
{
    int channels = widths[_i], rows = 70, images = 2, codes_ld = (channels + 63) / 64 * 64;
    float *x = floats((int64_t)images * rows * channels), scale[2], want_scale[2], workspace[8];
    uint8_t *codes = malloc((size_t)(images * rows * codes_ld)), *want = malloc((size_t)(images * rows * codes_ld));
    struct image_quantize q = {x, channels, images, rows, channels, want, codes_ld, want_scale, workspace};
    for (int phase = 0; phase < 2; phase++)
        cpu_kernels(CPU_REF)->image_quantize(&q, phase, 0, 1);
    FOR_LEVELS(k)
    {
        q.codes = codes;
        q.image_scale = scale;
        for (int phase = 0; phase < 2; phase++)
            for (int p = 0; p < 3; p++)
                k->image_quantize(&q, phase, p, 3);
        near(scale, want_scale, 2, 0, "scale");
        near_codes(codes, want, (int64_t)images * rows * codes_ld);
    }
    free(x), free(codes), free(want);
}
END_TEST

START_TEST(attention_equals_reference)
{
    static const struct {
        int images, heads, dim, queries, keys, causal;
    } cases[] = {{1, 1, 16, 1, 1, 0},    {2, 3, 16, 49, 49, 0}, {1, 2, 72, 130, 130, 0}, {1, 1, 40, 20, 77, 0},
                 {1, 2, 33, 150, 150, 1}, {1, 1, 300, 17, 257, 0}, {2, 1, 5, 3, 129, 0}};
    struct attention a = {.images = cases[_i].images, .heads = cases[_i].heads, .head_dim = cases[_i].dim,
                          .queries = cases[_i].queries, .keys = cases[_i].keys, .causal = cases[_i].causal};
    int64_t ld = a.heads * a.head_dim + 3;
    float *q = floats(a.images * a.queries * ld), *k = floats(a.images * a.keys * ld), *v = floats(a.images * a.keys * ld);
    float *out = floats(a.images * a.queries * ld), *want = copy_of(out, a.images * a.queries * ld);
    for (int64_t i = 0; i < a.images * a.queries * ld; i++)
        q[i] *= 6; /* scores that make some weights tiny */
    a.q = q, a.k = k, a.v = v, a.q_ld = a.k_ld = a.v_ld = a.out_ld = ld;
    a.q_image_ld = a.out_image_ld = a.queries * ld;
    a.k_image_ld = a.v_image_ld = a.keys * ld;
    a.scale = 1 / sqrtf((float)a.head_dim);
    a.scratch_ld = attention_scratch(&a);
    a.scratch = floats(3 * (int64_t)a.scratch_ld);
    a.out = want;
    cpu_kernels(CPU_REF)->attention(&a, 0, 1);
    FOR_LEVELS(kernels)
    {
        a.out = out;
        kernels->attention(&a, 0, 1);
        near(out, want, a.images * a.queries * ld, 1e-5, "attention");
        float *once = copy_of(out, a.images * a.queries * ld);
        for (int p = 2; p >= 0; p--)
            kernels->attention(&a, p, 3);
        ck_assert(!memcmp(once, out, (size_t)(a.images * a.queries * ld) * 4));
        free(once);
    }
    free(q), free(k), free(v), free(out), free(want), free(a.scratch);
}
END_TEST

START_TEST(elementwise_and_cache_reads_equal_reference)
{
    int channels = widths[_i] < 2000 ? widths[_i] : 100, rows = 12, ld = channels + 2;
    float *a = floats((int64_t)rows * ld), *b = floats((int64_t)rows * ld), *out = floats((int64_t)rows * ld);
    float *want = copy_of(out, (int64_t)rows * ld);
    for (int act = ACT_NONE; act <= ACT_SIGMOID; act++)
        for (int option = 0; option < 12; option++) {
            for (int64_t i = 0; i < (int64_t)rows * ld; i++)
                a[i] = noise() * (option % 2 ? 1 : 30);
            struct elementwise e = {.a = a, .a_ld = ld, .images = 2, .rows_per_image = 6, .channels = channels,
                                    .b = option < 9 ? b : NULL, .b_ld = ld, .b_kind = (enum operand_kind)(option % 3),
                                    .op = (enum binary_kind)(option / 3 % 3), .act = (enum activation)act,
                                    .scale = option == 10 ? 0.25f : 0, .out = want, .out_ld = ld};
            struct cache_read r = {.cache = a, .a = option & 1 ? b : NULL, .b = option & 1 ? b + 1 : NULL, .cache_ld = ld,
                                   .images = 2, .rows_per_image = 6, .channels = channels, .out = want, .out_ld = ld};
            if (option & 2)
                r.epilogue.gate = b, r.epilogue.gate_ld = channels;
            if (option & 4)
                r.epilogue.residual = b, r.epilogue.residual_ld = ld;
            FOR_LEVELS(k)
            {
                e.out = want;
                cpu_kernels(CPU_REF)->elementwise(&e, 0, 1);
                e.out = out;
                k->elementwise(&e, 0, 2);
                k->elementwise(&e, 1, 2);
                near(out, want, (int64_t)rows * ld, 3e-6, "elementwise");
                r.out = want;
                cpu_kernels(CPU_REF)->cache_read(&r, 0, 1);
                r.out = out;
                k->cache_read(&r, 1, 2);
                k->cache_read(&r, 0, 2);
                near(out, want, (int64_t)rows * ld, 3e-6, "cache_read");
            }
        }
    free(a), free(b), free(out), free(want);
}
END_TEST

int main(void)
{
    int count = (int)(sizeof widths / sizeof *widths);
    Suite *s = suite_create("rows");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, row_norm_equals_reference, 1, count);
    tcase_add_test(t, what_is_not_finite_is_not_lost);
    tcase_add_loop_test(t, group_norm_equals_reference, 0, 7);
    tcase_add_loop_test(t, image_quantize_equals_reference, 0, count);
    tcase_add_loop_test(t, attention_equals_reference, 0, 7);
    tcase_add_loop_test(t, elementwise_and_cache_reads_equal_reference, 0, count);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
