/* Norms of rows and codes of rows and images: every level against the scalar reference, known codes, values
 * that are not finite or tiny, the same bits for any split, in any batch and in place. */
#include "kernels/cpu/tests/kernel_test.h"

#include <float.h>

enum {
    WEIGHT = 1,
    BIAS = 2,
    SCALE = 4,
    SHIFT = 8,
    NORM = 16,
    TIMES = 32,
    OPTIONS = 64,
    IMAGES = 2,
    ROWS = 3,
    ALL = IMAGES * ROWS
};

/* One and a prime, whole vectors, one less and one more, more than is staged. */
static const int widths[] = {1, 7, 8, 15, 16, 17, 33, 64, 65, 127, 192, 1152, 8192, 8193, 9001};
enum { WIDTHS = sizeof widths / sizeof *widths };

struct data {
    struct row_norm r;
    float *x, *weight, *bias, *mod, *times, *out, *tap;
    struct code_scale *row_scale;
    uint8_t *codes;
};

static void make(struct data *d, int channels, int option)
{
    int64_t ld = channels + 3, codes_ld = (channels + 63) / 64 * 64 + 64;
    *d = (struct data){.x = floats(ALL * ld, 1, 2, 0.5f),
                       .weight = floats(channels, 2, 1, 0),
                       .bias = floats(channels, 3, 1, 0),
                       .mod = floats(IMAGES * 2 * channels, 4, 1, 0),
                       .times = floats(ALL * (channels + 1), 8, 1, 0),
                       .out = floats(ALL * ld, 5, 1, 0),
                       .tap = floats(ALL * ld, 6, 1, 0),
                       .row_scale = calloc(ALL, sizeof(struct code_scale)),
                       .codes = malloc((size_t)(ALL * codes_ld))};
    memset(d->x + 2 * ld, 0, (size_t)channels * sizeof *d->x);
    d->r = (struct row_norm){.x = d->x,
                             .x_ld = ld,
                             .images = IMAGES,
                             .rows_per_image = ROWS,
                             .channels = channels,
                             .norm = !!(option & NORM),
                             .eps = 1e-5f,
                             .weight = option & WEIGHT ? d->weight : NULL,
                             .bias = option & BIAS ? d->bias : NULL,
                             .scale = option & SCALE ? d->mod : NULL,
                             .shift = option & SHIFT ? d->mod + channels : NULL,
                             .mod_ld = 2 * channels,
                             .times = option & TIMES ? d->times : NULL,
                             .times_ld = channels + 1,
                             .times_act = channels % 2 ? ACT_GELU_ERF : ACT_NONE,
                             .out_ld = ld,
                             .tap_ld = ld,
                             .codes_ld = codes_ld};
}

static void release(struct data *d)
{
    free(d->x), free(d->weight), free(d->bias), free(d->mod), free(d->times), free(d->out), free(d->tap),
        free(d->row_scale), free(d->codes);
}

static struct row_norm to_codes(const struct data *d)
{
    struct row_norm r = d->r;
    r.codes = d->codes;
    r.row_scale = d->row_scale;
    return r;
}

/* Results are of size 1; sums in float lanes are good to some 1e-7 of it, times modulation. Columns between
 * rows are compared too: they must stay as they were. */
START_TEST(every_level_equals_the_reference)
{
    int channels = widths[_i];
    int64_t n = ALL * (channels + 3);
    for (int option = 0; option < OPTIONS; option++) {
        struct data want, got;
        make(&want, channels, option);
        want.r.out = want.out, want.r.tap = want.tap;
        cpu_kernels(CPU_REF)->row_norm(&want.r, 0, 1);
        FOR_LEVELS(k)
        {
            make(&got, channels, option);
            got.r.out = got.out, got.r.tap = got.tap;
            k->row_norm(&got.r, 0, 1);
            near(got.out, want.out, n, 4e-6, "out");
            near(got.tap, want.tap, n, 4e-6, "tap");
            struct row_norm r = to_codes(&got);
            r.out = NULL;
            memset(got.tap, 0, (size_t)n * sizeof *got.tap);
            for (int tapped = 1; tapped >= 0; tapped--) {
                memset(got.codes, 0, (size_t)(ALL * r.codes_ld));
                r.tap = tapped ? got.tap : NULL;
                k->row_norm(&r, 0, 1);
                for (int row = 0; row < ALL; row++) {
                    near(got.tap + row * r.tap_ld, want.tap + row * r.tap_ld, channels, 4e-6,
                         "tap beside codes");
                    codes_fit(got.codes + row * r.codes_ld, want.tap + row * r.tap_ld, &got.row_scale[row],
                              channels, r.codes_ld, cpu_level_name(k->level));
                }
            }
            release(&got);
        }
        release(&want);
    }
}
END_TEST

/* Scale and zero are those of the tapped values. */
START_TEST(scale_spans_the_values)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        struct data d;
        make(&d, widths[_i], NORM | SCALE | SHIFT);
        struct row_norm r = to_codes(&d);
        r.tap = d.tap;
        cpu_kernels((enum cpu_level)level)->row_norm(&r, 0, 1);
        for (int row = 0; row < ALL; row++)
            scale_fits(&d.row_scale[row], d.tap + row * r.tap_ld, r.tap_ld, 1, r.channels, 2e-7, "a row");
        release(&d);
    }
}
END_TEST

START_TEST(split_batch_and_place_do_not_change_a_bit)
{
    int channels = widths[_i];
    int64_t bytes = ALL * (channels + 3) * (int64_t)sizeof(float);
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data whole, other;
        make(&whole, channels, OPTIONS - 1);
        make(&other, channels, OPTIONS - 1);
        whole.r.out = whole.out;
        struct row_norm a = to_codes(&whole), b = to_codes(&other);
        k->row_norm(&whole.r, 0, 1);
        k->row_norm(&a, 0, 1);
        for (int parts = 2; parts < 8; parts++) {
            memset(other.codes, 0, (size_t)(ALL * b.codes_ld));
            other.r.out = other.out;
            for (int p = parts - 1; p >= 0; p--) {
                k->row_norm(&other.r, p, parts);
                k->row_norm(&b, p, parts);
            }
            equal(other.out, whole.out, bytes, "parts");
            equal(other.codes, whole.codes, ALL * b.codes_ld, "codes of parts");
            equal(other.row_scale, whole.row_scale, ALL * (int64_t)sizeof *whole.row_scale,
                  "scales of parts");
        }
        /* The last image alone, then everything in place. */
        other.r.images = 1;
        other.r.x += ROWS * other.r.x_ld;
        other.r.scale += other.r.mod_ld;
        other.r.shift += other.r.mod_ld;
        other.r.times += ROWS * other.r.times_ld;
        other.r.out = other.out;
        k->row_norm(&other.r, 0, 1);
        for (int row = 0; row < ROWS; row++)
            equal(other.out + row * a.out_ld, whole.out + (ROWS + row) * a.out_ld,
                  channels * (int64_t)sizeof(float), "alone");
        whole.r.out = whole.x;
        k->row_norm(&whole.r, 0, 1);
        for (int row = 0; row < ALL; row++)
            equal(whole.x + row * a.x_ld, whole.out + row * a.out_ld, channels * (int64_t)sizeof(float),
                  "in place");
        release(&whole);
        release(&other);
    }
}
END_TEST

/* Two numbers -> -1 and 1; a row far from zero keeps its digits, which squares less squares would lose. */
START_TEST(known_norms)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        float x[] = {3, 7, 4096, 4097, 4096, 4097, 4096, 4097}, out[8];
        struct row_norm r = {.x = x,
                             .x_ld = 2,
                             .images = 1,
                             .rows_per_image = 4,
                             .channels = 2,
                             .norm = 1,
                             .out = out,
                             .out_ld = 2};
        cpu_kernels((enum cpu_level)level)->row_norm(&r, 0, 1);
        for (int i = 0; i < 8; i++)
            ck_assert(out[i] == (i % 2 ? 1 : -1));
    }
}
END_TEST

/* With values from -127 to 128 the scale is 1: halves go to the even neighbour, and both ends are reached. */
START_TEST(known_codes)
{
    static const float x[] = {128,   -127,   0.5f,   1.5f, 2.5f,  -0.5f, -1.5f,
                              -2.5f, 126.5f, 126.4f, 0,    3.49f, -3.51f};
    static const uint8_t want[] = {255, 0, 127, 129, 129, 127, 125, 125, 253, 253, 127, 130, 123};
    enum { N = sizeof x / sizeof *x };
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int shift = 0; shift < 20; shift++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            float row[N + 20] = {0}, workspace[2];
            struct code_scale scale = {0};
            uint8_t codes[64];
            memcpy(row + shift, x, sizeof x);
            struct row_norm r = {.x = row,
                                 .x_ld = N + 20,
                                 .images = 1,
                                 .rows_per_image = 1,
                                 .channels = N + 20,
                                 .codes = codes,
                                 .codes_ld = 64,
                                 .row_scale = &scale};
            k->row_norm(&r, 0, 1);
            ck_assert(scale.scale == 1 && scale.zero == 127);
            equal(codes + shift, want, N, "codes of a row");
            struct image_quantize q = {row, N + 20, 1, 1, N + 20, codes, 64, &scale, workspace};
            memset(codes, 0, sizeof codes);
            scale.scale = 0;
            k->image_quantize(&q, 0, 0, 1);
            k->image_quantize(&q, 1, 0, 1);
            ck_assert(scale.scale == 1 && scale.zero == 127);
            equal(codes + shift, want, N, "codes of an image");
        }
}
END_TEST

static float scale_of(const struct cpu_kernels *k, const float *x, int norm, int image, uint8_t codes[64])
{
    struct code_scale scale = {0};
    float workspace[2];
    struct row_norm r = {.x = x,
                         .x_ld = 40,
                         .images = 1,
                         .rows_per_image = 1,
                         .channels = 40,
                         .norm = norm,
                         .codes = codes,
                         .codes_ld = 64,
                         .row_scale = &scale};
    struct image_quantize q = {x, 40, 1, 1, 40, codes, 64, &scale, workspace};
    for (int phase = 0; image && phase < 2; phase++)
        k->image_quantize(&q, phase, 0, 1);
    if (!image)
        k->row_norm(&r, 0, 1);
    return scale.scale;
}

START_TEST(what_is_not_finite_is_not_lost)
{
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int at = 0; at < 40; at++)
            for (int i = 0; i < 4; i++)
                for (int kind = 0; kind < 3; kind++) {
                    float x[40];
                    uint8_t codes[64];
                    for (int c = 0; c < 40; c++)
                        x[c] = c == at ? bad[i] : (float)c * 1e30f;
                    ck_assert(
                        isnan(scale_of(cpu_kernels((enum cpu_level)level), x, kind == 1, kind == 2, codes)));
                }
}
END_TEST

/* The largest float is still a number; a row of zeros, or one whose scale has no inverse, has codes of 0. */
START_TEST(ends_of_the_range)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int image = 0; image < 2; image++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            uint8_t codes[64], middle[64];
            float x[40] = {0};
            memset(middle, 0, sizeof middle);
            ck_assert(scale_of(k, x, 0, image, codes) == 0);
            equal(codes, middle, 64, "zeros");
            x[17] = 1e-37f;
            ck_assert(scale_of(k, x, 0, image, codes) == 1e-37f / 255.0f);
            equal(codes, middle, 64, "tiny values");
            x[17] = -FLT_MAX;
            ck_assert(scale_of(k, x, 0, image, codes) == FLT_MAX / 255.0f);
            memset(middle, 255, sizeof middle);
            middle[17] = 0;
            equal(codes, middle, 64, "the largest value");
        }
}
END_TEST

START_TEST(image_codes_equal_the_reference)
{
    enum { PIXELS = 2 * GROUP_NORM_BLOCK + 5 };
    int channels = widths[_i];
    int64_t ld = channels + 1, codes_ld = (channels + 63) / 64 * 64 + 64;
    float *x = floats(IMAGES * PIXELS * ld, 8, 3, 0.5f), workspace[IMAGES * 3 * 2];
    struct code_scale scale[IMAGES], want_scale[IMAGES];
    uint8_t *codes = malloc((size_t)(IMAGES * PIXELS * codes_ld)),
            *once = malloc((size_t)(IMAGES * PIXELS * codes_ld));
    struct image_quantize q = {x, ld, IMAGES, PIXELS, channels, once, codes_ld, want_scale, workspace};
    for (int phase = 0; phase < 2; phase++)
        cpu_kernels(CPU_REF)->image_quantize(&q, phase, 0, 1);
    FOR_LEVELS(k)
    {
        for (int parts = 1; parts < 5; parts++) {
            q.codes = parts == 1 ? once : codes;
            q.image_scale = scale;
            for (int phase = 0; phase < 2; phase++)
                for (int p = parts - 1; p >= 0; p--)
                    k->image_quantize(&q, phase, p, parts);
            equal(scale, want_scale, sizeof scale, "image scales");
            equal(q.codes, once, IMAGES * PIXELS * codes_ld, "parts");
        }
        for (int row = 0; row < IMAGES * PIXELS; row++)
            codes_fit(codes + row * codes_ld, x + row * ld, &scale[row / PIXELS], channels, codes_ld,
                      cpu_level_name(k->level));
    }
    free(x), free(codes), free(once);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("row_norm");
    tcase_add_loop_test(t, every_level_equals_the_reference, 0, WIDTHS);
    tcase_add_loop_test(t, scale_spans_the_values, 0, WIDTHS);
    tcase_add_loop_test(t, split_batch_and_place_do_not_change_a_bit, 0, WIDTHS);
    tcase_add_test(t, known_norms);
    tcase_add_test(t, known_codes);
    tcase_add_test(t, what_is_not_finite_is_not_lost);
    tcase_add_test(t, ends_of_the_range);
    tcase_add_loop_test(t, image_codes_equal_the_reference, 0, WIDTHS);
    return run_suite(t, "row_norm");
}
