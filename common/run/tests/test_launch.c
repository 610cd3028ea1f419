/* Launch accounting on made-up clocks. */
#include "common/base/tests/run_suite.h"
#include "common/run/launch.h"

/* Two calls of two threads, asked for at 10: [11, 14] and [12, 15], then from 15 on [16, 18] and [15, 19]. */
START_TEST(threads)
{
    double begin[] = {11, 12, 16, 15}, end[] = {14, 15, 18, 19};
    struct cpu_log log = {.parts = 2, .calls = 2, .begin = begin, .end = end, .submit = 10};
    struct launch_account a;
    launch_account(&a, &log, 2);
    ck_assert_double_eq_tol(a.total, 9, 1e-12);
    ck_assert_double_eq_tol(a.tklqt, 1.5 + 0.5, 1e-12);
    ck_assert_double_eq_tol(a.kernel, (3 + 3 + 2 + 4) / 4.0, 1e-12);
    ck_assert_double_eq_tol(a.waiting, 1 - 12 / 2.0 / 9, 1e-12);
}
END_TEST

START_TEST(a_device)
{
    const struct cuda_trace kernel[] = {{"a", 0, 2, 5}, {"b", 1, 5, 6}, {"c", 8, 9, 10}};
    struct launch_account a;
    launch_account_device(&a, kernel, 3);
    ck_assert_double_eq_tol(a.total, 10, 1e-12);
    ck_assert_double_eq_tol(a.tklqt, 2 + 4 + 1, 1e-12);
    ck_assert_double_eq_tol(a.kernel, 5 / 3.0, 1e-12);
    ck_assert_double_eq_tol(a.waiting, 0.5, 1e-12);
    launch_account_device(&a, kernel, 0);
    ck_assert(a.total == 0 && a.tklqt == 0 && a.kernel == 0 && a.waiting == 0);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("launch");
    tcase_add_test(t, threads);
    tcase_add_test(t, a_device);
    Suite *s = suite_create("launch");
    suite_add_tcase(s, t);
    return run_suite(s);
}
