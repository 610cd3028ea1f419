/* The generator against torch 2.15 (scripts/golden/samplers.py) and against published values of MT19937.
 * Tolerance 1e-6: torch computes logarithm, sine and cosine of float32 with vector code of its own; uniforms
 * and the generator's words are exact. */
#include "common/base/tests/run_suite.h"
#include "common/base/torch_random.h"
#include "common/method/tests/golden.h"

#include <math.h>

enum { MOST = 16384 };

/* C++ [rand.predef]: the 10000th number of the default mt19937, which is seeded with 5489. */
START_TEST(words_are_those_of_mt19937)
{
    struct torch_random g;
    torch_random_seed(&g, 5489);
    for (int i = 1; i < 10000; i++)
        torch_random_bits(&g);
    ck_assert_uint_eq(torch_random_bits(&g), 4123659995u);
}
END_TEST

START_TEST(integers_below_a_bound)
{
    static const unsigned expected[] = {44, 239, 933, 760}; /* torch.randint(0, 1000, (4,)), seed 0 */
    struct torch_random g;
    torch_random_seed(&g, 0);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(torch_random_bits(&g) % 1000, expected[i]);
}
END_TEST

static void check_whole(uint64_t seed, const double first[4], double sum, double abs_sum)
{
    static float x[MOST];
    struct torch_random g;
    double s = 0, a = 0;
    torch_random_seed(&g, seed);
    torch_randn(&g, x, MOST);
    for (int i = 0; i < MOST; i++) {
        s += x[i];
        a += fabsf(x[i]);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_double_eq_tol(x[i], first[i], 1e-6);
    /* 16384 errors of up to half an ulp. */
    ck_assert_double_eq_tol(s, sum, 1e-4);
    ck_assert_double_eq_tol(a, abs_sum, 1e-4);
}

/* Shape (1, 4, 64, 64), the start of a 512 x 512 picture. */
START_TEST(a_latent_of_stable_diffusion)
{
    check_whole(0, (double[]){-1.125840, -1.152360, -0.250579, -0.433879}, -124.112700, 13111.533563);
    check_whole(42, (double[]){1.926915, 1.487284, 0.900717, -2.105521}, 149.764800, 13158.069219);
}
END_TEST

/* Draws of several lengths from one generator: below and above 16 numbers, no multiple of 16, the sine that
 * waits over other draws, seeds beyond 32 bits. */
START_TEST(sequences_of_draws)
{
    cJSON *root = golden_load("testdata/golden/samplers.json");
    const cJSON *c, *draw;
    cJSON_ArrayForEach(c, golden_get(root, "noise"))
    {
        static float x[MOST];
        struct torch_random g;
        int known, n = 0;
        double *values = golden_numbers(c, "values", &known), sum = 0, abs_sum = 0;
        torch_random_seed(&g, (uint64_t)golden_number(c, "seed"));
        cJSON_ArrayForEach(draw, golden_get(c, "draws"))
        {
            int count = draw->child->next->valueint;
            (strcmp(draw->child->valuestring, "rand") ? torch_randn : torch_rand)(&g, x + n, count);
            n += count;
        }
        ck_assert_int_ge(n, known);
        for (int i = 0; i < n; i++) {
            if (i < known)
                ck_assert_msg(fabs(x[i] - values[i]) <= 1e-6, "seed %g, number %d: %.9g instead of %.9g",
                              golden_number(c, "seed"), i, x[i], values[i]);
            sum += x[i];
            abs_sum += fabsf(x[i]);
        }
        ck_assert_double_eq_tol(sum, golden_number(c, "sum"), 1e-5);
        ck_assert_double_eq_tol(abs_sum, golden_number(c, "abs_sum"), 1e-5);
        free(values);
    }
    cJSON_Delete(root);
}
END_TEST

START_TEST(none_drawn_leaves_the_generator)
{
    struct torch_random g;
    float x[1], y[1];
    torch_random_seed(&g, 1);
    torch_randn(&g, x, 0);
    torch_randn(&g, x, 1);
    torch_random_seed(&g, 1);
    torch_randn(&g, y, 1);
    ck_assert_float_eq(x[0], y[0]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("torch random");
    TCase *c = tcase_create("all");
    tcase_add_test(c, words_are_those_of_mt19937);
    tcase_add_test(c, integers_below_a_bound);
    tcase_add_test(c, a_latent_of_stable_diffusion);
    tcase_add_test(c, sequences_of_draws);
    tcase_add_test(c, none_drawn_leaves_the_generator);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
