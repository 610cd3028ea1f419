/* Group norm on CUDA against the scalar reference: blocks of 64 pixels and their ends, one and two sources
 * with groups across the seam, modulation, activations, codes with a scale for each side. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"

struct shape {
    int images, pixels, channels[2], groups, apart;
};

static const struct shape shapes[] = {
    {1, 1, {1, 0}, 1, 0},    {2, 63, {6, 0}, 3, 1}, {1, 64, {32, 0}, 32, 0},  {2, 65, {40, 24}, 16, 0},
    {1, 300, {10, 6}, 4, 0}, {3, 70, {5, 7}, 2, 3}, {1, 9, {320, 200}, 8, 0}, {2, 2500, {8, 0}, 2, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };
enum { AFFINE = 1, MODULATE = 2, CODES = 4, TAP = 8 };

struct data {
    struct group_norm g;
    float *x[2], *weight, *bias, *scale, *shift, *out, *tap, *workspace;
    struct code_scale *image_scale[2];
    uint8_t *codes[2];
    int64_t rows, count;
    int channels;
};

static void make(struct data *d, const struct shape *s, int pieces, enum activation act)
{
    d->channels = s->channels[0] + s->channels[1];
    d->rows = (int64_t)s->images * s->pixels;
    int64_t ld = d->channels + s->apart;
    d->count = (d->rows - 1) * ld + d->channels;
    d->weight = floats(d->channels, 2, 1, 1);
    d->bias = floats(d->channels, 3, 1, 0);
    d->scale = floats((int64_t)s->images * d->channels, 4, 1, 0);
    d->shift = floats((int64_t)s->images * d->channels, 5, 1, 0);
    d->out = floats(d->count, 6, 1, 0);
    d->tap = floats(d->count, 7, 1, 0);
    d->g = (struct group_norm){.images = s->images,
                               .pixels = s->pixels,
                               .groups = s->groups,
                               .eps = 1e-5f,
                               .weight = pieces & AFFINE ? d->weight : NULL,
                               .bias = pieces & AFFINE ? d->bias : NULL,
                               .scale = pieces & MODULATE ? d->scale : NULL,
                               .shift = pieces & MODULATE ? d->shift : NULL,
                               .mod_ld = d->channels,
                               .act = act,
                               .out = pieces & CODES ? NULL : d->out,
                               .out_ld = ld,
                               .tap = pieces & TAP ? d->tap : NULL,
                               .tap_ld = ld};
    for (int i = 0; i < 2; i++) {
        int64_t x_ld = s->channels[i] + s->apart, codes_ld = (s->channels[i] + 63) / 64 * 64;
        d->x[i] = floats(d->rows * x_ld, 11 + (unsigned)i, 2, 30); /* a mean far larger than the deviation */
        d->codes[i] = calloc((size_t)(d->rows * codes_ld + 1), 1);
        d->image_scale[i] = calloc((size_t)s->images, sizeof *d->image_scale[i]);
        d->g.x[i] = d->x[i];
        d->g.x_ld[i] = x_ld;
        d->g.channels[i] = s->channels[i];
        d->g.codes[i] = pieces & CODES ? d->codes[i] : NULL;
        d->g.codes_ld[i] = codes_ld;
        d->g.image_scale[i] = d->image_scale[i];
    }
    d->workspace = d->g.workspace =
        aligned_alloc(64, (group_norm_workspace(&d->g) * sizeof(float) + 63) / 64 * 64);
}

static void release(struct data *d)
{
    for (int i = 0; i < 2; i++)
        free(d->x[i]), free(d->codes[i]), free(d->image_scale[i]);
    free(d->weight), free(d->bias), free(d->scale), free(d->shift), free(d->out), free(d->tap),
        free(d->workspace);
}

static void run_reference(struct data *d, int phases)
{
    for (int phase = 0; phase < phases; phase++)
        cpu_kernels(CPU_REF)->group_norm(&d->g, phase, 0, 1);
}

static void run_cuda(struct data *d)
{
    struct cuda_launches l;
    cuda_group_norm(&d->g, &l);
    run_launches(&l, 4);
}

static void check_codes(const struct data *want, const struct data *got, int side)
{
    const struct group_norm *g = &got->g;
    scales_near(got->image_scale[side], want->image_scale[side], g->images, 1e-5);
    for (int64_t row = 0; row < got->rows; row++)
        codes_fit(got->codes[side] + row * g->codes_ld[side],
                  got->tap + row * g->tap_ld + (side ? g->channels[0] : 0),
                  &got->image_scale[side][row / g->pixels], g->channels[side], g->codes_ld[side], "codes");
}

/* Values of 30 with a deviation near 1: an input's last place is 2^-19 of the deviation, the mean's error as
 * much. */
START_TEST(every_shape_equals_the_reference)
{
    for (int pieces = 0; pieces < 16; pieces++) {
        struct data want, got;
        enum activation act = pieces % 3 ? ACT_SILU : ACT_NONE;
        make(&want, &shapes[_i], pieces, act);
        make(&got, &shapes[_i], pieces, act);
        run_reference(&want, pieces & CODES ? 4 : 3);
        run_cuda(&got);
        near(got.out, want.out, got.count, 2e-5, "out");
        near(got.tap, want.tap, got.count, 2e-5, "tap");
        for (int side = 0; pieces & CODES && pieces & TAP && side < (got.g.channels[1] ? 2 : 1); side++)
            check_codes(&want, &got, side);
        release(&want);
        release(&got);
    }
}
END_TEST

START_TEST(bfloat16_is_the_rounded_result)
{
    struct data d;
    make(&d, &shapes[_i], AFFINE | TAP, ACT_SILU);
    d.g.out_bf16 = halves(d.out, d.count);
    d.g.out_bf16_ld = d.g.out_ld;
    run_cuda(&d);
    for (int64_t row = 0; row < d.rows; row++)
        for (int c = 0; c < d.channels; c++)
            ck_assert(from_half(d.g.out_bf16[row * d.g.out_ld + c]) == as_bf16(d.tap[row * d.g.tap_ld + c]));
    free(d.g.out_bf16);
    release(&d);
}
END_TEST

START_TEST(bits_do_not_depend_on_the_batch)
{
    struct data all, one;
    make(&all, &shapes[3], AFFINE | MODULATE, ACT_SILU);
    make(&one, &shapes[3], AFFINE | MODULATE, ACT_SILU);
    run_cuda(&all);
    one.g.images = 1;
    for (int i = 0; i < 2; i++)
        one.g.x[i] += one.g.pixels * one.g.x_ld[i];
    one.g.scale += one.g.mod_ld;
    one.g.shift += one.g.mod_ld;
    run_cuda(&one);
    equal(one.out, all.out + all.g.pixels * all.g.out_ld,
          all.g.pixels * all.g.out_ld * (int64_t)sizeof(float), "image");
    release(&all);
    release(&one);
}
END_TEST

/* A constant group has no deviation but eps; a bad value is seen in its image's scale alone. */
START_TEST(constants_and_bad_values)
{
    struct shape s = {2, 100, {8, 0}, 2, 0};
    struct data d;
    make(&d, &s, CODES, ACT_NONE);
    for (int i = 0; i < 2 * 100 * 8; i++)
        d.x[0][i] = i % 8 < 4 ? 5 : d.x[0][i];
    d.x[0][100 * 8 + 6] = NAN;
    run_cuda(&d);
    ck_assert(isfinite(d.image_scale[0][0].scale) && isnan(d.image_scale[0][1].scale));
    for (int c = 0; c < 4; c++)
        ck_assert_int_eq(d.codes[0][c], d.image_scale[0][0].zero);
    release(&d);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("group norm");
    tcase_add_loop_test(t, every_shape_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, bfloat16_is_the_rounded_result, 0, SHAPES);
    tcase_add_test(t, bits_do_not_depend_on_the_batch);
    tcase_add_test(t, constants_and_bad_values);
    return run_suite(t, "cuda group norm");
}
