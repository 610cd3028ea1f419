/* XXH3 (xxhash 0.8): fast, 64 or 128 bits, against damage and mix-ups, not against forgers.
 *
 *     struct hash h;
 *     hash_start(&h);
 *     hash_add(&h, bytes, n); ...
 *     struct hash128 d = hash_end(&h);
 *     char text[HASH_HEX];
 *     hash_hex(d, text);                       // 32 hexadecimal digits, as `xxhsum -H2` prints
 *
 * A stream of additions gives what one call over all bytes gives. */
#ifndef HASTEN_BASE_HASH_H
#define HASTEN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t low, high;
};

struct hash {
    _Alignas(64) unsigned char state[576]; /* of the library; hash.c checks the size */
};

enum { HASH_HEX = 33 };

uint64_t hash_bytes64(const void *data, size_t n);
struct hash128 hash_bytes(const void *data, size_t n);

void hash_start(struct hash *h);
void hash_add(struct hash *h, const void *data, size_t n);
struct hash128 hash_end(const struct hash *h); /* of what was added so far; more may follow */

int hash_equal(struct hash128 a, struct hash128 b);
void hash_hex(struct hash128 d, char out[HASH_HEX]);
/* As 16 bytes, most significant first (the canonical form of xxhash). */
void hash_store(struct hash128 d, unsigned char out[16]);
struct hash128 hash_load(const unsigned char in[16]);

#endif
