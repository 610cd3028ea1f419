/* Loading from regular files: see pieces.h for how. */
#include "common/file/container_inside.h"

#include <string.h>

enum {
    SPARE_LEAST = 1 << 20, /* smaller blocks come from the C library's own reserve */
    SPARE_MOST = 32 << 20, /* of all of them */
};

/* A block of at least `size` bytes and not twice as many; NULL: none. */
static void *take_spare(struct spare *s, size_t size)
{
    int best = -1;
    for (int i = 0; i < s->count; i++)
        if (mem_size(s->block[i]) >= size && mem_size(s->block[i]) / 2 <= size &&
            (best < 0 || mem_size(s->block[i]) < mem_size(s->block[best])))
            best = i;
    if (best < 0)
        return NULL;
    void *block = s->block[best];
    s->bytes -= mem_size(block);
    memmove(s->block + best, s->block + best + 1, (size_t)(--s->count - best) * sizeof *s->block);
    return block;
}

/* The oldest ones make room. */
static void drop_spare(struct spare *s, size_t bytes)
{
    int gone = 0;
    for (; gone < s->count && (s->bytes + bytes > SPARE_MOST || s->count - gone == 8); gone++) {
        s->bytes -= mem_size(s->block[gone]);
        mem_free(s->block[gone]);
    }
    s->count -= gone;
    memmove(s->block, s->block + gone, (size_t)s->count * sizeof *s->block);
}

void container_tensor_free(struct container *c, int index)
{
    struct spare *s = &c->inside->spare;
    void *block = container_tensor_take(c, index);
    size_t size = block ? mem_size(block) : 0;
    if (size < SPARE_LEAST || size > SPARE_MOST) {
        mem_free(block);
        return;
    }
    drop_spare(s, size);
    s->block[s->count++] = block;
    s->bytes += size;
}

void container_rest(struct container *c)
{
    struct container_inside *in = c->inside;
    piece_readers_free(&in->readers);
    for (int i = 0; i < in->spare.count; i++)
        mem_free(in->spare.block[i]);
    in->spare = (struct spare){0};
}

int container_allocate(struct container *c, int index, struct error *e)
{
    struct tensor *t = &c->tensor[index];
    size_t limit = c->inside->memory;
    if (limit && (t->size > limit || c->inside->loaded > limit - t->size))
        return error_set(e, HASTEN_ENOMEM,
                         "tensor '%s' of %zu bytes would pass the memory limit of %zu bytes", t->name,
                         t->size, limit);
    t->data = take_spare(&c->inside->spare, t->size); /* whoever asks fills it from end to end */
    if (!t->data && !(t->data = mem_room(t->size, 1, e)))
        return error_under(e, "tensor '%s'", t->name);
    c->inside->loaded += t->size;
    return 0;
}

/* Digests of the tensors just read: checked in our files, learned in others. */
static int check_digests(struct container *c, const int *tensors, int count, const struct hash128 *digest,
                         struct error *e)
{
    struct container_inside *in = c->inside;
    for (int i = 0; i < count; i++) {
        int t = tensors[i];
        if (in->form == FORM_OURS && !hash_equal(digest[i], in->digest[t]))
            return error_set(e, HASTEN_EFILE, "tensor '%s' is damaged: its hash is not the trailer's",
                             c->tensor[t].name);
        if (in->known[t] && !hash_equal(digest[i], in->digest[t]))
            return error_set(e, HASTEN_EFILE, "tensor '%s' changed since it was read before",
                             c->tensor[t].name);
        in->digest[t] = digest[i];
        in->known[t] = 1;
    }
    return 0;
}

/* Into the data of those that have room for it; the others are checked only. */
static int read_tensors(struct container *c, const int *tensors, int count, struct team *team,
                        struct error *e)
{
    struct tensor **list = mem_array((size_t)count, sizeof *list, e);
    struct hash128 *digest = mem_array((size_t)count, sizeof *digest, e);
    int result = list && digest ? 0 : -1;
    for (int i = 0; result == 0 && i < count; i++)
        list[i] = &c->tensor[tensors[i]];
    if (result == 0 && (result = tensors_read(&c->inside->readers, list, count, team, digest, e)) == 0)
        result = check_digests(c, tensors, count, digest, e);
    mem_free(list);
    mem_free(digest);
    return result < 0 ? -1 : container_set_id(c, e);
}

static int load_listed(struct container *c, const int *tensors, int count, struct team *team, struct error *e)
{
    int result = 0;
    for (int i = 0; i < count && result == 0; i++)
        result = container_allocate(c, tensors[i], e);
    if (result == 0)
        result = read_tensors(c, tensors, count, team, e);
    for (int i = 0; i < count && result < 0; i++)
        container_tensor_free(c, tensors[i]);
    return result;
}

/* The tensors without data: *list is freed by the caller. */
static int list_missing(const struct container *c, int **list, struct error *e)
{
    int count = 0;
    *list = mem_array((size_t)c->count, sizeof **list, e);
    for (int i = 0; *list && i < c->count; i++)
        if (!c->tensor[i].data)
            (*list)[count++] = i;
    return *list ? count : -1;
}

static int named(struct container *c, int result, struct error *e)
{
    return result < 0 ? error_in(e, c->name) : 0;
}

int container_load_listed(struct container *c, const int *tensors, int count, struct team *team,
                          struct error *e)
{
    return named(c, load_listed(c, tensors, count, team, e), e);
}

int container_load(struct container *c, struct team *team, struct error *e)
{
    size_t limit = c->inside->memory;
    int *list = NULL, count = list_missing(c, &list, e), result = -1;
    if (count < 0)
        return -1;
    if (limit && c->bytes > limit)
        error_set(e, HASTEN_ENOMEM, "%zu bytes of tensors would pass the memory limit of %zu bytes", c->bytes,
                  limit);
    else if (!c->inside->ordered)
        result = load_listed(c, list, count, team, e);
    else
        result = count == 0 && c->inside->id[0] ? 0 : stream_data(c, 1, e); /* no id: not verified yet */
    mem_free(list);
    return named(c, result, e);
}

int container_tensor_load(struct container *c, int index, struct team *team, struct error *e)
{
    if (c->tensor[index].data)
        return 0;
    if (c->inside->ordered && !c->inside->drained)
        return container_load(c, team, e);
    int result = c->inside->ordered ? stream_data(c, 1, e) : load_listed(c, &index, 1, team, e);
    return named(c, result, e);
}

void *container_tensor_take(struct container *c, int index)
{
    void *data = c->tensor[index].data;
    if (data)
        c->inside->loaded -= c->tensor[index].size;
    c->tensor[index].data = NULL;
    return data;
}

int container_verify(struct container *c, struct team *team, struct error *e)
{
    int *list = NULL, count, result;
    if (c->inside->ordered)
        return c->inside->id[0] ? 0 : named(c, stream_data(c, 0, e), e);
    if ((count = list_missing(c, &list, e)) < 0)
        return -1;
    result = read_tensors(c, list, count, team, e);
    mem_free(list);
    return named(c, result, e);
}
