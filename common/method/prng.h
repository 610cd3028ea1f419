/* A small generator for resampling and tests' noise: SplitMix64 (Steele, Lea, Flood 2014). Not for the
 * noise of pictures, which has to be PyTorch's.
 *
 *     struct prng r = {seed};
 *     int64_t i = prng_below(&r, n);      // 0 .. n - 1, n < 2^32
 */
#ifndef HASTEN_METHOD_PRNG_H
#define HASTEN_METHOD_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* By multiplication; the bias is below n / 2^32. */
static inline int64_t prng_below(struct prng *r, int64_t n)
{
    return (int64_t)((prng_next(r) >> 32) * (uint64_t)n >> 32);
}

/* [0, 1), 53 bits. */
static inline double prng_unit(struct prng *r) { return (double)(prng_next(r) >> 11) * 0x1p-53; }

#endif
