/* Errors, memory, buffers, hashes. */
#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

START_TEST(first_error_wins)
{
    struct error e = {0};
    ck_assert_int_eq(error_set(&e, HASTEN_EFILE, "tensor '%s' is %d", "w", 3), -1);
    ck_assert_int_eq(error_set(&e, HASTEN_EFAIL, "later"), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_str_eq(e.text, "tensor 'w' is 3");
    ck_assert_int_eq(error_under(&e, "%s", "a.zst"), -1);
    ck_assert_str_eq(e.text, "a.zst: tensor 'w' is 3");
    ck_assert_int_eq(error_set(NULL, HASTEN_EFAIL, "nobody"), -1);
}
END_TEST

START_TEST(a_file_is_named_once)
{
    static const struct {
        const char *text, *want;
    } all[] = {{"a.zst: cut", "a.zst: cut"},
               {"cannot open 'a.zst': why", "cannot open 'a.zst': why"},
               {"cut", "a.zst: cut"},
               {"cannot open 'a.zst.x'", "a.zst: cannot open 'a.zst.x'"},
               {"a.zstd is cut", "a.zst: a.zstd is cut"}};
    struct error none = {0};
    error_in(&none, "a.zst");
    ck_assert(!none.code && !*none.text);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct error e = {0};
        error_set(&e, HASTEN_EFILE, "%s", all[i].text);
        ck_assert_int_eq(error_in(&e, "a.zst"), -1);
        ck_assert_str_eq(e.text, all[i].want);
    }
}
END_TEST

START_TEST(errno_is_told)
{
    struct error e = {0};
    errno = ENOSPC;
    error_errno(&e, HASTEN_EFAIL, "cannot write '%s'", "x");
    ck_assert_str_eq(e.text, "cannot write 'x': No space left on device");
}
END_TEST

START_TEST(long_texts_are_cut)
{
    struct error e = {0};
    static char name[3000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    error_set(&e, HASTEN_EFILE, "tensor '%s' is bad", name);
    error_under(&e, "%s", name);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
}
END_TEST

START_TEST(terminals_are_not_commanded)
{
    static const struct {
        const char *in, *out;
    } all[] = {{"a\x1B[2Jb\nc\x7F", "a?[2Jb?c?"},
               {"\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"},
               {"\xE2\x80\xAEgnp", "???gnp"},
               {"\xE2\x81\xA6x", "???x"},
               {"\xC2\x9Bx", "??x"},
               {"a\xFFz\xC3", "a?z?"},
               {"\xED\xA0\x80", "???"},
               {"\xC0\xAF", "??"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", all[i].in);
        text_mask(text);
        ck_assert_str_eq(text, all[i].out);
        struct error e = {0};
        error_set(&e, HASTEN_EFILE, "%s", all[i].in);
        ck_assert_str_eq(e.text, all[i].out);
    }
}
END_TEST

/* ---- memory ---- */

static int all_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return 0;
    return 1;
}

START_TEST(blocks_are_zero_and_aligned)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20};
    size_t blocks = mem_live_blocks(), live = mem_live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int round = 0; round < 3;
             round++) { /* a block that comes back from free is not zero by itself */
            struct error e = {0};
            unsigned char *p = mem_array(sizes[i], 1, &e);
            ck_assert_ptr_nonnull(p);
            ck_assert_uint_eq((uintptr_t)p % 64, 0);
            ck_assert(all_zero(p, sizes[i]));
            ck_assert_uint_eq(mem_live(), live + sizes[i]);
            ck_assert_uint_eq(mem_live_blocks(), blocks + 1);
            memset(p, 0xAA, sizes[i]);
            p = mem_resize(p, sizes[i] + 100, 1, &e);
            ck_assert_ptr_nonnull(p);
            ck_assert(all_zero(p + sizes[i], 100));
            ck_assert(sizes[i] == 0 || p[sizes[i] - 1] == 0xAA);
            p = mem_resize(p, sizes[i] / 2, 1, &e);
            ck_assert(sizes[i] < 2 || p[sizes[i] / 2 - 1] == 0xAA);
            mem_free(p);
        }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) { /* as good, but for what is in it */
        struct error e = {0};
        unsigned char *p = mem_room(sizes[i], 1, &e);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        ck_assert_uint_eq(mem_size(p), sizes[i]);
        memset(p, 0xAA, sizes[i]);
        mem_free(p);
    }
    ck_assert_uint_eq(mem_live(), live);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
    ck_assert_uint_ge(mem_peak(), live + (9 << 20));
    mem_free(NULL);
}
END_TEST

START_TEST(products_do_not_wrap)
{
    static const size_t bad[][2] = {
        {SIZE_MAX, 1}, {SIZE_MAX / 2, 3}, {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX - 100, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error e = {0};
        size_t live = mem_live();
        ck_assert_ptr_null(mem_array(bad[i][0], bad[i][1], &e));
        ck_assert_int_eq(e.code, HASTEN_ENOMEM);
        ck_assert_uint_eq(mem_live(), live);
        struct arena a = {0};
        e = (struct error){0};
        ck_assert_ptr_null(arena_alloc(&a, bad[i][0], bad[i][1], &e));
        ck_assert_int_eq(e.code, HASTEN_ENOMEM);
    }
}
END_TEST

START_TEST(limit_holds)
{
    struct error e = {0};
    mem_limit(mem_live() + 1000);
    void *p = mem_array(900, 1, &e), *q = mem_array(101, 1, &e);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_null(q);
    ck_assert_int_eq(e.code, HASTEN_ENOMEM);
    ck_assert_ptr_nonnull(strstr(e.text, "memory limit"));
    ck_assert_ptr_null(mem_small(101));
    mem_free(p);
    e = (struct error){0};
    ck_assert_ptr_nonnull(q = mem_array(1000, 1, &e));
    mem_free(q);
    mem_limit(0);
}
END_TEST

START_TEST(small_blocks_are_counted)
{
    size_t blocks = mem_live_blocks(), live = mem_live();
    void *p = mem_small(5), *q = mem_small(0);
    ck_assert_uint_eq((uintptr_t)p % 16, 0);
    ck_assert_uint_eq(mem_live_blocks(), blocks + 2);
    ck_assert_uint_eq(mem_live(), live + 5);
    mem_small_free(p);
    mem_small_free(q);
    mem_small_free(NULL);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
    ck_assert_ptr_null(mem_small(SIZE_MAX - 8));
    ck_assert_uint_eq(mem_live(), live);
}
END_TEST

START_TEST(arenas_free_everything)
{
    size_t blocks = mem_live_blocks();
    struct arena a = {0};
    struct error e = {0};
    for (int i = 0; i < 3000; i++) {
        char *s = arena_printf(&a, &e, "name %d", i);
        ck_assert_uint_eq((uintptr_t)s % 16, 0);
        memset(s, 'x', 6);
    }
    ck_assert_str_eq(arena_strndup(&a, "abcdef", 3, &e), "abc");
    unsigned char *large = arena_alloc(&a, 3, 10000, &e);
    ck_assert(all_zero(large, 30000));
    memset(large, 1, 30000);
    arena_free(&a);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

START_TEST(faults)
{
    struct error e = {0};
    fault_set("alloc:2");
    void *p = mem_array(1, 1, &e);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_null(mem_array(1, 1, &e));
    void *q = mem_array(1, 1, NULL);
    ck_assert_ptr_nonnull(q);
    mem_free(q);
    fault_set("alloc:2+,write:1:ENOSPC,fsync:1");
    void *r = mem_array(1, 1, NULL);
    ck_assert_ptr_nonnull(r);
    mem_free(r);
    ck_assert_ptr_null(mem_array(1, 1, NULL));
    ck_assert_ptr_null(mem_small(1));
    errno = 0;
    ck_assert_int_eq(fault_hit("write"), 1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(fault_hit("write"), 0);
    ck_assert_int_eq(fault_hit("fsync"), 1);
    ck_assert_int_eq(errno, EIO);
    fault_set(NULL);
    ck_assert_int_eq(fault_hit("write"), 0);
    mem_free(p);
}
END_TEST

static void *churn(void *unused)
{
    (void)unused;
    for (int i = 1; i < 20000; i++) {
        void *p = mem_array((size_t)i % 300, 1, NULL);
        void *q = mem_small((size_t)i % 50);
        mem_free(p);
        mem_small_free(q);
    }
    return NULL;
}

START_TEST(counters_are_exact_with_threads)
{
    pthread_t t[4];
    size_t blocks = mem_live_blocks(), live = mem_live();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, churn, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
    ck_assert_uint_eq(mem_live(), live);
}
END_TEST

/* ---- buffers ---- */

START_TEST(buffers_grow)
{
    struct buf b = {0};
    struct error e = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, &e, "%d,", i);
    ck_assert_uint_eq(b.size, 3890);
    ck_assert_uint_eq(strlen(b.data), b.size);
    ck_assert_int_eq(memcmp(b.data, "0,1,2,", 6), 0);
    char *at = buf_more(&b, 5, &e);
    ck_assert(all_zero((unsigned char *)at, 5));
    buf_free(&b);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(buffers_keep_their_limit_and_first_failure)
{
    struct buf b = {.max = 10};
    struct error e = {0};
    ck_assert_int_eq(buf_add(&b, "0123456789", 10, &e), 0);
    ck_assert_int_eq(buf_add(&b, "x", 1, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    e = (struct error){0};
    ck_assert_int_eq(buf_text(&b, "", &e), -1); /* a gap must not go unseen */
    ck_assert_int_eq(e.code, HASTEN_EFAIL);
    ck_assert_str_eq(b.data, "0123456789");
    buf_free(&b);
    ck_assert_uint_eq(b.max, 10);
    fault_set("alloc:1");
    e = (struct error){0};
    ck_assert_int_eq(buf_text(&b, "a", &e), -1);
    ck_assert_int_eq(e.code, HASTEN_ENOMEM);
    fault_set(NULL);
    buf_free(&b);
}
END_TEST

/* ---- hashes: values printed by xxhsum 0.8.1 -H2 for these bytes ---- */

START_TEST(hashes)
{
    static const struct {
        const char *text, *hex;
    } known[] = {{"", "99aa06d3014798d86001c324468d497f"}, {"a", "a96faf705af16834e6c632b61e964e1f"}};
    char hex[HASH_HEX];
    for (int i = 0; i < 2; i++) {
        hash_hex(hash_bytes(known[i].text, strlen(known[i].text)), hex);
        ck_assert_str_eq(hex, known[i].hex);
    }
    unsigned char data[5000], stored[16];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i >> 3);
    for (size_t step = 1; step < 5000; step = step * 3 + 1) {
        struct hash h;
        hash_start(&h);
        for (size_t at = 0; at < sizeof data; at += step)
            hash_add(&h, data + at, at + step < sizeof data ? step : sizeof data - at);
        ck_assert(hash_equal(hash_end(&h), hash_bytes(data, sizeof data)));
    }
    struct hash128 d = hash_bytes(data, 77), back;
    hash_store(d, stored);
    back = hash_load(stored);
    ck_assert(hash_equal(d, back));
    d.low ^= 1;
    ck_assert(!hash_equal(d, back));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("error_mem");
    TCase *t = tcase_create("all");
    tcase_add_test(t, first_error_wins);
    tcase_add_test(t, a_file_is_named_once);
    tcase_add_test(t, errno_is_told);
    tcase_add_test(t, long_texts_are_cut);
    tcase_add_test(t, terminals_are_not_commanded);
    tcase_add_test(t, blocks_are_zero_and_aligned);
    tcase_add_test(t, products_do_not_wrap);
    tcase_add_test(t, limit_holds);
    tcase_add_test(t, small_blocks_are_counted);
    tcase_add_test(t, arenas_free_everything);
    tcase_add_test(t, faults);
    tcase_add_test(t, counters_are_exact_with_threads);
    tcase_add_test(t, buffers_grow);
    tcase_add_test(t, buffers_keep_their_limit_and_first_failure);
    tcase_add_test(t, hashes);
    suite_add_tcase(s, t);
    return run_suite(s);
}
