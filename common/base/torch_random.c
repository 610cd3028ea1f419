/* See torch_random.h. MT19937: Matsumoto and Nishimura 1998. */
#include "common/base/torch_random.h"

#include <math.h>

enum { N = 624, M = 397, BLOCK = 16 };

void torch_random_seed(struct torch_random *g, uint64_t seed)
{
    g->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < N; i++)
        g->state[i] = 1812433253u * (g->state[i - 1] ^ g->state[i - 1] >> 30) + i;
    g->used = N;
    g->has_spare = 0;
}

static void refill(struct torch_random *g)
{
    for (int i = 0; i < N; i++) {
        uint32_t y = (g->state[i] & 0x80000000u) | (g->state[(i + 1) % N] & 0x7fffffffu);
        g->state[i] = g->state[(i + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    g->used = 0;
}

uint32_t torch_random_bits(struct torch_random *g)
{
    if (g->used == N)
        refill(g);
    uint32_t y = g->state[g->used++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static float uniform(struct torch_random *g) { return (float)(torch_random_bits(g) & 0xffffff) * 0x1p-24f; }

static double uniform_double(struct torch_random *g)
{
    uint64_t high = torch_random_bits(g), low = torch_random_bits(g);
    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

void torch_rand(struct torch_random *g, float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = uniform(g);
}

/* Box and Muller over 16 uniforms: the first eight give radii, the others angles. */
static void transform(float *x)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        float radius = sqrtf(-2 * logf(1 - x[i])), angle = 2 * (float)M_PI * x[i + BLOCK / 2];
        x[i] = radius * cosf(angle);
        x[i + BLOCK / 2] = radius * sinf(angle);
    }
}

static float normal(struct torch_random *g)
{
    if (g->has_spare) {
        g->has_spare = 0;
        return (float)g->spare;
    }
    double angle = 2 * M_PI * uniform_double(g), radius = sqrt(-2 * log1p(-uniform_double(g)));
    g->spare = radius * sin(angle);
    g->has_spare = 1;
    return (float)(radius * cos(angle));
}

void torch_randn(struct torch_random *g, float *x, int64_t n)
{
    if (n < BLOCK) {
        for (int64_t i = 0; i < n; i++)
            x[i] = normal(g);
        return;
    }
    torch_rand(g, x, n);
    for (int64_t i = 0; i + BLOCK <= n; i += BLOCK)
        transform(x + i);
    if (n % BLOCK) { /* the last 16 anew, over what is there */
        torch_rand(g, x + n - BLOCK, BLOCK);
        transform(x + n - BLOCK);
    }
}
