/* Inside the container: bytes of the format, and what its source files share.
 *
 * Our file is four kinds of zstd frames, one behind the other; all integers are little-endian:
 *   header   a frame: u64 n, then n bytes of JSON, as at the start of a safetensors file
 *            (padded with blanks to a multiple of 8)
 *   data     for each tensor in the order (element size descending, name): a frame for each
 *            CONTAINER_PIECE bytes of it, the last one shorter; no frame for an empty tensor
 *   trailer  a skippable frame 0x184D2A50: "hasten\0\1", u32 tensors, u32 0, XXH3-128 of the
 *            header's 8 + n bytes, content id, a hash for each tensor (16 bytes each), XXH3-64
 *            of the whole frame up to here
 *   seek     a skippable frame 0x184D2A5E, the table of zstd's seekable format:
 *            (u32 compressed, u32 plain size) for each frame before it (trailer: plain size 0),
 *            u32 their number, a byte 0, u32 0x8F92EAB1
 *
 * Header and data frames have a content checksum and a content size, and no dictionary. A data frame that
 * would save less than an eighth is stored: it consists of raw blocks, which decode at the speed of memory.
 *
 * The hash of a tensor is XXH3-128 of its bytes, or, when it has more than one piece, of the hashes
 * of its pieces (16 bytes each): so pieces are hashed in parallel, while they are in the cache, and the
 * hash does not depend on how the file is packed. Hashes are stored most significant byte first.
 *
 * The content id is XXH3-128 of: the canonical metadata without its key "claims" and a NUL; then for each
 * tensor, by name: name and NUL, name of the dtype and NUL, the rank as a byte, the shape as u64, the
 * hash. The metadata of a foreign file is `__metadata__`. */
#ifndef HASTEN_FILE_CONTAINER_INSIDE_H
#define HASTEN_FILE_CONTAINER_INSIDE_H

#include "common/base/mem.h"
#include "common/file/container.h"
#include "common/file/pieces.h"
#include <stdatomic.h>
#define ZSTD_STATIC_LINKING_ONLY /* contexts with our allocator */
#include <zstd.h>
#include <zstd_errors.h>

#define FRAME_MAGIC 0xFD2FB528u
#define TRAILER_MAGIC 0x184D2A50u
#define SEEK_MAGIC 0x184D2A5Eu
#define SEEK_FOOTER_MAGIC 0x8F92EAB1u

enum {
    TRAILER_FIXED = 8 + 8 + 4 + 4 + 16 + 16 + 8, /* without the tensors' hashes */
    TRAILER_HASHES = 56,                         /* where they begin */
    SEEK_FIXED = 8 + 9,
    SEEK_ENTRY = 8,
    FRAME_HEADER = 18, /* the longest of a zstd frame */
    FOREIGN_MAX_HEADER = 100000000,
    FOREIGN_WINDOW_LOG = 27, /* zstd's own default limit: 128 MiB */
    OUR_WINDOW_LOG = 24,
    STREAM_BUFFER = 1 << 18,
};

enum form {
    FORM_OURS,  /* zstd with trailer and seek table */
    FORM_PLAIN, /* safetensors */
    FORM_ZST,   /* somebody else's zstd of a safetensors file */
};

/* Blocks of tensors that were let go, for the next ones: fresh pages cost more than what is done with them.
 */
struct spare {
    void *block[8];
    int count;
    size_t bytes;
};

/* Bytes in order from an input, perhaps through zstd. */
struct stream {
    struct input *in;
    unsigned char *buffer;
    size_t at, end;
    int eof;
    int64_t taken; /* bytes of the file consumed */
    ZSTD_DCtx *zstd;
    int in_frame;
};

struct container_inside {
    struct input in;
    enum form form;
    int ordered;        /* all data must be read in the order of the file */
    int drained;        /* and has been */
    size_t memory;      /* limit; 0: none */
    size_t loaded;      /* bytes of tensors held */
    size_t header_size; /* 8 + n */
    struct arena arena; /* names */
    int *by_name;
    size_t *begin;          /* of each tensor in the data */
    int *first_frame;       /* of each tensor; [count]: how many data frames or pieces there are */
    struct hash128 *digest; /* of each tensor: from the trailer, or computed */
    unsigned char *known;   /* which of them */
    int64_t *frame_at;      /* ours, regular: where each data frame begins; [frames]: the end of the last */
    uint32_t *frame_size;   /* ours, in order: compressed sizes met so far; [0] is the header's */
    struct hash128 header_hash;
    struct stream stream;
    struct origin *origin; /* of each tensor, in a regular file */
    struct piece_readers readers;
    struct spare spare;
    char id[HASH_HEX];
};

/* ---- container_header.c ---- */

/* Take the n bytes of header JSON apart, check everything that concerns it alone, fill c. data: how many
 * bytes of tensors the file has, or -1 when that is not known yet. */
int header_parse(struct container *c, const char *text, size_t n, int64_t data,
                 struct error *e) HASTEN_CHECKED;
/* Kind and version against what the caller wants. */
int header_accept(const struct container *c, const struct container_options *want,
                  struct error *e) HASTEN_CHECKED;
/* 1 to TENSOR_MAX_NAME bytes of UTF-8, nothing that a terminal would obey. */
int header_check_name(const char *name, size_t n, struct error *e) HASTEN_CHECKED;
int tensor_file_order(const struct tensor *a, const struct tensor *b); /* <0, 0, >0 */

/* ---- container_hash.c ---- */

size_t tensor_pieces(size_t size);
size_t tensor_piece_size(size_t size, size_t piece);
struct hash128 tensor_digest(const struct hash128 *piece, size_t pieces);
/* The content id; tensors and digests in any common order, by_name sorts them. */
int content_id(const cJSON *meta, const struct tensor *tensor, const struct hash128 *digest,
               const int *by_name, int count, struct hash128 *id, struct error *e) HASTEN_CHECKED;
/* Once every digest is known: sets inside->id. */
int container_set_id(struct container *c, struct error *e) HASTEN_CHECKED;

/* ---- container_frames.c: trailer, seek table, single frames ---- */

ZSTD_DCtx *zstd_reader(int window_log, struct error *e) HASTEN_CHECKED;
ZSTD_CCtx *zstd_writer(struct error *e) HASTEN_CHECKED;
/* Compress a piece as one frame into ZSTD_compressBound(size) bytes: its size, or zstd's error code. */
size_t frame_write(ZSTD_CCtx *zstd, void *frame, const void *data, size_t size);
/* Our rules for the frame header at p (n bytes there): checksum, no dictionary, content size == plain. */
int frame_check(const unsigned char *p, size_t n, size_t plain, struct error *e) HASTEN_CHECKED;
/* One whole frame of `size` bytes that gives exactly `plain` bytes. */
int frame_read(ZSTD_DCtx *zstd, const void *frame, size_t size, void *out, size_t plain,
               struct error *e) HASTEN_CHECKED;
size_t trailer_size(int count);
void trailer_build(unsigned char *out, int count, struct hash128 header, struct hash128 id,
                   const struct hash128 *digest);
/* Check the trailer against the header; gives its digests and id. */
int trailer_check(struct container *c, const unsigned char *p, size_t n, struct hash128 *digest,
                  struct hash128 *id, struct error *e) HASTEN_CHECKED;
size_t seek_size(size_t entries);
/* frame: compressed sizes of header, data frames; the trailer follows from the count. */
void seek_build(unsigned char *out, const struct container *c, const uint32_t *frame);
/* A regular file that starts like zstd: 1 ours (header, trailer and table are read and checked), 0 not ours,
 * -1. */
int frames_open(struct container *c, struct error *e) HASTEN_CHECKED;

/* ---- container_stream.c ---- */

int stream_open(struct stream *s, struct input *in, struct error *e) HASTEN_CHECKED;
void stream_close(struct stream *s);
/* At least n (<= 64) bytes ready at buffer + at, fewer at the end of the file: how many, or -1. */
int64_t stream_peek(struct stream *s, size_t n, struct error *e) HASTEN_CHECKED;
/* Header and metadata from a pipe or from a foreign .zst; the form is found out on the way. */
int stream_header(struct container *c, struct error *e) HASTEN_CHECKED;
/* All data, in order, to the verified end. keep 0: check only. */
int stream_data(struct container *c, int keep, struct error *e) HASTEN_CHECKED;

/* What loading keeps for the next time goes: threads' buffers and spare blocks. */
void container_rest(struct container *c);
/* Room for one more tensor's data within the limits. */
int container_allocate(struct container *c, int index, struct error *e) HASTEN_CHECKED;
/* Load these tensors, none of which has data, of a file that can be read in any order: all or none. */
int container_load_listed(struct container *c, const int *tensors, int count, struct team *team,
                          struct error *e) HASTEN_CHECKED;

static inline uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t get64(const unsigned char *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }
static inline void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}
static inline void put64(unsigned char *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

#endif
