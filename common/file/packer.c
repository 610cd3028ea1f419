/* See packer.h. */
#include "common/file/packer.h"

#include <string.h>

int packer_open(struct packer *p, size_t largest, size_t pieces, struct error *e)
{
    p->threads = p->team ? team_size(p->team) : 1;
    size_t room = p->threads < 2 ? 2 : (size_t)p->threads;
    largest = largest < CONTAINER_PIECE ? largest : CONTAINER_PIECE;
    room = room < pieces ? room : pieces ? pieces : 1;
    p->batch = mem_array(room, sizeof *p->batch, e);
    p->packed = mem_array(room, sizeof *p->packed, e);
    p->zstd = mem_array((size_t)p->threads, sizeof *p->zstd, e);
    if (!p->batch || !p->packed || !p->zstd)
        return -1;
    p->room = (int)room;
    for (int i = 0; i < p->threads && !p->plain; i++)
        if (!(p->zstd[i] = zstd_writer(e)))
            return -1;
    for (int i = 0; i < p->room; i++)
        if (!(p->batch[i].packed = mem_array(ZSTD_compressBound(largest), 1, e)) ||
            !(p->packed[i].packed = mem_array(ZSTD_compressBound(largest), 1, e)))
            return -1;
    return 0;
}

void packer_close(struct packer *p)
{
    for (int i = 0; i < p->room; i++) {
        mem_free(p->batch[i].packed);
        mem_free(p->packed[i].packed);
    }
    for (int i = 0; i < p->threads && p->zstd; i++)
        ZSTD_freeCCtx(p->zstd[i]);
    mem_free(p->batch);
    mem_free(p->packed);
    mem_free(p->zstd);
    piece_readers_free(&p->readers);
}

int packer_trusts(const struct packer *p, const struct tensor *t)
{
    return !p->plain && t->origin && t->origin->frame && t->origin->own;
}

/* A frame is given on as it is, once its content is known to be right. */
static int take_frame(const struct packer *p, struct piece *x, struct piece_reader *r)
{
    int64_t size = piece_frame(x->tensor, x->index, x->packed, r);
    x->out = x->packed;
    x->out_size = (size_t)size;
    if (size < 0 || packer_trusts(p, x->tensor))
        return size < 0 ? -1 : 0;
    if (piece_open(x->tensor, x->index, x->packed, size, r->plain, r) < 0)
        return -1;
    x->hash = hash_bytes(r->plain, x->size);
    return 0;
}

static int pack_piece(const struct packer *p, struct piece *x, int thread)
{
    struct piece_reader *r = p->readers.reader ? &p->readers.reader[thread] : NULL;
    const unsigned char *data = x->data;
    if (!data && x->tensor->origin->frame && !p->plain)
        return take_frame(p, x, r);
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

/* What is ready goes on, in order. */
static void give_on(struct packer *p)
{
    for (int k = 0; k < p->ready && !p->error.code; k++) {
        const struct piece *x = &p->packed[k];
        if (!p->plain && ZSTD_isError(x->out_size))
            zstd_failed(x->out_size, &p->error);
        else if (p->sink(p->context, x, &p->error) < 0 && !p->error.code)
            p->error.code = HASTEN_EFAIL;
    }
    p->ready = 0;
}

/* The calling thread writes what the last batch left while the others begin with this one. */
static void pack_pieces(void *job, int part, int parts)
{
    struct packer *p = job;
    (void)parts;
    if (part == 0)
        give_on(p);
    for (int k; (k = atomic_fetch_add(&p->next, 1)) < p->count;)
        if (pack_piece(p, &p->batch[k], part) < 0 && p->readers.reader[part].failed_at > k)
            p->readers.reader[part].failed_at = k;
}

/* Threads that have to read from files. */
static int ready(struct packer *p, struct error *e)
{
    size_t largest = 0;
    for (int k = 0; k < p->count; k++)
        if (!p->batch[k].data && p->batch[k].size > largest)
            largest = p->batch[k].size;
    return largest ? piece_readers_ready(&p->readers, p->threads, largest, 1, e) : 0;
}

static int failed(const struct packer *p, struct error *e)
{
    return p->error.code ? error_set(e, p->error.code, "%s", p->error.text) : 0;
}

static int flush(struct packer *p, struct error *e)
{
    if (ready(p, e) < 0)
        return -1;
    atomic_store(&p->next, 0);
    if (p->team && p->count > 1)
        team_run(p->team, pack_pieces, p);
    else
        pack_pieces(p, 0, 1);
    if (failed(p, e) < 0 || (p->readers.reader && piece_readers_failed(&p->readers, p->threads, e) < 0))
        return -1;
    struct piece *swap = p->packed;
    p->packed = p->batch;
    p->batch = swap;
    p->ready = p->count;
    p->count = 0;
    if (p->plain) /* these are the tensors' own bytes */
        give_on(p);
    return failed(p, e);
}

int packer_finish(struct packer *p, struct error *e)
{
    if (p->count && flush(p, e) < 0)
        return -1;
    give_on(p);
    return failed(p, e);
}

int packer_add(struct packer *p, const struct tensor *t, const void *data, struct error *e)
{
    for (size_t i = 0; i < tensor_pieces(t->size); i++) {
        struct piece *x = &p->batch[p->count++];
        x->tensor = t;
        x->index = i;
        x->size = tensor_piece_size(t->size, i);
        x->data = data ? (const unsigned char *)data + i * CONTAINER_PIECE : NULL;
        if (p->count == p->room && flush(p, e) < 0)
            return -1;
    }
    return 0;
}
