/* Writing: the header, then the tensors piece by piece (packer.h). */
#include "common/base/json.h"
#include "common/file/output.h"
#include "common/file/packer.h"

#include <stdlib.h>
#include <string.h>

struct writing {
    struct container c; /* the file to be: sorted headers, for the seek table and the id */
    struct container_inside inside;
    int *source;       /* place of each sorted tensor in the caller's array */
    const void **data; /* of each sorted tensor, where the caller has it */
    struct output *out;
    struct packer packer;
    size_t largest;  /* tensor */
    int waiting;     /* the first tensor whose data may be wanted yet */
    size_t made;     /* bytes of data that fill() made from there on */
    uint32_t *frame; /* compressed sizes: header, data frames */
    int frames;
    struct hash128 *hash; /* of each data frame */
};

/* ---- the header ---- */

static int by_file_order(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;
    return tensor_file_order(&t[*(const int *)a], &t[*(const int *)b]);
}

static int by_name(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;
    return strcmp(t[*(const int *)a].name, t[*(const int *)b].name);
}

/* Sorted, checked headers in w->c; the caller's array stays as it is. */
static int arrange(struct writing *w, const struct tensor *tensors, int count, struct error *e)
{
    struct container *c = &w->c;
    struct container_inside *in = c->inside = &w->inside;
    size_t n = (size_t)count, pieces = 0;
    if (count < 0 || count > CONTAINER_MAX_TENSORS)
        return error_set(e, HASTEN_EFAIL, "%d tensors, a file can hold %d", count, CONTAINER_MAX_TENSORS);
    w->source = mem_array(n, sizeof *w->source, e);
    w->data = mem_array(n, sizeof *w->data, e);
    c->tensor = mem_array(n, sizeof *c->tensor, e);
    in->by_name = mem_array(n, sizeof *in->by_name, e);
    in->first_frame = mem_array(n + 1, sizeof *in->first_frame, e);
    in->digest = mem_array(n, sizeof *in->digest, e);
    if (!w->source || !w->data || !c->tensor || !in->by_name || !in->first_frame || !in->digest)
        return -1;
    for (int i = 0; i < count; i++) {
        if (header_check_name(tensors[i].name, strlen(tensors[i].name), e) < 0)
            return -1;
        if (!strcmp(tensors[i].name, "__metadata__"))
            return error_set(e, HASTEN_EFAIL, "a tensor cannot be named '__metadata__'");
        w->source[i] = i;
    }
    qsort_r(w->source, n, sizeof *w->source, by_file_order, (void *)(uintptr_t)tensors);
    for (int i = 0; i < count; i++) {
        struct tensor *t = &c->tensor[i];
        *t = tensors[w->source[i]];
        w->data[i] = t->data;
        in->by_name[i] = i;
        in->first_frame[i] = (int)pieces;
        if (tensor_measure(t, e) < 0)
            return -1;
        pieces += tensor_pieces(t->size);
        c->bytes += t->size;
        if (pieces > INT32_MAX / 2 || c->bytes > (size_t)INT64_MAX / 2)
            return error_set(e, HASTEN_EFAIL, "the tensors are more than a file can hold");
        w->largest = t->size > w->largest ? t->size : w->largest;
    }
    in->first_frame[n] = (int)pieces;
    c->count = count;
    qsort_r(in->by_name, n, sizeof *in->by_name, by_name, c->tensor);
    for (int i = 1; i < count; i++)
        if (!strcmp(c->tensor[in->by_name[i - 1]].name, c->tensor[in->by_name[i]].name))
            return error_set(e, HASTEN_EFAIL, "two tensors are named '%s'", c->tensor[in->by_name[i]].name);
    return 0;
}

/* Our metadata in canonical form; w->c.meta is the tree that it is the text of, as a reader will see it. */
static int make_metadata(struct writing *w, const char *kind, const cJSON *meta, struct buf *text,
                         struct error *e)
{
    cJSON *copy = meta ? json_copy(meta, e) : json_new_object(e);
    int result = -1;
    if (copy && !cJSON_IsObject(copy))
        error_set(e, HASTEN_EFAIL, "the metadata is not a JSON object");
    else if (copy && json_add_string(copy, "kind", kind, e) == 0 &&
             json_add_int(copy, "version", json_get(copy, "needs") ? CONTAINER_VERSION : 1, e) == 0 &&
             json_write(text, copy, e) == 0)
        result = 0;
    cJSON_Delete(copy);
    if (result == 0)
        w->c.meta = json_parse(text->data, text->size, e); /* what cannot be read shall not be written */
    return w->c.meta ? 0 : error_under(e, "the metadata");
}

/* The bytes of the header with its length, as in safetensors: padded with blanks to a multiple of 8. */
static int make_header(struct writing *w, const struct buf *meta, struct buf *b, struct error *e)
{
    size_t end = 0;
    buf_add(b, "\0\0\0\0\0\0\0\0", 8, e);
    buf_text(b, "{\"__metadata__\":{\"format\":\"pt\",\"hasten\":", e);
    if (json_write_string(b, meta->data, e) < 0)
        return -1;
    buf_text(b, "}", e);
    for (int i = 0; i < w->c.count; i++) {
        const struct tensor *t = &w->c.tensor[i];
        buf_text(b, ",", e);
        if (json_write_string(b, t->name, e) < 0)
            return -1;
        buf_printf(b, e, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
        for (int k = 0; k < t->rank; k++)
            buf_printf(b, e, "%s%lld", k ? "," : "", (long long)t->shape[k]);
        buf_printf(b, e, "],\"data_offsets\":[%zu,%zu]}", end, end + t->size);
        end += t->size;
    }
    if (buf_text(b, "}", e) < 0)
        return -1;
    while (b->size % 8)
        if (buf_add(b, " ", 1, e) < 0)
            return -1;
    if (b->size - 8 > CONTAINER_MAX_HEADER)
        return error_set(e, HASTEN_EFAIL, "a header of %zu bytes, at most %d are possible", b->size - 8,
                         CONTAINER_MAX_HEADER);
    put64((unsigned char *)b->data, b->size - 8);
    w->inside.header_size = b->size;
    w->inside.header_hash = hash_bytes(b->data, b->size);
    return 0;
}

/* ---- pieces ---- */

static int put_piece(void *context, const struct piece *p, struct error *e)
{
    struct writing *w = context;
    w->hash[w->frames] = p->hash;
    w->frame[++w->frames] = (uint32_t)p->out_size;
    const struct origin *o = p->tensor->origin;
    return p->out ? output_write(w->out, p->out, p->out_size, e)
                  : output_copy(w->out, o->in, o->frame[p->index], p->out_size, e);
}

static int prepare(struct writing *w, struct error *e)
{
    size_t pieces = (size_t)w->inside.first_frame[w->c.count];
    w->frame = mem_array(pieces + 1, sizeof *w->frame, e);
    w->hash = mem_array(pieces, sizeof *w->hash, e);
    w->packer.sink = put_piece;
    w->packer.context = w;
    return w->frame && w->hash ? packer_open(&w->packer, w->largest, pieces, e) : -1;
}

static int make_data(struct writing *w, int i, container_fill *fill, void *context, struct error *e)
{
    struct tensor *t = &w->c.tensor[i];
    if (!fill)
        return error_set(e, HASTEN_EFAIL, "tensor '%s' has no data to write", t->name);
    t->data = mem_array(t->size, 1, e);
    w->made += t->size;
    return t->data && fill(context, w->source[i], t, t->data, e) == 0
               ? 0
               : error_under(e, "tensor '%s'", t->name);
}

/* What fill() made for tensors before this one, whose pieces are all written. */
static void drop_made(struct writing *w, int before)
{
    for (; w->waiting < before; w->waiting++) {
        if (!w->data[w->waiting])
            mem_free(w->c.tensor[w->waiting].data);
        w->c.tensor[w->waiting].data = NULL;
    }
    w->made = 0;
}

static int write_tensors(struct writing *w, container_fill *fill, void *context, struct error *e)
{
    struct container *c = &w->c;
    int result = 0;
    for (int i = 0; i < c->count && result == 0; i++) {
        struct tensor *t = &c->tensor[i];
        t->data = NULL;
        if (fill)
            t->origin = NULL;
        if (t->size && !w->data[i] && !t->origin)
            result = make_data(w, i, fill, context, e);
        if (result == 0)
            result = packer_add(&w->packer, t, w->data[i] ? w->data[i] : t->data, e);
        if (result == 0 && w->made >= (size_t)w->packer.threads * CONTAINER_PIECE)
            result = packer_finish(&w->packer, e);
        if (w->packer.count == 0)
            drop_made(w, i + 1);
    }
    if (result == 0)
        result = packer_finish(&w->packer, e);
    drop_made(w, c->count);
    return result;
}

/* ---- the file ---- */

static int write_header(struct writing *w, const struct buf *header, struct error *e)
{
    if (w->packer.plain)
        return output_write(w->out, header->data, header->size, e);
    size_t room = ZSTD_compressBound(header->size);
    unsigned char *packed = mem_array(room, 1, e);
    if (!packed)
        return -1;
    size_t n = ZSTD_compress2(w->packer.zstd[0], packed, room, header->data, header->size);
    int result = ZSTD_isError(n) ? zstd_failed(n, e) : output_write(w->out, packed, n, e);
    w->frame[0] = (uint32_t)n;
    mem_free(packed);
    return result;
}

/* Of what was written; what comes from a file is what it was there. */
static int digest_of(struct writing *w, int i, struct error *e)
{
    const struct tensor *t = &w->c.tensor[i];
    int first = w->inside.first_frame[i], copied = t->size && !w->data[i] && t->origin;
    struct hash128 *digest = &w->inside.digest[i];
    if (copied && packer_trusts(&w->packer, t))
        *digest = t->origin->digest;
    else
        *digest = tensor_digest(w->hash + first, (size_t)(w->inside.first_frame[i + 1] - first));
    if (copied && t->origin->known && !hash_equal(*digest, t->origin->digest))
        return error_set(e, HASTEN_EFILE, "tensor '%s' is damaged: its hash is not the trailer's", t->name);
    return 0;
}

static int write_end(struct writing *w, struct hash128 *id, struct error *e)
{
    struct container_inside *in = &w->inside;
    for (int i = 0; i < w->c.count; i++)
        if (digest_of(w, i, e) < 0)
            return -1;
    if (content_id(w->c.meta, w->c.tensor, in->digest, in->by_name, w->c.count, id, e) < 0)
        return -1;
    if (w->packer.plain)
        return 0;
    size_t trailer = trailer_size(w->c.count), seek = seek_size((size_t)w->frames + 2);
    unsigned char *p = mem_array(trailer + seek, 1, e);
    if (!p)
        return -1;
    trailer_build(p, w->c.count, in->header_hash, *id, in->digest);
    seek_build(p + trailer, &w->c, w->frame);
    int result = output_write(w->out, p, trailer + seek, e);
    mem_free(p);
    return result;
}

static void release(struct writing *w)
{
    packer_close(&w->packer);
    cJSON_Delete(w->c.meta);
    mem_free(w->frame);
    mem_free(w->hash);
    mem_free(w->source);
    mem_free(w->data);
    mem_free(w->c.tensor);
    mem_free(w->inside.by_name);
    mem_free(w->inside.first_frame);
    mem_free(w->inside.digest);
}

static int ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

int container_write(const char *path, const char *kind, const cJSON *meta, const struct tensor *tensors,
                    int count, container_fill *fill, void *context, struct team *team, char id[HASH_HEX],
                    struct error *e)
{
    struct writing w = {.packer.team = team};
    struct buf text = {0}, header = {0};
    struct hash128 digest;
    int result = -1;
    w.packer.plain = !output_is_stdout(path) && ends_with(path, ".safetensors");
    if (arrange(&w, tensors, count, e) < 0 || make_metadata(&w, kind, meta, &text, e) < 0 ||
        make_header(&w, &text, &header, e) < 0 || prepare(&w, e) < 0)
        goto done;
    if (!(w.out = output_open(path, OUTPUT_BINARY, e)))
        goto done;
    if (write_header(&w, &header, e) == 0 && write_tensors(&w, fill, context, e) == 0)
        result = write_end(&w, &digest, e);
    if (result == 0)
        result = output_commit(w.out, e);
    else
        output_abandon(w.out);
    if (result == 0 && id)
        hash_hex(digest, id);
done:
    buf_free(&text);
    buf_free(&header);
    release(&w);
    return result;
}
