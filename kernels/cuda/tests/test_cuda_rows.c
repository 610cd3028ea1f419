/* Norms, quantization, elementwise kernels and reads of caches on CUDA against the scalar reference. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"

/* ---- rows ---- */

struct rows_shape {
    int images, rows, channels, apart; /* apart: added to the distance of rows */
};

static const struct rows_shape rows_shapes[] = {
    {1, 1, 1, 0},   {2, 3, 7, 1},    {3, 5, 32, 0},   {1, 4, 128, 4},
    {2, 9, 130, 2}, {1, 3, 1152, 0}, {1, 2, 4100, 0}, {1, 2, 30000, 0},
};
enum { ROWS_SHAPES = sizeof rows_shapes / sizeof *rows_shapes };
enum { NORM = 1, AFFINE = 2, MODULATE = 4, CODES = 8, TAP = 16 };

struct rows_data {
    struct row_norm r;
    float *x, *weight, *bias, *scale, *shift, *times, *out, *tap;
    struct code_scale *row_scale;
    uint8_t *codes;
    int64_t rows, count, codes_count;
};

/* Every third combination has a gate of the same rows. */
static void make_rows(struct rows_data *d, const struct rows_shape *s, int pieces)
{
    int64_t ld = s->channels + s->apart, codes_ld = (s->channels + 63) / 64 * 64;
    d->rows = (int64_t)s->images * s->rows;
    d->count = (d->rows - 1) * ld + s->channels;
    d->codes_count = d->rows * codes_ld;
    d->x = floats(d->count, 1, 2, 0.5f);
    d->weight = floats(s->channels, 2, 1, 1);
    d->bias = floats(s->channels, 3, 1, 0);
    d->scale = floats((int64_t)s->images * s->channels, 4, 1, 0);
    d->shift = floats((int64_t)s->images * s->channels, 5, 1, 0);
    d->out = floats(d->count, 6, 1, 0);
    d->tap = floats(d->count, 7, 1, 0);
    d->row_scale = calloc((size_t)d->rows, sizeof *d->row_scale);
    d->times = floats(d->rows * (ld + 2), 9, 1, 0);
    d->codes = calloc((size_t)d->codes_count, 1);
    d->r = (struct row_norm){.x = d->x,
                             .x_ld = ld,
                             .images = s->images,
                             .rows_per_image = s->rows,
                             .channels = s->channels,
                             .norm = !!(pieces & NORM),
                             .eps = 1e-5f,
                             .weight = pieces & AFFINE ? d->weight : NULL,
                             .bias = pieces & AFFINE ? d->bias : NULL,
                             .scale = pieces & MODULATE ? d->scale : NULL,
                             .shift = pieces & MODULATE ? d->shift : NULL,
                             .mod_ld = s->channels,
                             .times = pieces % 3 ? NULL : d->times,
                             .times_ld = ld + 2,
                             .times_act = ACT_GELU_TANH,
                             .out = pieces & CODES ? NULL : d->out,
                             .tap = pieces & TAP ? d->tap : NULL,
                             .out_ld = ld,
                             .tap_ld = ld,
                             .codes = pieces & CODES ? d->codes : NULL,
                             .codes_ld = codes_ld,
                             .row_scale = d->row_scale};
}

static void release_rows(struct rows_data *d)
{
    free(d->x), free(d->weight), free(d->bias), free(d->scale), free(d->shift), free(d->out), free(d->tap);
    free(d->row_scale), free(d->codes), free(d->times);
}

static void run_rows(struct rows_data *d)
{
    struct cuda_launches l;
    cuda_row_norm(&d->r, &l);
    run_launches(&l, 3);
}

/* Means and squares of n floats are good to a few 2^-24 times log n; everything else is one rounding. */
START_TEST(row_norm_equals_the_reference)
{
    for (int pieces = 0; pieces < 32; pieces++) {
        struct rows_data want, got;
        make_rows(&want, &rows_shapes[_i], pieces);
        make_rows(&got, &rows_shapes[_i], pieces);
        cpu_kernels(CPU_REF)->row_norm(&want.r, 0, 1);
        run_rows(&got);
        near(got.out, want.out, got.count, 4e-6, "out");
        near(got.tap, want.tap, got.count, 4e-6, "tap");
        scales_near(got.row_scale, want.row_scale, got.rows, 4e-6);
        for (int64_t row = 0; pieces & CODES && pieces & TAP && row < got.rows; row++)
            codes_fit(got.codes + row * got.r.codes_ld, got.tap + row * got.r.tap_ld, &got.row_scale[row],
                      got.r.channels, got.r.codes_ld, "codes");
        for (int64_t i = 0; i < got.codes_count; i++)
            ck_assert(abs(got.codes[i] - want.codes[i]) <= 1);
        release_rows(&want);
        release_rows(&got);
    }
}
END_TEST

/* Blocks of 16, 64 and 256, out and codes rotated, the tap not; sums of up to 256 values. */
START_TEST(rotations_equal_the_reference)
{
    static const struct rows_shape shapes[] = {{2, 3, 48, 4}, {1, 5, 192, 0}, {2, 2, 768, 0}};
    for (int pieces = 0; pieces < 32; pieces++) {
        struct rows_data want, got;
        make_rows(&want, &shapes[_i], pieces);
        make_rows(&got, &shapes[_i], pieces);
        want.r.rotate = got.r.rotate = 16 << 2 * _i;
        cpu_kernels(CPU_REF)->row_norm(&want.r, 0, 1);
        run_rows(&got);
        near(got.out, want.out, got.count, 6e-6, "out");
        near(got.tap, want.tap, got.count, 4e-6, "tap");
        scales_near(got.row_scale, want.row_scale, got.rows, 6e-6);
        for (int64_t i = 0; i < got.codes_count; i++)
            ck_assert(abs(got.codes[i] - want.codes[i]) <= 1);
        release_rows(&want);
        release_rows(&got);
    }
}
END_TEST

/* out_bf16 holds what out would, rounded. */
static void check_halves(const uint16_t *half, const float *out, int64_t rows, int channels, int64_t ld)
{
    for (int64_t row = 0; row < rows; row++)
        for (int c = 0; c < channels; c++)
            ck_assert(from_half(half[row * ld + c]) == as_bf16(out[row * ld + c]));
}

START_TEST(rows_in_bfloat16_are_rounded)
{
    struct rows_data d;
    make_rows(&d, &rows_shapes[_i], NORM | AFFINE | MODULATE);
    uint16_t *half = calloc((size_t)d.count, sizeof *half);
    run_rows(&d);
    d.r.out = NULL;
    d.r.out_bf16 = half;
    d.r.out_bf16_ld = d.r.out_ld;
    run_rows(&d);
    check_halves(half, d.out, d.rows, d.r.channels, d.r.out_ld);
    free(half);
    struct elementwise e = {.a = d.x,
                            .a_ld = d.r.x_ld,
                            .images = d.r.images,
                            .rows_per_image = d.r.rows_per_image,
                            .channels = d.r.channels,
                            .act = ACT_SILU,
                            .out = d.out,
                            .out_bf16 = half = calloc((size_t)d.count, sizeof *half),
                            .out_ld = d.r.out_ld,
                            .out_bf16_ld = d.r.out_ld};
    struct cuda_launches l;
    cuda_elementwise(&e, &l);
    run_launches(&l, 5);
    check_halves(half, d.out, d.rows, d.r.channels, d.r.out_ld);
    free(half);
    release_rows(&d);
}
END_TEST

START_TEST(rows_too_wide_to_rotate_are_not_launched)
{
    struct row_norm r = {.images = 1, .rows_per_image = 1, .channels = 24576, .rotate = 16};
    struct cuda_launches l;
    cuda_row_norm(&r, &l);
    ck_assert_int_eq(l.count, 1);
    r.channels += 16;
    cuda_row_norm(&r, &l);
    ck_assert_int_eq(l.count, 0);
}
END_TEST

START_TEST(row_norm_in_place)
{
    struct rows_data want, got;
    make_rows(&want, &rows_shapes[_i], NORM | AFFINE);
    make_rows(&got, &rows_shapes[_i], NORM | AFFINE);
    got.r.out = got.x;
    run_rows(&want);
    run_rows(&got);
    for (int64_t row = 0; row < got.rows; row++)
        equal(got.x + row * got.r.x_ld, want.out + row * want.r.out_ld, got.r.channels * 4, "in place");
    release_rows(&want);
    release_rows(&got);
}
END_TEST

START_TEST(scales_of_bad_tiny_and_zero_rows)
{
    struct rows_shape s = {1, 5, 40, 0};
    struct rows_data d;
    make_rows(&d, &s, CODES);
    for (int c = 0; c < 40; c++) {
        d.x[c] = 0;
        d.x[40 + c] *= 1e-39f;
    }
    d.x[2 * 40 + 39] = NAN;
    d.x[3 * 40 + 1] = -INFINITY;
    run_rows(&d);
    ck_assert(d.row_scale[0].scale == 0 && d.row_scale[1].scale < 1.2e-38f && isnan(d.row_scale[2].scale) &&
              isnan(d.row_scale[3].scale) && isfinite(d.row_scale[4].scale));
    for (int c = 0; c < 128; c++)
        ck_assert_int_eq(d.codes[c], 0);
    release_rows(&d);
}
END_TEST

/* ---- one scale an image ---- */

START_TEST(image_quantize_equals_the_reference)
{
    static const int shapes[][3] = {{1, 1, 1}, {2, 65, 7}, {3, 64, 32}, {1, 200, 130}};
    int images = shapes[_i][0], rows = shapes[_i][1], channels = shapes[_i][2];
    int64_t ld = channels + 1, codes_ld = (channels + 63) / 64 * 64, count = (int64_t)images * rows;
    float *x = floats(count * ld, 1, 3, 0.5f), *work = floats(2 * images * ((rows + 63) / 64), 2, 1, 0);
    struct code_scale scale[2][3];
    uint8_t *codes[2] = {calloc((size_t)(count * codes_ld), 1), calloc((size_t)(count * codes_ld), 1)};
    struct image_quantize q[2];
    for (int i = 0; i < 2; i++)
        q[i] = (struct image_quantize){x, ld, images, rows, channels, codes[i], codes_ld, scale[i], work};
    cpu_kernels(CPU_REF)->image_quantize(&q[0], 0, 0, 1);
    cpu_kernels(CPU_REF)->image_quantize(&q[0], 1, 0, 1);
    struct cuda_launches l;
    cuda_image_quantize(&q[1], &l);
    run_launches(&l, 6);
    equal(scale[1], scale[0], images * (int64_t)sizeof **scale, "scales");
    equal(codes[1], codes[0], count * codes_ld, "codes");
    free(x), free(work), free(codes[0]), free(codes[1]);
}
END_TEST

/* ---- elementwise ---- */

START_TEST(elementwise_equals_the_reference)
{
    static const int sizes[] = {1, 6, 64, 131};
    int channels = sizes[_i], images = 2, rows = 9;
    int64_t ld = channels + _i % 2, count = (int64_t)images * rows * ld;
    for (int kind = -1; kind <= SHARED; kind++)
        for (int op = BIN_ADD; op <= BIN_MUL; op++)
            for (int act = ACT_NONE; act <= ACT_SIGMOID; act++) {
                float *x = floats(count, 1, 3, 0), *b = floats(count, 2, 3, 0);
                float *out[2] = {floats(count, 3, 1, 0), floats(count, 3, 1, 0)};
                struct elementwise e = {.a = x,
                                        .a_ld = ld,
                                        .images = images,
                                        .rows_per_image = rows,
                                        .channels = channels,
                                        .b = kind < 0 ? NULL : b,
                                        .b_ld = ld,
                                        .b_kind = kind < 0 ? PER_ROW : (enum operand_kind)kind,
                                        .op = (enum binary_kind)op,
                                        .act = (enum activation)act,
                                        .scale = act % 2 ? 0.5f : 0,
                                        .out = out[0],
                                        .out_ld = ld};
                struct cuda_launches l;
                cpu_kernels(CPU_REF)->elementwise(&e, 0, 1);
                e.out = out[1];
                cuda_elementwise(&e, &l);
                run_launches(&l, 8);
                near(out[1], out[0], count, 1e-6, "elementwise");
                free(x), free(b), free(out[0]), free(out[1]);
            }
}
END_TEST

START_TEST(cache_read_equals_the_reference)
{
    static const int sizes[] = {1, 6, 64, 131};
    int channels = sizes[_i], images = 2, rows = 9;
    int64_t ld = channels + 1 - _i % 2, count = (int64_t)images * rows * ld;
    for (int pieces = 0; pieces < 32; pieces++) {
        float *x = floats(count, 1, 3, 0), *older = floats(count, 2, 3, 0),
              *gate = floats(images * ld, 3, 1, 0), *residual = floats(count, 4, 3, 0),
              *a = floats(3 * ld, 5, 1, 1);
        float *out[2] = {floats(count, 3, 1, 0), floats(count, 3, 1, 0)};
        int corrected = pieces & 1, second = corrected && pieces & 2;
        struct cache_read c = {.cache = x,
                               .a = corrected ? a : NULL,
                               .b = corrected ? a + channels : NULL,
                               .cache2 = second ? older : NULL,
                               .a2 = second ? a + 2 * channels : NULL,
                               .cache_ld = ld,
                               .images = images,
                               .rows_per_image = rows,
                               .channels = channels,
                               .epilogue = {.gate = pieces & 4 ? gate : NULL,
                                            .gate_ld = ld,
                                            .residual = pieces & 8 ? residual : NULL,
                                            .residual_ld = ld,
                                            .scale = pieces & 16 ? 0.7f : 0},
                               .out = out[0],
                               .out_ld = ld};
        struct cuda_launches l;
        cpu_kernels(CPU_REF)->cache_read(&c, 0, 1);
        c.out = out[1];
        cuda_cache_read(&c, &l);
        run_launches(&l, 8);
        near(out[1], out[0], count, 1e-6, "cache read");
        free(x), free(older), free(gate), free(residual), free(a), free(out[0]), free(out[1]);
    }
}
END_TEST

/* ---- moves ---- */

static const struct move moves[] = {
    {.kind = MOVE_COPY,
     .images = 2,
     .in_height = 1,
     .in_width = 5,
     .out_height = 1,
     .out_width = 5,
     .channels = 7},
    {.kind = MOVE_UPSAMPLE,
     .images = 2,
     .in_height = 3,
     .in_width = 4,
     .out_height = 7,
     .out_width = 8,
     .channels = 5},
    {.kind = MOVE_AVG_POOL,
     .images = 2,
     .in_height = 6,
     .in_width = 9,
     .out_height = 2,
     .out_width = 3,
     .channels = 4,
     .block = 3},
    {.kind = MOVE_MEAN_POOL,
     .images = 3,
     .in_height = 6,
     .in_width = 9,
     .out_height = 1,
     .out_width = 1,
     .channels = 11},
    {.kind = MOVE_DEPTH_TO_SPACE,
     .images = 2,
     .in_height = 3,
     .in_width = 4,
     .out_height = 6,
     .out_width = 8,
     .channels = 12,
     .block = 2},
    {.kind = MOVE_SPACE_TO_DEPTH,
     .images = 2,
     .in_height = 6,
     .in_width = 8,
     .out_height = 3,
     .out_width = 4,
     .channels = 12,
     .block = 2},
};
enum { MOVES = sizeof moves / sizeof *moves };

START_TEST(moves_equal_the_reference)
{
    struct move m = moves[_i];
    m.in_ld = 14, m.out_ld = 13;
    m.in_image_ld = (int64_t)m.in_height * m.in_width * m.in_ld + 3;
    m.out_image_ld = (int64_t)m.out_height * m.out_width * m.out_ld + 5;
    float *in = floats(m.images * m.in_image_ld, 1, 1, 0);
    float *out[2] = {floats(m.images * m.out_image_ld, 2, 1, 0), floats(m.images * m.out_image_ld, 2, 1, 0)};
    struct cuda_launches l;
    m.in = in;
    m.out = out[0];
    move_run(&m, 0, 1);
    m.out = out[1];
    cuda_move(&m, &l);
    run_launches(&l, 2);
    near(out[1], out[0], m.images * m.out_image_ld, 1e-6, "move");
    free(in), free(out[0]), free(out[1]);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("rows");
    tcase_add_loop_test(t, row_norm_equals_the_reference, 0, ROWS_SHAPES);
    tcase_add_loop_test(t, rotations_equal_the_reference, 0, 3);
    tcase_add_loop_test(t, rows_in_bfloat16_are_rounded, 0, ROWS_SHAPES);
    tcase_add_test(t, rows_too_wide_to_rotate_are_not_launched);
    tcase_add_loop_test(t, row_norm_in_place, 0, ROWS_SHAPES);
    tcase_add_test(t, scales_of_bad_tiny_and_zero_rows);
    tcase_add_loop_test(t, image_quantize_equals_the_reference, 0, 4);
    tcase_add_loop_test(t, elementwise_equals_the_reference, 0, 4);
    tcase_add_loop_test(t, cache_read_equals_the_reference, 0, 4);
    tcase_add_loop_test(t, moves_equal_the_reference, 0, MOVES);
    return run_suite(t, "cuda rows");
}
