/* The public header alone: how it fails. What it computes is compared with generate's by a shell case. */
#include "common/base/tests/run_suite.h"
#include "hasten.h"

#include <check.h>
#include <string.h>

START_TEST(a_missing_file_is_explained)
{
    struct hasten_error e = {0};
    ck_assert_ptr_null(hasten_open("/nonexistent/model.zst", NULL, &e));
    ck_assert_int_eq(e.code, 1);
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/model.zst"));
}
END_TEST

START_TEST(a_level_that_is_none_is_refused)
{
    struct hasten_error e = {0};
    ck_assert_ptr_null(hasten_open("x", &(struct hasten_options){.cpu_level = "mmx"}, &e));
    ck_assert_int_eq(e.code, 2);
}
END_TEST

START_TEST(a_backend_that_is_none_is_refused)
{
    struct hasten_error e = {0};
    struct hasten_options o = {.backend = "tpu"};
    ck_assert_ptr_null(hasten_open("x", &o, &e));
    ck_assert_int_eq(e.code, 2);
    o = (struct hasten_options){.backend = "cuda", .plugin = "/nonexistent/hasten-cuda.so"};
    ck_assert_ptr_null(hasten_open("x", &o, &e));
    ck_assert_int_eq(e.code, 1);
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/hasten-cuda.so"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hasten");
    TCase *t = tcase_create("all");
    tcase_add_test(t, a_missing_file_is_explained);
    tcase_add_test(t, a_level_that_is_none_is_refused);
    tcase_add_test(t, a_backend_that_is_none_is_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
