/* The sampler's step and changes of layout on CUDA against their description in launch.h, in double. That the
 * numbers are those of the samplers is a matter of common/run. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"

enum { IMAGES = 2, PIXELS = 35, CHANNELS = 3, SIZE = PIXELS * CHANNELS, COUNT = IMAGES * SIZE };

struct data {
    struct cuda_step s;
    float *cond, *uncond, *noise, *x, *history[STEP_HISTORY], *input[2];
    unsigned failed;
};

static void make(struct data *d, int doubled, int guided, int noisy, unsigned seed)
{
    int out_channels = doubled ? 2 * CHANNELS : CHANNELS;
    memset(d, 0, sizeof *d);
    d->cond = floats(IMAGES * PIXELS * out_channels, seed, 1, 0.2f);
    d->uncond = floats(IMAGES * PIXELS * out_channels, seed + 1, 1, 0);
    d->noise = floats(COUNT, seed + 2, 1, 0);
    d->x = floats(COUNT, seed + 3, 2, 0);
    d->s = (struct cuda_step){.images = IMAGES,
                              .pixels = PIXELS,
                              .channels = CHANNELS,
                              .out_channels = out_channels,
                              .cond = d->cond,
                              .uncond = guided ? d->uncond : NULL,
                              .noise = noisy ? d->noise : NULL,
                              .x = d->x,
                              .failed = &d->failed,
                              .guidance = 3.5f,
                              .input_scale = 0.8f};
    for (int k = 0; k < STEP_HISTORY; k++)
        d->s.history[k] = d->history[k] = floats(COUNT, seed + 10 + (unsigned)k, 1, 0);
    for (int k = 0; k < 2; k++)
        d->s.input[k] = d->input[k] = floats(COUNT, seed + 20 + (unsigned)k, 1, 0);
}

static void release(struct data *d)
{
    free(d->cond), free(d->uncond), free(d->noise), free(d->x), free(d->input[0]), free(d->input[1]);
    for (int k = 0; k < STEP_HISTORY; k++)
        free(d->history[k]);
}

/* Every number somewhere, histories read and written as the masks say; what is not read is NaN. */
static void make_numbers(struct data *d, enum step_variance variance, unsigned seed)
{
    struct step_numbers *n = &d->s.numbers;
    unsigned state = seed;
    *n = (struct step_numbers){.picture_of = {1.5f, -0.7f},
                               .clip = seed % 2 ? 1 : 0,
                               .writes = seed * 11 % 64,
                               .reads = seed * 7 % 64,
                               .variance = variance,
                               .low = -3,
                               .high = -0.5f};
    for (int t = 0; t <= STEP_HISTORY; t++)
        for (int i = 0; i < STEP_INPUTS; i++) {
            int there = i < STEP_NOISE ||
                        (i == STEP_NOISE ? d->s.noise != NULL : n->reads >> (i - STEP_FIRST_HISTORY) & 1);
            n->to[t][i] = there ? noise(&state) : 0;
        }
    for (int k = 0; k < STEP_HISTORY; k++)
        for (int i = 0; !(n->reads >> k & 1) && i < COUNT; i++)
            d->history[k][i] = NAN;
}

static double deviation(const struct step_numbers *n, double v)
{
    double share = (v + 1) / 2;
    return n->variance == STEP_FIXED   ? 1
           : n->variance == STEP_RANGE ? exp((share * n->high + (1 - share) * n->low) / 2)
                                       : sqrt(v);
}

/* Element (image, pixel, channel): targets, by the description. */
static void expect(const struct data *d, int image, int pixel, int c, double *target)
{
    const struct cuda_step *s = &d->s;
    const struct step_numbers *n = &s->numbers;
    int64_t row = (int64_t)image * PIXELS + pixel, at = row * CHANNELS + c, from = row * s->out_channels + c;
    double out = s->cond[from], x = d->x[at], in[STEP_INPUTS] = {0};
    if (s->uncond)
        out = s->uncond[from] + s->guidance * (out - s->uncond[from]);
    double picture = n->picture_of[0] * x + n->picture_of[1] * out;
    in[STEP_X] = x;
    in[STEP_OUT] = out;
    in[STEP_PICTURE] = n->clip > 0 ? fmax(-n->clip, fmin(n->clip, picture)) : picture;
    if (s->noise)
        in[STEP_NOISE] = d->noise[(image * CHANNELS + c) * PIXELS + pixel] *
                         (n->variance ? deviation(n, s->cond[from + CHANNELS]) : 1);
    for (int k = 0; k < STEP_HISTORY; k++)
        in[STEP_FIRST_HISTORY + k] = n->reads >> k & 1 ? d->history[k][at] : 0;
    for (int t = 0; t <= STEP_HISTORY; t++) {
        target[t] = 0;
        for (int i = 0; i < STEP_INPUTS; i++)
            target[t] += n->to[t][i] * in[i];
    }
}

static void run(struct data *d)
{
    struct cuda_launches l;
    cuda_step(&d->s, &l);
    run_launches(&l, 9);
}

START_TEST(a_step_is_what_it_is_described_to_be)
{
    struct data want, got;
    enum step_variance variance = _i % 4 == 1 ? STEP_RANGE : _i % 4 == 3 ? STEP_LEARNED : STEP_FIXED;
    int noisy = _i % 5 > 0;
    make(&want, _i % 2, _i % 3 > 0, noisy, 50);
    make(&got, _i % 2, _i % 3 > 0, noisy, 50);
    if (variance == STEP_LEARNED)
        for (int i = 0; i < IMAGES * PIXELS * 2 * CHANNELS; i++)
            want.cond[i] = got.cond[i] = fabsf(want.cond[i]);
    make_numbers(&want, variance, (unsigned)_i);
    make_numbers(&got, variance, (unsigned)_i);
    run(&got);
    for (int at = 0; at < COUNT; at++) {
        double target[1 + STEP_HISTORY];
        expect(&want, at / SIZE, at % SIZE / CHANNELS, at % CHANNELS, target);
        ck_assert_double_le(fabs(got.x[at] - target[0]), 1e-5);
        ck_assert_double_le(fabs(got.input[0][at] - 0.8 * target[0]), 1e-5);
        ck_assert_float_eq(got.input[0][at], got.input[1][at]);
        for (int k = 0; k < STEP_HISTORY; k++)
            if (got.s.numbers.writes >> k & 1)
                ck_assert_double_le(fabs(got.history[k][at] - target[1 + k]), 1e-5);
            else
                ck_assert(!memcmp(&got.history[k][at], &want.history[k][at], sizeof(float)));
    }
    ck_assert_uint_eq(got.failed, 0);
    release(&want);
    release(&got);
}
END_TEST

START_TEST(outputs_that_are_not_finite_are_reported)
{
    for (int where = 0; where < 4; where++) {
        struct data d;
        make(&d, 1, 1, 0, 60);
        make_numbers(&d, STEP_FIXED, 0);
        int64_t at = (IMAGES * PIXELS - 1) * 2 * CHANNELS + (where % 2 ? CHANNELS : 0);
        (where < 2 ? d.cond : d.uncond)[at] = where ? NAN : INFINITY;
        run(&d);
        ck_assert_uint_eq(d.failed, 1);
        release(&d);
    }
}
END_TEST

START_TEST(layouts_change_and_change_back)
{
    float *first = floats(COUNT, 1, 1, 0), last[COUNT], again[COUNT], back[COUNT];
    struct cuda_layout c = {first, last, again, IMAGES, PIXELS, CHANNELS, 1, 2};
    struct cuda_launches l;
    cuda_layout(&c, &l);
    run_launches(&l, 1);
    for (int at = 0; at < COUNT; at++)
        ck_assert_float_eq(last[at],
                           2 * first[at / SIZE * SIZE + at % CHANNELS * PIXELS + at % SIZE / CHANNELS]);
    equal(again, last, sizeof last, "again");
    c = (struct cuda_layout){last, back, NULL, IMAGES, PIXELS, CHANNELS, 0, 0.5f};
    cuda_layout(&c, &l);
    run_launches(&l, 2);
    equal(back, first, sizeof back, "back");
    free(first);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("steps");
    tcase_add_loop_test(t, a_step_is_what_it_is_described_to_be, 0, 40);
    tcase_add_test(t, outputs_that_are_not_finite_are_reported);
    tcase_add_test(t, layouts_change_and_change_back);
    return run_suite(t, "cuda steps");
}
