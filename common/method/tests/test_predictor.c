/* The latency predictor: exact where the model is exact, and better than the prior alone for a machine
 * between those that it knows. */
#include "common/base/tests/run_suite.h"
#include "common/method/predictor.h"

#include <check.h>
#include <math.h>

enum { DIM = 5, ROWS = 80, MACHINES = 6 };

static unsigned state = 1;
static double draw(void)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) / 8388608.0 - 1;
}

static void rows(double *x, int n)
{
    for (int i = 0; i < n * DIM; i++)
        x[i] = i % DIM ? draw() : 1;
}

START_TEST(ridge_finds_the_weights)
{
    double x[ROWS * DIM], y[ROWS], w[DIM], want[DIM] = {1, -2, 0.5, 3, 0};
    rows(x, ROWS);
    for (int r = 0; r < ROWS; r++)
        y[r] = predictor_value(want, x + r * DIM, DIM);
    ck_assert_int_eq(predictor_fit(x, y, ROWS, DIM, w), 0);
    for (int i = 0; i < DIM; i++) /* the ridge of 0.1 against sums of about ROWS / 3 */
        ck_assert_double_eq_tol(w[i], want[i], 0.02);
    y[3] = NAN;
    x[7] = INFINITY;
    ck_assert_int_eq(predictor_fit(x, y, ROWS, DIM, w), -1);
}
END_TEST

/* Machines are mixtures of two; three samples tell where between them a new one is, though there are five
 * weights. */
START_TEST(few_samples_are_enough_with_a_prior)
{
    double weights[MACHINES * DIM], mean[DIM], cov[DIM * DIM], a[3 * DIM], y[3], w[DIM], truth[DIM];
    const double one[DIM] = {0, 1, 2, -1, 0.5}, two[DIM] = {1, 0.5, -1, 2, 1};
    for (int d = 0; d < MACHINES; d++)
        for (int i = 0; i < DIM; i++)
            weights[d * DIM + i] = one[i] + d / 5.0 * (two[i] - one[i]);
    for (int i = 0; i < DIM; i++)
        truth[i] = one[i] + 0.9 * (two[i] - one[i]);
    predictor_prior(weights, MACHINES, DIM, mean, cov);
    rows(a, 3);
    for (int s = 0; s < 3; s++)
        y[s] = predictor_value(truth, a + s * DIM, DIM);
    ck_assert_int_eq(predictor_update(mean, cov, DIM, a, y, 3, w), 0);
    double before = 0, after = 0;
    for (int i = 0; i < DIM; i++) {
        before += (mean[i] - truth[i]) * (mean[i] - truth[i]);
        after += (w[i] - truth[i]) * (w[i] - truth[i]);
    }
    ck_assert_double_lt(after, 0.01 * before);
}
END_TEST

/* Without samples' help the answer is the prior; with very many it is theirs. */
START_TEST(samples_win_over_the_prior)
{
    double x[PREDICTOR_MAX_SAMPLES * DIM], y[PREDICTOR_MAX_SAMPLES], w[DIM], mean[DIM] = {0},
                                                                             cov[DIM * DIM] = {0};
    const double truth[DIM] = {0.3, -0.2, 0.1, 0.4, -0.5};
    for (int i = 0; i < DIM; i++)
        cov[i * DIM + i] = 1;
    rows(x, PREDICTOR_MAX_SAMPLES);
    for (int s = 0; s < PREDICTOR_MAX_SAMPLES; s++)
        y[s] = predictor_value(truth, x + s * DIM, DIM);
    ck_assert_int_eq(predictor_update(mean, cov, DIM, x, y, PREDICTOR_MAX_SAMPLES, w), 0);
    for (int i = 0; i < DIM; i++)
        ck_assert_double_eq_tol(w[i], truth[i], 2e-3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("predictor");
    TCase *t = tcase_create("predictor");
    tcase_add_test(t, ridge_finds_the_weights);
    tcase_add_test(t, few_samples_are_enough_with_a_prior);
    tcase_add_test(t, samples_win_over_the_prior);
    suite_add_tcase(s, t);
    return run_suite(s);
}
