/* Group norm: every level against the scalar reference, for one and two sources with groups on both sides of
 * the seam; moments of the result; accuracy far from zero; the same bits for any split, in any batch and in
 * place. */
#include "kernels/cpu/tests/kernel_test.h"

struct shape {
    int channels[2], groups, pixels;
};

static const struct shape shapes[] = {
    {{8, 0}, 8, 5},     {{32, 0}, 8, 784},    {{64, 96}, 8, 49},   {{320, 0}, 32, 130}, {{6, 6}, 4, 64},
    {{96, 32}, 32, 65}, {{1, 0}, 1, 7},       {{10, 0}, 1, 63},    {{33, 47}, 5, 127},  {{17, 0}, 17, 3},
    {{5, 3}, 2, 200},   {{130, 126}, 32, 16}, {{64, 0}, 16, 1025}, {{640, 320}, 32, 9},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, IMAGES = 3 };
enum { WEIGHT = 1, BIAS = 2, SCALE = 4, SHIFT = 8, OPTIONS = 16, MOST_PARTS = 5 };

struct data {
    struct group_norm g;
    float *x[2], *weight, *bias, *mod, *out, *tap;
    struct code_scale *scale[2];
    uint8_t *codes[2];
    int64_t rows;
};

static void make(struct data *d, const struct shape *s, int option, enum activation act)
{
    int all = s->channels[0] + s->channels[1];
    memset(d, 0, sizeof *d);
    d->rows = (int64_t)IMAGES * s->pixels;
    d->g = (struct group_norm){.channels = {s->channels[0], s->channels[1]},
                               .images = IMAGES,
                               .pixels = s->pixels,
                               .groups = s->groups,
                               .eps = 1e-5f,
                               .mod_ld = 2 * all,
                               .act = act,
                               .out_ld = all + 5,
                               .tap_ld = all + 2};
    for (int side = 0; side < (s->channels[1] ? 2 : 1); side++) {
        d->g.x_ld[side] = s->channels[side] + 3 - side;
        d->g.codes_ld[side] = (s->channels[side] + 63) / 64 * 64 + 64;
        d->g.x[side] = d->x[side] = floats(d->rows * d->g.x_ld[side], 1u + (unsigned)side, 3, side ? -2 : 10);
        d->codes[side] = malloc((size_t)(d->rows * d->g.codes_ld[side]));
        d->scale[side] = calloc(IMAGES, sizeof *d->scale[side]);
    }
    d->weight = floats(all, 3, 1, 0.5f);
    d->bias = floats(all, 4, 1, 0);
    d->mod = floats(IMAGES * 2 * all, 5, 1, 0);
    d->out = floats(d->rows * d->g.out_ld, 6, 1, 0);
    d->tap = floats(d->rows * d->g.tap_ld, 7, 1, 0);
    d->g.weight = option & WEIGHT ? d->weight : NULL;
    d->g.bias = option & BIAS ? d->bias : NULL;
    d->g.scale = option & SCALE ? d->mod : NULL;
    d->g.shift = option & SHIFT ? d->mod + all : NULL;
    d->g.workspace = floats((int64_t)group_norm_workspace(&d->g), 8, 1, 0);
}

static void release(struct data *d)
{
    for (int side = 0; side < 2; side++)
        free(d->x[side]), free(d->codes[side]), free(d->scale[side]);
    free(d->weight), free(d->bias), free(d->mod), free(d->out), free(d->tap), free(d->g.workspace);
}

static struct group_norm to_codes(const struct data *d)
{
    struct group_norm g = d->g;
    for (int side = 0; side < 2; side++) {
        g.codes[side] = d->codes[side];
        g.image_scale[side] = d->scale[side];
    }
    g.out = NULL;
    return g;
}

static void run(const struct cpu_kernels *k, const struct group_norm *g, int parts)
{
    for (int phase = 0; phase < (g->codes[0] ? 4 : 3); phase++)
        for (int p = parts - 1; p >= 0; p--)
            k->group_norm(g, phase, p, parts);
}

/* Codes and scales against the reference's values. */
static void compare_codes(const struct data *d, const float *value, int64_t value_ld, const char *level)
{
    for (int side = 0, first = 0; side < 2 && d->g.channels[side]; first += d->g.channels[side++])
        for (int64_t row = 0; row < d->rows; row++) {
            int64_t image = row / d->g.pixels;
            if (row % d->g.pixels == 0)
                scale_fits(&d->scale[side][image], value + row * value_ld + first, value_ld, d->g.pixels,
                           d->g.channels[side], 2e-6, level);
            codes_fit(d->codes[side] + row * d->g.codes_ld[side], value + row * value_ld + first,
                      &d->scale[side][image], d->g.channels[side], d->g.codes_ld[side], level);
        }
}

START_TEST(every_level_equals_the_reference)
{
    static const enum activation acts[] = {ACT_NONE, ACT_SILU, ACT_GELU_ERF};
    for (int option = 0; option < OPTIONS; option++) {
        struct data want, got;
        enum activation act = acts[option % 3];
        make(&want, &shapes[_i], option, act);
        want.g.out = want.out, want.g.tap = want.tap;
        run(cpu_kernels(CPU_REF), &want.g, 1);
        FOR_LEVELS(k)
        {
            make(&got, &shapes[_i], option, act);
            got.g.out = got.out, got.g.tap = got.tap;
            run(k, &got.g, 1);
            /* Some roundings of values of size up to 3, times modulation up to 2. */
            near(got.out, want.out, want.rows * want.g.out_ld, 2e-6, "out");
            near(got.tap, want.tap, want.rows * want.g.tap_ld, 2e-6, "tap");
            struct group_norm g = to_codes(&got);
            g.tap = NULL;
            run(k, &g, 1);
            compare_codes(&got, want.tap, want.g.tap_ld, cpu_level_name(k->level));
            g.tap = got.tap;
            memset(got.tap, 0, (size_t)(got.rows * g.tap_ld) * sizeof *got.tap);
            run(k, &g, 1);
            for (int64_t r = 0; r < got.rows; r++)
                near(got.tap + r * g.tap_ld, want.tap + r * g.tap_ld, g.channels[0] + g.channels[1], 2e-6,
                     "tap beside codes");
            release(&got);
        }
        release(&want);
    }
}
END_TEST

START_TEST(split_batch_and_place_do_not_change_a_bit)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data whole, other;
        make(&whole, &shapes[_i], OPTIONS - 1, ACT_SILU);
        make(&other, &shapes[_i], OPTIONS - 1, ACT_SILU);
        whole.g.out = whole.out, other.g.out = other.out;
        struct group_norm a = to_codes(&whole), b = to_codes(&other);
        run(k, &whole.g, 1);
        run(k, &a, 1);
        for (int parts = 2; parts <= MOST_PARTS; parts++) {
            run(k, &other.g, parts);
            run(k, &b, parts);
            equal(other.out, whole.out, whole.rows * a.out_ld * (int64_t)sizeof(float), "parts");
            for (int side = 0; side < 2 && a.channels[side]; side++) {
                equal(other.codes[side], whole.codes[side], whole.rows * a.codes_ld[side], "codes of parts");
                equal(other.scale[side], whole.scale[side], IMAGES * (int64_t)sizeof *whole.scale[side],
                      "scales of parts");
            }
        }
        /* The last image alone. */
        int all = a.channels[0] + a.channels[1], last = IMAGES - 1;
        int64_t skip = (int64_t)last * a.pixels;
        for (int side = 0; side < 2 && a.channels[side]; side++)
            other.g.x[side] += skip * a.x_ld[side];
        other.g.images = 1;
        other.g.scale += last * a.mod_ld;
        other.g.shift += last * a.mod_ld;
        run(k, &other.g, 2);
        for (int r = 0; r < a.pixels; r++)
            equal(other.out + r * a.out_ld, whole.out + (skip + r) * a.out_ld, all * (int64_t)sizeof(float),
                  "alone");
        if (!a.channels[1]) {
            whole.g.out = whole.x[0];
            whole.g.out_ld = a.x_ld[0];
            run(k, &whole.g, 2);
            for (int64_t r = 0; r < whole.rows; r++)
                equal(whole.x[0] + r * a.x_ld[0], whole.out + r * a.out_ld, all * (int64_t)sizeof(float),
                      "in place");
        }
        release(&whole);
        release(&other);
    }
}
END_TEST

/* By definition: without an affine part every group comes out with mean 0 and variance v / (v + eps). */
START_TEST(groups_have_mean_zero_and_variance_one)
{
    const struct shape *s = &shapes[_i];
    int width = (s->channels[0] + s->channels[1]) / s->groups;
    for (int level = CPU_REF; s->pixels * width > 1 && level <= (int)cpu_best_level(); level++) {
        struct data d;
        make(&d, s, 0, ACT_NONE);
        d.g.out = d.out;
        run(cpu_kernels((enum cpu_level)level), &d.g, 2);
        for (int i = 0; i < IMAGES * s->groups; i++) {
            double sum = 0, square = 0, n = (double)s->pixels * width;
            for (int64_t p = 0; p < s->pixels; p++)
                for (int c = 0; c < width; c++) {
                    double v =
                        d.out[(i / s->groups * s->pixels + p) * d.g.out_ld + i % s->groups * width + c];
                    sum += v;
                    square += v * v;
                }
            if (!(fabs(sum / n) < 2e-6 && fabs(square / n - 1) < 3e-4))
                ck_abort_msg("level %d, group %d: mean %g, square %g", level, i, sum / n, square / n);
        }
        release(&d);
    }
}
END_TEST

/* 64 x 64 pixels around 1000 with deviation 0.58 or so: all must come out to 1e-6, although squares less
 * squares in float would lose everything, and half a step of a float mean is 5e-5 deviations. x holds
 * multiples of 2^-14, exact in float, so only our sums can be wrong. */
START_TEST(far_from_zero)
{
    enum { PIXELS = 4096, WIDTH = 10, CHANNELS = 2 * WIDTH };
    float *x = floats(PIXELS * CHANNELS, 11, 1, 0), *out = floats(PIXELS * CHANNELS, 12, 1, 0);
    for (int i = 0; i < PIXELS * CHANNELS; i++)
        x[i] = rintf(x[i] * 16384) / 16384 + 1000;
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        struct group_norm g = {.x = {x},
                               .x_ld = {CHANNELS},
                               .channels = {CHANNELS},
                               .images = 1,
                               .pixels = PIXELS,
                               .groups = 2,
                               .eps = 0,
                               .out = out,
                               .out_ld = CHANNELS};
        g.workspace = floats((int64_t)group_norm_workspace(&g), 13, 1, 0);
        run(cpu_kernels((enum cpu_level)level), &g, 1);
        for (int group = 0; group < 2; group++) {
            double mean = 0, square = 0, n = (double)PIXELS * WIDTH;
            for (int i = 0; i < PIXELS * WIDTH; i++)
                mean += x[i / WIDTH * CHANNELS + group * WIDTH + i % WIDTH] / n;
            for (int i = 0; i < PIXELS * WIDTH; i++)
                square += pow(x[i / WIDTH * CHANNELS + group * WIDTH + i % WIDTH] - mean, 2) / n;
            for (int i = 0; i < PIXELS * WIDTH; i++) {
                int at = i / WIDTH * CHANNELS + group * WIDTH + i % WIDTH;
                double want = (x[at] - mean) / sqrt(square);
                if (!(fabs(out[at] - want) <= 1e-6))
                    ck_abort_msg("level %d: %.9g, expected %.9g", level, out[at], want);
            }
        }
        free(g.workspace);
    }
    free(x), free(out);
}
END_TEST

/* One bad value in either source makes the scale of its side NaN, in its image only. */
START_TEST(what_is_not_finite_is_not_lost)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct shape s = {{20, 12}, 8, 70};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int i = 0; i < 6; i++)
            for (int act = ACT_NONE; act <= ACT_SIGMOID; act++) {
                struct data d;
                int side = i / 3, pixel = 13 * (act + i) % 70, channel = (act * 5 + i) % s.channels[side];
                make(&d, &s, WEIGHT, (enum activation)act);
                d.x[side][(70 + pixel) * d.g.x_ld[side] + channel] = bad[i % 3];
                struct group_norm g = to_codes(&d);
                run(cpu_kernels((enum cpu_level)level), &g, 2);
                ck_assert(isfinite(d.scale[side][0].scale) && isnan(d.scale[side][1].scale) &&
                          isfinite(d.scale[side][2].scale));
                release(&d);
            }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("group_norm");
    tcase_add_loop_test(t, every_level_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, split_batch_and_place_do_not_change_a_bit, 0, SHAPES);
    tcase_add_loop_test(t, groups_have_mean_zero_and_variance_one, 0, SHAPES);
    tcase_add_test(t, far_from_zero);
    tcase_add_test(t, what_is_not_finite_is_not_lost);
    return run_suite(t, "group_norm");
}
