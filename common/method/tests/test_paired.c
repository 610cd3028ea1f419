/* Paired ratios against counting, knees of curves that have one. */
#include "common/base/tests/run_suite.h"
#include "common/method/paired.h"

#include <check.h>
#include <math.h>

START_TEST(ratio_is_the_median)
{
    double a[9] = {2, 4, 6, 8, 10, 12, 14, 16, 180}, b[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, scratch[9];
    struct paired r;
    paired_ratio(a, b, 9, scratch, &r);
    ck_assert_double_eq(r.median, 2);
    ck_assert_double_eq(r.low, 2);
    ck_assert_double_eq(r.high, 2); /* one of nine may lie outside: P = 10 / 512 */
    paired_ratio(a, b, 2, scratch, &r);
    ck_assert_double_eq(r.median, 2);
}
END_TEST

/* The interval's ranks against the published table of the sign test: of 10 the second on
 * either side, of 20 the sixth. */
START_TEST(interval_has_the_ranks_of_the_sign_test)
{
    static const int n[] = {5, 6, 10, 15, 20}, low[] = {1, 1, 2, 4, 6};
    double a[20], b[20], scratch[20];
    struct paired r;
    for (int i = 0; i < 20; i++) {
        a[i] = i + 1;
        b[i] = 1;
    }
    for (int i = 0; i < 5; i++) {
        paired_ratio(a, b, n[i], scratch, &r);
        ck_assert_double_eq(r.low, low[i]);
        ck_assert_double_eq(r.high, n[i] + 1 - r.low);
    }
}
END_TEST

START_TEST(knee_is_found)
{
    double x[7] = {1, 2, 4, 8, 16, 32, 64}, y[7];
    for (int i = 0; i < 7; i++) /* flat to 8, then as the size */
        y[i] = x[i] <= 8 ? 3 : 3 * x[i] / 8;
    ck_assert_int_eq(knee(x, y, 7), 3);
    for (int i = 0; i < 7; i++) /* a straight line with a little noise has none */
        y[i] = x[i] * (i % 2 ? 1.001 : 1);
    ck_assert_int_eq(knee(x, y, 7), -1);
    ck_assert_int_eq(knee(x, y, 3), -1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("paired");
    TCase *t = tcase_create("paired");
    tcase_add_test(t, ratio_is_the_median);
    tcase_add_test(t, interval_has_the_ranks_of_the_sign_test);
    tcase_add_test(t, knee_is_found);
    suite_add_tcase(s, t);
    return run_suite(s);
}
