/* Sums over images: any split into parts, in any order, and any stop give the bytes of one run; parts that do
 * not belong together, files that make no sense and failing allocations are errors. The plain order of
 * additions is written out. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/file/container.h"
#include "common/file/sums.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGES = 11, UNIT = 3, ARRAYS = 5 };

static const struct sum_array arrays[ARRAYS] = {
    {"f.sum", SUM_ADD, DTYPE_F32, 1, {4}},    {"d.sum", SUM_ADD, DTYPE_F64, 2, {2, 2}},
    {"n", SUM_ADD, DTYPE_I64, 1, {1}},        {"f.max", SUM_LARGEST, DTYPE_F32, 1, {4}},
    {"rows", SUM_JOIN, DTYPE_F32, 2, {2, 2}},
};

static char folder[] = "/tmp/hasten-sums-XXXXXX";

static char *file(int i)
{
    static char path[32][64];
    snprintf(path[i], sizeof path[i], "%s/%d.zst", folder, i);
    return path[i];
}

static void setup(void) { ck_assert_ptr_nonnull(mkdtemp(folder)); }

static void teardown(void)
{
    for (int i = 0; i < 32; i++)
        unlink(file(i));
    rmdir(folder);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
}

/* Numbers whose sum depends on the order. */
static float number(int64_t image, int k)
{
    return (float)((image * 7919 + k * 104729) % 1013) * 0.37f - 150;
}

static int opened(struct sums *s, int steps, int64_t images, struct error *e)
{
    cJSON *head = json_new_object(e);
    json_add_int(head, "steps", steps, e);
    return sums_open(s, head, images, UNIT, arrays, ARRAYS, e);
}

static int measure(struct sums *s, int64_t begin, int64_t end, struct error *e)
{
    for (int64_t i = begin; i < end; i++) {
        struct sum_record *r = sums_begin(s, i, e);
        if (!r)
            return -1;
        for (int k = 0; k < 4; k++) {
            float x = number(i, k), *largest = (float *)r->data[3] + k;
            ((float *)r->data[0])[k] += x;
            ((double *)r->data[1])[k] += 1.1 * (double)x;
            *largest = *largest > x ? *largest : x;
            ((float *)r->data[4])[(i - r->begin) * 4 + k] = x;
        }
        ++*(int64_t *)r->data[2];
        if (sums_end(s, e) < 0)
            return -1;
    }
    return 0;
}

static void check_whole(const struct sums *s)
{
    ck_assert_int_eq(s->records, 1);
    const struct sum_record *r = &s->record[0];
    for (int k = 0; k < 4; k++) {
        float sum = 0, largest = 0;
        double twice = 0;
        for (int64_t unit = 0; unit < IMAGES; unit += UNIT) { /* units by themselves, then one to another */
            float own = 0;
            double own_twice = 0;
            for (int64_t i = unit; i < unit + UNIT && i < IMAGES; i++) {
                own += number(i, k);
                own_twice += 1.1 * (double)number(i, k);
                largest = largest > number(i, k) ? largest : number(i, k);
                ck_assert(((float *)r->data[4])[i * 4 + k] == number(i, k));
            }
            sum += own;
            twice += own_twice;
        }
        ck_assert(((float *)r->data[0])[k] == sum);
        ck_assert(((double *)r->data[1])[k] == twice);
        ck_assert(((float *)r->data[3])[k] == largest);
    }
    ck_assert_int_eq(*(int64_t *)r->data[2], IMAGES);
}

static void write_part(int name, int i, int n, int steps, int64_t images)
{
    struct error e = {0};
    struct sums s;
    struct shard shard = {i, n, NULL};
    ck_assert_int_eq(opened(&s, steps, images, &e), 0);
    struct sum_range range = sums_range(&s, &shard);
    ck_assert_int_eq(measure(&s, range.begin, range.end, &e), 0);
    ck_assert_msg(sums_write(&s, file(name), "calibration", NULL, &e) == 0, "%s", e.text);
    sums_free(&s);
}

START_TEST(any_split_is_one_run)
{
    size_t blocks = mem_live_blocks();
    for (int n = 1; n <= 6; n++) {
        struct error e = {0};
        struct sums s;
        const char *path[6];
        for (int i = 0; i < n; i++) {
            write_part(i, i, n, 20, IMAGES);
            path[n % 2 ? n - 1 - i : i] = file(i);
        }
        ck_assert_msg(sums_merge(&s, path, n, "calibration", 0, NULL, &e) == 0, "%s", e.text);
        ck_assert_msg(sums_fold(&s, &e) == 0, "%s", e.text);
        check_whole(&s);
        sums_free(&s);
    }
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

START_TEST(a_stop_does_not_show)
{
    for (int64_t stop = 0; stop <= IMAGES; stop++)
        for (int part = 0; part < 2; part++) {
            struct error e = {0};
            struct sums s;
            struct shard shard = {part, 2, NULL};
            ck_assert_int_eq(opened(&s, 20, IMAGES, &e), 0);
            struct sum_range range = sums_range(&s, &shard);
            int64_t at = range.begin + stop < range.end ? range.begin + stop : range.end;
            ck_assert_int_eq(measure(&s, range.begin, at, &e), 0);
            ck_assert_int_eq(sums_write(&s, file(part), "calibration", NULL, &e), 0);
            sums_free(&s);
            ck_assert_int_eq(opened(&s, 20, IMAGES, &e), 0);
            ck_assert_msg(sums_resume(&s, file(part), "calibration", range, 1, 0, NULL, &e) == 0, "%s",
                          e.text);
            ck_assert_int_eq(sums_next(&s, range.begin), at);
            ck_assert_int_eq(measure(&s, at, range.end, &e), 0);
            ck_assert_int_eq(sums_write(&s, file(part), "calibration", NULL, &e), 0);
            sums_free(&s);
            if (part == 0)
                continue;
            const char *path[] = {file(1), file(0)};
            ck_assert_msg(sums_merge(&s, path, 2, "calibration", 0, NULL, &e) == 0, "%s", e.text);
            ck_assert_int_eq(sums_fold(&s, &e), 0);
            check_whole(&s);
            sums_free(&s);
        }
}
END_TEST

static void refused(const char *text, int a, int b)
{
    struct error e = {0};
    struct sums s;
    const char *path[] = {file(a), file(b < 0 ? 0 : b)};
    ck_assert_int_eq(sums_merge(&s, path, b < 0 ? 1 : 2, "calibration", 0, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
    ck_assert_int_eq(s.records, 0);
}

START_TEST(parts_that_do_not_belong_together)
{
    size_t blocks = mem_live_blocks();
    write_part(0, 0, 2, 20, IMAGES);
    write_part(1, 1, 2, 20, IMAGES);
    write_part(2, 1, 2, 10, IMAGES);
    write_part(3, 1, 2, 20, IMAGES + 1);
    write_part(4, 1, 3, 20, IMAGES);
    refused("images 6 to 10 of 11 are in none", 0, -1);
    refused("images 0 to 5 of 11 are in none", 1, 1);
    refused("image 0 is in", 0, 0);
    refused("2.zst: it is of another measurement: 'steps' is 10, in", 0, 2);
    refused("has 12 images", 0, 3);
    refused("image 3 is in", 0, 4);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

/* A file with other sums of the same thing, as another version of the program would have: what differs is
 * said. */
START_TEST(sums_of_another_version)
{
    static const struct sum_array others[][ARRAYS + 1] = {
        {{"f.sum", SUM_ADD, DTYPE_F32, 1, {4}}, {"d.sum", SUM_ADD, DTYPE_F64, 2, {2, 2}}},
        {{"f.sum", SUM_ADD, DTYPE_F32, 1, {4}}, {"lags", SUM_ADD, DTYPE_F64, 1, {9}}},
        {{"f.sum", SUM_ADD, DTYPE_F32, 1, {5}}},
        {{"f.sum", SUM_ADD, DTYPE_F64, 1, {4}}},
        {{"f.sum", SUM_LARGEST, DTYPE_F32, 1, {4}}},
        {{0}},
        {{0}}};
    static const struct {
        int arrays, unit;
        const char *text;
    } cases[] = {{2, UNIT, "it has no sums 'n', this run has"},
                 {6, UNIT, "it has sums 'lags', this run has not"},
                 {5, UNIT, "its sums 'f.sum' are not like"},
                 {5, UNIT, "its sums 'f.sum' are not like"},
                 {5, UNIT, "its sums 'f.sum' are not like"},
                 {6, UNIT, "its sums 'rows' are not like"},
                 {5, 2, "its records have 2 images"}};
    struct sum_array list[ARRAYS + 1];
    struct error e = {0};
    struct sums s;
    cJSON *head = json_new_object(&e);
    json_add_int(head, "steps", 20, &e);
    memcpy(list, arrays, sizeof arrays);
    for (int k = 0; k < 2 && others[_i][k].name; k++)
        list[k && cases[_i].arrays > ARRAYS ? ARRAYS : k] = others[_i][k];
    if (!others[_i][0].name)
        list[ARRAYS] = arrays[ARRAYS - 1]; /* the name twice */
    ck_assert_int_eq(sums_open(&s, head, IMAGES, cases[_i].unit, list, cases[_i].arrays, &e), 0);
    ck_assert_int_eq(sums_write(&s, file(0), "calibration", NULL, &e), 0);
    sums_free(&s);
    ck_assert_int_eq(opened(&s, 20, IMAGES, &e), 0);
    struct sum_range all = {0, IMAGES};
    ck_assert_int_eq(sums_resume(&s, file(0), "calibration", all, 0, 0, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, "another version") && strstr(e.text, cases[_i].text), "%s", e.text);
    sums_free(&s);
}
END_TEST

START_TEST(records_that_make_no_sense)
{
    static const char *const records[] = {"[[0,3],[2,6]]", "[[1,3]]",    "[[3,9]]", "[[0,4]]",   "[[0,12]]",
                                          "[[0,0]]",       "[[0]]",      "[0]",     "[[0,1.5]]", "[[-3,0]]",
                                          "[[0,3],[6,9]]", "[\"a\",{}]", "{}"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct error e = {0};
        struct sums s;
        char text[300];
        snprintf(text, sizeof text, "{\"of\":{},\"images\":11,\"unit\":3,\"arrays\":[],\"records\":%s}",
                 records[i]);
        cJSON *meta = json_parse(text, strlen(text), &e);
        ck_assert_int_eq(container_write(file(0), "calibration", meta, NULL, 0, NULL, NULL, NULL, NULL, &e),
                         0);
        cJSON_Delete(meta);
        ck_assert_msg(sums_read(&s, file(0), "calibration", 1, 0, NULL, &e) == -1, "%s", records[i]);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
    }
}
END_TEST

START_TEST(failing_allocations)
{
    const char *path[] = {file(0), file(1)};
    size_t blocks = mem_live_blocks();
    write_part(0, 0, 2, 20, IMAGES);
    write_part(1, 1, 2, 20, IMAGES);
    for (int k = 1, failed = 1; failed; k++) {
        struct error e = {0};
        struct sums s;
        char fault[32];
        snprintf(fault, sizeof fault, "alloc:%d", k);
        fault_set(fault);
        failed = sums_merge(&s, path, 2, "calibration", 0, NULL, &e) < 0 || sums_fold(&s, &e) < 0;
        fault_set(NULL);
        if (failed)
            ck_assert_int_eq(e.code, HASTEN_ENOMEM);
        else
            check_whole(&s);
        sums_free(&s);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sums");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, any_split_is_one_run);
    tcase_add_test(t, a_stop_does_not_show);
    tcase_add_test(t, parts_that_do_not_belong_together);
    tcase_add_loop_test(t, sums_of_another_version, 0, 7);
    tcase_add_test(t, records_that_make_no_sense);
    tcase_add_test(t, failing_allocations);
    suite_add_tcase(s, t);
    return run_suite(s);
}
