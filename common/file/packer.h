/* Inside common/file: tensors become pieces, hashed and compressed by all threads, each piece by itself, and
 * given on in order, by whichever thread is free, while others are at work, so that the bytes do not depend
 * on the threads. What lies in a file already (pieces.h) is read, checked and given on as it is.
 *
 *     struct packer p = {.team = team, .sink = sink, .context = w};
 *     packer_open(&p, largest, pieces, e);
 *     packer_add(&p, tensor, data, e);              // pieces may be given on now or later; data must stay
 *     packer_finish(&p, e);                         // all of them are
 *     packer_close(&p);
 */
#ifndef HASTEN_FILE_PACKER_H
#define HASTEN_FILE_PACKER_H

#include "common/file/container_inside.h"

#include <pthread.h>

struct piece {
    const struct tensor *tensor;
    const unsigned char *data; /* of the piece; NULL: in the tensor's origin */
    size_t index, size;
    unsigned char *packed;    /* ZSTD_compressBound(size) bytes of the packer's */
    const unsigned char *out; /* what to write; NULL: the origin's frame as it is */
    size_t out_size;          /* or zstd's error code */
    struct hash128 hash;      /* not of frames of our own that are copied */
    int ready;
};

struct packer {
    struct team *team;
    int plain; /* pieces as they are, without zstd */
    int (*sink)(void *context, const struct piece *p, struct error *e);
    void *context;
    int threads, room;
    ZSTD_CCtx **zstd; /* one a thread */
    struct piece_readers readers;
    struct piece *piece;  /* what is collected */
    unsigned char **slot; /* [room]: what is packed; piece k has k % room once k - room is given on */
    int most, count;      /* pieces */
    pthread_mutex_t lock; /* of what follows, and of pieces' ready */
    pthread_cond_t change;
    int next, given, giving, stop;
    struct error error; /* of the sink */
};

/* largest: bytes of a tensor; pieces: of all of them. p is to be closed also when this fails. */
int packer_open(struct packer *p, size_t largest, size_t pieces, struct error *e) HASTEN_CHECKED;
void packer_close(struct packer *p);
/* When p->count is 0 behind it, data of all tensors so far are not needed any more. */
int packer_add(struct packer *p, const struct tensor *t, const void *data, struct error *e) HASTEN_CHECKED;
int packer_finish(struct packer *p, struct error *e) HASTEN_CHECKED;
/* Does a tensor without data come as frames that nobody looks into? */
int packer_trusts(const struct packer *p, const struct tensor *t);

int zstd_failed(size_t code, struct error *e);

#endif
