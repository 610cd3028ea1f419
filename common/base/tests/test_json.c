/* Strict JSON: what is refused and where, values, typed access, canonical text, speed, lack of memory. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *text, *message; /* NULL: valid */
} cases[] = {
    {"{}", NULL},
    {"[]", NULL},
    {" [ ] \n", NULL},
    {"null", NULL},
    {"-0", NULL},
    {"0.5e-300", NULL},
    {"1e-999999999", NULL}, /* underflows to 0, which is the nearest double */
    {"9007199254740993", NULL},
    {"\"\"", NULL},
    {"\"\\u00e4\\ud83d\\ude00\\n\\/\"", NULL},
    {"\"\xF0\x9F\x98\x80\"", NULL},
    {"{\"a\":{\"a\":1},\"A\":2}", NULL},
    {"\"{\"", NULL},
    {"", "at byte 0: it ends where a value is expected"},
    {"  ", "it ends where a value is expected"},
    {"{", "a key in quotes"},
    {"[", "a value is expected"},
    {"[1", "',' or ']'"},
    {"[1,]", "at byte 3: a comma without a value"},
    {"{\"a\":1,}", "a comma without a value"},
    {"{,}", "a key in quotes"},
    {"{\"a\"}", "':' is expected"},
    {"{\"a\":}", "a value is expected"},
    {"{a:1}", "a key in quotes"},
    {"{'a':1}", "a key in quotes"},
    {"{\"a\":1 \"b\":2}", "',' or '}'"},
    {"[1 2]", "',' or ']'"},
    {"[1}", "',' or ']'"},
    {"1 2", "text behind the value"},
    {"{}x", "text behind the value"},
    {"{}{}", "text behind the value"},
    {"{} // comment", "text behind the value"},
    {"/* a */ 1", "a value is expected"},
    {"[1, /* a */ 2]", "a value is expected"},
    {"\xEF\xBB\xBF{}", "a byte order mark"},
    {"NaN", "a value is expected"},
    {"nul", "a value is expected"},
    {"nullx", "text behind"},
    {"True", "a value is expected"},
    {"Infinity", "a value is expected"},
    {"-Infinity", "a number is expected"},
    {"1e999", "a number that is too large"},
    {"-1e999999999", "a number that is too large"},
    {"01", "a number is expected"},
    {"+1", "a value is expected"},
    {".5", "a value is expected"},
    {"1.", "a number is expected"},
    {"1e", "a number is expected"},
    {"1e+", "a number is expected"},
    {"0x10", "text behind"},
    {"-", "a number is expected"},
    {"1.000000000000000000000000000000000000000000000000000000000000000000000", "more than 63 characters"},
    {"\"a", "it ends inside a string"},
    {"\"a\nb\"", "a control byte in a string"},
    {"\"a\x7F\"", NULL},
    {"\"\\x\"", "an unknown escape"},
    {"\"\\u12g4\"", "an unknown escape"},
    {"\"\\u12", "an unknown escape"},
    {"\"\\", "an unknown escape"},
    {"\"\\u0000\"", "\\u0000 in a string"},
    {"\"\\ud800\"", "half of a surrogate pair"},
    {"\"\\ud800x\"", "half of a surrogate pair"},
    {"\"\\ud800\\ud800\"", "half of a surrogate pair"},
    {"\"\\udc00\"", "half of a surrogate pair"},
    {"\"\xFF\"", "not UTF-8"},
    {"\"\xC0\x80\"", "not UTF-8"},
    {"\"\xED\xA0\x80\"", "not UTF-8"},
    {"\"\xF4\x90\x80\x80\"", "not UTF-8"},
    {"\"\xE2\x82\"", "not UTF-8"},
    {"\"\xE2", "not UTF-8"},
    {"{\"a\":1,\"a\":2}", "the key 'a' is there twice"},
    {"{\"a\":1,\"\\u0061\":2}", "the key 'a' is there twice"},
    {"[{\"b\":0,\"c\":1,\"b\":0}]", "the key 'b' is there twice"},
    {"{\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,\"a\":0,\"b\":0,\"c\":0,\"d\":"
     "0,\"e\":0,"
     "\"f\":0,\"g\":0,\"h\":0,\"\\u0037\":0}",
     "the key '7' is there twice"},
};

START_TEST(accepts_and_refuses)
{
    /* From memory of exactly this size, so that a sanitizer sees every byte read beyond it. */
    size_t before = mem_live_blocks(), n = strlen(cases[_i].text);
    char *exact = malloc(n ? n : 1);
    memcpy(exact, cases[_i].text, n);
    struct error e = {0};
    cJSON *j = json_parse(exact, n, &e);
    if (cases[_i].message) {
        ck_assert_msg(!j && e.code == HASTEN_EFILE, "'%s' was accepted", cases[_i].text);
        ck_assert_msg(strstr(e.text, cases[_i].message) != NULL, "'%s': %s", cases[_i].text, e.text);
    } else {
        ck_assert_msg(j && e.code == 0, "'%s': %s", cases[_i].text, e.text);
    }
    cJSON_Delete(j);
    free(exact);
    ck_assert_uint_eq(mem_live_blocks(), before);
}
END_TEST

START_TEST(length_is_what_counts)
{
    struct error e = {0};
    ck_assert_ptr_null(json_parse("1\0", 2, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "text behind"));
    e = (struct error){0};
    ck_assert_ptr_null(json_parse("1", (size_t)JSON_MAX_TEXT + 1, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "at most 100000000"));
}
END_TEST

START_TEST(depth)
{
    struct buf b = {0};
    struct error e = {0};
    for (int i = 0; i < 32; i++)
        buf_text(&b, "[", &e);
    for (int i = 0; i < 32; i++)
        buf_text(&b, "]", &e);
    cJSON *j = json_parse(b.data, b.size, &e);
    ck_assert_ptr_nonnull(j);
    struct buf out = {0};
    ck_assert_int_eq(json_write(&out, j, &e), 0);
    ck_assert_str_eq(out.data, b.data);
    cJSON_Delete(j);
    b.size = 0;
    for (int i = 0; i < 200000; i++)
        buf_text(&b, "[", &e);
    ck_assert_ptr_null(json_parse(b.data, b.size, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "nested deeper than 32"));
    buf_free(&b);
    buf_free(&out);
}
END_TEST

START_TEST(values)
{
    struct error e = {0};
    const char *text =
        "{\"s\":\"a\\u00e4\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"n\":-2.5e-3,\"i\":9007199254740991,"
        "\"t\":true,\"f\":false,\"z\":null,\"l\":[1,2,3],\"o\":{\"k\":1}}";
    cJSON *j = json_parse(text, strlen(text), &e), *z;
    ck_assert_msg(j != NULL, "%s", e.text);
    const char *s;
    int64_t i = 0;
    double d = 0, *list;
    int b = 0;
    size_t n;
    ck_assert_int_eq(json_string(j, "s", &s, &e), 0);
    ck_assert_str_eq(s, "a\xC3\xA4\xF0\x9F\x98\x80\"\\/\b\f\n\r\t");
    ck_assert_int_eq(json_double(j, "n", -1, 1, &d, &e), 0);
    ck_assert(d == -2.5e-3);
    ck_assert_int_eq(json_int(j, "i", 0, INT64_MAX, &i, &e), 0);
    ck_assert(i == 9007199254740991);
    ck_assert_int_eq(json_bool(j, "t", &b, &e), 0);
    ck_assert_int_eq(b, 1);
    ck_assert_int_eq(json_bool(j, "f", &b, &e), 0);
    ck_assert_int_eq(b, 0);
    ck_assert_int_eq(json_int_or(j, "z", 0, 9, 7, &i, &e), 0); /* null counts as absent */
    ck_assert_int_eq(i, 7);
    ck_assert_int_eq(json_string_or(j, "nothing", "x", &s, &e), 0);
    ck_assert_str_eq(s, "x");
    ck_assert_int_eq(json_object_or(j, "nothing", &z, &e), 0);
    ck_assert_ptr_null(z);
    ck_assert_int_eq(json_get_doubles(j, "l", 0, 9, &list, &n, &e), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert(list[2] == 3);
    mem_free(list);
    ck_assert_ptr_nonnull(json_object(j, "o", &e));
    int64_t *ints;
    ck_assert_int_eq(json_get_ints(j, "l", 0, 9, &ints, &n, &e), 0);
    ck_assert(n == 3 && ints[0] == 1 && ints[2] == 3);
    mem_free(ints);
    ck_assert_int_eq(json_double_or(j, "none", 0, 1, 0.5, &d, &e), 0);
    ck_assert(d == 0.5);
    ck_assert_int_eq(json_double_or(j, "n", -1, 1, 0.5, &d, &e), 0);
    ck_assert(d == -2.5e-3);
    ck_assert_int_eq(json_bool_or(j, "none", 1, &b, &e), 0);
    ck_assert_int_eq(b, 1);
    ck_assert_int_eq(json_bool_or(j, "f", 1, &b, &e), 0);
    ck_assert_int_eq(b, 0);
    ck_assert_int_eq(e.code, 0);
    cJSON_Delete(j);
}
END_TEST

START_TEST(typed_access_names_the_key)
{
    struct error e = {0};
    const char *text =
        "{\"steps\":3.5,\"name\":7,\"list\":[1,\"x\"],\"big\":1e300,\"text\":\"5\",\"z\":null}";
    cJSON *j = json_parse(text, strlen(text), &e), *p;
    int64_t i, *is;
    double d, *ds;
    const char *s;
    int b;
    size_t n;
#define REFUSED(CALL, PART)                                                                                  \
    do {                                                                                                     \
        e = (struct error){0};                                                                               \
        ck_assert_int_eq((CALL), -1);                                                                        \
        ck_assert_int_eq(e.code, HASTEN_EFILE);                                                              \
        ck_assert_msg(strstr(e.text, PART) != NULL, "%s", e.text);                                           \
    } while (0)
    REFUSED(json_int(j, "steps", 1, 10, &i, &e), "'steps' is 3.5, an integer from 1 to 10");
    REFUSED(json_int(j, "big", 1, INT64_MAX, &i, &e), "'big' is 1");
    REFUSED(json_int(j, "text", 1, 9, &i, &e), "'text' is the string '5', an integer");
    REFUSED(json_int(j, "none", 1, 9, &i, &e), "'none' is missing");
    REFUSED(json_int(j, "z", 1, 9, &i, &e), "'z' is null");
    REFUSED(json_int_or(j, "steps", 1, 9, 5, &i, &e), "'steps' is 3.5");
    REFUSED(json_double(j, "steps", 4, 5, &d, &e), "'steps' is 3.5, a number from 4 to 5");
    REFUSED(json_double(j, "text", 4, 5, &d, &e), "'text' is the string '5', a number");
    REFUSED(json_double_or(j, "steps", 4, 5, 4.5, &d, &e), "'steps' is 3.5");
    REFUSED(json_bool_or(j, "steps", 1, &b, &e), "true or false is needed");
    REFUSED(json_get_doubles(j, "list", 0, 9, &ds, &n, &e), "entry 1: 'list' is the string 'x'");
    REFUSED(json_get_doubles(j, "name", 0, 9, &ds, &n, &e), "a list is needed");
    REFUSED(json_double(j, "name2", 4, 5, &d, &e), "'name2' is missing, a number");
    REFUSED(json_string(j, "name", &s, &e), "'name' is a number, a string");
    REFUSED(json_bool(j, "name", &b, &e), "true or false is needed");
    REFUSED(json_array(j, "name", &e) ? 0 : -1, "a list is needed");
    REFUSED(json_object(j, "list", &e) ? 0 : -1, "'list' is a list, an object");
    REFUSED(json_array_or(j, "name", &p, &e), "a list is needed");
    REFUSED(json_get_ints(j, "list", 0, 9, &is, &n, &e), "entry 1: 'list' is the string 'x'");
    REFUSED(json_int(json_get(j, "list"), "steps", 1, 2, &i, &e), "an object with 'steps' is needed, a list");
    REFUSED(json_int(NULL, "steps", 1, 2, &i, &e), "an object with 'steps' is needed");
    cJSON_Delete(j);
}
END_TEST

START_TEST(canonical)
{
    struct error e = {0};
    struct buf a = {0}, b = {0}, c = {0};
    cJSON *o = json_new_object(&e);
    json_add_string(o, "z", "q\"\\\x01/\n\xC3\xA4", &e);
    json_add_int(o, "b", 3, &e);
    json_add_double(o, "a", 1.0 / 3, &e);
    json_add_bool(o, "claims", 1, &e);
    cJSON *list = json_add_array(o, "list", &e);
    json_push_double(list, -0.0, &e);
    json_push_string(list, "x", &e);
    json_add_int(json_push_object(list, &e), "k", 1, &e);
    json_add_int(o, "b", 4, &e); /* instead of 3 */
    json_add(o, "x", json_floats((float[]){0.1f, 2}, 2, &e), &e);
    json_add(o, "y", json_ints((int64_t[]){-1, 1ll << 53}, 2, &e), &e);
    json_add_string(json_add_object(o, "w", &e), "null", NULL, &e);
    ck_assert_int_eq(e.code, 0);
    ck_assert_int_eq(json_write(&a, o, &e), 0);
    ck_assert_str_eq(a.data, "{\"a\":0.333333333,\"b\":4,\"claims\":true,\"list\":[0,\"x\",{\"k\":1}],"
                             "\"w\":{\"null\":null},\"x\":[0.100000001,2],\"y\":[-1,9007199254740992],\"z\":"
                             "\"q\\\"\\\\\\u0001/\\n\xC3\xA4\"}");
    cJSON *again = json_parse(a.data, a.size, &e);
    ck_assert_int_eq(json_write(&b, again, &e), 0);
    ck_assert_str_eq(a.data, b.data);
    ck_assert_int_eq(json_write_without(&c, o, "claims", &e), 0);
    ck_assert_ptr_null(strstr(c.data, "claims"));
    c.size = 0;
    ck_assert_int_eq(json_write_pretty(&c, o, &e), 0);
    cJSON *pretty = json_parse(c.data, c.size, &e);
    ck_assert_ptr_nonnull(strstr(c.data, "\n  \"b\": 4"));
    b.size = 0;
    ck_assert_int_eq(json_write(&b, pretty, &e), 0);
    ck_assert_str_eq(a.data, b.data);
    cJSON_Delete(pretty);
    cJSON_Delete(again);
    cJSON_Delete(o);
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
}
END_TEST

START_TEST(writer_refuses)
{
    struct error e = {0};
    struct buf b = {0};
    cJSON *o = json_new_object(&e);
    json_add_double(o, "loss", NAN, &e);
    ck_assert_int_eq(json_write(&b, o, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, "'loss' is not a finite number"), "%s", e.text);
    json_remove(o, "loss");
    e = (struct error){0};
    json_add_string(o, "s", "\xFF", &e);
    ck_assert_int_eq(json_write(&b, o, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "not UTF-8"));
    json_remove(o, "s");
    e = (struct error){0};
    cJSON_AddNumberToObject(o, "k", 1);
    cJSON_AddNumberToObject(o, "k", 2);
    ck_assert_int_eq(json_write(&b, o, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "the key 'k' is twice"));
    json_remove(o, "k");
    cJSON *deep = o;
    for (int i = 0; i < JSON_MAX_DEPTH; i++)
        deep = json_add_object(deep, "d", &e);
    e = (struct error){0};
    ck_assert_int_eq(json_write(&b, o, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "deeper than 32"));
    cJSON_Delete(o);
    buf_free(&b);
}
END_TEST

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of several, in time of the processor, since the machine may be busy. */
static double parse_time(int keys)
{
    struct error e = {0};
    struct buf b = {0};
    double best = 1e9;
    buf_text(&b, "{", &e);
    for (int i = 0; i < keys; i++)
        buf_printf(&b, &e, "%s\"blocks.%d.attn.weight\":\"value %d\"", i ? "," : "", (int)(i * 7919ll % keys),
                   i);
    buf_text(&b, "}", &e);
    for (int i = 0; i < 15; i++) {
        double begin = now();
        cJSON *j = json_parse(b.data, b.size, &e);
        double took = now() - begin;
        ck_assert_msg(j != NULL, "%s", e.text);
        cJSON_Delete(j);
        best = took < best ? took : best;
    }
    buf_free(&b);
    return best;
}

START_TEST(many_keys_are_fast)
{
    double one = parse_time(10000), ten = parse_time(100000);
#if defined __SANITIZE_ADDRESS__
    ck_assert_msg(one < 0.2, "10 000 keys took %.1f ms", 1e3 * one);
#else
    ck_assert_msg(one < 0.010, "10 000 keys took %.1f ms", 1e3 * one);
#endif
    ck_assert_msg(ten < 35 * one, "10 000 keys %.2f ms, 100 000 keys %.2f ms: not n log n", 1e3 * one,
                  1e3 * ten);
}
END_TEST

static int build_and_read(struct error *e)
{
    static const char text[] = "{\"a\":[1,2,{\"k\":\"v\"}],\"b\":\"text\",\"c\":{\"d\":null,\"e\":true}}";
    cJSON *j = json_parse(text, sizeof text - 1, e), *copy = j ? json_copy(j, e) : NULL;
    struct buf b = {0};
    int result = -1;
    if (copy && json_add_string(copy, "s", "x", e) == 0 &&
        json_add(copy, "l", json_doubles((double[]){1, 2}, 2, e), e) == 0 && json_write(&b, copy, e) == 0)
        result = 0;
    buf_free(&b);
    cJSON_Delete(copy);
    cJSON_Delete(j);
    return result;
}

START_TEST(every_allocation_may_fail)
{
    size_t before = mem_live_blocks();
    for (int sticky = 0; sticky < 2; sticky++)
        for (int k = 1;; k++) {
            char setting[32];
            struct error e = {0};
            snprintf(setting, sizeof setting, "alloc:%d%s", k, sticky ? "+" : "");
            fault_set(setting);
            int result = build_and_read(&e);
            fault_set(NULL);
            ck_assert_uint_eq(mem_live_blocks(), before);
            ck_assert_int_lt(k, 500);
            if (result == 0) {
                ck_assert_int_gt(k, 20);
                break;
            }
            ck_assert_msg(e.code == HASTEN_ENOMEM, "allocation %d: code %d, %s", k, e.code, e.text);
        }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60); /* a machine may be busy */
    tcase_add_loop_test(t, accepts_and_refuses, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(t, length_is_what_counts);
    tcase_add_test(t, depth);
    tcase_add_test(t, values);
    tcase_add_test(t, typed_access_names_the_key);
    tcase_add_test(t, canonical);
    tcase_add_test(t, writer_refuses);
    tcase_add_test(t, many_keys_are_fast);
    tcase_add_test(t, every_allocation_may_fail);
    suite_add_tcase(s, t);
    return run_suite(s);
}
