/* Lines that come late, long or without an end; manifests that were cut. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/file/lines.h"
#include "common/file/manifest.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/hasten-lines-XXXXXX";

static void put(const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static void holds(const char *text)
{
    char got[4096];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(got, 1, sizeof got - 1, f) : 0;
    got[n] = 0;
    ck_assert_str_eq(got, text);
    fclose(f);
}

static void setup(void)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    ck_assert(fd >= 0);
    close(fd);
}
static void teardown(void) { unlink(path); }

START_TEST(whole_files)
{
    static const char text[] = "one\n\n0123456789abcdef!\nlast";
    static const char *const want[] = {"one", "", NULL, "last"};
    struct error e = {0};
    struct line x;
    put(text, sizeof text - 1);
    struct lines *l = lines_open(path, 16, &e);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(lines_next(l, 1, &x, &e), LINES_LINE);
        ck_assert_int_eq(x.number, i + 1);
        ck_assert_int_eq(x.too_long, want[i] == NULL);
        ck_assert_int_eq(x.size, want[i] ? strlen(want[i]) : 0);
        ck_assert(!want[i] || !memcmp(x.text, want[i], x.size));
    }
    ck_assert_int_eq(lines_next(l, 1, &x, &e), LINES_END);
    lines_close(l);
}
END_TEST

/* A line of a million bytes between two short ones; then no file, a folder, and failing reads. */
START_TEST(long_lines_and_refusals)
{
    size_t n = 1000000;
    char *text = malloc(n + 8);
    struct error e = {0}, e2 = {0}, e3 = {0}, e4 = {0};
    struct line x;
    memset(text, 'x', n + 8);
    memcpy(text, "a\n", 2);
    memcpy(text + n, "\nb\n", 3);
    put(text, n + 3);
    free(text);
    struct lines *l = lines_open(path, 100, &e);
    ck_assert(lines_next(l, 1, &x, &e) == LINES_LINE && x.size == 1);
    ck_assert(lines_next(l, 1, &x, &e) == LINES_LINE && x.too_long && x.size == 0);
    ck_assert(lines_next(l, 1, &x, &e) == LINES_LINE && x.size == 1 && *x.text == 'b' && x.number == 3);
    ck_assert_int_eq(lines_next(l, 1, &x, &e), LINES_END);
    lines_close(l);
    ck_assert(!lines_open("/nonexistent/x", 100, &e2) && e2.code == HASTEN_EFAIL);
    l = lines_open("/tmp", 100, &e3);
    ck_assert(l && lines_next(l, 1, &x, &e3) == -1 && e3.code == HASTEN_EFAIL);
    lines_close(l);
    fault_set("read:1:EIO");
    l = lines_open(path, 100, &e4);
    ck_assert(l && lines_next(l, 1, &x, &e4) == -1 && e4.code == HASTEN_EFAIL);
    lines_close(l);
    fault_set(NULL);
}
END_TEST

/* A pipe whose writer is slow: nothing is waited for unless asked. */
START_TEST(pipes)
{
    int ends[2];
    struct error e = {0};
    struct line x;
    ck_assert(pipe(ends) == 0 && dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    struct lines *l = lines_open("-", 100, &e);
    ck_assert_int_eq(lines_next(l, 0, &x, &e), LINES_LATER);
    ck_assert(write(ends[1], "ab", 2) == 2);
    ck_assert_int_eq(lines_next(l, 0, &x, &e), LINES_LATER);
    ck_assert(write(ends[1], "c\nd", 3) == 3);
    ck_assert(lines_next(l, 0, &x, &e) == LINES_LINE && x.size == 3 && !memcmp(x.text, "abc", 3));
    ck_assert_int_eq(lines_next(l, 0, &x, &e), LINES_LATER);
    close(ends[1]);
    ck_assert(lines_next(l, 0, &x, &e) == LINES_LINE && x.size == 1 && *x.text == 'd');
    ck_assert_int_eq(lines_next(l, 0, &x, &e), LINES_END);
    lines_close(l);
}
END_TEST

START_TEST(manifests)
{
    struct error e = {0}, e2 = {0};
    put("one\ntwo\nthr", 11); /* the last line was being written */
    struct manifest *m = manifest_open(path, &e);
    ck_assert_msg(m != NULL, "%s", e.text);
    ck_assert(manifest_has(m, "one") && manifest_has(m, "two") && !manifest_has(m, "thr"));
    ck_assert(!manifest_open(path, &e2) && strstr(e2.text, "another run"));
    ck_assert_int_eq(manifest_add(m, "two", &e), 0);
    ck_assert_int_eq(manifest_add(m, "three", &e), 0);
    ck_assert(manifest_has(m, "three"));
    ck_assert_int_eq(manifest_close(m, &e), 0);
    holds("one\ntwo\nthree\n");
}
END_TEST

/* Whatever fails, the file ends with a whole line the next time. */
START_TEST(manifest_faults)
{
    for (int k = 1; k < 40; k++)
        for (int kind = 0; kind < 6; kind++) {
            static const char *const kinds[] = {"alloc", "open", "read", "write", "fsync", "close"};
            char setting[32];
            struct error e = {0}, e2 = {0};
            put("one\n", 4);
            snprintf(setting, sizeof setting, "%s:%d", kinds[kind], k);
            fault_set(setting);
            struct manifest *m = manifest_open(path, &e);
            int status = m ? manifest_add(m, "two", &e) : -1;
            if (manifest_close(m, &e) < 0)
                status = -1;
            fault_set(NULL);
            ck_assert_int_eq(status < 0, e.code != 0);
            m = manifest_open(path, &e2);
            ck_assert(m && manifest_has(m, "one"));
            ck_assert_int_eq(manifest_add(m, "two", &e2), 0);
            ck_assert_int_eq(manifest_close(m, &e2), 0);
            holds("one\ntwo\n");
            ck_assert_int_eq(mem_live_blocks(), 0);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lines");
    TCase *c = tcase_create("all");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, whole_files);
    tcase_add_test(c, long_lines_and_refusals);
    tcase_add_test(c, pipes);
    tcase_add_test(c, manifests);
    tcase_add_test(c, manifest_faults);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
