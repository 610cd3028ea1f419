/* What the .cu sources take from CUDA, for a C++ compiler of the host: the other half of device.h. The
 * threads of a block are fibres of tests/emulator, which see each other only where a kernel makes them. */
#ifndef HASTEN_KERNELS_CUDA_HOST_H
#define HASTEN_KERNELS_CUDA_HOST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline
#define DEVICE_INSIDE inline

struct float2 {
    float x, y;
};
struct float4 {
    float x, y, z, w;
};

extern "C" {
/* tests/emulator/emulator.c: the running thread. */
struct emulator_index {
    unsigned x;
};
extern struct emulator_index emulator_thread, emulator_block, emulator_threads, emulator_blocks;
void emulator_barrier(void);
unsigned char *emulator_shared(void);
void emulator_stop(const char *why) __attribute__((noreturn));
/* A meeting of the 32 threads of a warp: the last to come runs `act` on what all have brought. */
void emulator_warp(void (*act)(void **lane), void *mine);
/* tests/emulator/warp.c */
void emulator_nothing(void **lane);
void emulator_shuffle_xor(void **lane);
void emulator_ldmatrix(void **lane);
void emulator_mma_bf16(void **lane);
void emulator_mma_tf32(void **lane);
void emulator_mma_u8s8(void **lane);
/* tests/emulator/copies.c */
void emulator_copy16(void *shared, const void *global, int bytes);
void emulator_copy_commit(void);
void emulator_copy_wait(int groups);
}

#define threadIdx emulator_thread
#define blockIdx emulator_block
#define blockDim emulator_threads
#define gridDim emulator_blocks

/* A kernel of one parameter, at most `threads` threads, `blocks` blocks at once on a multiprocessor. */
#define KERNEL(name, threads, blocks, type)                                                         \
    static void name##_thread(const struct type &a);                                                \
    extern "C" void emulate_##name(const void *args) { name##_thread(*(const struct type *)args); } \
    static void name##_thread(const struct type &a)

#define SHARED(name) unsigned char *name = emulator_shared()

DEVICE void __syncthreads() { emulator_barrier(); }
DEVICE void warp_barrier() { emulator_warp(emulator_nothing, (void *)0); }

DEVICE void must_align(const void *p, unsigned bytes)
{
    if ((uintptr_t)p % bytes)
        emulator_stop("a vector access is not aligned");
}

DEVICE float4 load4(const float *p)
{
    float4 v;
    must_align(p, sizeof v);
    v.x = p[0], v.y = p[1], v.z = p[2], v.w = p[3];
    return v;
}

DEVICE void store4(float *p, float4 v)
{
    must_align(p, sizeof v);
    p[0] = v.x, p[1] = v.y, p[2] = v.z, p[3] = v.w;
}

DEVICE void store2(float *p, float x, float y)
{
    must_align(p, 8);
    p[0] = x, p[1] = y;
}

DEVICE void store_words(void *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    must_align(p, 16);
    ((uint32_t *)p)[0] = a, ((uint32_t *)p)[1] = b, ((uint32_t *)p)[2] = c, ((uint32_t *)p)[3] = d;
}

struct shuffle {
    float value;
    int mask;
    float result;
};

DEVICE float shuffle_xor(float v, int mask)
{
    struct shuffle s = {v, mask, 0};
    emulator_warp(emulator_shuffle_xor, &s);
    return s.result;
}

DEVICE void atomic_set(unsigned *p) { *p = 1; }

DEVICE void copy16(void *shared, const void *global, int bytes) { emulator_copy16(shared, global, bytes); }
DEVICE void copy_commit() { emulator_copy_commit(); }
template <int groups> DEVICE void copy_wait() { emulator_copy_wait(groups); }

struct ldmatrix {
    const void *row;
    uint32_t r[4];
};

DEVICE void ldmatrix4(uint32_t *r, const void *row)
{
    struct ldmatrix m = {row, {0}};
    emulator_warp(emulator_ldmatrix, &m);
    memcpy(r, m.r, sizeof m.r);
}

struct mma {
    void *d;
    const uint32_t *a, *b;
};

DEVICE void mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
    struct mma m = {d, a, b};
    emulator_warp(emulator_mma_bf16, &m);
}

DEVICE void mma_tf32(float *d, const uint32_t *a, const uint32_t *b)
{
    struct mma m = {d, a, b};
    emulator_warp(emulator_mma_tf32, &m);
}

DEVICE void mma_u8s8(int *d, const uint32_t *a, const uint32_t *b)
{
    struct mma m = {d, a, b};
    emulator_warp(emulator_mma_u8s8, &m);
}

DEVICE uint32_t float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

DEVICE float bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* cvt.rna.tf32: to 10 bits behind the point, ties away from zero. */
DEVICE uint32_t to_tf32(float x)
{
    uint32_t u = float_bits(x);
    return isfinite(x) ? (u + 0x1000u) & ~0x1fffu : isnan(x) ? 0x7fffe000u : u;
}

/* cvt.rn.bf16x2: nearest, ties to even; the first in the low half. */
DEVICE uint32_t to_bf16(float x)
{
    uint32_t u = float_bits(x);
    return isnan(x) ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}

DEVICE uint32_t pack_bf16(float low, float high) { return to_bf16(low) | to_bf16(high) << 16; }

DEVICE int round_int(float x) { return (int)nearbyintf(x); }

#endif
