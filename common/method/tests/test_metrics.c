/* Metrics, eigenvalues and the Fréchet distance against NumPy, SciPy and scikit-image
 * (scripts/golden/methods.py), and against closed forms. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/eigen.h"
#include "common/method/frechet.h"
#include "common/method/metrics.h"
#include "common/method/prng.h"
#include "common/method/tests/golden.h"

#include <math.h>

#define GOLDEN "testdata/golden/methods.json"

/* Both sides are double computations of the same sums in another order. */
#define CLOSE(a, b, tolerance) ck_assert_double_eq_tol(a, b, (tolerance) * (1 + fabs((double)(b))))

START_TEST(test_rel_l2_and_psnr)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *g = golden_get(root, "distances");
    int n;
    float *a = golden_floats(g, "a", &n), *b = golden_floats(g, "b", &n);
    double peak = metric_range(a, n);
    struct metric_mean psnr = {0}, rel = {0};
    for (int i = 0; i < 4; i++) {
        metric_add(&psnr, metric_psnr(a + 60 * i, b + 60 * i, 60, peak));
        metric_add(&rel, metric_rel_l2(a + 60 * i, b + 60 * i, 60));
    }
    CLOSE(peak, golden_number(g, "range"), 1e-14);
    CLOSE(metric_value(&psnr), golden_number(g, "psnr"), 1e-13);
    CLOSE(metric_value(&rel), golden_number(g, "rel_l2"), 1e-13);
    free(a);
    free(b);
    cJSON_Delete(root);
}
END_TEST

START_TEST(test_edges_of_the_metrics)
{
    const float zero[3] = {0}, x[3] = {1, -2, 2}, y[3] = {2, -4, 4}, bad[3] = {1, NAN, 0};
    ck_assert_double_eq(metric_psnr(x, x, 3, 4), METRIC_PSNR_IDENTICAL);
    ck_assert_double_eq(metric_rel_l2(x, x, 3), 0);
    ck_assert_double_eq(metric_rel_l2(x, y, 3), 1);
    ck_assert_double_eq(metric_rel_l2(zero, zero, 3), 0);
    ck_assert(isinf(metric_rel_l2(zero, x, 3)));
    ck_assert(isnan(metric_rel_l2(x, bad, 3)));
    ck_assert(isnan(metric_psnr(x, bad, 3, 1)));
    ck_assert(isnan(metric_range(bad, 3)));
    const float infinite[2] = {1, INFINITY};
    ck_assert(isnan(metric_range(infinite, 2)));
    /* One sample off by one of 255 in 100: mse 0.01. */
    unsigned char p[100] = {0}, q[100] = {0};
    ck_assert_double_eq(metric_psnr_u8(p, q, 100), METRIC_PSNR_IDENTICAL);
    q[41] = 1;
    CLOSE(metric_psnr_u8(p, q, 100), 20 * log10(255) + 20, 1e-14);
    for (int i = 0; i < 100; i++)
        q[i] = 255;
    CLOSE(metric_psnr_u8(p, q, 100), 0, 1e-14);
}
END_TEST

START_TEST(test_ssim)
{
    cJSON *root = golden_load(GOLDEN), *g;
    cJSON_ArrayForEach(g, golden_get(root, "ssim"))
    {
        float *a = golden_floats(g, "a", NULL), *b = golden_floats(g, "b", NULL);
        int c = golden_int(g, "channels"), h = golden_int(g, "height"), w = golden_int(g, "width");
        double range = golden_number(g, "range"), got, same;
        ck_assert_int_eq(metric_ssim(a, b, c, h, w, range, &got, NULL), 0);
        /* scikit-image subtracts E[x]^2 from E[x^2] as well, in another order: 1e-10 leaves room for
         * cancellation. */
        CLOSE(got, golden_number(g, "ssim"), 1e-10);
        ck_assert_int_eq(metric_ssim(a, a, c, h, w, range, &same, NULL), 0);
        CLOSE(same, 1, 1e-12);
        struct error e = {0};
        ck_assert_int_eq(metric_ssim(a, b, c, 10, w, range, &got, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
        free(a);
        free(b);
    }
    cJSON_Delete(root);
}
END_TEST

static void check_eigen(int n, const double *a, const double *want)
{
    size_t square = (size_t)n * (size_t)n;
    double *work = calloc(3 * square + 2 * (size_t)n, sizeof *work), *vectors = work + square,
           *values = vectors + square;
    double *only = values + n, scale = 0;
    for (size_t i = 0; i < square; i++)
        scale = fmax(scale, fabs(a[i]));
    memcpy(work, a, square * sizeof *a);
    ck_assert_int_eq(eigen_symmetric(n, work, values, vectors, NULL), 0);
    memcpy(work, a, square * sizeof *a);
    ck_assert_int_eq(eigen_symmetric(n, work, only, NULL, NULL), 0);
    double tolerance = 4e-15 * n * scale; /* backward stable: a few units in the last place of the norm */
    for (int i = 0; i < n; i++) {
        ck_assert_double_eq_tol(values[i], want[i], tolerance);
        ck_assert_double_eq_tol(only[i], want[i], tolerance);
        const double *v = vectors + (size_t)i * (size_t)n;
        for (int k = 0; k < n; k++) {
            double product = 0, inner = 0;
            for (int j = 0; j < n; j++) {
                product += a[k * n + j] * v[j];
                inner += vectors[k * n + j] * v[j];
            }
            ck_assert_double_eq_tol(product, values[i] * v[k], 10 * tolerance);
            ck_assert_double_eq_tol(inner, i == k, 1e-13);
        }
    }
    free(work);
}

START_TEST(test_eigen)
{
    cJSON *root = golden_load(GOLDEN), *g;
    cJSON_ArrayForEach(g, golden_get(root, "eigen"))
    {
        double *a = golden_numbers(g, "a", NULL), *values = golden_numbers(g, "values", NULL);
        check_eigen(golden_int(g, "n"), a, values);
        free(a);
        free(values);
    }
    cJSON_Delete(root);
    /* Eigenvalues of the path graph's matrix are known: 2 - 2 cos(pi k / (n + 1)). */
    enum { N = 30 };
    double path[N * N] = {0}, known[N];
    for (int i = 0; i < N; i++) {
        path[i * N + i] = 2;
        if (i)
            path[i * N + i - 1] = path[(i - 1) * N + i] = -1;
        known[i] = 2 - 2 * cos(acos(-1) * (i + 1) / (N + 1));
    }
    check_eigen(N, path, known);
    double bad[4] = {1, 0, NAN, 1}, values[2];
    struct error e = {0};
    ck_assert_int_eq(eigen_symmetric(2, bad, values, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFAIL);
}
END_TEST

static void fill(struct moments *m, const float *x, int dim, int begin, int end)
{
    for (int i = begin; i < end; i++)
        ck_assert_int_eq(moments_add(m, x + i * dim, NULL), 0);
}

START_TEST(test_moments)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *g = golden_get(root, "frechet");
    int n, dim = golden_int(g, "dim");
    float *a = golden_floats(g, "a", &n);
    double *mean = golden_numbers(g, "mean_a", NULL), *cov = golden_numbers(g, "cov_a", NULL), got[64];
    struct moments whole = {0}, part = {0}, rest = {0};
    ck_assert_int_eq(moments_open(dim, &whole, NULL) | moments_open(dim, &part, NULL) |
                         moments_open(dim, &rest, NULL),
                     0);
    fill(&whole, a, dim, 0, 60);
    moments_merge(&rest, &part); /* nothing and nothing */
    ck_assert_int_eq(rest.count, 0);
    fill(&rest, a, dim, 17, 60);
    moments_merge(&part, &rest); /* into an empty one: a copy */
    ck_assert_int_eq(part.count, 43);
    moments_free(&part);
    ck_assert_int_eq(moments_open(dim, &part, NULL), 0);
    fill(&part, a, dim, 0, 17);
    moments_merge(&part, &rest);
    struct moments *both[] = {&whole, &part};
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(both[k]->count, 60);
        moments_covariance(both[k], got);
        for (int i = 0; i < dim; i++)
            CLOSE(both[k]->mean[i], mean[i], 1e-13);
        for (int i = 0; i < dim * dim; i++)
            CLOSE(got[i], cov[i], 1e-12);
    }
    struct error e = {0};
    float bad[8] = {0, 0, INFINITY};
    ck_assert_int_eq(moments_add(&whole, bad, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "feature 2 of sample 60"));
    ck_assert_int_eq(whole.count, 60);
    moments_free(&whole);
    moments_free(&part);
    moments_free(&rest);
    free(a);
    free(mean);
    free(cov);
    cJSON_Delete(root);
}
END_TEST

START_TEST(test_frechet_against_scipy)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *g = golden_get(root, "frechet");
    int dim = golden_int(g, "dim");
    float *a = golden_floats(g, "a", NULL), *b = golden_floats(g, "b", NULL);
    double *mean = golden_numbers(g, "mean_a", NULL), *cov = golden_numbers(g, "cov_a", NULL);
    struct moments ma = {0}, mb = {0}, stored = {0};
    ck_assert_int_eq(moments_open(dim, &ma, NULL) | moments_open(dim, &mb, NULL), 0);
    fill(&ma, a, dim, 0, 60);
    fill(&mb, b, dim, 0, 40);
    ck_assert_int_eq(moments_from(dim, 60, mean, cov, &stored, NULL), 0);
    struct frechet_side sa = {&ma, a}, sb = {&mb, b}, known = {&stored, NULL};
    struct frechet f;
    ck_assert_int_eq(frechet_distance(&sa, &sb, 0, 1, NULL, &f, NULL), 0);
    CLOSE(f.distance, golden_number(g, "distance"), 1e-9); /* sqrtm of a product that is not symmetric */
    ck_assert_double_eq(f.low, f.distance);
    ck_assert_double_eq(f.high, f.distance);
    double distance = f.distance;
    ck_assert_int_eq(frechet_distance(&sb, &known, 0, 1, NULL, &f, NULL), 0);
    CLOSE(f.distance, distance, 1e-11);
    ck_assert_int_eq(frechet_distance(&sa, &sa, 0, 1, NULL, &f, NULL), 0);
    ck_assert_double_le(f.distance, 1e-6); /* 2 tr C - 2 sum of roots of squares */
    /* Too few. */
    struct moments few = {0};
    struct error e = {0};
    ck_assert_int_eq(moments_open(dim, &few, NULL), 0);
    fill(&few, b, dim, 0, 15);
    struct frechet_side sf = {&few, b};
    ck_assert_int_eq(frechet_distance(&sa, &sf, 0, 1, NULL, &f, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "at least 16"));
    fill(&few, b, dim, 15, 16);
    ck_assert_int_eq(frechet_distance(&sa, &sf, 0, 1, NULL, &f, NULL), 0);
    cov[1] += 1;
    e.code = 0;
    struct moments crooked = {0};
    ck_assert_int_eq(moments_from(dim, 60, mean, cov, &crooked, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    moments_free(&few);
    moments_free(&ma);
    moments_free(&mb);
    moments_free(&stored);
    free(a);
    free(b);
    free(mean);
    free(cov);
    cJSON_Delete(root);
}
END_TEST

START_TEST(test_frechet_in_closed_form)
{
    /* Commuting covariances: sum (sqrt l1 - sqrt l2)^2 + |m1 - m2|^2, here in a rotated basis. */
    enum { N = 6 };
    double q[N * N], c1[N * N] = {0}, c2[N * N] = {0}, m1[N], m2[N], want = 0;
    for (int i = 0; i < N; i++) /* a reflection I - 2 v v' / v'v is orthogonal */
        for (int k = 0; k < N; k++)
            q[i * N + k] = (i == k) - 2.0 * (i + 1) * (k + 1) / 91;
    for (int j = 0; j < N; j++) {
        double l1 = j * j, l2 = 0.25 * (j + 1);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) {
                c1[i * N + k] += q[i * N + j] * l1 * q[k * N + j];
                c2[i * N + k] += q[i * N + j] * l2 * q[k * N + j];
            }
        m1[j] = j;
        m2[j] = 0.5;
        want += (sqrt(l1) - sqrt(l2)) * (sqrt(l1) - sqrt(l2)) + (j - 0.5) * (j - 0.5);
    }
    struct moments a = {0}, b = {0};
    ck_assert_int_eq(moments_from(N, 100, m1, c1, &a, NULL) | moments_from(N, 100, m2, c2, &b, NULL), 0);
    struct frechet_side sa = {&a, NULL}, sb = {&b, NULL};
    struct frechet f;
    ck_assert_int_eq(frechet_distance(&sa, &sb, 200, 1, NULL, &f, NULL), 0);
    CLOSE(f.distance, want, 1e-7); /* c1 is singular: the root of a rounding error of 1e-15 */
    ck_assert_double_eq(f.low, f.distance);
    moments_free(&a);
    moments_free(&b);
}
END_TEST

/* Samples of two Gaussians in `dim` dimensions whose means differ by `shift` in each. */
static float *gaussian(struct prng *r, int count, int dim, float shift)
{
    float *x = calloc((size_t)count * (size_t)dim, sizeof *x);
    for (int i = 0; i < count * dim; i++)
        x[i] = shift + (float)(sqrt(-2 * log(1 - prng_unit(r))) * cos(2 * acos(-1) * prng_unit(r)));
    return x;
}

START_TEST(test_bootstrap)
{
    enum { DIM = 3, COUNT = 60, TRIALS = 60 };
    struct prng random = {5};
    struct team *team = team_open(3, NULL);
    double distances[TRIALS], widths = 0, mean = 0, variance = 0, bias = 0;
    for (int trial = 0; trial < TRIALS; trial++) {
        float *a = gaussian(&random, COUNT, DIM, 0), *b = gaussian(&random, COUNT, DIM, 0.5f);
        struct moments ma = {0}, mb = {0};
        ck_assert_int_eq(moments_open(DIM, &ma, NULL) | moments_open(DIM, &mb, NULL), 0);
        fill(&ma, a, DIM, 0, COUNT);
        fill(&mb, b, DIM, 0, COUNT);
        struct frechet_side sa = {&ma, a}, sb = {&mb, b};
        struct frechet f, g, h;
        ck_assert_int_eq(frechet_distance(&sa, &sb, 200, 1, NULL, &f, NULL), 0);
        ck_assert_double_le(f.low, f.distance);
        ck_assert_double_le(f.distance, f.high);
        if (trial < 3) {
            ck_assert_int_eq(frechet_distance(&sa, &sb, 200, 1, team, &g, NULL), 0);
            ck_assert_mem_eq(&f, &g, sizeof f);
            ck_assert_int_eq(frechet_distance(&sa, &sb, 200, 2, NULL, &h, NULL), 0);
            ck_assert_double_ne(f.high, h.high);
            sb.samples = NULL;
            ck_assert_int_eq(frechet_distance(&sa, &sb, 200, 1, NULL, &g, NULL), 0);
            ck_assert_double_lt(g.high - g.low, f.high - f.low);
        }
        distances[trial] = f.distance;
        mean += f.distance / TRIALS;
        bias += f.bias / TRIALS;
        widths += (f.high - f.low) / TRIALS;
        moments_free(&ma);
        moments_free(&mb);
        free(a);
        free(b);
    }
    team_close(team);
    for (int trial = 0; trial < TRIALS; trial++)
        variance += (distances[trial] - mean) * (distances[trial] - mean) / (TRIALS - 1);
    /* The interval is as wide as the estimate's own spread over fresh samples (2 x 1.96 sigma), up to the
     * 10 % error of a deviation from 60 trials and the bootstrap's own: a wrong resampling is off by far
     * more. */
    ck_assert_double_gt(widths, 3.92 * sqrt(variance) * 0.7);
    ck_assert_double_lt(widths, 3.92 * sqrt(variance) * 1.4);
    /* The truth is 3 x 0.25. Bias to first order in 1 / COUNT: 3 x 2 / 60 from the means and, with D the
     * difference of the covariances, E |D|^2 / 4 = (3 x 4 + 6 x 2) / 60 / 4 from the shapes. The mean of
     * 60 trials is known to about 0.04. */
    ck_assert_double_eq_tol(mean, 0.75 + 0.2, 0.12);
    ck_assert_double_eq_tol(bias, 0.2, 0.06);
}
END_TEST

START_TEST(test_allocations_fail)
{
    struct prng random = {9};
    float *a = gaussian(&random, 20, 2, 0);
    struct moments m = {0};
    ck_assert_int_eq(moments_open(2, &m, NULL), 0);
    fill(&m, a, 2, 0, 20);
    struct frechet_side s = {&m, a};
    struct frechet f;
    size_t live = mem_live_blocks();
    for (int k = 1, done = 0; !done; k++) {
        char setting[32];
        struct error e = {0};
        snprintf(setting, sizeof setting, "alloc:%d", k);
        fault_set(setting);
        done = frechet_distance(&s, &s, 5, 1, NULL, &f, &e) == 0;
        fault_set(NULL);
        ck_assert_msg(done || e.code == HASTEN_ENOMEM, "%s", e.text);
        ck_assert_uint_eq(mem_live_blocks(), live);
        ck_assert_msg(!done || k > 10, "succeeded although allocation %d failed", k);
    }
    moments_free(&m);
    free(a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *c = tcase_create("metrics");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_rel_l2_and_psnr);
    tcase_add_test(c, test_edges_of_the_metrics);
    tcase_add_test(c, test_ssim);
    tcase_add_test(c, test_eigen);
    tcase_add_test(c, test_moments);
    tcase_add_test(c, test_frechet_against_scipy);
    tcase_add_test(c, test_frechet_in_closed_form);
    tcase_add_test(c, test_bootstrap);
    tcase_add_test(c, test_allocations_fail);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
