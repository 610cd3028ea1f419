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
    double x[ROWS * DIM], y[ROWS], w[DIM], d[DIM], want[DIM] = {1, -2, 0.5, 3, 0};
    double a[DIM * DIM] = {0}, b[DIM] = {0}, zero[DIM] = {0};
    struct error e = {0};
    rows(x, ROWS);
    for (int r = 0; r < ROWS; r++)
        y[r] = predictor_value(want, x + r * DIM, DIM);
    predictor_sums(x, y, ROWS / 2, DIM, a, b); /* in two parts */
    predictor_sums(x + ROWS / 2 * DIM, y + ROWS / 2, ROWS / 2, DIM, a, b);
    ck_assert_int_eq(predictor_mean(a, b, DIM, w, &e), 0);
    for (int i = 0; i < DIM; i++) /* the ridge of 3 against sums of about ROWS / 3 */
        ck_assert_double_eq_tol(w[i], want[i], 0.12 * fabs(want[i]) + 0.12);
    /* By the mean of all machines nothing is left; a ridge of 10 takes more off. */
    ck_assert_int_eq(predictor_deviation(a, b, DIM, want, d, &e), 0);
    for (int i = 0; i < DIM; i++)
        ck_assert_double_eq_tol(d[i], 0, 1e-12);
    ck_assert_int_eq(predictor_deviation(a, b, DIM, zero, d, &e), 0);
    ck_assert_double_lt(fabs(d[3]), fabs(w[3]));
    ck_assert_double_gt(fabs(d[3]), 0.5 * fabs(w[3]));
    a[DIM + 1] = INFINITY;
    ck_assert_int_eq(predictor_mean(a, b, DIM, w, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
}
END_TEST

/* Machines are mixtures of two; three samples tell where between them a new one is, though there are five
 * weights. */
START_TEST(few_samples_are_enough_with_a_prior)
{
    double d[MACHINES * DIM], mean[DIM], cov[DIM * DIM], x[3 * DIM], y[3], w[DIM], truth[DIM];
    const double one[DIM] = {0, 1, 2, -1, 0.5}, two[DIM] = {10, 5, -10, 20, 10};
    struct error e = {0};
    for (int i = 0; i < DIM; i++) {
        mean[i] = one[i] + 0.5 * (two[i] - one[i]);
        for (int m = 0; m < MACHINES; m++)
            d[m * DIM + i] = (m / 5.0 - 0.5) * (two[i] - one[i]);
        truth[i] = one[i] + 0.9 * (two[i] - one[i]);
    }
    predictor_covariance(d, MACHINES, DIM, cov);
    for (int i = 0; i < DIM; i++) /* sum of (m / 5 - 1 / 2)^2 over the machines / 5: 0.14 */
        ck_assert_double_eq_tol(cov[i * DIM + i], 0.14 * (two[i] - one[i]) * (two[i] - one[i]) + 1e-3, 1e-9);
    rows(x, 3);
    for (int s = 0; s < 3; s++)
        y[s] = predictor_value(truth, x + s * DIM, DIM);
    ck_assert_int_eq(predictor_update(mean, cov, DIM, x, y, 3, w, &e), 0);
    double before = 0, after = 0;
    for (int i = 0; i < DIM; i++) {
        before += (mean[i] - truth[i]) * (mean[i] - truth[i]);
        after += (w[i] - truth[i]) * (w[i] - truth[i]);
    }
    ck_assert_double_lt(after, 0.01 * before);
}
END_TEST

/* Very many samples win over a prior that knows nothing. */
START_TEST(samples_win_over_the_prior)
{
    double x[ROWS * DIM], y[ROWS], w[DIM], mean[DIM] = {0}, cov[DIM * DIM] = {0};
    const double truth[DIM] = {0.3, -0.2, 0.1, 0.4, -0.5};
    struct error e = {0};
    for (int i = 0; i < DIM; i++)
        cov[i * DIM + i] = 1;
    rows(x, ROWS);
    for (int s = 0; s < ROWS; s++)
        y[s] = predictor_value(truth, x + s * DIM, DIM);
    ck_assert_int_eq(predictor_update(mean, cov, DIM, x, y, ROWS, w, &e), 0);
    for (int i = 0; i < DIM; i++) /* s^2 = 0.09 against sums of about ROWS / 3 */
        ck_assert_double_eq_tol(w[i], truth[i], 5e-3);
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
