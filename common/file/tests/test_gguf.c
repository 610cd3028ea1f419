/* GGUF: blocks against the package gguf (scripts/golden/gguf_blocks.py), a file that is made here, all its
 * truncations and flipped bits, and numbers that make no sense. */
#include "common/base/tests/run_suite.h"
#include "common/file/diffusers.h"
#include "common/file/gguf.h"
#include "common/method/tests/golden.h"

#include <math.h>
#include <unistd.h>

static char path[] = "/tmp/hasten-gguf-XXXXXX";

START_TEST(blocks_are_those_of_the_package)
{
    static const struct {
        const char *name;
        int type;
    } types[] = {{"Q8_0", 8}, {"Q4_0", 2}, {"Q4_K", 12}, {"Q6_K", 14}};
    cJSON *root = golden_load("testdata/golden/gguf.json");
    const cJSON *g = golden_get(root, types[_i].name);
    int size, count, bytes, numbers = gguf_block(types[_i].type, &bytes);
    double *raw = golden_numbers(g, "bytes", &size), *want = golden_numbers(g, "values", &count);
    unsigned char *blocks = malloc((size_t)size);
    float *got = malloc((size_t)count * sizeof *got);
    ck_assert_int_eq(size / bytes * numbers, count);
    for (int i = 0; i < size; i++)
        blocks[i] = (unsigned char)raw[i];
    gguf_decode(types[_i].type, blocks, size / bytes, got);
    for (int i = 0; i < count;
         i++) /* the package multiplies in another order: two roundings, and cancellation */
        ck_assert_double_eq_tol((double)got[i], want[i], 3e-7 * fmax(1, fabs(want[i])));
    free(raw), free(want), free(blocks), free(got);
    cJSON_Delete(root);
}
END_TEST

/* ---- a file ---- */

static unsigned char file[4096];
static size_t size;

static void put(const void *data, size_t n)
{
    memcpy(file + size, data, n);
    size += n;
}

static void put32(uint32_t x) { put(&x, 4); }
static void put64(uint64_t x) { put(&x, 8); }

static void put_text(const char *s)
{
    put64(strlen(s));
    put(s, strlen(s));
}

/* w: 3 x 64 in Q8_0 that was 3 x 16 x 2 x 2; b: 3 in F32. */
static void make_file(uint64_t tensors, uint64_t pairs, uint64_t dimension, uint64_t offset)
{
    size = 0;
    put("GGUF", 4);
    put32(3);
    put64(tensors);
    put64(pairs);
    put_text("general.architecture"), put32(8), put_text("net");
    put_text("list"), put32(9), put32(8), put64(2), put_text("a"), put_text("bc");
    put_text("comfy.gguf.orig_shape.w"), put32(9), put32(5), put64(4), put32(3), put32(16), put32(2),
        put32(2);
    put_text("w"), put32(2), put64(dimension), put64(3), put32(8), put64(offset);
    put_text("b"), put32(1), put64(3), put32(0), put64(224);
    size = (size + 31) / 32 * 32;
    for (int block = 0; block < 6; block++) {
        uint16_t one = 0x3c00; /* 1.0 */
        put(&one, 2);
        for (int i = 0; i < 32; i++)
            put(&(int8_t){(int8_t)(block * 5 + i - 16)}, 1);
    }
    size = (size + 31) / 32 * 32;
    put(&(float[]){0.5f, -1, 2}, 12);
}

static void write_file(size_t n)
{
    unlink(path); /* cutting an existing file short waits for the disk on some file systems */
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(file, 1, n, f), n);
    fclose(f);
}

/* 0: everything could be read. */
static int read_all(struct error *e)
{
    struct gguf g;
    struct tensor t;
    int status = gguf_open(&g, path, e);
    if (status < 0)
        return -1;
    for (int i = 0; i < g.count && status == 0; i++) {
        status = gguf_load(&g, i, &t, e);
        mem_free(status == 0 ? t.data : NULL);
    }
    gguf_close(&g);
    return status;
}

/* The whole file is refused, and the message says `text`. */
static void refused(const char *text)
{
    struct error e = {0};
    write_file(size);
    ck_assert_int_eq(read_all(&e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
}

START_TEST(a_file_and_its_graph)
{
    static const char graph[] = "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":"
                                "\"image\",\"channels\":16,\"height\":4,"
                                "\"width\":4}],\"nodes\":[{\"name\":\"c\",\"op\":\"conv2d\",\"in\":["
                                "\"sample\"],\"weights\":{\"weight\":\"w\","
                                "\"bias\":\"b\"}}],\"outputs\":{\"sample\":\"c\"}}}}";
    struct error e = {0};
    struct import_report r = {0};
    struct model m;
    char json[64];
    make_file(2, 3, 64, 0);
    write_file(size);
    snprintf(json, sizeof json, "%s.json", path);
    FILE *f = fopen(json, "w");
    fputs(graph, f);
    fclose(f);
    ck_assert_int_eq(gguf_is(path), 1);
    ck_assert_int_eq(gguf_is(json), 0);
    ck_assert_int_eq(model_new(&m, &e), 0);
    ck_assert_msg(graph_file_import(&m, path, json, IMPORT_KEEP, &r, &e) == 0, "%s", e.text);
    const struct tensor *w = model_find(&m, "w"), *b = model_find(&m, "b");
    ck_assert_int_eq(w->rank, 4);
    ck_assert_int_eq(w->shape[1], 16);
    for (int i = 0; i < 192; i++)
        ck_assert_float_eq(((float *)w->data)[i], (float)(i / 32 * 5 + i % 32 - 16));
    ck_assert_float_eq(((float *)b->data)[1], -1);
    buf_free(&r.unused_names);
    buf_free(&r.defects);
    model_close(&m);
    unlink(json);
}
END_TEST

START_TEST(truncations_and_flips)
{
    struct error e = {0};
    make_file(2, 3, 64, 0);
    write_file(size);
    ck_assert_msg(read_all(&e) == 0, "%s", e.text);
    for (size_t n = 0; n < size; n += n < 400 ? 1 : 23) {
        e = (struct error){0};
        write_file(n);
        ck_assert_int_eq(read_all(&e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
    }
    for (size_t bit = 0; bit < 8 * size; bit += bit < 8 * 400 ? 5 : 137) { /* refused or read, never more */
        e = (struct error){0};
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(size);
        ck_assert(read_all(&e) == 0 || e.code == HASTEN_EFILE);
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
END_TEST

START_TEST(absurd_numbers)
{
    static const struct {
        uint64_t tensors, pairs, dimension, offset;
        const char *text;
    } cases[] = {
        {UINT64_MAX, 3, 64, 0, "tensors do not fit"},
        {1u << 20, 3, 64, 0, "tensors do not fit"},
        {2, UINT64_MAX / 8, 64, 0, "metadata pairs"},
        {2, 3, UINT64_MAX, 0, "absurd dimension"},
        {2, 3, 1ull << 62, 0, "w"},
        {2, 3, 48, 0, "whole blocks"},
        {2, 3, 64, 1ull << 63, "behind the end"},
        {2, 3, 64, 8, "does not divide"},
        {2, 3, 1024, 0, "original shape"},
        {2, 3, 0, 0, "original shape"},
    };
    make_file(cases[_i].tensors, cases[_i].pairs, cases[_i].dimension, cases[_i].offset);
    refused(cases[_i].text);
}
END_TEST

/* One word of the header changed: `at` is where the text `behind` ends, plus some bytes. */
START_TEST(wrong_words)
{
    static const struct {
        const char *behind;
        int plus, bytes;
        uint64_t value;
        const char *text;
    } cases[] = {
        {"GGUF", 0, 4, 1, "version 2 or 3"},
        {"GGUF", 0, 4, 4, "version 2 or 3"},
        {"GGUF", 0, 4, 0x03000000, "version 2 or 3"}, /* of a big-endian machine */
        {"GGUF", 4, 8, 1u << 31, "tensors do not fit"},
        {"GGUF", 12, 8, 1ull << 40, "metadata pairs do not fit"},
        {"GGUF", 20, 8, 1ull << 62, "bytes of a name do not fit"}, /* of the first key */
        {"architecture", 0, 4, 13, "unknown type 13"},
        {"architecture", 0, 4, UINT32_MAX, "unknown type"},
        {"architecture", 4, 8, 1ull << 50, "bytes of a text do not fit"},
        {"list", 4, 4, 9, "elements of the type 9"},
        {"list", 4, 4, 77, "elements of the type 77"},
        {"list", 8, 8, 1ull << 45, "elements of an array do not fit"},
        {"list", 16, 8, 1ull << 45, "bytes of a text do not fit"},
        {"orig_shape.w", 4, 4, 4, "not one to four integers"}, /* unsigned ones */
        {"orig_shape.w", 8, 8, 5, "not one to four integers"},
        {"orig_shape.w", 8, 8, 0, "not one to four integers"},
        {"orig_shape.w", 16, 4, 4, "original shape of 'w' has 256 numbers"},
        {"orig_shape.w", 16, 4, UINT32_MAX, "w"}, /* -1 */
        {"\1\0\0\0\0\0\0\0w", 0, 4, 5, "5 dimensions"},
        {"\1\0\0\0\0\0\0\0w", 0, 4, UINT32_MAX, "dimensions"},
        {"\1\0\0\0\0\0\0\0w", 20, 4, 3, "type 3 of ggml"}, /* Q4_1 */
        {"\1\0\0\0\0\0\0\0w", 20, 4, UINT32_MAX, "of ggml"},
        {"\1\0\0\0\0\0\0\0b", 4, 8, 1ull << 60, "b"},
        {"\1\0\0\0\0\0\0\0b", 16, 8, 256, "ends at byte"},
        {"\1\0\0\0\0\0\0\0b", 16, 8, 1 << 20, "behind the end"},
    };
    make_file(2, 3, 64, 0);
    const char *behind = cases[_i].behind;
    size_t n = *behind == 1 ? 9 : strlen(behind);
    unsigned char *found = memmem(file, size, behind, n);
    ck_assert_ptr_nonnull(found);
    memcpy(found + n + cases[_i].plus, &cases[_i].value, (size_t)cases[_i].bytes);
    refused(cases[_i].text);
}
END_TEST

/* The alignment of the data, and the shape of one tensor twice. */
START_TEST(pairs_that_make_no_sense)
{
    static const uint32_t alignments[] = {0, 4, 24, 1u << 21, UINT32_MAX};
    size = 0;
    put("GGUF", 4), put32(3), put64(0), put64(2);
    for (int i = 0; i < 2; i++)
        if (_i < 5)
            put_text("general.alignment"), put32(4), put32(alignments[_i]);
        else
            put_text("comfy.gguf.orig_shape.w"), put32(9), put32(5), put64(1), put32(3);
    refused(_i < 5 ? "general.alignment is" : "is there twice");
}
END_TEST

/* Shapes are found by their names, not by looking through all of them for each tensor. */
START_TEST(many_shapes)
{
    enum { MANY = 60000 };
    struct error e = {0};
    struct gguf g;
    FILE *f = fopen(path, "wb");
    uint64_t head[2] = {MANY, MANY};
    fwrite("GGUF\3\0\0\0", 1, 8, f);
    fwrite(head, 1, sizeof head, f);
    for (int k = 0; k < 2 * MANY; k++) {
        char name[64];
        int i = k % MANY, note = k < MANY;
        snprintf(name, sizeof name, "%st%d", note ? "comfy.gguf.orig_shape." : "", i);
        size = 0;
        put_text(name);
        if (note)
            put32(9), put32(5), put64(2), put32(1), put32(2);
        else
            put32(1), put64(2), put32(0), put64(0);
        fwrite(file, 1, size, f);
    }
    memset(file, 0, 64);
    fwrite(file, 1, 64, f);
    fclose(f);
    ck_assert_msg(gguf_open(&g, path, &e) == 0, "%s", e.text);
    ck_assert_int_eq(g.count, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert(g.tensor[i].rank == 2 && g.tensor[i].shape[0] == 1);
    gguf_close(&g);
}
END_TEST

int main(void)
{
    close(mkstemp(path));
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, blocks_are_those_of_the_package, 0, 4);
    tcase_add_test(t, a_file_and_its_graph);
    tcase_add_test(t, truncations_and_flips);
    tcase_add_loop_test(t, absurd_numbers, 0, 10);
    tcase_add_loop_test(t, wrong_words, 0, 25);
    tcase_add_loop_test(t, pairs_that_make_no_sense, 0, 6);
    tcase_add_test(t, many_shapes);
    suite_add_tcase(s, t);
    int failed = run_suite(s);
    unlink(path);
    return failed;
}
