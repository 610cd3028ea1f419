/* The rotation inside row norms: every level against the dense matrix, built as a Kronecker power of R4;
 * codes of rotated rows; long rows, taps, in place; the rotation is its own inverse. */
#include "kernels/cpu/tests/kernel_test.h"

static const double r4[4][4] = {{.5, .5, .5, -.5}, {.5, .5, -.5, .5}, {.5, -.5, .5, .5}, {-.5, .5, .5, .5}};

/* Row-major [size][size]: R of size/4 kron R4. */
static double *dense(int size)
{
    double *m = calloc((size_t)(size * size), sizeof *m);
    m[0] = 1;
    for (int n = 1; n < size; n *= 4) {
        double *next = calloc((size_t)(size * size), sizeof *next);
        for (int i = 0; i < 4 * n; i++)
            for (int j = 0; j < 4 * n; j++)
                next[i * 4 * n + j] = m[i / 4 * n + j / 4] * r4[i % 4][j % 4];
        free(m);
        m = next;
    }
    return m;
}

enum { ROWS = 5 };
static const int cases[][2] = {{16, 16},   {48, 16},    {64, 64},    {192, 64},
                               {256, 256}, {1280, 256}, {9216, 256}, {8256, 64}};
enum { CASES = sizeof cases / sizeof *cases };

START_TEST(every_level_rotates_as_the_matrix_does)
{
    int channels = cases[_i][0], size = cases[_i][1];
    int64_t ld = channels + 5;
    double *matrix = dense(size);
    float *x = floats(ROWS * ld, 3, 1, 0.7f), *scale = floats(channels, 4, 1, 0),
          *want = floats(ROWS * ld, 5, 1, 0);
    for (int i = 0; i < size; i++) /* orthogonal, symmetric, and no constant column */
        for (int j = 0; j < size; j++) {
            double dot = 0;
            for (int k = 0; k < size; k++)
                dot += matrix[i * size + k] * matrix[k * size + j];
            ck_assert_double_eq_tol(dot, i == j, 1e-12);
        }
    for (int row = 0; row < ROWS; row++)
        for (int c = 0; c < channels; c++) {
            double sum = 0;
            for (int k = 0; k < size; k++) {
                int at = c / size * size + k;
                sum += matrix[c % size * size + k] * (double)(x[row * ld + at] * (1 + scale[at]));
            }
            want[row * ld + c] = (float)sum;
        }
    for (int level = 0; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        float *out = floats(ROWS * ld, 6, 1, 0), *tap = floats(ROWS * ld, 7, 1, 0);
        struct code_scale row_scale[ROWS];
        int64_t codes_ld = (channels + 63) / 64 * 64;
        uint8_t *codes = malloc((size_t)(ROWS * codes_ld));
        memcpy(out, x, (size_t)(ROWS * ld) * sizeof *x);
        struct row_norm r = {.x = out,
                             .x_ld = ld,
                             .images = 1,
                             .rows_per_image = ROWS,
                             .channels = channels,
                             .rotate = size,
                             .scale = scale,
                             .mod_ld = channels,
                             .out = out,
                             .out_ld = ld};
        for (int part = 0; part < 2; part++)
            k->row_norm(&r, part, 2);
        r.x = x;
        r.out = NULL;
        r.codes = codes;
        r.codes_ld = codes_ld;
        r.row_scale = row_scale;
        r.tap = tap;
        r.tap_ld = ld;
        k->row_norm(&r, 0, 1);
        for (int row = 0; row < ROWS; row++) {
            /* Sums of at most 256 numbers of size 1 by four additions a level: 4e-6 is 30 roundings. */
            near(out + row * ld, want + row * ld, channels, 4e-6, "rotated");
            codes_fit(codes + row * codes_ld, want + row * ld, &row_scale[row], channels, codes_ld,
                      cpu_level_name(k->level));
            for (int c = 0; c < channels; c++)
                ck_assert_float_eq_tol(tap[row * ld + c], x[row * ld + c] * (1 + scale[c]), 1e-6f);
            ck_assert_mem_eq(out + row * ld + channels, x + row * ld + channels, 5 * sizeof *x);
        }
        r = (struct row_norm){.x = out,
                              .x_ld = ld,
                              .images = 1,
                              .rows_per_image = ROWS,
                              .channels = channels,
                              .rotate = size,
                              .out = out,
                              .out_ld = ld};
        k->row_norm(&r, 0, 1); /* back */
        for (int row = 0; row < ROWS; row++)
            near(out + row * ld, tap + row * ld, channels, 4e-6, "there and back");
        free(out), free(tap), free(codes);
    }
    free(matrix), free(x), free(scale), free(want);
}
END_TEST

START_TEST(what_is_not_finite_shows)
{
    for (int level = 0; level <= (int)cpu_best_level(); level++) {
        float *x = floats(64, 3, 1, 0);
        struct code_scale scale;
        uint8_t codes[64];
        x[17] = _i ? INFINITY : NAN;
        struct row_norm r = {.x = x,
                             .x_ld = 64,
                             .images = 1,
                             .rows_per_image = 1,
                             .channels = 64,
                             .rotate = 16,
                             .codes = codes,
                             .codes_ld = 64,
                             .row_scale = &scale};
        cpu_kernels((enum cpu_level)level)->row_norm(&r, 0, 1);
        ck_assert(isnan(scale.scale));
        free(x);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, every_level_rotates_as_the_matrix_does, 0, CASES);
    tcase_add_loop_test(t, what_is_not_finite_shows, 0, 2);
    return run_suite(t, "rotate");
}
