/* Damage to our own files. The sweeps: every truncation and every single-bit flip of a small file, from a
 * file and from a pipe, is refused or gives identical content. The table: files put together here, by hand,
 * from the description of the format in container_inside.h, with one thing wrong and every hash that covers
 * it repaired, so that each check behind the checksums is reached. The flawless assembly equals what
 * container_write writes. */
#include "common/base/hash.h"
#include "common/base/tests/run_suite.h"
#include "common/file/tests/container_cases.h"

#include <zstd.h>

/* ---- sweeps ---- */

static struct buf small_file(void)
{
    char path[] = "/tmp/hasten-damage-XXXXXX";
    struct buf b = {0};
    struct error e = {0};
    struct tensor t[6];
    int n = small_content(t);
    cJSON *meta = small_meta();
    close(mkstemp(path));
    ck_assert_msg(container_write(path, "model", meta, t, n, NULL, NULL, NULL, NULL, &e) == 0, "%s", e.text);
    read_file(path, &b);
    unlink(path);
    cJSON_Delete(meta);
    return b;
}

static struct container *load_memfile(const struct memfile *m, struct error *e)
{
    struct container *c = container_open(m->path, NULL, e);
    if (c && container_load(c, NULL, e) < 0) {
        container_close(c);
        c = NULL;
    }
    return c;
}

START_TEST(every_truncation)
{
    struct buf b = small_file();
    size_t blocks = mem_live_blocks();
    struct memfile m = memfile(b.data, 1);
    for (size_t n = 0; n < b.size; n++) {
        memfile_set(&m, b.data, n);
        for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
            struct error e = {0};
            struct container *c = through_pipe ? load_bytes(b.data, n, 1, NULL, &e) : load_memfile(&m, &e);
            ck_assert_msg(!c && e.code == HASTEN_EFILE, "cut to %zu of %zu bytes: code %d %s", n, b.size,
                          e.code, e.text);
            /* In order, the reason is plain, wherever the end is. */
            ck_assert_msg(!through_pipe || n < 4 || strstr(e.text, "cut") || strstr(e.text, "tell its size"),
                          "cut to %zu bytes: %s", n, e.text);
            ck_assert_uint_eq(mem_live_blocks(), blocks);
        }
    }
    close(m.fd);
    buf_free(&b);
}
END_TEST

START_TEST(every_bit)
{
    struct buf b = small_file();
    struct error none = {0};
    struct memfile m = memfile(b.data, b.size);
    struct container *whole = load_memfile(&m, &none);
    ck_assert_msg(whole != NULL, "%s", none.text);
    size_t blocks = mem_live_blocks(), harmless = 0;
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        ck_assert_int_eq(pwrite(m.fd, b.data + bit / 8, 1, (off_t)(bit / 8)), 1);
        for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
            struct error e = {0};
            struct container *c =
                through_pipe ? load_bytes(b.data, b.size, 1, NULL, &e) : load_memfile(&m, &e);
            ck_assert_msg(c || e.code == HASTEN_EFILE, "bit %zu: code %d, %s", bit, e.code, e.text);
            ck_assert_msg(!c || same_content(whole, c), "bit %zu changed the content", bit);
            harmless += c != NULL;
            container_close(c);
            ck_assert_uint_eq(mem_live_blocks(), blocks);
        }
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        ck_assert_int_eq(pwrite(m.fd, b.data + bit / 8, 1, (off_t)(bit / 8)), 1);
    }
    /* zstd's don't-care bits: the unused bit of each frame header, and a few in entropy tables. */
    ck_assert_uint_lt(harmless, 64);
    container_close(whole);
    close(m.fd);
    buf_free(&b);
}
END_TEST

START_TEST(something_behind)
{
    static const char *const tails[] = {"\0",
                                        "\n",
                                        "PK\5\6xxxxxxxxxxxxxxxxxx",
                                        "\x7F"
                                        "ELF",
                                        "\x50\x2A\x4D\x18",
                                        NULL};
    struct buf b = small_file();
    for (int i = 0; i < 6; i++) {
        struct buf longer = {0};
        struct error e = {0};
        buf_add(&longer, b.data, b.size, &e);
        buf_add(&longer, tails[i] ? tails[i] : b.data,
                !tails[i] ? b.size
                : i == 0  ? 1
                          : strlen(tails[i]),
                &e);
        for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
            e = (struct error){0};
            ck_assert_ptr_null(load_bytes(longer.data, longer.size, through_pipe, NULL, &e));
            ck_assert_msg(e.code == HASTEN_EFILE, "tail %d: %s", i, e.text);
        }
        buf_free(&longer);
    }
    buf_free(&b);
}
END_TEST

/* ---- files put together by hand ---- */

enum flaw {
    NONE,
    /* frames */
    HEADER_WITHOUT_CHECKSUM,
    HEADER_WITHOUT_SIZE,
    HEADER_LENGTH_TOO_SMALL,
    HEADER_LENGTH_TOO_LARGE,
    HEADER_AND_TENSOR_IN_ONE_FRAME,
    TENSOR_WITHOUT_CHECKSUM,
    TENSOR_WITHOUT_SIZE,
    TENSOR_WITH_DICTIONARY,
    TENSOR_CHECKSUM_WRONG,
    TENSOR_IN_TWO_FRAMES,
    TENSORS_IN_ONE_FRAME,
    FRAME_MISSING,
    FRAME_TWICE,
    FRAME_EMPTY_BETWEEN,
    SKIPPABLE_BETWEEN,
    /* header */
    TENSORS_NOT_SORTED,
    TENSORS_IN_WRONG_ORDER,
    WITHOUT_METADATA,
    VERSION_NEWER,
    /* trailer */
    TRAILER_MISSING,
    TRAILER_MAGIC,
    TRAILER_WORD,
    TRAILER_COUNT,
    TRAILER_RESERVED,
    TRAILER_OWN_HASH,
    TRAILER_HEADER_HASH,
    TRAILER_ID,
    TRAILER_TENSOR_HASH,
    TRAILER_TOO_LONG,
    /* seek table */
    SEEK_MISSING,
    SEEK_TYPE,
    SEEK_HEADER_PLAIN,
    SEEK_COMPRESSED,
    SEEK_COMPRESSED_LESS,
    SEEK_PLAIN,
    SEEK_DESCRIPTOR,
    SEEK_COUNT,
    SEEK_FOOTER,
    SEEK_TRAILER_PLAIN,
};

static void put_u32(struct buf *b, uint32_t v)
{
    struct error e = {0};
    buf_add(b,
            (unsigned char[]){(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                              (unsigned char)(v >> 24)},
            4, &e);
}

struct assembly {
    struct buf file;
    uint32_t packed[8], plain[8];
    int frames;
};

static void add_frame(struct assembly *a, const void *data, size_t n, int checksum, int size)
{
    struct error e = {0};
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, checksum);
    ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, size);
    size_t room = ZSTD_compressBound(n), before = a->file.size;
    void *out = buf_more(&a->file, room, &e);
    size_t got = ZSTD_compress2(z, out, room, data, n);
    ck_assert(!ZSTD_isError(got));
    a->file.size = before + got;
    a->packed[a->frames] = (uint32_t)got;
    a->plain[a->frames++] = (uint32_t)n;
    ZSTD_freeCCtx(z);
}

static void add_skippable(struct assembly *a, uint32_t magic, const void *data, size_t n)
{
    struct error e = {0};
    put_u32(&a->file, magic);
    put_u32(&a->file, (uint32_t)n);
    buf_add(&a->file, data, n, &e);
    a->packed[a->frames] = (uint32_t)n + 8;
    a->plain[a->frames++] = 0;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}"
#define B "\"b\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[12,17]}"
#define META \
    "\"__metadata__\":{\"format\":\"pt\",\"hasten\":\"{\\\"kind\\\":\\\"model\\\",\\\"version\\\":%d}\"}"

static const float data_a[3] = {1, -2, 3.5f};
static const char data_b[5] = {'h', 'e', 'l', 'l', 'o'};

static void add_hash(struct buf *b, struct hash128 d)
{
    unsigned char stored[16];
    struct error e = {0};
    hash_store(d, stored);
    buf_add(b, stored, 16, &e);
}

/* The content id, from its description. */
static struct hash128 identity(int version, struct hash128 a, struct hash128 b)
{
    struct buf text = {0};
    struct error e = {0};
    buf_printf(&text, &e, "{\"kind\":\"model\",\"version\":%d}", version);
    buf_add(&text, "\0a\0F32\0\1\3\0\0\0\0\0\0\0", 1 + 2 + 4 + 1 + 8, &e);
    add_hash(&text, a);
    buf_add(&text, "b\0U8\0\1\5\0\0\0\0\0\0\0", 2 + 3 + 1 + 8, &e);
    add_hash(&text, b);
    struct hash128 d = hash_bytes(text.data, text.size);
    buf_free(&text);
    return d;
}

static void add_trailer(struct assembly *a, enum flaw flaw, struct hash128 header)
{
    struct buf t = {0};
    struct error e = {0};
    struct hash128 ha = hash_bytes(data_a, 12), hb = hash_bytes(data_b, 5);
    if (flaw == TRAILER_TENSOR_HASH)
        hb.low ^= 1;
    if (flaw == TRAILER_HEADER_HASH)
        header.high ^= 1ull << 63;
    struct hash128 id = identity(flaw == VERSION_NEWER ? 3 : 1, ha, hb);
    id.low ^= flaw == TRAILER_ID;
    uint32_t size = 8 + 4 + 4 + 16 + 16 + 2 * 16 + 8 + (flaw == TRAILER_TOO_LONG ? 16 : 0);
    put_u32(&t, flaw == TRAILER_MAGIC ? 0x184D2A51 : 0x184D2A50);
    put_u32(&t, size);
    buf_add(&t, flaw == TRAILER_WORD ? "hasten\0\2" : "hasten\0\1", 8, &e);
    put_u32(&t, flaw == TRAILER_COUNT ? 3 : 2);
    put_u32(&t, flaw == TRAILER_RESERVED);
    add_hash(&t, header);
    add_hash(&t, id);
    add_hash(&t, ha);
    add_hash(&t, hb);
    if (flaw == TRAILER_TOO_LONG)
        add_hash(&t, hb);
    uint64_t own = hash_bytes64(t.data, t.size) ^ (flaw == TRAILER_OWN_HASH);
    put_u32(&t, (uint32_t)own);
    put_u32(&t, (uint32_t)(own >> 32));
    buf_add(&a->file, t.data, t.size, &e);
    a->packed[a->frames] = (uint32_t)t.size;
    a->plain[a->frames++] = flaw == SEEK_TRAILER_PLAIN;
    buf_free(&t);
}

static void add_seek_table(struct assembly *a, enum flaw flaw)
{
    struct error e = {0};
    if (flaw == SEEK_COMPRESSED) {
        a->packed[1]++;
        a->packed[2]--;
    }
    if (flaw == SEEK_HEADER_PLAIN)
        a->plain[0] = 0x7FFFFFFF;
    if (flaw == SEEK_COMPRESSED_LESS) {
        a->packed[1]--;
        a->packed[2]++;
    }
    if (flaw == SEEK_PLAIN) {
        a->plain[1]++;
        a->plain[2]--;
    }
    put_u32(&a->file, flaw == SEEK_TYPE ? 0x184D2A5D : 0x184D2A5E);
    put_u32(&a->file, 9 + 8 * (uint32_t)a->frames);
    for (int i = 0; i < a->frames; i++) {
        put_u32(&a->file, a->packed[i]);
        put_u32(&a->file, a->plain[i]);
    }
    put_u32(&a->file, (uint32_t)a->frames + (flaw == SEEK_COUNT));
    buf_add(&a->file, flaw == SEEK_DESCRIPTOR ? "\4" : "\0", 1, &e);
    put_u32(&a->file, flaw == SEEK_FOOTER ? 0x8F92EAB0 : 0x8F92EAB1);
}

/* One segment of 12 bytes with checksum, and with dictionary 7: a raw block, and a checksum nobody gets to.
 */
static void add_dictionary_frame(struct assembly *a)
{
    struct error e = {0};
    buf_add(&a->file, "\x28\xB5\x2F\xFD\x25\x07\x0C\x61\0\0", 10, &e);
    buf_add(&a->file, data_a, 12, &e);
    put_u32(&a->file, 0);
    a->packed[a->frames] = 26;
    a->plain[a->frames++] = 12;
}

static void add_tensors(struct assembly *a, enum flaw flaw)
{
    char both[17];
    memcpy(both, data_a, 12);
    memcpy(both + 12, data_b, 5);
    if (flaw == TENSORS_IN_ONE_FRAME) {
        add_frame(a, both, 17, 1, 1);
        return;
    }
    if (flaw == TENSOR_WITH_DICTIONARY)
        add_dictionary_frame(a);
    else if (flaw != HEADER_AND_TENSOR_IN_ONE_FRAME)
        add_frame(a, data_a, 12, flaw != TENSOR_WITHOUT_CHECKSUM, flaw != TENSOR_WITHOUT_SIZE);
    if (flaw == TENSOR_CHECKSUM_WRONG)
        a->file.data[a->file.size - 1] ^= 1;
    if (flaw == FRAME_EMPTY_BETWEEN)
        add_frame(a, "", 0, 1, 1);
    if (flaw == SKIPPABLE_BETWEEN)
        add_skippable(a, 0x184D2A53, "xyz", 3);
    if (flaw == FRAME_TWICE)
        add_frame(a, data_b, 5, 1, 1);
    if (flaw == TENSOR_IN_TWO_FRAMES) {
        add_frame(a, data_b, 2, 1, 1);
        add_frame(a, data_b + 2, 3, 1, 1);
    } else if (flaw != FRAME_MISSING) {
        add_frame(a, data_b, 5, 1, 1);
    }
}

static struct buf assemble(enum flaw flaw)
{
    struct assembly a = {0};
    struct buf header = {0};
    struct error e = {0};
    buf_add(&header, "\0\0\0\0\0\0\0\0{", 9, &e);
    if (flaw == WITHOUT_METADATA)
        buf_text(&header, "\"__metadata__\":{\"format\":\"pt\"}", &e);
    else
        buf_printf(&header, &e, META, flaw == VERSION_NEWER ? 3 : 1);
    buf_text(&header,
             flaw == TENSORS_NOT_SORTED ? "," B "," A "}"
             : flaw == TENSORS_IN_WRONG_ORDER
                 ? ",\"b\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0,12]}"
                   ",\"a\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[12,17]}}"
                 : "," A "," B "}",
             &e);
    while (header.size % 8)
        buf_text(&header, " ", &e);
    header.data[0] = (char)(header.size - 8 - 8 * (flaw == HEADER_LENGTH_TOO_SMALL) +
                            8 * (flaw == HEADER_LENGTH_TOO_LARGE));
    struct hash128 hash = hash_bytes(header.data, header.size);
    if (flaw == HEADER_AND_TENSOR_IN_ONE_FRAME)
        buf_add(&header, data_a, 12, &e);
    add_frame(&a, header.data, header.size, flaw != HEADER_WITHOUT_CHECKSUM, flaw != HEADER_WITHOUT_SIZE);
    add_tensors(&a, flaw);
    if (flaw != TRAILER_MISSING)
        add_trailer(&a, flaw, hash);
    if (flaw != SEEK_MISSING)
        add_seek_table(&a, flaw);
    buf_free(&header);
    return a.file;
}

START_TEST(the_description_is_what_is_written)
{
    struct tensor t[2] = {
        {.name = "b", .dtype = DTYPE_U8, .rank = 1, .shape = {5}, .data = (void *)(uintptr_t)data_b},
        {.name = "a", .dtype = DTYPE_F32, .rank = 1, .shape = {3}, .data = (void *)(uintptr_t)data_a}};
    char path[] = "/tmp/hasten-damage-XXXXXX";
    struct error e = {0};
    struct buf written = {0}, built = assemble(NONE);
    close(mkstemp(path));
    ck_assert_msg(container_write(path, "model", NULL, t, 2, NULL, NULL, NULL, NULL, &e) == 0, "%s", e.text);
    read_file(path, &written);
    unlink(path);
    ck_assert_uint_eq(written.size, built.size);
    ck_assert_mem_eq(written.data, built.data, built.size);
    for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
        struct container *c = load_bytes(built.data, built.size, through_pipe, NULL, &e);
        ck_assert_msg(c != NULL, "%s", e.text);
        container_close(c);
    }
    buf_free(&written);
    buf_free(&built);
}
END_TEST

#define NOT_OURS "trailer and seek table are missing or damaged"

static const struct {
    enum flaw flaw;
    const char *file, *pipe;
} flaws[] = {
    {HEADER_WITHOUT_CHECKSUM, "frame without checksum", NOT_OURS},
    {HEADER_WITHOUT_SIZE, "does not tell its size", NOT_OURS},
    {HEADER_LENGTH_TOO_SMALL, "the header's length does not fit its frame", "JSON"},
    {HEADER_LENGTH_TOO_LARGE, "the header's length does not fit its frame", "text behind the value"},
    {HEADER_AND_TENSOR_IN_ONE_FRAME, "the header's length does not fit its frame", NOT_OURS},
    {TENSOR_WITHOUT_CHECKSUM, "frame without checksum", "frame without checksum"},
    {TENSOR_WITHOUT_SIZE, "does not tell its size", "does not tell its size"},
    {TENSOR_WITH_DICTIONARY, "a zstd frame wants a dictionary", "a zstd frame wants a dictionary"},
    {TENSOR_CHECKSUM_WRONG, "tensor 'a'", "tensor 'a'"},
    {TENSOR_IN_TWO_FRAMES, "the seek table has 5 frames, the tensors need 4",
     "a zstd frame of 2 bytes where 5 are needed"},
    {TENSORS_IN_ONE_FRAME, "the seek table has 3 frames, the tensors need 4",
     "a zstd frame of 17 bytes where 12 are needed"},
    {FRAME_MISSING, "the header speaks of 17 bytes of tensors, the file has 12",
     "no zstd frame where one must begin"},
    {FRAME_TWICE, "the header speaks of 17 bytes of tensors, the file has 22",
     "the trailer with the hashes is missing"},
    {FRAME_EMPTY_BETWEEN, "the seek table has 5 frames", "a zstd frame of 0 bytes where 5 are needed"},
    {SKIPPABLE_BETWEEN, "the seek table has 5 frames", "no zstd frame where one must begin"},
    {TENSORS_NOT_SORTED, "tensor 'b' begins at byte 12 of the data, leaving a hole", "leaving a hole"},
    {TENSORS_IN_WRONG_ORDER, "tensor 'a' is not in the order", "tensor 'a' is not in the order"},
    {WITHOUT_METADATA, "hasten's metadata is missing, though there is a trailer", NULL},
    {VERSION_NEWER, "format version 3 is newer", "format version 3 is newer"},
    {TRAILER_MISSING, NOT_OURS, "it is cut"},
    {TRAILER_MAGIC, NOT_OURS, "the trailer with the hashes is missing"},
    {TRAILER_WORD, NOT_OURS, "the trailer with the hashes is missing"},
    {TRAILER_COUNT, "does not fit the header", "does not fit the header"},
    {TRAILER_RESERVED, "does not fit the header", "does not fit the header"},
    {TRAILER_OWN_HASH, "the trailer with the hashes is damaged", "the trailer with the hashes is damaged"},
    {TRAILER_HEADER_HASH, "its hash is not the trailer's", "its hash is not the trailer's"},
    {TRAILER_ID, "the content id in the trailer", "the content id in the trailer"},
    {TRAILER_TENSOR_HASH, "tensor 'b' is damaged", "tensor 'b' is damaged"},
    {TRAILER_TOO_LONG, "seek table does not fit", "does not fit the header"},
    {SEEK_MISSING, NOT_OURS, "it is cut"},
    {SEEK_TYPE, NOT_OURS, "the seek table does not fit"},
    {SEEK_HEADER_PLAIN, "a header of 2147483647 bytes", "the seek table does not fit"},
    {SEEK_COMPRESSED, "where the seek table has", "the seek table does not fit"},
    {SEEK_COMPRESSED_LESS, "a damaged zstd frame", "the seek table does not fit"},
    {SEEK_PLAIN, "the seek table does not fit", "the seek table does not fit"},
    {SEEK_DESCRIPTOR, NOT_OURS, "the seek table does not fit"},
    {SEEK_COUNT, NOT_OURS, "the seek table does not fit"},
    {SEEK_FOOTER, NOT_OURS, "the seek table does not fit"},
    {SEEK_TRAILER_PLAIN, "the seek table does not fit", "the seek table does not fit"},
};

START_TEST(flaws_behind_the_checksums)
{
    struct buf b = assemble(flaws[_i].flaw);
    for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
        struct error e = {0};
        const char *message = through_pipe ? flaws[_i].pipe : flaws[_i].file;
        size_t blocks = mem_live_blocks();
        struct container *c = load_bytes(b.data, b.size, through_pipe, NULL, &e);
        if (!message) { /* a pipe cannot look ahead: without our metadata it is a foreign file with skippable
                           frames */
            ck_assert(c && container_is_foreign(c) && !c->verified);
        } else {
            ck_assert_msg(!c && e.code == HASTEN_EFILE, "flaw %d (%s) was accepted", flaws[_i].flaw, message);
            ck_assert_msg(strstr(e.text, message) != NULL, "flaw %d: '%s', expected '%s'", flaws[_i].flaw,
                          e.text, message);
        }
        container_close(c);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
    }
    buf_free(&b);
}
END_TEST

/* Compressed again by somebody's zstd, or cut down to the data: our metadata promises hashes that are not
 * there. */
START_TEST(compressed_again)
{
    struct buf b = assemble(NONE);
    char plain[4096], packed[4096];
    size_t n = ZSTD_decompress(plain, sizeof plain, b.data, b.size),
           m = ZSTD_compress(packed, sizeof packed, plain, n, 19);
    for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
        struct error e = {0};
        ck_assert_ptr_null(load_bytes(packed, m, through_pipe, NULL, &e));
        ck_assert_msg(e.code == HASTEN_EFILE && strstr(e.text, "decompress it first"), "%s", e.text);
    }
    buf_free(&b);
}
END_TEST

/* A frame with so many empty blocks that it is larger than what its piece can need, and a seek table that
 * says so: nothing in it is wrong by itself, but the buffer that it is read into has the piece's size. */
START_TEST(long_frames)
{
    enum { BLOCKS = 30000 };
    struct buf b = small_file(), longer = {0};
    struct error e = {0};
    unsigned char *p = (unsigned char *)b.data, block[3] = {0};
    size_t entries = (size_t)p[b.size - 9] | (size_t)p[b.size - 8] << 8, table = b.size - 9 - 8 * entries;
    uint32_t header, frame;
    memcpy(&header, p + table, 4);
    memcpy(&frame, p + table + 8, 4);
    /* One byte of a descriptor says what is between it and the blocks: a window (not in a single segment), a
     * size. */
    int single = p[header + 4] >> 5 & 1, bytes = p[header + 4] >> 6;
    size_t head = 5 + !single + (size_t)(bytes ? 1 << bytes : single);
    buf_add(&longer, p, header + head, &e);
    for (int i = 0; i < BLOCKS; i++)
        buf_add(&longer, block, sizeof block, &e);
    buf_add(&longer, p + header + head, b.size - header - head, &e);
    frame += BLOCKS * sizeof block;
    memcpy(longer.data + table + BLOCKS * sizeof block + 8, &frame, 4);
    struct container *c = load_bytes(longer.data, longer.size, 0, NULL, &e);
    ck_assert(!c);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, "in the seek table is too large") != NULL, "%s", e.text);
    buf_free(&b);
    buf_free(&longer);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("container_damage");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_truncation);
    tcase_add_test(t, every_bit);
    tcase_add_test(t, something_behind);
    tcase_add_test(t, long_frames);
    tcase_add_test(t, the_description_is_what_is_written);
    tcase_add_loop_test(t, flaws_behind_the_checksums, 0, (int)(sizeof flaws / sizeof *flaws));
    tcase_add_test(t, compressed_again);
    suite_add_tcase(s, t);
    return run_suite(s);
}
