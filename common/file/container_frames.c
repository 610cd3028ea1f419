/* Frames, trailer and seek table of our own files: see container_inside.h for the bytes. */
#include "common/base/json.h"
#include "common/file/container_inside.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void *zstd_alloc(void *unused, size_t size)
{
    (void)unused;
    return mem_small(size);
}

static void zstd_free(void *unused, void *block)
{
    (void)unused;
    mem_small_free(block);
}

ZSTD_DCtx *zstd_reader(int window_log, struct error *e)
{
    ZSTD_DCtx *d = ZSTD_createDCtx_advanced((ZSTD_customMem){zstd_alloc, zstd_free, NULL});
    if (!d || ZSTD_isError(ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, window_log))) {
        ZSTD_freeDCtx(d);
        error_set(e, HASTEN_ENOMEM, "out of memory for zstd");
        return NULL;
    }
    return d;
}

ZSTD_CCtx *zstd_writer(struct error *e)
{
    ZSTD_CCtx *z = ZSTD_createCCtx_advanced((ZSTD_customMem){zstd_alloc, zstd_free, NULL});
    if (!z || ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1))) {
        ZSTD_freeCCtx(z);
        error_set(e, HASTEN_ENOMEM, "out of memory for zstd");
        return NULL;
    }
    return z;
}

enum {
    STORE_FROM = 512 << 10, /* bytes: what is smaller is not worth a thought */
    STORE_SAMPLES = 4,
    STORE_SAMPLE = 32 << 10,
    RAW_BLOCK = 128 << 10, /* the largest that there is */
};

/* Would compression save less than an eighth? Float32 weights give 7 % and int8 ones 10 at the price of half
 * the speed of loading; so samples are asked before everything is compressed. */
static int is_dense(ZSTD_CCtx *zstd, void *room, const unsigned char *data, size_t size)
{
    size_t total = 0;
    if (size < STORE_FROM)
        return 0;
    for (size_t i = 0; i < STORE_SAMPLES; i++) {
        size_t n = ZSTD_compress2(zstd, room, ZSTD_compressBound(STORE_SAMPLE),
                                  data + size / STORE_SAMPLES * i, STORE_SAMPLE);
        if (ZSTD_isError(n))
            return 0;
        total += n;
    }
    return total > STORE_SAMPLES * STORE_SAMPLE / 8 * 7;
}

/* RFC 8878, 3.1.1: one segment with its size in four bytes and a checksum, in raw blocks. */
static size_t store(unsigned char *to, const unsigned char *data, size_t size)
{
    unsigned char *p = to + 9;
    put32(to, FRAME_MAGIC);
    to[4] = 0xA4;
    put32(to + 5, (uint32_t)size);
    for (size_t at = 0, n; at < size; at += n, p += n) {
        n = size - at < RAW_BLOCK ? size - at : RAW_BLOCK;
        uint32_t head = (uint32_t)n << 3 | (at + n == size);
        *p++ = (unsigned char)head;
        *p++ = (unsigned char)(head >> 8);
        *p++ = (unsigned char)(head >> 16);
        memcpy(p, data + at, n);
    }
    put32(p, (uint32_t)XXH64(data, size, 0));
    return (size_t)(p + 4 - to);
}

size_t frame_write(ZSTD_CCtx *zstd, void *frame, const void *data, size_t size)
{
    return is_dense(zstd, frame, data, size)
               ? store(frame, data, size)
               : ZSTD_compress2(zstd, frame, ZSTD_compressBound(size), data, size);
}

/* RFC 8878, 3.1.1.1: bits of the frame header descriptor. */
int frame_check(const unsigned char *p, size_t n, size_t plain, struct error *e)
{
    if (n < 5 || get32(p) != FRAME_MAGIC)
        return error_set(e, HASTEN_EFILE, "no zstd frame where one must begin");
    if (!(p[4] & 4))
        return error_set(e, HASTEN_EFILE, "a zstd frame without checksum, our files have one in each");
    if (p[4] & 3)
        return error_set(e, HASTEN_EFILE, "a zstd frame wants a dictionary");
    unsigned long long size = ZSTD_getFrameContentSize(p, n);
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
        return error_set(e, HASTEN_EFILE, "a zstd frame that does not tell its size");
    if (size != plain)
        return error_set(e, HASTEN_EFILE, "a zstd frame of %llu bytes where %zu are needed", size, plain);
    return 0;
}

int frame_read(ZSTD_DCtx *zstd, const void *frame, size_t size, void *out, size_t plain, struct error *e)
{
    if (frame_check(frame, size, plain, e) < 0)
        return -1;
    size_t whole = ZSTD_findFrameCompressedSize(frame, size);
    if (ZSTD_isError(whole))
        return error_set(e, HASTEN_EFILE, "a damaged zstd frame: %s", ZSTD_getErrorName(whole));
    if (whole != size)
        return error_set(e, HASTEN_EFILE, "a zstd frame of %zu bytes where the seek table has %zu", whole,
                         size);
    /* Gives as many bytes as the frame declares, or an error. */
    size_t got = ZSTD_decompressDCtx(zstd, out, plain, frame, size);
    if (ZSTD_isError(got)) {
        int memory = ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation;
        return error_set(e, memory ? HASTEN_ENOMEM : HASTEN_EFILE, "a damaged zstd frame: %s",
                         ZSTD_getErrorName(got));
    }
    return 0;
}

/* ---- trailer ---- */

static const char trailer_word[8] = {'h', 'a', 's', 't', 'e', 'n', 0, 1};

size_t trailer_size(int count) { return TRAILER_FIXED + 16 * (size_t)count; }

void trailer_build(unsigned char *out, int count, struct hash128 header, struct hash128 id,
                   const struct hash128 *digest)
{
    size_t n = trailer_size(count);
    put32(out, TRAILER_MAGIC);
    put32(out + 4, (uint32_t)(n - 8));
    memcpy(out + 8, trailer_word, 8);
    put32(out + 16, (uint32_t)count);
    put32(out + 20, 0);
    hash_store(header, out + 24);
    hash_store(id, out + 40);
    for (int i = 0; i < count; i++)
        hash_store(digest[i], out + TRAILER_HASHES + 16 * (size_t)i);
    put64(out + n - 8, hash_bytes64(out, n - 8));
}

int trailer_check(struct container *c, const unsigned char *p, size_t n, struct hash128 *digest,
                  struct hash128 *id, struct error *e)
{
    if (n != trailer_size(c->count) || get32(p) != TRAILER_MAGIC || get32(p + 4) != n - 8 ||
        memcmp(p + 8, trailer_word, 8) != 0 || get32(p + 16) != (uint32_t)c->count || get32(p + 20) != 0)
        return error_set(e, HASTEN_EFILE,
                         "the trailer with the hashes is missing or does not fit the header");
    if (get64(p + n - 8) != hash_bytes64(p, n - 8))
        return error_set(e, HASTEN_EFILE, "the trailer with the hashes is damaged");
    if (!hash_equal(hash_load(p + 24), c->inside->header_hash))
        return error_set(e, HASTEN_EFILE, "the header is damaged: its hash is not the trailer's");
    for (int i = 0; i < c->count; i++)
        digest[i] = hash_load(p + TRAILER_HASHES + 16 * (size_t)i);
    *id = hash_load(p + 40);
    struct hash128 computed;
    if (content_id(c->meta, c->tensor, digest, c->inside->by_name, c->count, &computed, e) < 0)
        return -1;
    if (!hash_equal(*id, computed))
        return error_set(e, HASTEN_EFILE, "the content id in the trailer is not that of the content");
    return 0;
}

/* ---- seek table ---- */

size_t seek_size(size_t entries) { return SEEK_FIXED + SEEK_ENTRY * entries; }

static void seek_entry(unsigned char *out, size_t i, uint32_t compressed, uint32_t plain)
{
    put32(out + 8 + SEEK_ENTRY * i, compressed);
    put32(out + 12 + SEEK_ENTRY * i, plain);
}

void seek_build(unsigned char *out, const struct container *c, const uint32_t *frame)
{
    const struct container_inside *in = c->inside;
    size_t at = 1, n = seek_size((size_t)in->first_frame[c->count] + 2);
    put32(out, SEEK_MAGIC);
    put32(out + 4, (uint32_t)(n - 8));
    seek_entry(out, 0, frame[0], (uint32_t)in->header_size);
    for (int i = 0; i < c->count; i++)
        for (size_t p = 0; p < tensor_pieces(c->tensor[i].size); p++, at++)
            seek_entry(out, at, frame[at], (uint32_t)tensor_piece_size(c->tensor[i].size, p));
    seek_entry(out, at++, (uint32_t)trailer_size(c->count), 0);
    put32(out + n - 9, (uint32_t)at);
    out[n - 5] = 0;
    put32(out + n - 4, SEEK_FOOTER_MAGIC);
}

/* ---- opening a regular file ---- */

/* The seek table at the end, if there is one that covers the file: *out (owned by the caller), number of
 * entries. 0: none, so this is not our file. */
static int64_t read_seek(const struct input *in, unsigned char **out, struct error *e)
{
    unsigned char foot[9];
    if (in->size < SEEK_FIXED)
        return 0;
    if (input_read_at(in, foot, sizeof foot, in->size - 9, e) < 0)
        return -1;
    uint64_t entries = get32(foot), size = SEEK_FIXED + SEEK_ENTRY * entries;
    if (get32(foot + 5) != SEEK_FOOTER_MAGIC || foot[4] != 0 || entries < 2 || size > (uint64_t)in->size)
        return 0;
    unsigned char *table = mem_array(size, 1, e);
    if (!table || input_read_at(in, table, size, in->size - (int64_t)size, e) < 0) {
        mem_free(table);
        return -1;
    }
    int64_t covered = (int64_t)size;
    for (uint64_t i = 0; i < entries; i++)
        covered += get32(table + 8 + SEEK_ENTRY * i); /* at most 2^32 entries of 2^32 bytes */
    if (get32(table) != SEEK_MAGIC || get32(table + 4) != size - 8 || covered != in->size) {
        mem_free(table);
        return 0;
    }
    *out = table;
    return (int64_t)entries;
}

static int read_header(struct container *c, size_t compressed, size_t plain, int64_t data, struct error *e)
{
    struct container_inside *in = c->inside;
    int result = -1;
    if (plain < 8 || plain > CONTAINER_MAX_HEADER + 8 || compressed > ZSTD_compressBound(plain))
        return error_set(e, HASTEN_EFILE, "a header of %zu bytes (%zu compressed), at most %d are allowed",
                         plain, compressed, CONTAINER_MAX_HEADER);
    unsigned char *packed = mem_array(compressed, 1, e), *text = mem_array(plain, 1, e);
    ZSTD_DCtx *zstd = zstd_reader(OUR_WINDOW_LOG, e);
    if (packed && text && zstd && input_read_at(&in->in, packed, compressed, 0, e) == 0 &&
        frame_read(zstd, packed, compressed, text, plain, e) == 0) {
        in->header_size = plain;
        in->header_hash = hash_bytes(text, plain);
        result = get64(text) == plain - 8
                     ? header_parse(c, (char *)text + 8, plain - 8, data, e)
                     : error_set(e, HASTEN_EFILE, "the header's length does not fit its frame");
    }
    ZSTD_freeDCtx(zstd);
    mem_free(packed);
    mem_free(text);
    return result;
}

/* Places of the data frames, each entry compared with what the header demands. */
static int place_frames(struct container *c, const unsigned char *table, size_t entries, struct error *e)
{
    struct container_inside *in = c->inside;
    size_t frames = (size_t)in->first_frame[c->count];
    if (entries != frames + 2)
        return error_set(e, HASTEN_EFILE, "the seek table has %zu frames, the tensors need %zu", entries,
                         frames + 2);
    uint32_t *size = mem_array(frames + 1, sizeof *size, e);
    unsigned char *expected = mem_array(seek_size(entries), 1, e);
    in->frame_at = mem_array(frames + 1, sizeof *in->frame_at, e);
    int result = size && expected && in->frame_at ? 0 : -1;
    if (result == 0) {
        for (size_t i = 0; i <= frames; i++)
            size[i] = get32(table + 8 + SEEK_ENTRY * i);
        seek_build(expected, c, size);
        if (memcmp(expected, table, seek_size(entries)) != 0)
            result = error_set(e, HASTEN_EFILE, "the seek table does not fit the tensors");
        int64_t at = 0;
        for (size_t i = 0; i <= frames; i++)
            in->frame_at[i] = at += size[i];
    }
    for (size_t i = 1; i <= frames && result == 0; i++)
        if (size[i] > ZSTD_compressBound(get32(table + 12 + SEEK_ENTRY * i)))
            result =
                error_set(e, HASTEN_EFILE, "a frame of %u bytes in the seek table is too large", size[i]);
    mem_free(size);
    mem_free(expected);
    return result;
}

static int read_trailer(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    size_t n = trailer_size(c->count);
    struct hash128 id;
    unsigned char *p = mem_array(n, 1, e);
    int result = -1;
    if (p && input_read_at(&in->in, p, n, in->frame_at[in->first_frame[c->count]], e) == 0)
        result = trailer_check(c, p, n, in->digest, &id, e);
    mem_free(p);
    if (result == 0) {
        memset(in->known, 1, (size_t)c->count);
        hash_hex(id, in->id);
    }
    return result;
}

int frames_open(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    unsigned char *table = NULL, word[16];
    int64_t entries = read_seek(&in->in, &table, e);
    int result = entries < 0 ? -1 : 0;
    if (entries <= 0)
        return result;
    size_t frames = (size_t)entries;
    /* Not behind the table's begin, so that there are 16 bytes in any case. */
    int64_t trailer = in->in.size - (int64_t)seek_size(frames) - get32(table + SEEK_ENTRY * frames);
    uint64_t data = 0;
    for (size_t i = 1; i + 1 < frames; i++)
        data += get32(table + 12 + SEEK_ENTRY * i);
    if (input_read_at(&in->in, word, sizeof word, trailer, e) < 0)
        result = -1;
    else if (get32(word) == TRAILER_MAGIC && memcmp(word + 8, trailer_word, 8) == 0) {
        in->form = FORM_OURS;
        result = read_header(c, get32(table + 8), get32(table + 12), (int64_t)data, e) < 0 ||
                         place_frames(c, table, frames, e) < 0 || read_trailer(c, e) < 0
                     ? -1
                     : 1;
    }
    mem_free(table);
    return result;
}
