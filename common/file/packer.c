/* See packer.h. */
#include "common/file/packer.h"

#include <string.h>

/* Pieces that threads are called for: enough that waiting for the last of them costs little. */
enum { COLLECTED = 256 };

int packer_open(struct packer *p, size_t largest, size_t pieces, struct error *e)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->change, NULL);
    p->threads = p->team ? team_size(p->team) : 1;
    size_t room = 2 * (size_t)p->threads;
    largest = largest < CONTAINER_PIECE ? largest : CONTAINER_PIECE;
    pieces = pieces ? pieces : 1;
    room = room < pieces ? room : pieces;
    p->most = pieces < COLLECTED ? (int)pieces : COLLECTED;
    p->piece = mem_array((size_t)p->most, sizeof *p->piece, e);
    p->slot = mem_array(room, sizeof *p->slot, e);
    p->zstd = mem_array((size_t)p->threads, sizeof *p->zstd, e);
    if (!p->piece || !p->slot || !p->zstd)
        return -1;
    p->room = (int)room;
    for (int i = 0; i < p->threads && !p->plain; i++)
        if (!(p->zstd[i] = zstd_writer(e)))
            return -1;
    for (int i = 0; i < p->room; i++)
        if (!(p->slot[i] = mem_room(ZSTD_compressBound(largest), 1, e)))
            return -1;
    return 0;
}

void packer_close(struct packer *p)
{
    for (int i = 0; i < p->room; i++)
        mem_free(p->slot[i]);
    for (int i = 0; i < p->threads && p->zstd; i++)
        ZSTD_freeCCtx(p->zstd[i]);
    mem_free(p->piece);
    mem_free(p->slot);
    mem_free(p->zstd);
    piece_readers_free(&p->readers);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->change);
}

int packer_trusts(const struct packer *p, const struct tensor *t)
{
    return !p->plain && t->origin && t->origin->frame && t->origin->own;
}

/* A frame is given on as it is, once its content is known to be right. */
static int take_frame(struct piece *x, struct piece_reader *r)
{
    int64_t size = piece_frame(x->tensor, x->index, x->packed, r);
    x->out = x->packed;
    x->out_size = (size_t)size;
    if (size < 0)
        return -1;
    if (piece_open(x->tensor, x->index, x->packed, size, r->plain, r) < 0)
        return -1;
    x->hash = hash_bytes(r->plain, x->size);
    return 0;
}

static int pack_piece(const struct packer *p, struct piece *x, int thread)
{
    struct piece_reader *r = p->readers.reader ? &p->readers.reader[thread] : NULL;
    const unsigned char *data = x->data;
    const int64_t *frame = data ? NULL : x->tensor->origin->frame;
    if (!data && packer_trusts(p, x->tensor)) {
        x->out = NULL;
        x->out_size = (size_t)(frame[x->index + 1] - frame[x->index]);
        return 0;
    }
    if (frame && !p->plain)
        return take_frame(x, r);
    if (!data) {
        data = p->plain ? x->packed : r->plain;
        if (piece_read(x->tensor, x->index, p->plain ? x->packed : r->plain, r) < 0)
            return -1;
    }
    x->hash = hash_bytes(data, x->size);
    x->out = p->plain ? data : x->packed;
    x->out_size = p->plain ? x->size : frame_write(p->zstd[thread], x->packed, data, x->size);
    return 0;
}

int zstd_failed(size_t code, struct error *e)
{
    int memory = ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation;
    return error_set(e, memory ? HASTEN_ENOMEM : HASTEN_EFAIL, "zstd cannot compress: %s",
                     ZSTD_getErrorName(code));
}

static int give_on(struct packer *p, const struct piece *x)
{
    if (!p->plain && ZSTD_isError(x->out_size))
        return zstd_failed(x->out_size, &p->error);
    if (p->sink(p->context, x, &p->error) == 0)
        return 0;
    if (!p->error.code)
        p->error.code = HASTEN_EFAIL;
    return -1;
}

/* One thing that is to be done, without the lock meanwhile: giving on what is next in order, or packing.
 * Pieces are handed out in order, so when one fails all earlier ones are packed or being packed. 0: nothing
 * is to be done at the moment. */
static int do_one(struct packer *p, int thread)
{
    int k = p->given, ok;
    if (!p->stop && !p->giving && k < p->next && p->piece[k].ready) {
        p->giving = 1;
        pthread_mutex_unlock(&p->lock);
        ok = give_on(p, &p->piece[k]) == 0;
        pthread_mutex_lock(&p->lock);
        p->giving = 0;
        p->given++;
    } else if (!p->stop && p->next < p->count && p->next - p->given < p->room) {
        k = p->next++;
        p->piece[k].packed = p->slot[k % p->room];
        pthread_mutex_unlock(&p->lock);
        ok = pack_piece(p, &p->piece[k], thread) == 0;
        pthread_mutex_lock(&p->lock);
        p->piece[k].ready = ok;
        if (!ok && p->readers.reader[thread].failed_at > k)
            p->readers.reader[thread].failed_at = k;
    } else {
        return 0;
    }
    p->stop |= !ok;
    pthread_cond_broadcast(&p->change);
    return 1;
}

/* Who finds nothing left to pack goes: what is not given on then, those who pack it will. */
static void pack_pieces(void *job, int part, int parts)
{
    struct packer *p = job;
    (void)parts;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        if (do_one(p, part))
            continue;
        if (p->stop || p->next == p->count)
            break;
        pthread_cond_wait(&p->change, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

/* Threads that have to read from files. */
static int ready(struct packer *p, struct error *e)
{
    size_t largest = 0;
    for (int k = 0; k < p->count; k++)
        if (!p->piece[k].data && p->piece[k].size > largest)
            largest = p->piece[k].size;
    return largest ? piece_readers_ready(&p->readers, p->threads, largest, 1, e) : 0;
}

int packer_finish(struct packer *p, struct error *e)
{
    if (p->count == 0)
        return 0;
    if (ready(p, e) < 0)
        return -1;
    p->next = p->given = p->stop = 0;
    if (p->team && p->count > 1)
        team_run(p->team, pack_pieces, p);
    else
        pack_pieces(p, 0, 1);
    p->count = 0;
    if (p->error.code)
        return error_set(e, p->error.code, "%s", p->error.text);
    return p->readers.reader ? piece_readers_failed(&p->readers, p->threads, e) : 0;
}

int packer_add(struct packer *p, const struct tensor *t, const void *data, struct error *e)
{
    for (size_t i = 0; i < tensor_pieces(t->size); i++) {
        p->piece[p->count++] =
            (struct piece){.tensor = t,
                           .data = data ? (const unsigned char *)data + i * CONTAINER_PIECE : NULL,
                           .index = i,
                           .size = tensor_piece_size(t->size, i)};
        if (p->count == p->most && packer_finish(p, e) < 0)
            return -1;
    }
    return 0;
}
