/* Numbers of command lines: what is taken, what is refused, and that a locale changes nothing. */
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/tests/run_suite.h"

#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int64_t value;
    const char *message; /* NULL: taken */
} integers[] = {
    {"0", 0, NULL},
    {"50", 50, NULL},
    {"-7", -7, NULL},
    {"007", 7, NULL},
    {"1000", 1000, NULL},
    {"", 0, "is not an integer"},
    {" 5", 0, "is not an integer"},
    {"5 ", 0, "is not an integer"},
    {"5x", 0, "is not an integer"},
    {"+5", 0, "is not an integer"},
    {"--5", 0, "is not an integer"},
    {"0x10", 0, "is not an integer"},
    {"1e3", 0, "is not an integer"},
    {"5.0", 0, "is not an integer"},
    {"nan", 0, "is not an integer"},
    {"-", 0, "is not an integer"},
    {"1001", 0, "from -10 to 1000"},
    {"-11", 0, "from -10 to 1000"},
    {"9223372036854775807", 0, "out of range"},
    {"9223372036854775808", 0, "out of range"},
    {"99999999999999999999", 0, "out of range"},
    {"-99999999999999999999", 0, "out of range"},
};

START_TEST(integer)
{
    int64_t value = -99;
    struct error e = {0};
    int result = num_int("--steps", integers[_i].text, -10, 1000, &value, &e);
    if (!integers[_i].message) {
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(value, integers[_i].value);
        return;
    }
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(e.code, HASTEN_EUSAGE);
    ck_assert_int_eq(value, -99);
    ck_assert_msg(strstr(e.text, integers[_i].message) && strstr(e.text, "--steps"), "%s", e.text);
}
END_TEST

START_TEST(seed)
{
    uint64_t value = 0;
    struct error e = {0};
    ck_assert_int_eq(num_u64("--seed", "18446744073709551615", &value, &e), 0);
    ck_assert(value == UINT64_MAX);
    ck_assert_int_eq(num_u64("--seed", "0", &value, &e), 0);
    ck_assert(value == 0);
    static const char *const bad[] = {"18446744073709551616", "-1", "", "1.5", "1 ", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        ck_assert_msg(num_u64("--seed", bad[i], &value, &e) == -1 && e.code == HASTEN_EUSAGE, "%s", bad[i]);
    }
}
END_TEST

static const struct {
    const char *text;
    double value;
    const char *message;
} doubles[] = {
    {"2", 2, NULL},
    {"-0.5", -0.5, NULL},
    {"1e-3", 1e-3, NULL},
    {"1E2", 100, NULL},
    {"7.25e+1", 72.5, NULL},
    {"0.1", 0.1, NULL},
    {"", 0, "is not a number"},
    {"nan", 0, "is not a number"},
    {"inf", 0, "is not a number"},
    {"-inf", 0, "is not a number"},
    {"0x1p3", 0, "is not a number"},
    {"0x", 0, "is not a number"},
    {"1,5", 0, "is not a number"},
    {"0.1.2", 0, "is not a number"},
    {".5", 0, "is not a number"},
    {"5.", 0, "is not a number"},
    {"1e", 0, "is not a number"},
    {" 1", 0, "is not a number"},
    {"1 ", 0, "is not a number"},
    {"1e999", 0, "too large"},
    {"101", 0, "from -100 to 100"},
    {"-1e9", 0, "out of range"},
};

START_TEST(real)
{
    double value = -99;
    struct error e = {0};
    int result = num_double("--guidance", doubles[_i].text, -100, 100, &value, &e);
    if (!doubles[_i].message) {
        ck_assert_int_eq(result, 0);
        ck_assert(value == doubles[_i].value);
        return;
    }
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(e.code, HASTEN_EUSAGE);
    ck_assert(value == -99);
    ck_assert_msg(strstr(e.text, doubles[_i].message) && strstr(e.text, "--guidance"), "%s", e.text);
}
END_TEST

START_TEST(size)
{
    static const struct {
        const char *text;
        size_t value;
    } good[] = {{"0", 0},         {"17", 17},         {"1K", 1024},  {"3k", 3072},
                {"2M", 2u << 20}, {"1.5G", 3u << 29}, {"0.5k", 512}, {"8589934592", (size_t)1 << 33},
                {"1g", 1u << 30}};
    static const char *const bad[] = {
        "",     "K",  "-1", "-1K", "1T", "1KB", "1 K", "1KK", "1e3", "0x1", "99999999999999999999G",
        "1,5G", "inf"};
    struct error e = {0};
    size_t value;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(num_size("--memory", good[i].text, &value, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        ck_assert_msg(num_size("--memory", bad[i], &value, &e) == -1 && e.code == HASTEN_EUSAGE, "%s",
                      bad[i]);
    }
}
END_TEST

START_TEST(pair)
{
    static const char *const bad[] = {"",     "64",    "64x",   "x48",    "64x48x2", "0x48",
                                      "64x0", "64X48", "64x-1", "64 x48", "4097x1"};
    struct error e = {0};
    int w = 0, h = 0;
    ck_assert_int_eq(num_pair("--size", "64x48", 4096, &w, &h, &e), 0);
    ck_assert_int_eq(w, 64);
    ck_assert_int_eq(h, 48);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        ck_assert_msg(num_pair("--size", bad[i], 4096, &w, &h, &e) == -1 && e.code == HASTEN_EUSAGE, "%s",
                      bad[i]);
    }
}
END_TEST

START_TEST(list)
{
    static const struct {
        const char *text;
        size_t count;
        int64_t value[12];
    } good[] = {{"207", 1, {207}},
                {"0,3,5", 3, {0, 3, 5}},
                {"0-9", 10, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
                {"0-3,8,8", 6, {0, 1, 2, 3, 8, 8}},
                {"999-999", 1, {999}}};
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "is not a list"},      {",", "is not a list"},      {"1,", "is not a list"},
        {"1,,2", "is not a list"},  {"5-3", "is not a list"},    {"1-", "is not a list"},
        {"-", "is not a list"},     {"a", "is not a list"},      {"1;2", "is not a list"},
        {"0-3-5", "is not a list"}, {" 1", "is not a list"},     {"1000", "from 0 to 999"},
        {"-1", "from 0 to 999"},    {"0-1000", "from 0 to 999"}, {"0-99999999999999999999", "from 0 to 999"},
        {"0-12", "more than 12"},   {"0-9,0-2", "more than 12"}};
    struct error e = {0};
    int64_t *out;
    size_t count;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(num_list("--class", good[i].text, 0, 999, 12, &out, &count, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(count, good[i].count);
        ck_assert_mem_eq(out, good[i].value, count * sizeof *out);
        mem_free(out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        ck_assert_msg(num_list("--class", bad[i].text, 0, 999, 12, &out, &count, &e) == -1, "%s",
                      bad[i].text);
        ck_assert_int_eq(e.code, HASTEN_EUSAGE);
        ck_assert_msg(strstr(e.text, bad[i].message) != NULL, "%s: %s", bad[i].text, e.text);
    }
    ck_assert_int_eq(
        num_list("x", "9223372036854775806-9223372036854775807", 0, INT64_MAX, 9, &out, &count, &e), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(out[1] == INT64_MAX);
    mem_free(out);
}
END_TEST

START_TEST(canonical_text)
{
    static const struct {
        double value;
        const char *text;
    } all[] = {{0, "0"},
               {-0.0, "0"},
               {1, "1"},
               {-17, "-17"},
               {0.1, "0.1"},
               {1.0 / 3, "0.333333333"},
               {1e-300, "1e-300"},
               {2.5e20, "2.5e+20"},
               {9007199254740992., "9007199254740992"},
               {-9007199254740991., "-9007199254740991"},
               {1e15, "1000000000000000"},
               {123456789.25, "123456789"},
               {0x1.99999ap-4, "0.100000001"}};
    char out[NUM_TEXT];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ck_assert_uint_eq((size_t)num_text(all[i].value, out), strlen(all[i].text));
        ck_assert_str_eq(out, all[i].text);
    }
    /* Nine digits bring every float32 back. */
    uint32_t state = 1;
    for (int i = 0; i < 100000; i++) {
        float f, back;
        state = state * 1664525u + 1013904223u;
        memcpy(&f, &state, sizeof f);
        if (!isfinite(f) || fabsf(f) == 0)
            continue;
        back = (float)num_strtod(out, (size_t)num_text(f, out));
        ck_assert_msg(back == f, "%a became %a by %s", (double)f, (double)back, out);
    }
}
END_TEST

START_TEST(arithmetic)
{
    int64_t r;
    size_t s;
    ck_assert_int_eq(num_mul((int64_t)1 << 32, (int64_t)1 << 31, &r), 1);
    ck_assert_int_eq(num_mul((int64_t)1 << 31, (int64_t)1 << 31, &r), 0);
    ck_assert(r == (int64_t)1 << 62);
    ck_assert_int_eq(num_add(INT64_MAX, 1, &r), 1);
    ck_assert_int_eq(num_add(INT64_MIN, -1, &r), 1);
    ck_assert_int_eq(num_mul_size((size_t)1 << 32, (size_t)1 << 32, &s), 1);
    ck_assert_int_eq(num_add_size(SIZE_MAX, 0, &s), 0);
    ck_assert_int_eq(num_add_size(SIZE_MAX, 1, &s), 1);
}
END_TEST

/* A locale with a decimal comma, when the machine has one. */
START_TEST(locale_changes_nothing)
{
    static const char *const comma[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "fr_FR", "nl_NL.UTF-8"};
    char out[NUM_TEXT];
    double value = 0;
    struct error e = {0};
    int found = 0;
    for (size_t i = 0; i < sizeof comma / sizeof *comma && !found; i++)
        found = setlocale(LC_ALL, comma[i]) != NULL;
    if (!found)
        fprintf(stderr, "no locale with a decimal comma is installed: checked in the C locale only\n");
    num_text(0.25, out);
    ck_assert_str_eq(out, "0.25");
    ck_assert_int_eq(num_double("x", "0.25", 0, 1, &value, &e), 0);
    ck_assert(value == 0.25);
    setlocale(LC_ALL, "C");
}
END_TEST

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

int main(void)
{
    Suite *s = suite_create("num");
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, integer, 0, COUNT(integers));
    tcase_add_test(t, seed);
    tcase_add_loop_test(t, real, 0, COUNT(doubles));
    tcase_add_test(t, size);
    tcase_add_test(t, pair);
    tcase_add_test(t, list);
    tcase_add_test(t, canonical_text);
    tcase_add_test(t, arithmetic);
    tcase_add_test(t, locale_changes_nothing);
    suite_add_tcase(s, t);
    return run_suite(s);
}
