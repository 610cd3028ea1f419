/* A set of 64-bit keys with a number each, for "has this been here before": 16 to 48 bytes a key.
 *
 *     struct seen s = {0};
 *     int64_t before;
 *     int r = seen_put(&s, hash_bytes64(name, n), line, &before, e);  // 1: it was there, since line `before`
 *     seen_free(&s);
 *
 * Keys are hashes: two names share one with probability n^2 / 2^65, 3e-6 at ten million names. */
#ifndef HASTEN_BASE_SEEN_H
#define HASTEN_BASE_SEEN_H

#include "common/base/error.h"
#include <stdint.h>

struct seen_entry {
    uint64_t key;
    int64_t number;
};

struct seen {
    struct seen_entry *entry; /* key 0: free */
    int64_t room, count;      /* room: 0 or a power of two */
};

/* 0: new, and now in the set. 1: there, with its number in *before. -1: no memory. number >= 0. */
int seen_put(struct seen *s, uint64_t key, int64_t number, int64_t *before, struct error *e) HASTEN_CHECKED;
int seen_has(const struct seen *s, uint64_t key);
void seen_free(struct seen *s);

#endif
