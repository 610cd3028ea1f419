/* Gram matrices, L1 pairs and correction lines against residuals that NumPy formed one by one
 * (scripts/golden/methods.py). */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/gram.h"
#include "common/method/l1.h"
#include "common/method/predict.h"
#include "common/method/prng.h"
#include "common/method/tests/golden.h"
#include "common/method/tests/gram_cases.h"

#include <math.h>

#define GOLDEN "testdata/golden/methods.json"

struct data {
    cJSON *root;
    const cJSON *g;
    int samples, calls, rows, channels, groups;
    float *x; /* samples x calls x rows x channels */
    const float *features[16];
};

static struct data load(void)
{
    struct data d = {.root = golden_load(GOLDEN)};
    d.g = golden_get(d.root, "gram");
    d.samples = golden_int(d.g, "samples");
    d.calls = golden_int(d.g, "calls");
    d.rows = golden_int(d.g, "rows");
    d.channels = golden_int(d.g, "channels");
    d.groups = golden_int(d.g, "groups");
    d.x = golden_floats(d.g, "x", NULL);
    return d;
}

static void unload(struct data *d)
{
    free(d->x);
    cJSON_Delete(d->root);
}

static int sample_size(const struct data *d) { return d->calls * d->rows * d->channels; }

static void add_all(struct gram *g, const struct data *d, int begin, int end, struct team *team)
{
    for (int i = begin; i < end; i++)
        ck_assert_int_eq(gram_add(g, d->x + i * sample_size(d), d->rows, team, NULL), 0);
}

/* Differences of sums of 300 squares of about 2: 1e-13 of them is what cancellation can cost. */
static void check_table(const double *got, const cJSON *g, const char *key, int calls)
{
    double *want = golden_numbers(g, key, NULL);
    for (int t = 0; t < calls; t++)
        for (int s = 0; s <= t; s++)
            ck_assert_double_eq_tol(got[t * calls + s], want[t * calls + s],
                                    1e-12 * (1 + want[t * calls + s]));
    free(want);
}

START_TEST(test_groups)
{
    const int shapes[][2] = {{10, 4}, {7, 32}, {1152, 32}, {320, 32}, {33, 32}, {1, 1}, {100, 7}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct gram g = {0};
        g = own_gram(2, shapes[k][0], shapes[k][1]);
        int groups = shapes[k][1] < shapes[k][0] ? shapes[k][1] : shapes[k][0], count[32] = {0};
        ck_assert_int_eq(g.groups, groups);
        for (int c = 0; c < g.channels; c++) {
            int group = gram_group(&g, c);
            ck_assert(group >= 0 && group < groups);
            ck_assert(c == 0 || group - gram_group(&g, c - 1) == 0 || group - gram_group(&g, c - 1) == 1);
            count[group]++;
        }
        for (int i = 0; i < groups; i++) {
            ck_assert_int_eq(count[i], gram_group_size(&g, i));
            ck_assert(count[i] == g.channels / groups || count[i] == g.channels / groups + 1);
        }
        drop_gram(&g);
    }
}
END_TEST

START_TEST(test_errors_and_coefficients)
{
    struct data d = load();
    struct gram g = {0};
    g = own_gram(d.calls, d.channels, d.groups);
    add_all(&g, &d, 0, d.samples, NULL);
    double error[49], *power = golden_numbers(d.g, "power", NULL);
    ck_assert_int_eq(predict_table(&g, PREDICT_REUSE, error, NULL), 0);
    check_table(error, d.g, "reuse", d.calls);
    ck_assert(isinf(error[1]));
    ck_assert_double_eq(error[d.calls + 1], 0);
    ck_assert_int_eq(predict_table(&g, PREDICT_CORRECTED, error, NULL), 0);
    check_table(error, d.g, "corrected", d.calls);
    double *a = golden_numbers(d.g, "a", NULL), *b = golden_numbers(d.g, "b", NULL);
    for (int t = 0; t < d.calls; t++) {
        ck_assert_double_eq_tol(gram_power(&g, t), power[t], 1e-12 * power[t]);
        for (int s = 0; s < t; s++) {
            struct predict_fit fit[4];
            predict_fit(&g, PREDICT_CORRECTED, t, s, -1, fit);
            for (int k = 0; k < d.groups; k++) {
                int at = (t * d.calls + s) * d.groups + k;
                ck_assert_double_eq_tol(fit[k].a[0], a[at], 1e-6 * fabs(a[at])); /* stored as floats */
                ck_assert_double_eq_tol(fit[k].b, b[at], 1e-6 * (1 + fabs(b[at])));
            }
        }
    }
    free(a);
    free(b);
    free(power);
    drop_gram(&g);
    unload(&d);
}
END_TEST

START_TEST(test_team_call_order)
{
    struct data d = load();
    struct gram whole, threads;
    struct team *team = team_open(3, NULL);
    struct gram *all[] = {&whole, &threads};
    for (int i = 0; i < 2; i++)
        *all[i] = own_gram(d.calls, d.channels, d.groups);
    add_all(&whole, &d, 0, d.samples, NULL);
    add_all(&threads, &d, 0, d.samples, team);
    size_t n = (size_t)d.groups * (size_t)d.calls, square = n * (size_t)d.calls;
    ck_assert_mem_eq(whole.cross, threads.cross, square * sizeof(double));
    ck_assert_mem_eq(whole.sum, threads.sum, n * sizeof(double));
    ck_assert_mem_eq(whole.rows, threads.rows, (size_t)d.calls * sizeof(int64_t));
    for (int i = 0; i < 2; i++)
        drop_gram(all[i]);
    team_close(team);
    unload(&d);
}
END_TEST

START_TEST(test_gram_refusals)
{
    struct gram g = {0};
    struct error e = {0};
    double error[4];
    float x[2][3] = {{1, 2, 3}, {1, INFINITY, 3}};
    const float *features[2] = {x[0], x[1]};
    g = own_gram(2, 3, 2);
    ck_assert_int_eq(predict_table(&g, PREDICT_REUSE, error, &e), -1); /* nothing was added */
    e.code = 0;
    ck_assert_int_eq(gram_add_call(&g, 0, features, 1, NULL, NULL), 0);
    ck_assert_int_eq(gram_add_call(&g, 1, features, 1, NULL, &e), -1);
    ck_assert_str_eq(e.text, "the feature at call 1 is not finite");
    ck_assert_int_eq(g.rows[1], 0);
    e.code = 0;
    ck_assert_int_eq(predict_table(&g, PREDICT_REUSE, error, &e), -1); /* call 1 is missing */
    x[1][1] = 2.5f;
    ck_assert_int_eq(gram_add_call(&g, 1, features, 1, NULL, NULL), 0);
    ck_assert_int_eq(predict_table(&g, PREDICT_REUSE, error, NULL), 0);
    ck_assert_double_eq_tol(error[2], 0.25 / 3, 1e-15);
    drop_gram(&g);
}
END_TEST

START_TEST(test_l1)
{
    struct data d = load();
    struct team *team = team_open(2, NULL);
    double full[49], error[49];
    for (int window = 1; window <= d.calls + 2; window++) {
        struct l1_pairs p = own_pairs(d.calls, window);
        for (int i = 0; i < d.samples; i++)
            for (int t = 0; t < d.calls; t++) {
                for (int k = 0; k < d.calls; k++)
                    d.features[k] = d.x + i * sample_size(&d) + k * d.rows * d.channels;
                ck_assert_int_eq(
                    l1_add_call(&p, t, d.features, d.rows * d.channels, i % 2 ? team : NULL, NULL), 0);
            }
        l1_errors(&p, error);
        double *want = golden_numbers(d.g, "l1", NULL);
        for (int t = 0; t < d.calls; t++)
            for (int s = 0; s < d.calls; s++) {
                if (s <= t && t - s < window)
                    ck_assert_double_eq_tol(error[t * d.calls + s], want[t * d.calls + s],
                                            1e-12 * (1 + want[t * d.calls + s]));
                else
                    ck_assert(isinf(error[t * d.calls + s]));
            }
        if (window == d.calls)
            memcpy(full, error, sizeof full);
        free(want);
        drop_pairs(&p);
    }
    ck_assert_mem_eq(full, error, sizeof full); /* a longer window than there are calls changes nothing */
    struct l1_pairs p = {0};
    struct error e = {0};
    float bad[2] = {0, NAN};
    d.features[0] = bad;
    p = own_pairs(2, 2);
    ck_assert_int_eq(l1_add_call(&p, 0, d.features, 2, NULL, &e), -1);
    ck_assert_double_eq(p.sum[0], 0);
    drop_pairs(&p);
    team_close(team);
    unload(&d);
}
END_TEST

/* As many groups as channels: lines per channel, and what they leave. */
START_TEST(test_correction_per_channel)
{
    struct data d = load();
    const cJSON *want = golden_get(d.g, "channel_1_to_4");
    double *a = golden_numbers(want, "a", NULL), *b = golden_numbers(want, "b", NULL);
    double mse = golden_number(want, "mse");
    struct predict_fit fit[10];
    struct gram g = {0};
    ck_assert_int_eq(d.channels, 10);
    g = own_gram(d.calls, d.channels, d.channels);
    add_all(&g, &d, 0, d.samples, NULL);
    /* the ridge: 1e-9 */
    ck_assert_double_eq_tol(predict_error(&g, PREDICT_CORRECTED, 4, 1, -1, fit), mse, 1e-8 * mse);
    for (int k = 0; k < d.channels; k++) {
        ck_assert_double_eq_tol(fit[k].a[0], a[k], 1e-6 * fabs(a[k]));
        ck_assert_double_eq_tol(fit[k].b, b[k], 1e-6 * (1 + fabs(b[k])));
    }
    drop_gram(&g);
    free(a);
    free(b);
    unload(&d);
}
END_TEST

START_TEST(test_lines_without_variance)
{
    /* x = 3 everywhere, y = 5 or 7: shift by 3, the scale stays 1. */
    struct correct_sums s = {.n = 2, .x = 6, .y = 12, .xx = 18, .xy = 36, .yy = 74};
    double a, b, mse;
    correct_line(&s, &a, &b, &mse);
    ck_assert_double_eq_tol(a, 1, 1e-12);
    ck_assert_double_eq_tol(b, 3, 1e-12);
    ck_assert_double_eq_tol(mse, 1, 1e-12);
    /* All zero, and nothing at all. */
    s = (struct correct_sums){.n = 4, .y = 8, .yy = 16};
    correct_line(&s, &a, &b, &mse);
    ck_assert_double_eq(a, 1);
    ck_assert_double_eq(b, 2);
    ck_assert_double_eq(mse, 0);
    s = (struct correct_sums){0};
    correct_line(&s, &a, &b, &mse);
    ck_assert_double_eq(a, 1);
    ck_assert_double_eq(b, 0);
    /* A difference in the last bit of x must not become a scale (of a million). */
    struct gram g = {0};
    struct predict_fit fit;
    const float x[2] = {1, nextafterf(1, 2)}, y[2] = {1, 1.1f}, *features[2] = {x, y};
    g = own_gram(2, 1, 1);
    for (int t = 0; t < 2; t++)
        ck_assert_int_eq(gram_add_call(&g, t, features, 2, NULL, NULL), 0);
    predict_fit(&g, PREDICT_CORRECTED, 1, 0, -1, &fit);
    ck_assert_double_lt(fabs(fit.a[0]), 10);
    drop_gram(&g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gram");
    TCase *c = tcase_create("gram");
    tcase_add_test(c, test_groups);
    tcase_add_test(c, test_errors_and_coefficients);
    tcase_add_test(c, test_team_call_order);
    tcase_add_test(c, test_gram_refusals);
    tcase_add_test(c, test_l1);
    tcase_add_test(c, test_correction_per_channel);
    tcase_add_test(c, test_lines_without_variance);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
