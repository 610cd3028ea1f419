/* Loading from regular files: pieces of up to 4 MiB are read, decompressed and hashed by whichever thread is
 * free, straight into the tensor. Where a piece goes and what is checked does not depend on the threads; of
 * several errors the one that comes first in the file is reported. */
#include "common/file/container_inside.h"

#include <limits.h>
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
    for (int i = 0; i < in->parts; i++) {
        mem_free(in->part[i].packed);
        mem_free(in->part[i].plain);
        ZSTD_freeDCtx(in->part[i].zstd);
    }
    mem_free(in->part);
    in->part = NULL;
    in->parts = 0;
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
    if (!t->data && !(t->data = mem_array(t->size, 1, e)))
        return error_under(e, "tensor '%s'", t->name);
    c->inside->loaded += t->size;
    return 0;
}

struct task {
    int tensor;
    uint32_t piece;
};

struct job {
    struct container *c;
    struct task *task;
    struct hash128 *hash; /* of each task's piece */
    int tasks;
    atomic_int next, stop;
    struct part *part; /* the container's */
    int parts;
    int keep;
};

static int do_task(struct job *j, int k, struct part *part)
{
    const struct container *c = j->c;
    const struct container_inside *in = c->inside;
    const struct tensor *t = &c->tensor[j->task[k].tensor];
    size_t piece = j->task[k].piece, plain = tensor_piece_size(t->size, piece);
    unsigned char *out = t->data ? (unsigned char *)t->data + piece * CONTAINER_PIECE : part->plain;
    if (in->form == FORM_PLAIN) {
        int64_t at = (int64_t)(in->header_size + in->begin[j->task[k].tensor] + piece * CONTAINER_PIECE);
        if (input_read_at(&in->in, out, plain, at, &part->error) < 0)
            return -1;
    } else {
        const int64_t *at = in->frame_at + in->first_frame[j->task[k].tensor] + piece;
        size_t size = (size_t)(at[1] - at[0]);
        if (input_read_at(&in->in, part->packed, size, at[0], &part->error) < 0 ||
            frame_read(part->zstd, part->packed, size, out, plain, &part->error) < 0)
            return error_under(&part->error, "tensor '%s', byte %lld", t->name, (long long)at[0]);
    }
    j->hash[k] = hash_bytes(out, plain);
    return 0;
}

/* Tasks are handed out in order, so when one fails all earlier ones are done or being done. */
static void run_tasks(void *job, int index, int parts)
{
    struct job *j = job;
    (void)parts;
    for (int k; !atomic_load(&j->stop) && (k = atomic_fetch_add(&j->next, 1)) < j->tasks;)
        if (do_task(j, k, &j->part[index]) < 0) {
            j->part[index].failed_at = k;
            atomic_store(&j->stop, 1);
        }
}

static int make_room(unsigned char **block, size_t size, struct error *e)
{
    if (*block && mem_size(*block) >= size)
        return 0;
    mem_free(*block);
    *block = mem_array(size, 1, e);
    return *block ? 0 : -1;
}

/* The threads' own things for pieces of up to `largest` bytes. */
static int prepare_parts(struct job *j, size_t largest, struct error *e)
{
    struct container_inside *in = j->c->inside;
    if (in->parts < j->parts) {
        struct part *more = mem_resize(in->part, (size_t)j->parts, sizeof *more, e);
        if (!more)
            return -1;
        in->part = more;
        in->parts = j->parts;
    }
    j->part = in->part;
    for (int i = 0; i < j->parts; i++) {
        struct part *part = &j->part[i];
        part->failed_at = INT_MAX;
        part->error = (struct error){0};
        if (!j->keep && make_room(&part->plain, largest, e) < 0)
            return -1;
        if (in->form != FORM_OURS)
            continue;
        if (make_room(&part->packed, ZSTD_compressBound(largest), e) < 0 ||
            (!part->zstd && !(part->zstd = zstd_reader(OUR_WINDOW_LOG, e))))
            return -1;
    }
    return 0;
}

static int prepare(struct job *j, const int *tensors, int count, struct error *e)
{
    const struct container *c = j->c;
    size_t tasks = 0, largest = 0;
    for (int i = 0; i < count; i++) {
        tasks += tensor_pieces(c->tensor[tensors[i]].size);
        largest = c->tensor[tensors[i]].size > largest ? c->tensor[tensors[i]].size : largest;
    }
    largest = largest < CONTAINER_PIECE ? largest : CONTAINER_PIECE;
    j->task = mem_array(tasks, sizeof *j->task, e);
    j->hash = mem_array(tasks, sizeof *j->hash, e);
    if (!j->task || !j->hash)
        return -1;
    for (int i = 0; i < count; i++)
        for (uint32_t p = 0; p < tensor_pieces(c->tensor[tensors[i]].size); p++)
            j->task[j->tasks++] = (struct task){tensors[i], p};
    return prepare_parts(j, largest, e);
}

/* Digests of the tensors just read: checked in our files, learned in others. */
static int check_digests(struct job *j, const int *tensors, int count, struct error *e)
{
    struct container_inside *in = j->c->inside;
    for (int i = 0, k = 0; i < count; i++) {
        int t = tensors[i];
        size_t pieces = tensor_pieces(j->c->tensor[t].size);
        struct hash128 d = tensor_digest(j->hash + k, pieces);
        k += (int)pieces;
        if (in->form == FORM_OURS && !hash_equal(d, in->digest[t]))
            return error_set(e, HASTEN_EFILE, "tensor '%s' is damaged: its hash is not the trailer's",
                             j->c->tensor[t].name);
        if (in->known[t] && !hash_equal(d, in->digest[t]))
            return error_set(e, HASTEN_EFILE, "tensor '%s' changed since it was read before",
                             j->c->tensor[t].name);
        in->digest[t] = d;
        in->known[t] = 1;
    }
    return 0;
}

static int read_tensors(struct container *c, const int *tensors, int count, int keep, struct team *team,
                        struct error *e)
{
    struct job j = {.c = c, .parts = team ? team_size(team) : 1, .keep = keep};
    int result = prepare(&j, tensors, count, e);
    if (result == 0) {
        if (team)
            team_run(team, run_tasks, &j);
        else
            run_tasks(&j, 0, 1);
        struct part *first = &j.part[0];
        for (int i = 1; i < j.parts; i++)
            if (j.part[i].failed_at < first->failed_at)
                first = &j.part[i];
        result = first->failed_at == INT_MAX ? check_digests(&j, tensors, count, e)
                                             : error_set(e, first->error.code, "%s", first->error.text);
    }
    mem_free(j.task);
    mem_free(j.hash);
    return result < 0 ? -1 : container_set_id(c, e);
}

static int load_listed(struct container *c, const int *tensors, int count, struct team *team, struct error *e)
{
    int result = 0;
    for (int i = 0; i < count && result == 0; i++)
        result = container_allocate(c, tensors[i], e);
    if (result == 0)
        result = read_tensors(c, tensors, count, 1, team, e);
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
    return result < 0 ? error_under(e, "%s", c->name) : 0;
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
    result = read_tensors(c, list, count, 0, team, e);
    mem_free(list);
    return named(c, result, e);
}
