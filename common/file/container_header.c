/* The header of a safetensors file: JSON to tensors. Everything is checked before anything is believed; the
 * rules are those of the safetensors format (offsets from 0, contiguous, no hole, no overlap, end at the
 * end), some stricter. The JSON is read by tokens: a tree of a large model's header would take ten times its
 * size. */
#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/num.h"
#include "common/file/container_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct tensor tensor;
    int64_t begin, end;
};

struct entries {
    struct entry *list;
    int count, room;
};

int header_check_name(const char *name, size_t n, struct error *e)
{
    char masked[TENSOR_MAX_NAME + 1];
    if (n == 0)
        return error_set(e, HASTEN_EFILE, "a tensor has an empty name");
    if (n > TENSOR_MAX_NAME)
        return error_set(e, HASTEN_EFILE, "a tensor's name has %zu bytes, at most %d are supported", n,
                         TENSOR_MAX_NAME);
    memcpy(masked, name, n);
    masked[n] = 0;
    text_mask(masked);
    if (memcmp(masked, name, n) != 0)
        return error_set(e, HASTEN_EFILE, "the tensor name '%s' has control characters or is not UTF-8",
                         masked);
    return 0;
}

/* ---- one tensor: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} ---- */

static int read_dtype(struct json_reader *r, struct tensor *t)
{
    struct json_slice s;
    char name[64];
    if (json_text(r, &s) < 0)
        return -1;
    if (s.size >= sizeof name)
        return error_set(r->e, HASTEN_EFILE, "tensor '%s' has an unknown dtype", t->name);
    json_decode(&s, name);
    int d = dtype_find(name);
    if (d < 0)
        return error_set(r->e, HASTEN_EFILE, "tensor '%s' has dtype '%s', which is not supported", t->name,
                         name);
    t->dtype = (enum dtype)d;
    return 0;
}

static int read_shape(struct json_reader *r, struct tensor *t)
{
    int more;
    if (json_enter(r, '[', &more) < 0)
        return -1;
    while (more) {
        if (t->rank == TENSOR_MAX_RANK)
            return error_set(r->e, HASTEN_EFILE, "tensor '%s' has more than %d dimensions", t->name,
                             TENSOR_MAX_RANK);
        if (json_count(r, &t->shape[t->rank++]) < 0 || json_next(r, ']', &more) < 0)
            return -1;
    }
    return 0;
}

static int read_offsets(struct json_reader *r, struct entry *entry)
{
    int more, n = 0;
    int64_t pair[2];
    if (json_enter(r, '[', &more) < 0)
        return -1;
    for (; more && n < 2; n++)
        if (json_count(r, &pair[n]) < 0 || json_next(r, ']', &more) < 0)
            return -1;
    if (n != 2 || more)
        return error_set(r->e, HASTEN_EFILE, "tensor '%s': data_offsets must be two numbers",
                         entry->tensor.name);
    if (pair[0] > pair[1])
        return error_set(r->e, HASTEN_EFILE, "tensor '%s': data_offsets [%lld, %lld] end before they begin",
                         entry->tensor.name, (long long)pair[0], (long long)pair[1]);
    entry->begin = pair[0];
    entry->end = pair[1];
    return 0;
}

static int read_entry(struct json_reader *r, struct entry *entry)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    struct tensor *t = &entry->tensor;
    int more, seen = 0;
    if (json_enter(r, '{', &more) < 0)
        return -1;
    while (more) {
        struct json_slice key;
        int k = 0, result;
        if (json_key(r, &key) < 0)
            return -1;
        while (k < 3 && !json_slice_is(&key, keys[k]))
            k++;
        if (k == 3)
            return error_set(r->e, HASTEN_EFILE, "tensor '%s' has an unknown key '%.*s'", t->name,
                             key.size < 60 ? (int)key.size : 60, key.raw);
        if (seen & 1 << k)
            return error_set(r->e, HASTEN_EFILE, "tensor '%s' has '%s' twice", t->name, keys[k]);
        seen |= 1 << k;
        result = k == 0 ? read_dtype(r, t) : k == 1 ? read_shape(r, t) : read_offsets(r, entry);
        if (result < 0 || json_next(r, '}', &more) < 0)
            return -1;
    }
    for (int k = 0; k < 3; k++)
        if (!(seen & 1 << k))
            return error_set(r->e, HASTEN_EFILE, "tensor '%s' has no '%s'", t->name, keys[k]);
    if (tensor_measure(t, r->e) < 0)
        return -1;
    if ((uint64_t)(entry->end - entry->begin) != t->size) {
        char text[TENSOR_SHAPE_TEXT];
        return error_set(r->e, HASTEN_EFILE, "tensor '%s': %lld bytes are given to it, but %s of %s has %zu",
                         t->name, (long long)(entry->end - entry->begin), dtype_name(t->dtype),
                         tensor_shape_text(t, text), t->size);
    }
    return 0;
}

/* ---- the whole object ---- */

static int add_entry(struct container *c, struct json_reader *r, const struct json_slice *key,
                     struct entries *all)
{
    if (all->count == CONTAINER_MAX_TENSORS)
        return error_set(r->e, HASTEN_EFILE, "more than %d tensors", CONTAINER_MAX_TENSORS);
    if (all->count == all->room) {
        int room = all->room ? 2 * all->room : 64;
        struct entry *bigger = mem_resize(all->list, (size_t)room, sizeof *bigger, r->e);
        if (!bigger)
            return -1;
        all->list = bigger;
        all->room = room;
    }
    struct entry *entry = &all->list[all->count++];
    char *name = arena_alloc(&c->inside->arena, key->size + 1, 1, r->e);
    if (!name || header_check_name(name, json_decode(key, name), r->e) < 0)
        return -1;
    entry->tensor.name = name;
    return read_entry(r, entry);
}

/* `__metadata__`: strings by key; ours is the JSON in the string "hasten". */
static int read_metadata(struct container *c, struct json_reader *r)
{
    const char *text;
    int64_t version;
    if (c->meta)
        return error_set(r->e, HASTEN_EFILE, "'__metadata__' is there twice");
    if (!(c->meta = json_value(r)))
        return -1;
    if (!cJSON_IsObject(c->meta))
        return error_set(r->e, HASTEN_EFILE, "'__metadata__' is not an object");
    for (const cJSON *j = c->meta->child; j; j = j->next)
        if (!cJSON_IsString(j))
            return error_set(r->e, HASTEN_EFILE, "'%s' in '__metadata__' is not a string", j->string);
    if (!json_get(c->meta, "hasten"))
        return 0;
    if (json_string(c->meta, "hasten", &text, r->e) < 0)
        return -1;
    cJSON *ours = json_parse(text, strlen(text), r->e);
    if (!ours)
        return error_under(r->e, "the metadata");
    cJSON_Delete(c->meta);
    c->meta = ours;
    if (json_int(ours, "version", 1, INT32_MAX, &version, r->e) < 0 ||
        json_string(ours, "kind", &text, r->e) < 0)
        return error_under(r->e, "the metadata");
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz-");
    if (n == 0 || n > 32 || text[n])
        return error_set(r->e, HASTEN_EFILE, "the metadata: '%.40s' is not a kind of file", text);
    c->version = (int)version;
    c->kind = text;
    return 0;
}

static int read_object(struct container *c, struct json_reader *r, struct entries *all)
{
    int more;
    if (r->size == 0 || r->text[0] != '{')
        return error_set(r->e, HASTEN_EFILE, "the header does not begin with '{'");
    if (json_enter(r, '{', &more) < 0)
        return -1;
    while (more) {
        struct json_slice key;
        if (json_key(r, &key) < 0)
            return -1;
        int result = json_slice_is(&key, "__metadata__") ? read_metadata(c, r) : add_entry(c, r, &key, all);
        if (result < 0 || json_next(r, '}', &more) < 0)
            return -1;
    }
    return json_end(r);
}

/* ---- between the tensors ---- */

int tensor_file_order(const struct tensor *a, const struct tensor *b)
{
    size_t x = 0, y = 0;
    if (a->dtype != b->dtype) {
        x = dtype_size(a->dtype);
        y = dtype_size(b->dtype);
    }
    return x != y ? (x > y ? -1 : 1) : strcmp(a->name, b->name);
}

static int by_offset(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return tensor_file_order(&x->tensor, &y->tensor);
}

/* Ours as we write it, not unpacked: then the order in the header is part of the format. */
static int is_packed(const struct container *c) { return c->inside->form != FORM_PLAIN && c->kind[0]; }

static int check_layout(const struct container *c, const struct entries *all, int64_t data, struct error *e)
{
    int64_t end = 0;
    for (int i = 0; i < all->count; i++) {
        const struct entry *x = &all->list[i];
        if (x->begin != end)
            return error_set(e, HASTEN_EFILE, "tensor '%s' begins at byte %lld of the data, %s %lld",
                             x->tensor.name, (long long)x->begin,
                             x->begin < end ? "inside another one, which ends at" : "leaving a hole from",
                             (long long)end);
        end = x->end; /* never below begin */
        if (is_packed(c) && i && tensor_file_order(&all->list[i - 1].tensor, &x->tensor) >= 0)
            return error_set(e, HASTEN_EFILE, "tensor '%s' is not in the order of the format",
                             x->tensor.name);
    }
    if (data >= 0 && end != data)
        return error_set(e, HASTEN_EFILE,
                         "the header speaks of %lld bytes of tensors, the file has %lld (%s)", (long long)end,
                         (long long)data, end > data ? "is it cut?" : "something follows");
    return 0;
}

static int by_name(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;
    return strcmp(t[*(const int *)a].name, t[*(const int *)b].name);
}

/* Tensors of one size of elements come in the order of their names, so there is seldom something to sort. */
static int sort_names(struct container *c, struct error *e)
{
    int *index = c->inside->by_name, rising = 1;
    for (int i = 0; i < c->count; i++) {
        index[i] = i;
        rising &= i == 0 || strcmp(c->tensor[i - 1].name, c->tensor[i].name) < 0;
    }
    if (!rising)
        qsort_r(index, (size_t)c->count, sizeof *index, by_name, c->tensor);
    for (int i = 1; i < c->count && !rising; i++)
        if (!strcmp(c->tensor[index[i - 1]].name, c->tensor[index[i]].name))
            return error_set(e, HASTEN_EFILE, "two tensors are named '%s'", c->tensor[index[i]].name);
    return 0;
}

/* Arrays of the container from the checked entries. */
static int fill_container(struct container *c, const struct entries *all, struct error *e)
{
    struct container_inside *in = c->inside;
    size_t n = (size_t)all->count, pieces = 0;
    c->tensor = mem_array(n, sizeof *c->tensor, e);
    in->by_name = mem_array(n, sizeof *in->by_name, e);
    in->begin = mem_array(n, sizeof *in->begin, e);
    in->first_frame = mem_array(n + 1, sizeof *in->first_frame, e);
    in->digest = mem_array(n, sizeof *in->digest, e);
    in->known = mem_array(n, 1, e);
    if (!c->tensor || !in->by_name || !in->begin || !in->first_frame || !in->digest || !in->known)
        return -1;
    c->count = all->count;
    for (size_t i = 0; i < n; i++) {
        c->tensor[i] = all->list[i].tensor;
        in->begin[i] = (size_t)all->list[i].begin;
        in->first_frame[i] = (int)pieces;
        pieces += tensor_pieces(c->tensor[i].size);
        c->bytes += c->tensor[i].size;
        if (pieces > INT32_MAX / 2)
            return error_set(e, HASTEN_EFILE, "%zu bytes of tensors are more than the format can hold",
                             c->bytes);
    }
    in->first_frame[n] = (int)pieces;
    return sort_names(c, e);
}

int header_parse(struct container *c, const char *text, size_t n, int64_t data, struct error *e)
{
    struct json_reader r;
    struct entries all = {0};
    int result = -1;
    if (json_start(&r, text, n, e) < 0 || read_object(c, &r, &all) < 0)
        goto done;
    if (!c->meta && !(c->meta = json_new_object(e)))
        goto done;
    if (c->kind[0] && n > CONTAINER_MAX_HEADER) {
        error_set(e, HASTEN_EFILE, "a header of %zu bytes, at most %d are allowed", n, CONTAINER_MAX_HEADER);
        goto done;
    }
    if (c->inside->form == FORM_OURS && !c->kind[0]) {
        error_set(e, HASTEN_EFILE, "hasten's metadata is missing, though there is a trailer with hashes");
        goto done;
    }
    if (!is_packed(c) && all.count)
        qsort(all.list, (size_t)all.count, sizeof *all.list, by_offset);
    if (check_layout(c, &all, data, e) == 0)
        result = fill_container(c, &all, e);
done:
    mem_free(all.list);
    return result < 0 ? error_under(e, "header") : 0;
}

/* What the reader must know, or it would take the file for something else. */
static int check_needs(const struct container *c, struct error *e)
{
    static const char *const known[] = {"difference"};
    const cJSON *needs = json_array(c->meta, "needs", e), *j;
    cJSON_ArrayForEach(j, needs)
    {
        int found = 0;
        for (size_t i = 0; cJSON_IsString(j) && i < sizeof known / sizeof *known; i++)
            found |= !strcmp(j->valuestring, known[i]);
        if (!found)
            return error_set(e, HASTEN_EFILE, "the file needs '%.60s', which this program does not know",
                             cJSON_IsString(j) ? j->valuestring : "?");
    }
    return needs ? 0 : -1;
}

int header_accept(const struct container *c, const struct container_options *want, struct error *e)
{
    const char *article = want->kind && want->kind[0] && strchr("aeiou", want->kind[0]) ? "an" : "a";
    if (!c->kind[0]) {
        if (!want->kind || want->foreign)
            return 0;
        return error_set(e, HASTEN_EFILE,
                         "this is a safetensors file without hasten's metadata, %s %s is needed", article,
                         want->kind);
    }
    if (want->kind && strcmp(want->kind, c->kind) != 0)
        return error_set(e, HASTEN_EFILE, "this is a file of kind '%s', %s %s is needed", c->kind, article,
                         want->kind);
    if (c->version > CONTAINER_VERSION)
        return error_set(e, HASTEN_EFILE,
                         "format version %d is newer than this program, which knows up to %d", c->version,
                         CONTAINER_VERSION);
    return c->version > 1 ? check_needs(c, e) : 0;
}
