/* Reading in order: pipes, and zstd files without our seek table. The file is consumed frame by frame; what
 * was read counts only when the trailer has confirmed it (in foreign files: when the end is where it must
 * be). */
#include "common/base/json.h"
#include "common/file/container_inside.h"

#include <string.h>

int stream_open(struct stream *s, struct input *in, struct error *e)
{
    *s = (struct stream){.in = in, .buffer = mem_array(STREAM_BUFFER, 1, e)};
    return s->buffer ? 0 : -1;
}

void stream_close(struct stream *s)
{
    ZSTD_freeDCtx(s->zstd);
    mem_free(s->buffer);
    *s = (struct stream){0};
}

static int64_t fill(struct stream *s, size_t want, struct error *e)
{
    if (s->at && s->at + want > STREAM_BUFFER) {
        memmove(s->buffer, s->buffer + s->at, s->end - s->at);
        s->end -= s->at;
        s->at = 0;
    }
    while (s->end - s->at < want && !s->eof) {
        /* Not more than there is room for; a pipe gives what it has, so ask once for the rest only. */
        int64_t got = input_read(s->in, s->buffer + s->end, want - (s->end - s->at), e);
        if (got < 0)
            return -1;
        s->end += (size_t)got;
        s->eof = got == 0;
    }
    return (int64_t)(s->end - s->at);
}

int64_t stream_peek(struct stream *s, size_t n, struct error *e) { return fill(s, n, e); }

static int64_t refill(struct stream *s, struct error *e)
{
    if (s->at == s->end) {
        s->at = s->end = 0;
        return fill(s, STREAM_BUFFER, e);
    }
    return (int64_t)(s->end - s->at);
}

static int is_cut(const struct stream *s, struct error *e)
{
    return error_set(e, HASTEN_EFILE, "the file ends at byte %lld: it is cut", (long long)s->taken);
}

/* Exactly n bytes as they are in the file. */
static int read_raw(struct stream *s, void *out, size_t n, struct error *e)
{
    for (size_t got = 0; got < n;) {
        int64_t ready = refill(s, e);
        if (ready <= 0)
            return ready < 0 ? -1 : is_cut(s, e);
        size_t part = (size_t)ready < n - got ? (size_t)ready : n - got;
        memcpy((char *)out + got, s->buffer + s->at, part);
        s->at += part;
        s->taken += (int64_t)part;
        got += part;
    }
    return 0;
}

/* One call of zstd: more output, more input or the end of a frame (*ended). At the end of the file *ended
 * is 2. */
static int inflate_step(struct stream *s, ZSTD_outBuffer *out, int *ended, struct error *e)
{
    int64_t ready = refill(s, e);
    *ended = 0;
    if (ready < 0)
        return -1;
    if (ready == 0 && !s->in_frame) {
        *ended = 2;
        return 0;
    }
    ZSTD_inBuffer in = {s->buffer + s->at, (size_t)ready, 0};
    size_t before = out->pos, hint = ZSTD_decompressStream(s->zstd, out, &in);
    if (ZSTD_isError(hint)) {
        int memory = ZSTD_getErrorCode(hint) == ZSTD_error_memory_allocation;
        return error_set(e, memory ? HASTEN_ENOMEM : HASTEN_EFILE, "damaged zstd data near byte %lld: %s",
                         (long long)s->taken, ZSTD_getErrorName(hint));
    }
    s->at += in.pos;
    s->taken += (int64_t)in.pos;
    s->in_frame = hint != 0;
    *ended = hint == 0;
    if (hint && in.pos == 0 && out->pos == before)
        return s->eof ? is_cut(s, e)
                      : error_set(e, HASTEN_EFILE, "a zstd frame is larger than the header allows");
    return 0;
}

/* Up to n plain bytes across frames; fewer only at the end of the file. */
static int64_t inflate(struct stream *s, void *data, size_t n, struct error *e)
{
    ZSTD_outBuffer out = {data, n, 0};
    int ended = 0;
    while (out.pos < n && ended != 2)
        if (inflate_step(s, &out, &ended, e) < 0)
            return -1;
    return (int64_t)out.pos;
}

/* The rest of the present frame, which must hold no more output: its checksum. */
static int finish_frame(struct stream *s, struct error *e)
{
    ZSTD_outBuffer none = {NULL, 0, 0};
    int ended = 0;
    while (s->in_frame)
        if (inflate_step(s, &none, &ended, e) < 0)
            return -1;
    return 0;
}

/* One of our frames; *compressed is its size in the file. */
static int read_frame(struct stream *s, void *data, size_t plain, uint32_t *compressed, struct error *e)
{
    int64_t ready = stream_peek(s, FRAME_HEADER, e), begin = s->taken;
    if (ready < 0)
        return -1;
    if (ready < 5) /* the least that a frame has before its data */
        return is_cut(s, e);
    if (frame_check(s->buffer + s->at, (size_t)ready, plain, e) < 0)
        return error_under(e, "byte %lld", (long long)begin);
    /* The frame declares `plain` bytes, so zstd gives these or an error. */
    if (inflate(s, data, plain, e) < 0 || finish_frame(s, e) < 0)
        return -1;
    *compressed = (uint32_t)(s->taken - begin); /* a frame of at most 16 MiB + 8 */
    return 0;
}

/* ---- header ---- */

static int read_bytes(struct stream *s, void *data, size_t n, struct error *e)
{
    if (!s->zstd)
        return read_raw(s, data, n, e);
    int64_t got = inflate(s, data, n, e);
    return got < 0 ? -1 : (size_t)got < n ? is_cut(s, e) : 0;
}

/* The length of the header and the header; memory grows with what really comes. */
static int read_header_text(struct stream *s, struct buf *text, struct error *e)
{
    unsigned char length[8];
    if (read_bytes(s, length, sizeof length, e) < 0)
        return -1;
    uint64_t n = get64(length);
    if (n < 2 || n > FOREIGN_MAX_HEADER)
        return error_set(e, HASTEN_EFILE, "a header of %llu bytes, from 2 to %d are allowed",
                         (unsigned long long)n, FOREIGN_MAX_HEADER);
    buf_add(text, length, sizeof length, e);
    for (uint64_t left = n; left;) {
        size_t part = left < text->size + 65536 ? (size_t)left : text->size + 65536;
        char *at = buf_more(text, part, e);
        if (!at || read_bytes(s, at, part, e) < 0)
            return -1;
        left -= part;
    }
    return 0;
}

/* What a file with our metadata must be beyond a foreign one. */
static int check_ours(struct container *c, int header_frame, struct error *e)
{
    struct container_inside *in = c->inside;
    if (in->in.size >= 0 || !header_frame)
        return error_set(
            e, HASTEN_EFILE,
            "trailer and seek table are missing or damaged: the file is cut, or was compressed by another "
            "program (then decompress it first)");
    in->form = FORM_OURS;
    in->frame_size = mem_array((size_t)in->first_frame[c->count] + 1, sizeof *in->frame_size, e);
    if (!in->frame_size)
        return -1;
    in->frame_size[0] = (uint32_t)in->stream.taken;
    return 0;
}

int stream_header(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    struct stream *s = &in->stream;
    struct buf text = {0};
    int header_frame = 0, result = -1;
    int64_t ready = stream_peek(s, FRAME_HEADER, e);
    if (ready < 0)
        return -1;
    in->ordered = 1;
    unsigned long long size = ZSTD_CONTENTSIZE_UNKNOWN;
    if (in->form == FORM_ZST) {
        if (!(s->zstd = zstd_reader(FOREIGN_WINDOW_LOG, e)))
            return -1;
        if (ready >= 5 && get32(s->buffer + s->at) == FRAME_MAGIC && (s->buffer[s->at + 4] & 7) == 4)
            size = ZSTD_getFrameContentSize(s->buffer + s->at, (size_t)ready);
    }
    if (read_header_text(s, &text, e) < 0)
        goto done;
    if (size == text.size) {
        header_frame = 1;
        if (finish_frame(s, e) < 0)
            goto done;
    }
    in->header_size = text.size;
    in->header_hash = hash_bytes(text.data, text.size);
    if (header_parse(c, text.data + 8, text.size - 8, -1, e) < 0)
        goto done;
    result = in->form == FORM_ZST && c->kind[0] ? check_ours(c, header_frame, e) : 0;
done:
    buf_free(&text);
    return result;
}

/* ---- data ---- */

/* Trailer, seek table and end of our file; then what was read is what was written. */
static int confirm(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    struct stream *s = &in->stream;
    size_t trailer = trailer_size(c->count), seek = seek_size((size_t)in->first_frame[c->count] + 2);
    unsigned char *got = mem_array(trailer > seek ? trailer : seek, 1, e), *expected = mem_array(seek, 1, e);
    struct hash128 *digest = mem_array((size_t)c->count, sizeof *digest, e), id;
    int result = -1;
    if (!got || !expected || !digest || read_raw(s, got, trailer, e) < 0 ||
        trailer_check(c, got, trailer, digest, &id, e) < 0)
        goto done;
    for (int i = 0; i < c->count; i++)
        if (!hash_equal(digest[i], in->digest[i])) {
            error_set(e, HASTEN_EFILE, "tensor '%s' is damaged: its hash is not the trailer's",
                      c->tensor[i].name);
            goto done;
        }
    seek_build(expected, c, in->frame_size);
    if (read_raw(s, got, seek, e) < 0)
        goto done;
    if (memcmp(got, expected, seek) != 0) {
        error_set(e, HASTEN_EFILE, "the seek table does not fit the frames");
        goto done;
    }
    result = 0;
done:
    mem_free(got);
    mem_free(expected);
    mem_free(digest);
    return result;
}

static int check_end(struct stream *s, int compressed, struct error *e)
{
    unsigned char more;
    int64_t got = compressed ? inflate(s, &more, 1, e) : stream_peek(s, 1, e);
    if (got < 0)
        return -1;
    return got ? error_set(e, HASTEN_EFILE, "something follows the last tensor (near byte %lld)",
                           (long long)s->taken)
               : 0;
}

static int read_tensor(struct container *c, int index, char *data, char *scratch, struct hash128 *piece,
                       struct error *e)
{
    struct container_inside *in = c->inside;
    size_t size = c->tensor[index].size, pieces = tensor_pieces(size);
    for (size_t p = 0; p < pieces; p++) {
        char *at = data ? data + p * CONTAINER_PIECE : scratch;
        size_t n = tensor_piece_size(size, p);
        uint32_t *compressed =
            in->form == FORM_OURS ? &in->frame_size[1 + (size_t)in->first_frame[index] + p] : NULL;
        if ((compressed ? read_frame(&in->stream, at, n, compressed, e) : read_bytes(&in->stream, at, n, e)) <
            0)
            return error_under(e, "tensor '%s'", c->tensor[index].name);
        piece[p] = hash_bytes(at, n);
    }
    in->digest[index] = tensor_digest(piece, pieces);
    in->known[index] = 1;
    return 0;
}

int stream_data(struct container *c, int keep, struct error *e)
{
    struct container_inside *in = c->inside;
    size_t most = 0, largest = 0;
    if (in->drained)
        return error_set(e, HASTEN_EFAIL, "the data has been read already, and can be read only once");
    in->drained = 1;
    for (int i = 0; i < c->count; i++) {
        largest = c->tensor[i].size > largest ? c->tensor[i].size : largest;
        most = tensor_pieces(largest);
    }
    struct hash128 *piece = mem_array(most, sizeof *piece, e);
    char *scratch = mem_array(keep ? 0 : largest < CONTAINER_PIECE ? largest : CONTAINER_PIECE, 1, e);
    int result = piece && scratch ? 0 : -1;
    for (int i = 0; i < c->count && result == 0; i++) {
        if (keep)
            result = container_allocate(c, i, e);
        if (result == 0)
            result = read_tensor(c, i, keep ? c->tensor[i].data : NULL, scratch, piece, e);
    }
    if (result == 0 && in->form == FORM_OURS)
        result = confirm(c, e);
    if (result == 0)
        result = check_end(&in->stream, in->form == FORM_ZST, e);
    if (result == 0)
        result = container_set_id(c, e);
    mem_free(piece);
    mem_free(scratch);
    if (result < 0) {
        memset(in->known, 0, (size_t)c->count);
        for (int i = 0; i < c->count; i++)
            container_tensor_free(c, i);
    }
    return result;
}
