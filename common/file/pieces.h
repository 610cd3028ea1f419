/* Tensors whose bytes lie in a file that can be read anywhere, in pieces of CONTAINER_PIECE bytes: read by
 * all threads of a team, checked against their hash.
 *
 *     struct piece_readers r = {0};                          // the threads' own things; they stay for the
 * next tensors_load(&r, list, count, team, e);                // those without data; each gets a block of its
 * own
 *     ...
 *     mem_free(list[0]->data), list[0]->data = NULL;         // whoever had it loaded lets it go
 *     piece_readers_free(&r);
 */
#ifndef HASTEN_FILE_PIECES_H
#define HASTEN_FILE_PIECES_H

#include "common/base/hash.h"
#include "common/base/team.h"
#include "common/file/input.h"
#include "common/file/tensor.h"

/* It stays as long as the file is open (container.h, spill.h). */
struct origin {
    const struct input *in;
    const int64_t *frame; /* where the zstd frames of the pieces begin, and the end of the last one; NULL: the
                             bytes as they are */
    int64_t begin;        /* of those */
    struct hash128 digest; /* of the tensor */
    int known;             /* the digest */
    int own;               /* frames that this process has written: copied without a look inside */
};

/* What one thread needs; error and failed_at are of the last run. */
struct piece_reader {
    unsigned char *packed; /* a compressed frame */
    unsigned char *plain;  /* a piece that is only checked */
    void *zstd;
    struct error error;
    int failed_at;
};

struct piece_readers {
    struct piece_reader *reader;
    int count;
};

/* Room for `count` threads and pieces of up to `largest` bytes; plain: also for those that are only checked.
 */
int piece_readers_ready(struct piece_readers *r, int count, size_t largest, int plain,
                        struct error *e) HASTEN_CHECKED;
void piece_readers_free(struct piece_readers *r);
/* Of `count` threads the error of the piece that comes first; 0: none. */
int piece_readers_failed(const struct piece_readers *r, int count, struct error *e) HASTEN_CHECKED;

/* The compressed frame of a piece, as it is: its size, into a room of at least ZSTD_compressBound of the
 * piece; -1: r->error says why. */
int64_t piece_frame(const struct tensor *t, size_t piece, void *room, struct piece_reader *r);
/* The frame's content, or a piece of plain bytes. */
int piece_open(const struct tensor *t, size_t piece, const void *frame, int64_t size, void *out,
               struct piece_reader *r) HASTEN_CHECKED;
int piece_read(const struct tensor *t, size_t piece, void *out, struct piece_reader *r) HASTEN_CHECKED;

/* All pieces of these tensors, into their data, or where that is NULL only checked. digest[i]: what was read;
 * comparing is the caller's. */
int tensors_read(struct piece_readers *r, struct tensor *const *tensor, int count, struct team *team,
                 struct hash128 *digest, struct error *e) HASTEN_CHECKED;
/* All of them get data, or none. */
int tensors_load(struct piece_readers *r, struct tensor *const *tensor, int count, struct team *team,
                 struct error *e) HASTEN_CHECKED;

#endif
