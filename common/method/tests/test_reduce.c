/* Weights in 8 bits, LD-Pruner's score, against NumPy (scripts/golden/methods.py). */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/latent_score.h"
#include "common/method/prng.h"
#include "common/method/quantize_w8.h"
#include "common/method/tests/golden.h"

#include <math.h>

#define GOLDEN "testdata/golden/methods.json"

static void check_quantized(const cJSON *g, const float *w, struct team *team)
{
    int rows = golden_int(g, "rows"), columns = golden_int(g, "columns");
    int8_t q[7 * 24];
    float scale[7], back[7 * 24];
    struct quantize_report r;
    struct error e = {0};
    ck_assert_msg(quantize_w8(w, rows, columns, team, q, scale, &r, &e) == 0, "%s",
                  e.text);
    const cJSON *want = golden_get(g, "plain");
    float *want_scale = golden_floats(want, "scale", NULL), *want_q = golden_floats(want, "q", NULL);
    for (int i = 0; i < rows; i++) {
        ck_assert_float_eq(scale[i], want_scale[i]);
        for (int k = 0; k < columns; k++) {
            ck_assert_int_eq(q[i * columns + k], (int)want_q[i * columns + k]);
        }
    }
    ck_assert_double_eq_tol(r.rel_l2, golden_number(want, "rel_l2"), 1e-12);
    ck_assert_int_eq(r.zero_rows, 1);
    ck_assert_double_ge(r.worst_row, r.rel_l2);
    quantize_w8_restore(q, scale, rows, columns, back);
    for (int i = 0; i < rows * columns; i++)
        ck_assert_float_eq(back[i], scale[i / columns] * (float)q[i]);
    free(want_scale);
    free(want_q);
}

START_TEST(test_w8)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *g = golden_get(root, "quantize");
    float *w = golden_floats(g, "w", NULL);
    struct team *team = team_open(3, NULL);
    check_quantized(g, w, NULL);
    check_quantized(g, w, team);
    struct quantize_report r;
    struct error e = {0};
    int8_t q[7 * 24];
    float scale[7];
    w[3 * 24 + 17] = NAN;
    w[5 * 24 + 2] = INFINITY;
    ck_assert_int_eq(quantize_w8(w, 7, 24, team, q, scale, &r, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "row 3, column 17"));
    team_close(team);
    free(w);
    cJSON_Delete(root);
}
END_TEST

START_TEST(test_w8_bounds)
{
    /* No entry is off by more than half a step. */
    enum {
        ROWS = 4,
        COLUMNS = 4096
    };
    struct prng random = {3};
    float *w = calloc(ROWS * COLUMNS, sizeof *w), scale[ROWS];
    int8_t *q = calloc(ROWS * COLUMNS, 1);
    struct quantize_report plain;
    for (int i = 0; i < ROWS * COLUMNS; i++)
        w[i] = (float)((prng_unit(&random) - 0.5) * exp(3 * prng_unit(&random)));
    ck_assert_int_eq(quantize_w8(w, ROWS, COLUMNS, NULL, q, scale, &plain, NULL), 0);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        double s = scale[i / COLUMNS];
        ck_assert_double_le(fabs((double)w[i] - s * q[i]),
                            0.5 * s * (1 + 1e-5)); /* w / s is a rounded float */
        ck_assert(q[i] >= -127);
    }
    /* Nothing smaller than a normal scale; an empty matrix. */
    float tiny[2] = {1e-40f, -2e-37f};
    ck_assert_int_eq(quantize_w8(tiny, 1, 2, NULL, q, scale, &plain, NULL), 0);
    ck_assert_int_eq(plain.zero_rows, 1);
    ck_assert_float_eq(scale[0], 0);
    ck_assert_int_eq(q[1], 0);
    ck_assert_double_eq(plain.rel_l2, 1);
    ck_assert_int_eq(quantize_w8(tiny, 0, 2, NULL, q, scale, &plain, NULL), 0);
    ck_assert_double_eq(plain.rel_l2, 0);
    free(q);
    free(w);
}
END_TEST

START_TEST(test_latent_score)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *g = golden_get(root, "latents");
    int seeds = golden_int(g, "seeds"), elements = golden_int(g, "elements");
    float *a = golden_floats(g, "a", NULL), *b = golden_floats(g, "b", NULL);
    struct latent_stats sa = {0}, sb = {0};
    ck_assert_int_eq(latent_open(elements, &sa, NULL) | latent_open(elements, &sb, NULL), 0);
    for (int n = 0; n < seeds; n++) {
        ck_assert_int_eq(latent_add(&sa, a + n * elements, NULL), 0);
        ck_assert_int_eq(latent_add(&sb, b + n * elements, NULL), 0);
    }
    ck_assert_double_eq_tol(latent_score(&sa, &sb), golden_number(g, "score"), 1e-12);
    ck_assert_double_eq(latent_score(&sa, &sa), 0);
    ck_assert_double_eq_tol(latent_paired(a, b, seeds, elements), golden_number(g, "paired"), 1e-12);
    ck_assert_double_eq(latent_paired(a, a, seeds, elements), 0);
    struct error e = {0};
    double before = sa.mean[0];
    a[4] = NAN;
    ck_assert_int_eq(latent_add(&sa, a, &e), -1);
    ck_assert_double_eq(sa.mean[0], before);
    ck_assert_int_eq(sa.count, seeds);
    latent_free(&sa);
    latent_free(&sb);
    free(a);
    free(b);
    cJSON_Delete(root);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reduce");
    TCase *c = tcase_create("reduce");
    tcase_add_test(c, test_w8);
    tcase_add_test(c, test_w8_bounds);
    tcase_add_test(c, test_latent_score);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
