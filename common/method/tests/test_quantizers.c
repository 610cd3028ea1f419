/* Quantizers of weights: bounds of a round trip, levels and scales, GPTQ against brute force and against a
 * restatement in NumPy, rotation against the dense matrix, zeros and values that are not finite. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/descend.h"
#include "common/method/gptq.h"
#include "common/method/neighbours.h"
#include "common/method/output_error.h"
#include "common/method/prng.h"
#include "common/method/quantize_fp8.h"
#include "common/method/quantize_w4.h"
#include "common/method/rotate.h"
#include "common/method/tests/golden.h"
#include "kernels/cpu/cpu.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static float gauss(struct prng *r)
{
    return (float)(sqrt(-2 * log(1 - prng_unit(r))) * cos(6.283185307179586 * prng_unit(r)));
}

static float *matrix(int64_t rows, int64_t columns, uint64_t seed)
{
    struct prng r = {seed};
    float *w = malloc((size_t)(rows * columns) * sizeof *w);
    for (int64_t i = 0; i < rows * columns; i++)
        w[i] = gauss(&r);
    return w;
}

/* ---- four bits ---- */

START_TEST(four_bits_there_and_back)
{
    static const int groups[] = {16, 32, 64};
    struct error e = {0};
    int64_t rows = 37, columns = 192;
    float *w = matrix(rows, columns, 5), *back = malloc((size_t)(rows * columns) * sizeof *back);
    memset(w + 3 * columns, 0, (size_t)columns * sizeof *w); /* a row of zeros */
    memset(w + 4 * columns + 64, 0, 64 * sizeof *w);         /* groups of zeros */
    w[7 * columns + 9] = 30;                                 /* an outlier */
    struct team *team = team_open(2, &e);
    struct quantize_report report;
    struct quantize_w4 q = {.rows = rows, .columns = columns, .group = groups[_i]},
                       one = {.rows = rows, .columns = columns, .group = groups[_i]};
    ck_assert_int_eq(quantize_w4_open(&q, &e), 0);
    ck_assert_int_eq(quantize_w4_open(&one, &e), 0);
    ck_assert_int_eq(quantize_w4_fit(&q, w, NULL, 0, team, &e), 0);
    ck_assert_int_eq(quantize_w4_fit(&one, w, NULL, 0, NULL, &e), 0);
    ck_assert_mem_eq(q.codes, one.codes, (size_t)(rows * columns));
    ck_assert_mem_eq(q.s_rel, one.s_rel, (size_t)(rows * columns / groups[_i]));
    quantize_w4_restore(&q, team, back);
    quantize_w4_report(&q, w, &report);
    ck_assert_int_eq(report.zero_rows, 1);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t g = 0; g < columns / groups[_i]; g++) {
            float most = 0, worst = 0;
            for (int64_t k = g * groups[_i]; k < (g + 1) * groups[_i]; k++) {
                most = fmaxf(most, fabsf(w[row * columns + k]));
                worst = fmaxf(worst, fabsf(w[row * columns + k] - back[row * columns + k]));
            }
            /* Half the widest step of the table (0.18 of the largest value) where the scale is the largest
             * value's; least squares may cut a peak by a fourth; and half an integer of the row's scale. */
            ck_assert_msg(worst <= 0.3f * most + 0.5f * q.scale[row] + 1e-6f, "row %d group %d: %g of %g",
                          (int)row, (int)g, worst, most);
        }
    /* A Gaussian's error with 16 levels a group is 0.07 to 0.09; the outlier's row is worse. */
    ck_assert_double_lt(report.rel_l2, 0.2);
    ck_assert_double_gt(report.rel_l2, 0.02);
    quantize_w4_close(&q);
    quantize_w4_close(&one);
    team_close(team);
    free(w);
    free(back);
}
END_TEST

START_TEST(four_bits_are_packed_low_nibble_first)
{
    struct error e = {0};
    struct quantize_w4 q = {.rows = 1, .columns = 16, .group = 16};
    uint8_t bytes[8];
    float w[16], back[16];
    for (int i = 0; i < 16; i++)
        w[i] = (float)(i - 8);
    ck_assert_int_eq(quantize_w4_open(&q, &e), 0);
    ck_assert_int_eq(quantize_w4_fit(&q, w, NULL, 1, NULL, &e), 0);
    quantize_w4_pack(&q, bytes);
    quantize_w4_restore(&q, NULL, back);
    for (int i = 0; i < 16; i++) {
        /* What hasten-ops(7) says, from the stored bytes. */
        float level = q.codebook[bytes[i / 2] >> i % 2 * 4 & 15];
        double q8 = nearbyint((double)(level * mm_e4m3(q.s_rel[0])));
        q8 = q8 > 127 ? 127 : q8 < -127 ? -127 : q8;
        ck_assert_float_eq(back[i], q.scale[0] * (float)q8);
        ck_assert_float_eq_tol(back[i], w[i], 0.26f); /* steps of 1, and integers of 8/127 */
    }
    quantize_w4_close(&q);
}
END_TEST

START_TEST(what_is_not_finite_is_named)
{
    float *w = matrix(5, 32, 1), scale[5];
    int8_t codes[160];
    uint8_t bytes[160];
    struct quantize_report report;
    w[2 * 32 + 7] = _i ? INFINITY : NAN;
    struct error e = {0};
    struct quantize_w4 q = {.rows = 5, .columns = 32, .group = 16};
    ck_assert_int_eq(quantize_w4_open(&q, &e), 0);
    ck_assert_int_eq(quantize_w4_fit(&q, w, NULL, 0, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "row 2, column 7"));
    quantize_w4_close(&q);
    e = (struct error){0};
    ck_assert_int_eq(quantize_fp8(w, 5, 32, NULL, bytes, scale, &report, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "row 2, column 7"));
    e = (struct error){0};
    ck_assert_int_eq(quantize_w8(w, 5, 32, NULL, codes, scale, &report, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "row 2, column 7"));
    free(w);
}
END_TEST

/* ---- fp8 ---- */

START_TEST(fp8_is_the_nearest_code)
{
    struct error e = {0};
    int64_t rows = 9, columns = 100;
    float *w = matrix(rows, columns, 11), scale[9];
    uint8_t q[900];
    struct quantize_report report;
    memset(w + columns, 0, (size_t)columns * sizeof *w);
    for (int k = 0; k < 100; k++) /* many magnitudes, subnormal ones too */
        w[2 * columns + k] = ldexpf(w[2 * columns + k], -k / 5);
    ck_assert_int_eq(quantize_fp8(w, rows, columns, NULL, q, scale, &report, &e), 0);
    ck_assert_int_eq(report.zero_rows, 1);
    for (int64_t i = 0; i < rows * columns; i++) {
        float s = scale[i / columns];
        double got = fabs((double)w[i] - (double)s * (double)mm_e4m3(q[i])), least = INFINITY;
        for (int code = 0; code < 256; code++)
            if ((code & 127) != 127)
                least = fmin(least, fabs((double)w[i] - (double)s * (double)mm_e4m3((uint8_t)code)));
        ck_assert_msg(got <= least + 1e-6 * (double)s, "%g: %g, the nearest is %g away", w[i], got, least);
    }
    free(w);
}
END_TEST

/* ---- rotation ---- */

START_TEST(rotation_is_the_dense_matrix)
{
    static const int sizes[] = {16, 64, 256};
    int size = sizes[_i], columns = 2 * size; /* three rows: not a whole number of 64 numbers at 16 */
    float *w = matrix(3, columns, 2), *got = malloc((size_t)(3 * columns) * sizeof *got);
    double *h = malloc((size_t)(columns * columns) * sizeof *h),
           *r = calloc((size_t)(columns * columns), sizeof *r);
    for (int i = 0; i < columns; i++)
        for (int j = 0; j < columns && i / size == j / size; j++)
            r[i * columns + j] = 0;
    for (int i = 0; i < columns; i++)
        for (int j = 0; j < columns; j++)
            if (i / size == j / size) {
                double v = 1;
                for (int d = 1; d < size; d *= 4)
                    v *= i / d % 4 + j / d % 4 == 3 ? -0.5 : 0.5;
                r[i * columns + j] = v;
            }
    memcpy(got, w, (size_t)(3 * columns) * sizeof *got);
    rotate_rows(got, 3, columns, size, NULL);
    for (int row = 0; row < 3; row++)
        for (int c = 0; c < columns; c++) {
            double sum = 0;
            for (int k = 0; k < columns; k++)
                sum += (double)w[row * columns + k] * r[k * columns + c];
            ck_assert_double_eq_tol((double)got[row * columns + c], sum, 1e-6);
        }
    rotate_rows(got, 3, columns, size, NULL);
    for (int i = 0; i < 3 * columns; i++)
        ck_assert_float_eq_tol(got[i], w[i], 1e-6f);
    for (int i = 0; i < columns; i++)
        for (int j = 0; j < columns; j++)
            h[i * columns + j] = (double)(w[i] * w[j] + w[columns + i] * w[columns + j]);
    double *turned = malloc((size_t)(columns * columns) * sizeof *turned);
    memcpy(turned, h, (size_t)(columns * columns) * sizeof *h);
    rotate_moment(turned, columns, size);
    rotate_rows(w, 2, columns, size, NULL); /* (x R)'(x R) = R' x'x R */
    for (int i = 0; i < columns; i++)
        for (int j = 0; j < columns; j++)
            ck_assert_double_eq_tol(turned[i * columns + j],
                                    (double)(w[i] * w[j]) + (double)(w[columns + i] * w[columns + j]), 1e-4);
    ck_assert_int_eq(rotate_size(1152), 64);
    ck_assert_int_eq(rotate_size(4608), 256);
    ck_assert_int_eq(rotate_size(24), 0);
    free(w), free(got), free(h), free(r), free(turned);
}
END_TEST

/* ---- GPTQ ---- */

static float to_grid(void *context, int64_t row, int64_t column, float w)
{
    (void)row, (void)column;
    return (float)(nearbyint((double)w / *(double *)context) * *(double *)context);
}

static double error_of(const double *h, const float *w, const double *q, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            sum += ((double)w[i] - q[i]) * h[i * n + j] * ((double)w[j] - q[j]);
    return sum;
}

/* Two columns: GPTQ rounds the heavier one to nearest and the other for it, which no other choice of the
 * second beats; and over many cases it is nearly always the best of all. */
START_TEST(gptq_with_two_columns)
{
    struct prng r = {3};
    double step = 0.25, sum_gptq = 0, sum_best = 0, sum_nearest = 0;
    for (int trial = 0; trial < 400; trial++) {
        struct error e = {0};
        double a = 0.5 + prng_unit(&r), b = 0.5 + prng_unit(&r),
               c = 1.8 * (prng_unit(&r) - 0.5) * sqrt(a * b);
        double h[4] = {a, c, c, b}, copy[4] = {a, c, c, b}, best = INFINITY, given_first = INFINITY;
        float w[2] = {gauss(&r), gauss(&r)}, q[2] = {w[0], w[1]};
        struct gptq g;
        ck_assert_int_eq(gptq_open(&g, copy, 2, NULL, 1, NULL, &e), 0);
        int first = (int)g.order[0];
        ck_assert_int_eq(first, b > a);
        ck_assert_int_eq(gptq_rows(&g, q, 1, to_grid, &step, NULL, &e), 0);
        double nearest[2] = {nearbyint((double)w[0] / step) * step, nearbyint((double)w[1] / step) * step};
        ck_assert_double_eq((double)q[first], nearest[first]);
        for (int i = -6; i <= 6; i++)
            for (int j = -6; j <= 6; j++) {
                double x[2] = {nearest[0] + i * step, nearest[1] + j * step}, error = error_of(h, w, x, 2);
                best = fmin(best, error);
                if ((first ? j : i) == 0)
                    given_first = fmin(given_first, error);
            }
        double chosen[2] = {(double)q[0], (double)q[1]}, got = error_of(h, w, chosen, 2);
        ck_assert_double_le(got, given_first + 1e-6);
        sum_gptq += got;
        sum_best += best;
        sum_nearest += error_of(h, w, nearest, 2);
        gptq_close(&g);
    }
    ck_assert_double_lt(sum_gptq, 1.15 * sum_best);
    ck_assert_double_lt(sum_gptq, 0.95 * sum_nearest);
}
END_TEST

START_TEST(gptq_refuses_what_is_not_positive)
{
    struct error e = {0};
    struct gptq g;
    double h[4] = {1, 2, 2, 1};
    ck_assert_int_eq(gptq_open(&g, h, 2, NULL, 1, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_null(g.upper);
}
END_TEST

/* More columns than a block, a team: the same bits, and the numbers of scripts/golden/quantizers.py. */
START_TEST(gptq_is_numpys)
{
    enum { N = 11, K = 300 };
    struct error e = {0};
    struct prng r = {21};
    double *h = calloc(K * K, sizeof *h), *copy = malloc(K * K * sizeof *h), step = 0.125;
    float *w = malloc(N * K * sizeof *w), *q = malloc(N * K * sizeof *w), *x = malloc(2 * K * K * sizeof *x);
    /* From exact numbers, so that the script makes the same ones. */
    for (int i = 0; i < 2 * K * K; i++)
        x[i] = (float)((double)prng_below(&r, 2001) / 1000 - 1);
    for (int i = 0; i < N * K; i++)
        w[i] = (float)((double)prng_below(&r, 2001) / 1000 - 1);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            for (int s = 0; s < 2 * K; s++)
                h[i * K + j] +=
                    (double)(x[s * K + i] + x[s * K + i / 2]) * (double)(x[s * K + j] + x[s * K + j / 2]);
            h[i * K + j] /= 2 * K;
        }
    for (int i = 0; i < K; i++)
        h[i * K + i] += 0.01;
    struct team *team = team_open(3, &e);
    float *serial = NULL;
    for (int threaded = 0; threaded < 2; threaded++) {
        struct gptq g;
        memcpy(copy, h, K * K * sizeof *h);
        memcpy(q, w, N * K * sizeof *w);
        ck_assert_int_eq(gptq_open(&g, copy, K, NULL, 1, threaded ? team : NULL, &e), 0);
        ck_assert_int_eq(gptq_rows(&g, q, N, to_grid, &step, threaded ? team : NULL, &e), 0);
        gptq_close(&g);
        if (threaded)
            ck_assert_mem_eq(serial, q, N * K * sizeof *q);
        else {
            serial = malloc(N * K * sizeof *serial);
            memcpy(serial, q, N * K * sizeof *serial);
        }
    }
    double got = 0, nearest = 0;
    for (int row = 0; row < N; row++) {
        double a[K], b[K];
        for (int k = 0; k < K; k++) {
            a[k] = (double)q[row * K + k];
            b[k] = nearbyint((double)w[row * K + k] / step) * step;
        }
        got += error_of(h, w + row * K, a, K);
        nearest += error_of(h, w + row * K, b, K);
    }
    cJSON *golden = golden_load("testdata/golden/quantizers.json");
    int count;
    double *want = golden_numbers(golden, "gptq", &count);
    ck_assert_int_eq(count, 2);
    /* A column whose value lies on a border of rounding may fall to the other side in float32 and change what
     * follows, so sums of errors are compared: within 1 %. That of rounding to nearest has no such borders.
     */
    ck_assert_double_eq_tol(got, want[0], 0.01 * want[0]);
    ck_assert_double_eq_tol(nearest, want[1], 1e-4 * want[1]);
    ck_assert_double_lt(got, 0.5 * nearest);
    team_close(team);
    cJSON_Delete(golden);
    free(h), free(copy), free(w), free(q), free(x), free(serial), free(want);
}
END_TEST

/* Columns that are channels x taps: the same as with the Kronecker product written out, in the same order. */
START_TEST(gptq_of_taps_is_that_of_the_product)
{
    enum { N = 5, C = 140, T = 4, K = C * T };
    struct error e = {0};
    double *h = malloc(C * C * sizeof *h), taps[T * T], *all = malloc(K * K * sizeof *all), step = 0.25;
    float *x = matrix(2 * C, C, 4), *w = matrix(N, K, 9), *a = malloc(N * K * sizeof *a),
          *b = malloc(N * K * sizeof *b);
    for (int i = 0; i < C; i++)
        for (int j = 0; j < C; j++) {
            h[i * C + j] = i == j ? 0.1 + (C - i) * 0.01 : 0; /* falling, so that both take one order */
            for (int s = 0; s < 2 * C; s++)
                h[i * C + j] += (double)(x[s * C + i] * x[s * C + j]) / (2 * C) * pow(0.97, i + j);
        }
    for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++)
            taps[i * T + j] = pow(0.7, abs(i - j));
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            all[i * K + j] = h[i / T * C + j / T] * taps[i % T * T + j % T];
    memcpy(a, w, N * K * sizeof *w);
    memcpy(b, w, N * K * sizeof *w);
    double *copy = malloc(K * K * sizeof *copy);
    memcpy(copy, all, K * K * sizeof *copy);
    struct gptq one, two;
    ck_assert_int_eq(gptq_open(&one, h, C, taps, T, NULL, &e), 0);
    ck_assert_int_eq(gptq_open(&two, copy, K, NULL, 1, NULL, &e), 0);
    for (int i = 0; i < K; i++)
        if (two.order[i] != one.order[i / T] * T + i % T)
            ck_abort_msg("another order at %d", i);
    ck_assert_int_eq(gptq_rows(&one, a, N, to_grid, &step, NULL, &e), 0);
    ck_assert_int_eq(gptq_rows(&two, b, N, to_grid, &step, NULL, &e), 0);
    /* Sums of errors, as above: a value on a border of rounding may fall to either side. */
    double first = 0, second = 0, nearest = 0;
    for (int row = 0; row < N; row++) {
        double q[3][K];
        for (int k = 0; k < K; k++) {
            q[0][k] = (double)a[row * K + k];
            q[1][k] = (double)b[row * K + k];
            q[2][k] = nearbyint((double)w[row * K + k] / step) * step;
        }
        first += error_of(all, w + row * K, q[0], K);
        second += error_of(all, w + row * K, q[1], K);
        nearest += error_of(all, w + row * K, q[2], K);
    }
    ck_assert_double_eq_tol(first, second, 0.02 * second);
    ck_assert_double_lt(first, 0.7 * nearest);
    gptq_close(&one);
    gptq_close(&two);
    free(h), free(all), free(copy), free(x), free(w), free(a), free(b);
}
END_TEST

/* Without data: channels alike (no matrix is the identity), neighbours alike by the prior; on inputs that are
 * smooth the error of an output is 0.6 of rounding to nearest. */
START_TEST(gptq_without_data_uses_the_neighbours)
{
    enum { N = 16, C = 24, T = 9, K = C * T };
    struct error e = {0};
    double taps[T * T], *h = calloc(C * C, sizeof *h), step = 0.25;
    float *w = matrix(N, K, 31), *a = malloc(N * K * sizeof *a), *b = malloc(N * K * sizeof *b);
    for (int i = 0; i < C; i++)
        h[i * C + i] = 1;
    neighbour_prior(3, 3, 0, taps);
    for (int i = 0; i < T; i++)
        ck_assert_double_eq(taps[i * T + i], 1);
    ck_assert_double_eq_tol(taps[0 * T + 1], 0.65, 1e-12);
    ck_assert_double_eq_tol(taps[1 * T + 7], 0.475, 1e-12);
    memcpy(a, w, N * K * sizeof *w);
    memcpy(b, w, N * K * sizeof *w);
    struct gptq one, two;
    ck_assert_int_eq(gptq_open(&one, NULL, C, taps, T, NULL, &e), 0);
    ck_assert_int_eq(gptq_open(&two, h, C, taps, T, NULL, &e), 0);
    ck_assert_int_eq(gptq_rows(&one, a, N, to_grid, &step, NULL, &e), 0);
    ck_assert_int_eq(gptq_rows(&two, b, N, to_grid, &step, NULL, &e), 0);
    ck_assert_mem_eq(a, b, N * K * sizeof *a);
    double got = 0, nearest = 0;
    for (int i = 0; i < N * C; i++) {
        double q[2][T];
        for (int t = 0; t < T; t++) {
            q[0][t] = (double)a[i * T + t];
            q[1][t] = nearbyint((double)w[i * T + t] / step) * step;
        }
        got += error_of(taps, w + i * T, q[0], T);
        nearest += error_of(taps, w + i * T, q[1], T);
    }
    ck_assert_double_lt(got, 0.6 * nearest);
    gptq_close(&one);
    gptq_close(&two);
    free(h), free(w), free(a), free(b);
}
END_TEST

/* The mean square over real inputs, of an output whose bias has taken what the mean input gives. */
START_TEST(output_error_is_that_of_the_inputs)
{
    enum { ROWS = 5, K = 12, INPUTS = 200 };
    struct error e = {0};
    struct prng r = {3};
    float *want = matrix(ROWS, K, 1), *got = matrix(ROWS, K, 2), *x = matrix(INPUTS, K, 4), mean[K] = {0};
    double moment[K * K] = {0}, above = 0, below = 0, noise = _i > 1 ? 0.02 : 0, relative;
    for (int i = 0; i < ROWS * K; i++)
        got[i] = want[i] + 0.1f * got[i];
    for (int i = 0; i < INPUTS * K; i++) {
        x[i] += (float)(i % K) - 3 * (float)prng_unit(&r);
        mean[i % K] += x[i] / INPUTS;
    }
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < K * K; j++) {
            double a = x[i * K + j / K], b = x[i * K + j % K];
            moment[j] += (_i % 2 ? (a - (double)mean[j / K]) * (b - (double)mean[j % K]) : a * b) / INPUTS;
        }
    for (int i = 0; i < INPUTS * ROWS; i++) {
        const float *w = want + i % ROWS * K, *q = got + i % ROWS * K, *in = x + i / ROWS * K;
        double exact = 0, error = 0;
        for (int k = 0; k < K; k++) {
            exact += (double)w[k] * (double)in[k];
            error += ((double)w[k] - (double)q[k]) * ((double)in[k] - (_i % 2 ? (double)mean[k] : 0));
            above += noise * (double)q[k] * (double)q[k];
        }
        above += error * error;
        below += exact * exact;
    }
    ck_assert_int_eq(
        output_error(want, got, ROWS, K, _i % 2 ? mean : NULL, moment, noise, NULL, 1, NULL, &relative, &e),
        0);
    ck_assert_double_eq_tol(relative, sqrt(above / below), 1e-5 * relative); /* the mean is of floats */
    free(want), free(got), free(x);
}
END_TEST

static double row_error(const double *h, const float *want, const float *got, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n * n; i++)
        sum += h[i] * ((double)want[i / n] - (double)got[i / n]) * ((double)want[i % n] - (double)got[i % n]);
    return sum;
}

/* Behind GPTQ no row gets worse, and where it stops no other level of any one column would be better. */
START_TEST(descent_ends_where_no_step_is_better)
{
    enum { N = 19, K = 24 };
    struct error e = {0};
    struct quantize_w4 q = {.rows = N, .columns = K, .group = 8};
    float *w = matrix(N, K, 7), *x = matrix(30, K, 8), got[N * K], first[N * K];
    double h[K * K] = {0}, used[K * K], gained = 0;
    for (int i = 0; i < 30 * K * K; i++) /* neighbours are alike */
        h[i % (K * K)] +=
            ((double)x[i / (K * K) * K + i / K % K] + (double)x[i / (K * K) * K + i / K % K / 3]) *
            ((double)x[i / (K * K) * K + i % K] + (double)x[i / (K * K) * K + i % K / 3]);
    struct gptq g;
    memcpy(used, h, sizeof h);
    memcpy(got, w, sizeof got);
    ck_assert_int_eq(quantize_w4_open(&q, &e), 0);
    ck_assert_int_eq(quantize_w4_fit(&q, w, NULL, 0, NULL, &e), 0);
    ck_assert_int_eq(gptq_open(&g, used, K, NULL, 1, NULL, &e), 0);
    ck_assert_int_eq(gptq_rows(&g, got, N, quantize_w4_round, &q, NULL, &e), 0);
    memcpy(first, got, sizeof got);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(descend_rows(h, w, got, N, K, quantize_w4_round, &q, NULL, &e), 0);
    for (int row = 0; row < N; row++) {
        float *r = got + row * K;
        double least = row_error(h, w + row * K, r, K),
               before = row_error(h, w + row * K, first + row * K, K);
        ck_assert_double_le(least, before * 1.000001);
        gained += before - least;
        for (int i = 0; i < K * 16; i++) {
            float kept = r[i / 16];
            r[i / 16] = q.scale[row] * q.integers[q.s_rel[row * 3 + i / 16 / 8]][i % 16];
            ck_assert_double_ge(row_error(h, w + row * K, r, K), least * 0.9999); /* sums are of floats */
            r[i / 16] = kept;
        }
    }
    ck_assert_double_gt(gained, 0);
    quantize_w4_restore(&q, NULL, first);
    ck_assert_mem_eq(first, got, sizeof got); /* the codes are those of the last step */
    gptq_close(&g), quantize_w4_close(&q);
    free(w), free(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quantizers");
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, four_bits_there_and_back, 0, 3);
    tcase_add_test(t, four_bits_are_packed_low_nibble_first);
    tcase_add_loop_test(t, what_is_not_finite_is_named, 0, 2);
    tcase_add_test(t, fp8_is_the_nearest_code);
    tcase_add_loop_test(t, rotation_is_the_dense_matrix, 0, 3);
    tcase_add_test(t, descent_ends_where_no_step_is_better);
    tcase_add_loop_test(t, output_error_is_that_of_the_inputs, 0, 4);
    tcase_add_test(t, gptq_with_two_columns);
    tcase_add_test(t, gptq_refuses_what_is_not_positive);
    tcase_add_test(t, gptq_is_numpys);
    tcase_add_test(t, gptq_without_data_uses_the_neighbours);
    tcase_add_test(t, gptq_of_taps_is_that_of_the_product);
    suite_add_tcase(s, t);
    return run_suite(s);
}
