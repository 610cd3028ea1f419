/* See gguf.h: the header. Nothing is allocated for a number in the file before it was held against the file's
 * size. */
#include "common/file/gguf.h"
#include "common/base/num.h"

#include <stdlib.h>
#include <string.h>

enum { BUFFER = 1 << 16, MOST_TENSORS = 1 << 17, MOST_KEY = 1 << 16 };
enum { KIND_STRING = 8, KIND_ARRAY = 9, KIND_U32 = 4, KIND_I32 = 5, KINDS = 13 };

struct shape_note {          /* comfy.gguf.orig_shape.NAME */
    struct shape_note *next; /* the one before it in the file */
    const char *name;
    int rank;
    int64_t shape[4];
};

struct reader {
    struct gguf *g;
    int64_t at;         /* in the file */
    int64_t first, end; /* what the buffer holds */
    unsigned char *buffer;
    int64_t alignment;
    struct shape_note *notes;
    int note_count;
    const struct shape_note **by_name; /* once all are known */
};

static int64_t left(const struct reader *r) { return r->g->in.size - r->at; }

static int take(struct reader *r, void *data, int64_t n, struct error *e)
{
    if (n > left(r))
        return error_set(e, HASTEN_EFILE, "the file ends at byte %lld, inside of its header",
                         (long long)r->g->in.size);
    for (unsigned char *to = data; n > 0;) {
        if (r->at < r->first || r->at >= r->end) {
            int64_t some = left(r) < BUFFER ? left(r) : BUFFER;
            if (input_read_at(&r->g->in, r->buffer, (size_t)some, r->at, e) < 0)
                return -1;
            r->first = r->at;
            r->end = r->at + some;
        }
        int64_t some = r->end - r->at < n ? r->end - r->at : n;
        memcpy(to, r->buffer + (r->at - r->first), (size_t)some);
        to += some;
        r->at += some;
        n -= some;
    }
    return 0;
}

static int take_u32(struct reader *r, uint32_t *x, struct error *e) { return take(r, x, sizeof *x, e); }

/* A count of things of at least `each` bytes: no more than the file can hold. */
static int take_count(struct reader *r, int64_t each, const char *what, int64_t *n, struct error *e)
{
    uint64_t x;
    if (take(r, &x, sizeof x, e) < 0)
        return -1;
    if (x > (uint64_t)(left(r) / each))
        return error_set(e, HASTEN_EFILE, "%llu %s do not fit into the %lld bytes that are left",
                         (unsigned long long)x, what, (long long)left(r));
    *n = (int64_t)x;
    return 0;
}

static int take_string(struct reader *r, int64_t most, char **out, struct error *e)
{
    int64_t n;
    if (take_count(r, 1, "bytes of a name", &n, e) < 0)
        return -1;
    if (n > most)
        return error_set(e, HASTEN_EFILE, "a name has %lld bytes, at most %lld are read", (long long)n,
                         (long long)most);
    *out = arena_alloc(&r->g->arena, (size_t)n + 1, 1, e);
    return *out ? take(r, *out, n, e) : -1;
}

static int skip(struct reader *r, int64_t n, struct error *e)
{
    if (n > left(r))
        return error_set(e, HASTEN_EFILE, "a value of %lld bytes ends behind the file", (long long)n);
    r->at += n;
    return 0;
}

static int skip_value(struct reader *r, uint32_t kind, struct error *e)
{
    static const int sizes[KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    int64_t n;
    uint32_t of = kind;
    if (kind >= KINDS)
        return error_set(e, HASTEN_EFILE, "a value has the unknown type %u", kind);
    if (kind != KIND_STRING && kind != KIND_ARRAY)
        return skip(r, sizes[kind], e);
    if (kind == KIND_ARRAY && take_u32(r, &of, e) < 0)
        return -1;
    if (kind == KIND_ARRAY && (of >= KINDS || of == KIND_ARRAY))
        return error_set(e, HASTEN_EFILE, "an array has elements of the type %u, which is not supported", of);
    if (kind == KIND_STRING)
        return take_count(r, 1, "bytes of a text", &n, e) < 0 ? -1 : skip(r, n, e);
    if (take_count(r, of == KIND_STRING ? 8 : sizes[of], "elements of an array", &n, e) < 0)
        return -1;
    if (of != KIND_STRING)
        return skip(r, n * sizes[of], e);
    for (int64_t i = 0, size; i < n; i++)
        if (take_count(r, 1, "bytes of a text", &size, e) < 0 || skip(r, size, e) < 0)
            return -1;
    return 0;
}

/* The original shape of a tensor, already in PyTorch's order: an array of up to four int32. */
static int take_note(struct reader *r, const char *name, struct error *e)
{
    struct shape_note *note = arena_alloc(&r->g->arena, 1, sizeof *note, e);
    uint32_t of;
    int64_t n;
    if (!note || take_u32(r, &of, e) < 0 || take_count(r, 4, "dimensions", &n, e) < 0)
        return -1;
    if (of != KIND_I32 || n < 1 || n > 4)
        return error_set(e, HASTEN_EFILE, "the original shape of '%s' is not one to four integers", name);
    note->name = name;
    note->rank = (int)n;
    for (int i = 0; i < n; i++) {
        int32_t x;
        if (take(r, &x, sizeof x, e) < 0)
            return -1;
        note->shape[i] = x;
    }
    note->next = r->notes;
    r->notes = note;
    r->note_count++;
    return 0;
}

static int take_pair(struct reader *r, struct error *e)
{
    static const char shape[] = "comfy.gguf.orig_shape.";
    char *key;
    uint32_t kind;
    if (take_string(r, MOST_KEY, &key, e) < 0 || take_u32(r, &kind, e) < 0)
        return -1;
    if (kind == KIND_ARRAY && !strncmp(key, shape, sizeof shape - 1))
        return take_note(r, key + sizeof shape - 1, e);
    if (kind == KIND_U32 && !strcmp(key, "general.alignment")) {
        uint32_t x;
        if (take_u32(r, &x, e) < 0)
            return -1;
        if (x < 8 || x > 1 << 20 || (x & (x - 1)))
            return error_set(e, HASTEN_EFILE, "general.alignment is %u, a power of two from 8 on is expected",
                             x);
        r->alignment = x;
        return 0;
    }
    return skip_value(r, kind, e);
}

/* ---- tensors ---- */

static int by_name(const void *a, const void *b)
{
    const struct shape_note *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int sort_notes(struct reader *r, struct error *e)
{
    int n = r->note_count;
    r->by_name = arena_alloc(&r->g->arena, (size_t)n + 1, sizeof *r->by_name, e);
    if (!r->by_name)
        return -1;
    for (const struct shape_note *note = r->notes; note; note = note->next)
        r->by_name[--n] = note;
    qsort(r->by_name, (size_t)r->note_count, sizeof *r->by_name, by_name);
    for (int i = 1; i < r->note_count; i++)
        if (!strcmp(r->by_name[i - 1]->name, r->by_name[i]->name))
            return error_set(e, HASTEN_EFILE, "the original shape of '%s' is there twice",
                             r->by_name[i]->name);
    return 0;
}

static int apply_note(const struct reader *r, struct gguf_tensor *t, struct error *e)
{
    const struct shape_note key = {.name = t->name}, *wanted = &key,
                            **found = bsearch(&wanted, r->by_name, (size_t)r->note_count, sizeof *r->by_name,
                                              by_name);
    if (!found)
        return 0;
    struct tensor x = {.name = t->name, .dtype = DTYPE_F32, .rank = (*found)->rank};
    memcpy(x.shape, (*found)->shape, sizeof(*found)->shape);
    if (tensor_measure(&x, e) < 0)
        return -1;
    if (x.count != (size_t)t->numbers)
        return error_set(e, HASTEN_EFILE, "the original shape of '%s' has %zu numbers, the tensor %lld",
                         t->name, x.count, (long long)t->numbers);
    t->rank = x.rank;
    memcpy(t->shape, (*found)->shape, sizeof t->shape);
    return 0;
}

static int take_tensor(struct reader *r, struct gguf_tensor *t, struct error *e)
{
    char *name;
    uint32_t rank, type;
    uint64_t size[4] = {0}, offset;
    int bytes, numbers;
    if (take_string(r, TENSOR_MAX_NAME, &name, e) < 0 || take_u32(r, &rank, e) < 0)
        return -1;
    t->name = name;
    if (rank > 4)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has %u dimensions, at most 4 are possible", name,
                         rank);
    if (take(r, size, (int64_t)rank * 8, e) < 0 || take_u32(r, &type, e) < 0 || take(r, &offset, 8, e) < 0)
        return -1;
    t->type = (int)type;
    if (type > 1000 || !(numbers = gguf_block((int)type, &bytes)))
        return error_set(
            e, HASTEN_EFILE,
            "tensor '%s' has the type %u of ggml; F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K are read", name,
            type);
    struct tensor x = {.name = name, .dtype = DTYPE_F32, .rank = (int)rank};
    for (uint32_t i = 0; i < rank; i++) {
        if (size[i] > INT64_MAX)
            return error_set(e, HASTEN_EFILE, "tensor '%s' has an absurd dimension", name);
        x.shape[rank - 1 - i] = (int64_t)size[i];
    }
    if (tensor_measure(&x, e) < 0)
        return -1;
    if (x.count % (size_t)numbers || (rank && size[0] % (uint64_t)numbers))
        return error_set(e, HASTEN_EFILE, "rows of tensor '%s' are not whole blocks of %d", name, numbers);
    t->rank = (int)rank;
    memcpy(t->shape, x.shape, sizeof t->shape);
    t->numbers = (int64_t)x.count;
    t->size = t->numbers / numbers * bytes; /* less than tensor_measure's */
    if (offset > (uint64_t)r->g->in.size)
        return error_set(e, HASTEN_EFILE, "tensor '%s' begins at %llu, behind the end of the file", name,
                         (unsigned long long)offset);
    t->offset = (int64_t)offset;
    return apply_note(r, t, e);
}

/* Offsets count from the first aligned byte behind the header. */
static int place_data(struct reader *r, struct error *e)
{
    int64_t base = (r->at + r->alignment - 1) / r->alignment * r->alignment;
    for (int i = 0; i < r->g->count; i++) {
        struct gguf_tensor *t = &r->g->tensor[i];
        int64_t end;
        if (t->offset % r->alignment)
            return error_set(e, HASTEN_EFILE, "tensor '%s' begins at %lld, which %lld does not divide",
                             t->name, (long long)t->offset, (long long)r->alignment);
        t->offset += base;
        if (num_add(t->offset, t->size, &end) || end > r->g->in.size)
            return error_set(e, HASTEN_EFILE, "tensor '%s' ends at byte %lld, the file has %lld", t->name,
                             (long long)t->offset + (long long)t->size, (long long)r->g->in.size);
    }
    return 0;
}

static int read_header(struct reader *r, struct error *e)
{
    char magic[4];
    uint32_t version;
    int64_t tensors, pairs;
    if (take(r, magic, 4, e) < 0 || take_u32(r, &version, e) < 0)
        return -1;
    if (memcmp(magic, "GGUF", 4) || version < 2 || version > 3)
        return error_set(e, HASTEN_EFILE, "this is not a GGUF file of version 2 or 3 (little-endian)");
    /* A tensor has at least a name's length, dimensions, type and offset; a pair a key's length, type and a
     * byte. */
    if (take_count(r, 24, "tensors", &tensors, e) < 0 || take_count(r, 13, "metadata pairs", &pairs, e) < 0)
        return -1;
    if (tensors > MOST_TENSORS)
        return error_set(e, HASTEN_EFILE, "the file has %lld tensors, at most %d are supported",
                         (long long)tensors, MOST_TENSORS);
    if (!(r->g->tensor = mem_array((size_t)tensors + 1, sizeof *r->g->tensor, e)))
        return -1;
    for (int64_t i = 0; i < pairs; i++)
        if (take_pair(r, e) < 0)
            return -1;
    if (sort_notes(r, e) < 0)
        return -1;
    for (int64_t i = 0; i < tensors; i++, r->g->count++)
        if (take_tensor(r, &r->g->tensor[i], e) < 0)
            return -1;
    return place_data(r, e);
}

int gguf_is(const char *path)
{
    char magic[4] = {0};
    struct error ignored = {0};
    struct input in;
    if (input_open(&in, path, &ignored) < 0)
        return 0;
    int is = in.size >= 4 && input_read_at(&in, magic, 4, 0, &ignored) == 0 && !memcmp(magic, "GGUF", 4);
    input_close(&in);
    return is;
}

int gguf_open(struct gguf *g, const char *path, struct error *e)
{
    *g = (struct gguf){.in = {.fd = -1}};
    struct reader r = {.g = g, .alignment = 32};
    if (input_open(&g->in, path, e) < 0)
        return -1;
    int status = -1;
    if (g->in.size < 0)
        error_set(e, HASTEN_EFILE, "a GGUF file cannot be read from a pipe");
    else if ((r.buffer = mem_array(BUFFER, 1, e)))
        status = read_header(&r, e);
    mem_free(r.buffer);
    if (status < 0) {
        error_in(e, path);
        gguf_close(g);
    }
    return status;
}

int gguf_load(const struct gguf *g, int index, struct tensor *out, struct error *e)
{
    const struct gguf_tensor *t = &g->tensor[index];
    int bytes, numbers = gguf_block(t->type, &bytes), plain = numbers == 1;
    *out = (struct tensor){.name = t->name, .dtype = DTYPE_F32, .rank = t->rank};
    if (plain && bytes == 2)
        out->dtype = t->type == 1 ? DTYPE_F16 : DTYPE_BF16;
    memcpy(out->shape, t->shape, sizeof t->shape);
    if (tensor_measure(out, e) < 0 || !(out->data = mem_array(out->size, 1, e)))
        return -1;
    void *raw = plain ? out->data : mem_array((size_t)t->size, 1, e);
    int status = raw ? input_read_at(&g->in, raw, (size_t)t->size, t->offset, e) : -1;
    if (status == 0 && !plain)
        gguf_decode(t->type, raw, t->numbers / numbers, out->data);
    if (!plain)
        mem_free(raw);
    if (status == 0)
        return 0;
    mem_free(out->data);
    out->data = NULL;
    return error_under(e, "tensor '%s'", t->name);
}

void gguf_close(struct gguf *g)
{
    input_close(&g->in);
    mem_free(g->tensor);
    arena_free(&g->arena);
    g->tensor = NULL;
    g->count = 0;
}
