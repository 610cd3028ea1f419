/* Predictors: errors from Gram matrices against errors of the values that the coefficients give, formed one
 * by one from the features, and the least-squares ones against every small change of their coefficients. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/predict.h"
#include "common/method/tests/gram_cases.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { CALLS = 7, ROWS = 60, CHANNELS = 10, GROUPS = 4, N = ROWS * CHANNELS };

static float feature[CALLS][N];

static double noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

/* A smooth path of every element plus a little noise, and a mean that moves by channel. */
static struct gram make(double rough)
{
    unsigned state = 5;
    struct gram g = {0};
    struct error e = {0};
    for (int i = 0; i < N; i++) {
        double a = 2 * noise(&state), b = noise(&state), c = 0.3 * noise(&state);
        for (int t = 0; t < CALLS; t++)
            feature[t][i] = (float)(a + b * t + c * t * t + 0.2 * (i % CHANNELS) * t + rough * noise(&state));
    }
    g = own_gram(CALLS, CHANNELS, GROUPS);
    ck_assert_int_eq(gram_add(&g, feature[0], ROWS, NULL, &e), 0);
    return g;
}

static double error_of(const struct gram *g, int t, int s, int r, const struct predict_fit *fit)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        const struct predict_fit *f = &fit[gram_group(g, i % CHANNELS)];
        double d = f->a[0] * feature[s][i] + f->b - feature[t][i];
        d += r >= 0 ? f->a[1] * feature[r][i] : 0;
        sum += d * d;
    }
    return sum / N;
}

START_TEST(errors_are_those_of_the_values)
{
    struct gram g = make(0.05);
    struct predict_fit fit[GROUPS];
    for (int p = 0; p < PREDICTORS; p++)
        for (int t = 1; t < CALLS; t++)
            for (int s = 0; s < t; s++)
                for (int r = -1; r < s; r++) {
                    double got = predict_error(&g, (enum predictor)p, t, s, r, fit);
                    double want = error_of(&g, t, s, r, fit);
                    ck_assert_msg(fabs(got - want) <= 1e-5 * want + 1e-9, "%s %d %d %d: %g, expected %g",
                                  predict_name((enum predictor)p), t, s, r, got, want);
                }
    drop_gram(&g);
}
END_TEST

/* The ridge of 1e-7 of the square leaves a slope of about that much. */
START_TEST(no_coefficient_near_by_is_better)
{
    struct gram g = make(0.05);
    struct predict_fit fit[GROUPS];
    for (int t = 2; t < CALLS; t++)
        for (int p = PREDICT_CORRECTED; p <= PREDICT_TWO; p += PREDICT_TWO - PREDICT_CORRECTED) {
            double best = predict_error(&g, (enum predictor)p, t, t - 1, 0, fit);
            for (int group = 0; group < GROUPS; group++)
                for (int k = 0; k < 6; k++) {
                    struct predict_fit other[GROUPS];
                    for (int i = 0; i < GROUPS; i++)
                        other[i] = fit[i];
                    double *x = k / 2 == 0   ? &other[group].a[0]
                                : k / 2 == 1 ? &other[group].a[1]
                                             : &other[group].b;
                    if (p == PREDICT_CORRECTED && k / 2 == 1)
                        continue;
                    *x += k % 2 ? 1e-3 : -1e-3;
                    ck_assert(error_of(&g, t, t - 1, 0, other) >= best * (1 - 1e-6) - 1e-12);
                }
        }
    drop_gram(&g);
}
END_TEST

START_TEST(straight_lines_are_followed)
{
    struct gram g = {0};
    struct error e = {0};
    struct predict_fit fit[GROUPS];
    for (int t = 0; t < CALLS; t++)
        for (int i = 0; i < N; i++)
            feature[t][i] = (float)(i % 13 - 6) + (float)(i % 7) * (float)t;
    g = own_gram(CALLS, CHANNELS, GROUPS);
    ck_assert_int_eq(gram_add(&g, feature[0], ROWS, NULL, &e), 0);
    ck_assert(predict_error(&g, PREDICT_TAYLOR, 6, 3, 1, fit) < 1e-9); /* the true distance, 3 and 2 calls */
    ck_assert(fabs(fit[0].a[0] - 2.5) < 1e-12 && fabs(fit[0].a[1] + 1.5) < 1e-12);
    ck_assert(predict_error(&g, PREDICT_TWO, 6, 3, 1, fit) < 1e-4);
    ck_assert(predict_error(&g, PREDICT_REUSE, 6, 3, 1, fit) > 10);
    drop_gram(&g);
}
END_TEST

/* The order of what they can do; and with one refresh only, the simpler ones take over. */
START_TEST(more_coefficients_are_never_worse)
{
    struct gram g = make(0.3);
    struct predict_fit fit[GROUPS], other[GROUPS];
    for (int t = 2; t < CALLS; t++) {
        double reuse = predict_error(&g, PREDICT_REUSE, t, t - 1, 0, fit);
        double corrected = predict_error(&g, PREDICT_CORRECTED, t, t - 1, 0, fit);
        double two = predict_error(&g, PREDICT_TWO, t, t - 1, t - 2, fit);
        double taylor = predict_error(&g, PREDICT_TAYLOR, t, t - 1, t - 2, fit);
        ck_assert(corrected <= reuse && two <= corrected * (1 + 1e-6) && two <= taylor * (1 + 1e-6));
        ck_assert(predict_error(&g, PREDICT_TWO, t, t - 1, -1, fit) ==
                  predict_error(&g, PREDICT_CORRECTED, t, t - 1, -1, other));
        ck_assert(predict_error(&g, PREDICT_TAYLOR, t, t - 1, -1, fit) == reuse);
    }
    drop_gram(&g);
}
END_TEST

START_TEST(tables_have_the_errors_at_their_places)
{
    struct gram g = make(0.1);
    struct error e = {0};
    struct predict_fit fit[GROUPS];
    double *pair = mem_array(predict_table_size(PREDICT_TWO, CALLS), sizeof *pair, &e);
    double *table = mem_array(predict_table_size(PREDICT_CORRECTED, CALLS), sizeof *table, &e);
    ck_assert_int_eq(predict_table(&g, PREDICT_TWO, pair, &e), 0);
    ck_assert(pair[schedule_pair_index(4, 2, 1)] == predict_error(&g, PREDICT_TWO, 4, 2, 1, fit));
    ck_assert(pair[schedule_pair_index(4, 2, 2)] == predict_error(&g, PREDICT_TWO, 4, 2, -1, fit));
    ck_assert_int_eq(predict_table(&g, PREDICT_CORRECTED, table, &e), 0);
    ck_assert(table[4 * CALLS + 2] == predict_error(&g, PREDICT_CORRECTED, 4, 2, -1, fit));
    ck_assert(table[4 * CALLS + 4] == 0 && isinf(table[2 * CALLS + 4]));
    mem_free(pair);
    mem_free(table);
    drop_gram(&g);
    g = own_gram(CALLS, CHANNELS, GROUPS);
    ck_assert_int_eq(predict_table(&g, PREDICT_TWO, NULL, &e), -1); /* nothing was added */
    drop_gram(&g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("predict");
    TCase *t = tcase_create("all");
    tcase_add_test(t, errors_are_those_of_the_values);
    tcase_add_test(t, no_coefficient_near_by_is_better);
    tcase_add_test(t, straight_lines_are_followed);
    tcase_add_test(t, more_coefficients_are_never_worse);
    tcase_add_test(t, tables_have_the_errors_at_their_places);
    suite_add_tcase(s, t);
    return run_suite(s);
}
