/* Random numbers as torch's CPU generator draws them (MT19937; specs of torch 1.13 to 2.15).
 *
 *     struct torch_random g;
 *     torch_random_seed(&g, 42);
 *     torch_randn(&g, x, n);      // torch.randn(n, generator=torch.Generator().manual_seed(42))
 *
 * From 16 numbers on, 16 uniforms make 16 normals at a time; below, doubles make them in pairs, and the
 * second of a pair waits in the generator, also over other draws. */
#ifndef HASTEN_BASE_TORCH_RANDOM_H
#define HASTEN_BASE_TORCH_RANDOM_H

#include <stdint.h>

struct torch_random {
    uint32_t state[624];
    int used;
    int has_spare;
    double spare;
};

void torch_random_seed(struct torch_random *g, uint64_t seed); /* the low 32 bits count, as in torch */
uint32_t torch_random_bits(struct torch_random *g);
void torch_rand(struct torch_random *g, float *x, int64_t n); /* uniform in [0, 1) */
void torch_randn(struct torch_random *g, float *x, int64_t n);

#endif
