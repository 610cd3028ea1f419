/* See pieces.h. Pieces are read, decompressed and hashed by whichever thread is free, straight into the
 * tensor. Where a piece goes and what is checked does not depend on the threads; of several errors the one
 * that comes first in the list is reported. */
#include "common/file/pieces.h"
#include "common/file/container_inside.h"

#include <limits.h>
#include <string.h>

/* ---- one piece ---- */

int64_t piece_frame(const struct tensor *t, size_t piece, void *room, struct piece_reader *r)
{
    const struct origin *o = t->origin;
    int64_t size = o->frame[piece + 1] - o->frame[piece];
    return input_read_at(o->in, room, (size_t)size, o->frame[piece], &r->error) < 0 ? -1 : size;
}

int piece_open(const struct tensor *t, size_t piece, const void *frame, int64_t size, void *out,
               struct piece_reader *r)
{
    if (frame_read(r->zstd, frame, (size_t)size, out, tensor_piece_size(t->size, piece), &r->error) == 0)
        return 0;
    return error_under(&r->error, "tensor '%s', byte %lld", t->name, (long long)t->origin->frame[piece]);
}

int piece_read(const struct tensor *t, size_t piece, void *out, struct piece_reader *r)
{
    const struct origin *o = t->origin;
    if (!o->frame)
        return input_read_at(o->in, out, tensor_piece_size(t->size, piece),
                             o->begin + (int64_t)(piece * CONTAINER_PIECE), &r->error);
    int64_t size = piece_frame(t, piece, r->packed, r);
    return size < 0 ? error_under(&r->error, "tensor '%s'", t->name)
                    : piece_open(t, piece, r->packed, size, out, r);
}

/* ---- the threads' own things ---- */

static int make_room(unsigned char **block, size_t size, struct error *e)
{
    if (*block && mem_size(*block) >= size)
        return 0;
    mem_free(*block);
    *block = mem_room(size, 1, e);
    return *block ? 0 : -1;
}

int piece_readers_ready(struct piece_readers *r, int count, size_t largest, int plain, struct error *e)
{
    if (r->count < count) {
        struct piece_reader *more = mem_resize(r->reader, (size_t)count, sizeof *more, e);
        if (!more)
            return -1;
        r->reader = more;
        r->count = count;
    }
    largest = largest < CONTAINER_PIECE ? largest : CONTAINER_PIECE;
    for (int i = 0; i < count; i++) {
        struct piece_reader *one = &r->reader[i];
        one->failed_at = INT_MAX;
        one->error = (struct error){0};
        if ((plain && make_room(&one->plain, largest, e) < 0) ||
            make_room(&one->packed, ZSTD_compressBound(largest), e) < 0 ||
            (!one->zstd && !(one->zstd = zstd_reader(OUR_WINDOW_LOG, e))))
            return -1;
    }
    return 0;
}

void piece_readers_free(struct piece_readers *r)
{
    for (int i = 0; i < r->count; i++) {
        mem_free(r->reader[i].packed);
        mem_free(r->reader[i].plain);
        ZSTD_freeDCtx(r->reader[i].zstd);
    }
    mem_free(r->reader);
    *r = (struct piece_readers){0};
}

int piece_readers_failed(const struct piece_readers *r, int count, struct error *e)
{
    const struct piece_reader *first = &r->reader[0];
    for (int i = 1; i < count; i++)
        if (r->reader[i].failed_at < first->failed_at)
            first = &r->reader[i];
    return first->failed_at == INT_MAX ? 0 : error_set(e, first->error.code, "%s", first->error.text);
}

/* ---- many ---- */

struct task {
    const struct tensor *tensor;
    uint32_t piece;
};

struct job {
    struct task *task;
    struct hash128 *hash; /* of each task's piece */
    int tasks;
    atomic_int next, stop;
    struct piece_reader *reader;
};

static int do_task(struct job *j, int k, struct piece_reader *r)
{
    const struct tensor *t = j->task[k].tensor;
    size_t piece = j->task[k].piece;
    unsigned char *out = t->data ? (unsigned char *)t->data + piece * CONTAINER_PIECE : r->plain;
    if (piece_read(t, piece, out, r) < 0)
        return -1;
    j->hash[k] = hash_bytes(out, tensor_piece_size(t->size, piece));
    return 0;
}

/* Tasks are handed out in order, so when one fails all earlier ones are done or being done. */
static void run_tasks(void *job, int index, int parts)
{
    struct job *j = job;
    (void)parts;
    for (int k; !atomic_load(&j->stop) && (k = atomic_fetch_add(&j->next, 1)) < j->tasks;)
        if (do_task(j, k, &j->reader[index]) < 0) {
            j->reader[index].failed_at = k;
            atomic_store(&j->stop, 1);
        }
}

static int prepare(struct job *j, struct piece_readers *r, struct tensor *const *tensor, int count,
                   int threads, struct error *e)
{
    size_t tasks = 0, largest = 0;
    int check = 0;
    for (int i = 0; i < count; i++) {
        tasks += tensor_pieces(tensor[i]->size);
        largest = tensor[i]->size > largest ? tensor[i]->size : largest;
        check |= !tensor[i]->data;
    }
    j->task = mem_array(tasks, sizeof *j->task, e);
    j->hash = mem_array(tasks, sizeof *j->hash, e);
    if (!j->task || !j->hash || piece_readers_ready(r, threads, largest, check, e) < 0)
        return -1;
    for (int i = 0; i < count; i++)
        for (uint32_t p = 0; p < tensor_pieces(tensor[i]->size); p++)
            j->task[j->tasks++] = (struct task){tensor[i], p};
    j->reader = r->reader;
    return 0;
}

int tensors_read(struct piece_readers *r, struct tensor *const *tensor, int count, struct team *team,
                 struct hash128 *digest, struct error *e)
{
    struct job j = {0};
    int threads = team ? team_size(team) : 1, result = prepare(&j, r, tensor, count, threads, e);
    if (result == 0) {
        if (team && j.tasks > 1)
            team_run(team, run_tasks, &j);
        else
            run_tasks(&j, 0, 1);
        result = piece_readers_failed(r, threads, e);
    }
    for (int i = 0, k = 0; result == 0 && i < count; i++) {
        digest[i] = tensor_digest(j.hash + k, tensor_pieces(tensor[i]->size));
        k += (int)tensor_pieces(tensor[i]->size);
    }
    mem_free(j.task);
    mem_free(j.hash);
    return result;
}

int tensors_load(struct piece_readers *r, struct tensor *const *tensor, int count, struct team *team,
                 struct error *e)
{
    size_t n = (size_t)count + 1;
    struct tensor **list = mem_array(n, sizeof *list, e);
    struct hash128 *digest = mem_array(n, sizeof *digest, e);
    int result = list && digest ? 0 : -1, missing = 0;
    for (int i = 0; result == 0 && i < count; i++)
        if (!tensor[i]->data && tensor[i]->origin) {
            list[missing++] = tensor[i];
            if (!(tensor[i]->data = mem_room(tensor[i]->size, 1, e)))
                result = error_under(e, "tensor '%s'", tensor[i]->name);
        }
    if (result == 0 && missing)
        result = tensors_read(r, list, missing, team, digest, e);
    for (int i = 0; result == 0 && i < missing; i++)
        if (list[i]->origin->known && !hash_equal(digest[i], list[i]->origin->digest))
            result = error_set(e, HASTEN_EFILE, "tensor '%s' is damaged: its hash is not the trailer's",
                               list[i]->name);
    for (int i = 0; result < 0 && i < missing; i++) {
        mem_free(list[i]->data);
        list[i]->data = NULL;
    }
    mem_free(list);
    mem_free(digest);
    return result;
}
