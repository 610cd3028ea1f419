/* Foreground and background: pictures whose object is known, attention by the definition. */
#include "common/base/tests/run_suite.h"
#include "common/method/foreground.h"
#include "common/method/prng.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { SIDE = 16, CHANNELS = 3, GRID = 8, TOKENS = GRID * GRID };

/* A bright or dark square in the middle, in one mixture of the channels, with noise. */
static void check_square(float sign)
{
    struct prng r = {4};
    float x[SIDE * SIDE * CHANNELS];
    unsigned char mask[TOKENS];
    for (int y = 0; y < SIDE; y++)
        for (int c = 0; c < SIDE * CHANNELS; c++) {
            int column = c / CHANNELS, inside = y >= 4 && y < 12 && column >= 6 && column < 12;
            x[y * SIDE * CHANNELS + c] =
                (float)(0.2 * (prng_unit(&r) - 0.5)) + sign * (float)(inside * (1 + c % CHANNELS));
        }
    ck_assert_int_eq(foreground_mask(x, SIDE, SIDE, CHANNELS, GRID, GRID, mask, NULL), 0);
    for (int y = 0; y < GRID; y++)
        for (int c = 0; c < GRID; c++)
            ck_assert_int_eq(mask[y * GRID + c], y >= 2 && y < 6 && c >= 3 && c < 6);
}

START_TEST(test_mask)
{
    check_square(1);
    check_square(-1);
}
END_TEST

START_TEST(test_otsu)
{
    double x[40];
    for (int i = 0; i < 40; i++)
        x[i] = i < 30 ? 0.01 * i : 5 + 0.01 * i;
    double t = otsu_threshold(x, 40);
    ck_assert_double_gt(t, x[29]);
    ck_assert_double_le(t, x[30]);
    double flat[3] = {2, 2, 2};
    ck_assert_double_eq(otsu_threshold(flat, 3), 2);
}
END_TEST

/* One head of width 1 with q = 1: the weights are those of softmax(k); sums are the number of queries. */
START_TEST(test_received)
{
    float q[3] = {1, 1, 1}, k[3] = {0, 1, 2};
    double got[3], sum = 1 + exp(1) + exp(2), total = 0;
    ck_assert_int_eq(attention_received(q, k, 3, 1, 1, got, NULL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq_tol(got[i], 3 * exp(i) / sum, 1e-12);
    float wide[3 * 4];
    struct prng r = {2};
    for (int i = 0; i < 12; i++)
        wide[i] = (float)prng_unit(&r);
    ck_assert_int_eq(attention_received(wide, wide, 3, 2, 4, got, NULL), 0);
    for (int i = 0; i < 3; i++)
        total += got[i];
    ck_assert_double_eq_tol(total, 3, 1e-12);
    unsigned char mask[3] = {0, 1, 1}, none[3] = {0};
    double received[3] = {0.1, 0.2, 2.7};
    ck_assert_double_eq(foreground_overlap(received, mask, 3), 0.5);
    ck_assert_double_eq(foreground_overlap(received, none, 3), -1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("foreground");
    TCase *c = tcase_create("foreground");
    tcase_add_test(c, test_mask);
    tcase_add_test(c, test_otsu);
    tcase_add_test(c, test_received);
    suite_add_tcase(s, c);
    return run_suite(s);
}
