/* See hash.h. The state lives in the caller's struct: the library's own XXH3_createState would allocate. */
#define XXH_STATIC_LINKING_ONLY /* for the size of XXH3_state_t */
#include "common/base/hash.h"

#include <stdio.h>
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash), "struct hash is too small for this xxhash");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct hash), "struct hash is not aligned for this xxhash");

static struct hash128 from_library(XXH128_hash_t d)
{
    return (struct hash128){.low = d.low64, .high = d.high64};
}

uint64_t hash_bytes64(const void *data, size_t n) { return XXH3_64bits(data, n); }
struct hash128 hash_bytes(const void *data, size_t n) { return from_library(XXH3_128bits(data, n)); }

/* The calls below fail for a NULL state only. */
void hash_start(struct hash *h) { (void)XXH3_128bits_reset((XXH3_state_t *)h->state); }
void hash_add(struct hash *h, const void *data, size_t n)
{
    if (n)
        (void)XXH3_128bits_update((XXH3_state_t *)h->state, data, n);
}
struct hash128 hash_end(const struct hash *h)
{
    return from_library(XXH3_128bits_digest((const XXH3_state_t *)h->state));
}

int hash_equal(struct hash128 a, struct hash128 b) { return a.low == b.low && a.high == b.high; }

void hash_hex(struct hash128 d, char out[HASH_HEX])
{
    snprintf(out, HASH_HEX, "%016llx%016llx", (unsigned long long)d.high, (unsigned long long)d.low);
}

void hash_store(struct hash128 d, unsigned char out[16])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)(d.high >> (56 - 8 * i));
        out[8 + i] = (unsigned char)(d.low >> (56 - 8 * i));
    }
}

struct hash128 hash_load(const unsigned char in[16])
{
    struct hash128 d = {0};
    for (int i = 0; i < 8; i++) {
        d.high = d.high << 8 | in[i];
        d.low = d.low << 8 | in[8 + i];
    }
    return d;
}
