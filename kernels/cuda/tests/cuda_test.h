/* What the tests of CUDA kernels share: running a list of launches, on the CPU or, with
 * HASTEN_CUDA_DEVICE=0 in the environment, on a device. */
#ifndef HASTEN_CUDA_TEST_H
#define HASTEN_CUDA_TEST_H

#include "kernels/cuda/emulate.h"
#include "kernels/cuda/launch_inside.h"
#include "kernels/cuda/tests/emulator/device.h"

#include <check.h>
#include <stdlib.h>

static inline void run_launches(const struct cuda_launches *l, unsigned seed)
{
    ck_assert_int_ge(l->count, 1);
    ck_assert_int_le(l->count, CUDA_LAUNCHES);
    for (int i = 0; i < l->count; i++) {
        const struct cuda_launch *x = &l->launch[i];
        ck_assert_uint_le(x->shared, 99 << 10);
        const char *why = device_wanted() ? device_launch(x) : NULL;
        if (why)
            ck_abort_msg("%s on the device: %s", x->kernel, why);
        if (!device_wanted() &&
            emulate(x->kernel, x->grid, x->block, x->shared, x->args, seed + (unsigned)i) < 0)
            ck_abort_msg("no kernel %s", x->kernel);
    }
}

/* The nearest number of 8 bits, ties to even. */
static inline float as_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, sizeof u);
    return x;
}

static inline void round_to_bf16(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = as_bf16(x[i]);
}

static inline float from_half(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* n numbers as bfloat16. */
static inline uint16_t *halves(const float *x, int64_t n)
{
    uint16_t *h = calloc((size_t)n, sizeof *h);
    for (int64_t i = 0; i < n; i++) {
        float rounded = as_bf16(x[i]);
        uint32_t u;
        memcpy(&u, &rounded, sizeof u);
        h[i] = (uint16_t)(u >> 16);
    }
    return h;
}

#endif
