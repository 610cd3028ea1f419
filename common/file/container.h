/* The container: every file of the toolkit. A safetensors file compressed with zstd, with hashes and a seek
 * table (hasten-container(5) gives the bytes; `zstd -dc FILE > x.safetensors` opens elsewhere).
 *
 *     struct container_options want = {.kind = "model", .memory = limit};
 *     struct container *c = container_open(path, &want, e);            // header and metadata only
 *     if (!c) return -1;
 *     int64_t steps;
 *     json_int(c->meta, "steps", 1, 1000, &steps, e);
 *     if (container_load(c, team, e) < 0) ...                          // all tensors, every hash verified
 *     const struct tensor *t = container_find(c, "denoiser.conv_in.weight");
 *     container_close(c);
 *
 *     container_write("small.model.zst", "model", meta, tensors, count, NULL, NULL, team, NULL, e);
 *
 * What is read: our container; a plain .safetensors (ours, unpacked, or a foreign one); a .zst of a
 * safetensors file that is not ours. Recognised by the first bytes. A regular file is read in parallel and at
 * random, a pipe in order. Nothing is allocated for a number in a file before it has been checked against all
 * others, and no tensor is handed out before its hash was verified (our container; other files carry no hash:
 * `verified` is 0). Errors: HASTEN_EFILE bad content, HASTEN_ENOMEM over the limit, HASTEN_EFAIL system;
 * texts name the file. */
#ifndef HASTEN_FILE_CONTAINER_H
#define HASTEN_FILE_CONTAINER_H

#include "common/base/error.h"
#include "common/base/hash.h"
#include "common/base/team.h"
#include "common/file/tensor.h"
#include <cjson/cJSON.h>

enum {
    CONTAINER_VERSION = 2,           /* the newest known ("version"): 2 with a key "needs", else 1 */
    CONTAINER_PIECE = 4 << 20,       /* bytes of a tensor in one zstd frame, and in one step of its hash */
    CONTAINER_MAX_HEADER = 16 << 20, /* ours; foreign ones up to 100 000 000 as safetensors has it */
    CONTAINER_MAX_TENSORS = 1 << 17,
};

struct container_options {
    const char *kind; /* "model": that kind only; NULL: all of ours, and foreign files */
    int foreign;      /* 1: files without our metadata are welcome beside the kind */
    size_t memory;    /* most bytes of tensor data to hold at once; 0: no limit */
};

/* Read the fields, do not write them. Our JSON is the string `__metadata__.hasten`; its keys "kind" and
 * "version" are in meta as well. */
struct container {
    const char *name; /* path or "standard input" */
    const char *kind; /* "model", "schedule", "profile", ...; "" in a foreign file */
    int version;      /* 0 in a foreign file */
    cJSON *meta;      /* our JSON, an object; in a foreign file `__metadata__` (strings by key) or empty */
    struct tensor *tensor; /* in the order of the file */
    int count;
    size_t bytes; /* of all tensors */
    int verified; /* 1: hashes are checked against the trailer; 0: the file carries none */
    struct container_inside *inside;
};

/* Header and metadata. path "-" or NULL: standard input. options NULL: anything goes. */
struct container *container_open(const char *path, const struct container_options *options,
                                 struct error *e) HASTEN_CHECKED;
void container_close(struct container *c); /* NULL is fine; frees everything it handed out */

/* Load all tensors that are not loaded yet. team NULL: with the calling thread alone. On failure nothing more
 * is loaded than before. Afterwards the id is known, and a pipe has been read to its verified end. */
int container_load(struct container *c, struct team *team, struct error *e) HASTEN_CHECKED;

/* One tensor, for going through a file larger than memory. In a pipe, and in foreign .zst files, the first
 * call loads them all. Loading again after freeing works for regular files only (not for foreign .zst). */
int container_tensor_load(struct container *c, int index, struct team *team, struct error *e) HASTEN_CHECKED;
void container_tensor_free(struct container *c, int index); /* data becomes NULL; not loaded is fine */
/* The data becomes the caller's (mem_free); NULL when it is not loaded. */
void *container_tensor_take(struct container *c, int index);

/* Read and check everything, keep nothing that was not loaded before: a regular file needs little memory. */
int container_verify(struct container *c, struct team *team, struct error *e) HASTEN_CHECKED;

/* By name, n log n once, log n each; NULL / -1: there is none. */
const struct tensor *container_find(const struct container *c, const char *name);
int container_index(const struct container *c, const char *name);
/* container_find with the signature of graph.h's tensor_find; context is the container. */
const struct tensor *container_lookup(const void *context, const char *name);

int container_is_foreign(const struct container *c);
/* Is it a pipe or the like? Whoever writes that should not die of SIGPIPE: container_verify reads to its
 * end. */
int container_in_order(const struct container *c);

/* The content id, 32 hexadecimal digits: XXH3-128 over the canonical metadata without "claims" and over name,
 * dtype, shape and hash of each tensor, by name; the same for the same content however it is packed. Of our
 * container it is known at once (the trailer has it; a pipe: after container_load), of plain files after
 * container_load or container_verify; before that NULL. */
const char *container_id(const struct container *c);

/* Fill `data` (tensor->size bytes, zeroed) with the tensor's content. Called once for each tensor without
 * data, in the file's order, by the thread that called container_write. */
typedef int container_fill(void *context, int index, const struct tensor *tensor, void *data,
                           struct error *e);

/* Write a file, whole or not at all. path NULL or "-": standard output (not to a terminal). A name that ends
 * in ".safetensors" is written plain. meta: our JSON object or NULL; its keys "kind" and "version" are set by
 * the writer, so metadata read from another file can be given back as it is. tensors: name, dtype, rank,
 * shape; data, or NULL where `fill` gives it (index: the place in the caller's array) or, without fill, it
 * lies in a file (pieces.h: frames are checked and copied as they are). They are written sorted by (dtype
 * size descending, name). The bytes do not depend on the team (NULL: the caller alone). id: NULL, or gets the
 * content id. */
int container_write(const char *path, const char *kind, const cJSON *meta, const struct tensor *tensors,
                    int count, container_fill *fill, void *context, struct team *team, char id[HASH_HEX],
                    struct error *e) HASTEN_CHECKED;

#endif
