/* What all kernels share. On the device these are CUDA's own and a few inline PTX instructions, each in one
 * function; on the host (no __CUDACC__) host.h has the same names and the emulator behind them.
 *
 * Fragments of mma.sync (PTX ISA, "Matrix Fragments"): with g = lane / 4 and t = lane % 4, of every 32 bytes
 * of k a lane holds the 4 bytes at 4 t and at 16 + 4 t of rows g and g + 8 of A, in the order (g, lo), (g +
 * 8, lo), (g, hi), (g + 8, hi), and of column g of B; of the 16 x 8 result the columns 2 t and 2 t + 1 of
 * rows g and g + 8. That holds for int8 (32 numbers), bfloat16 (16) and tf32 (8) alike, and is why one kernel
 * serves all: bytes are moved, and only the multiplication knows what they mean. ldmatrix brings four such 8
 * x 16-byte matrices at once, each lane naming one row. */
#ifndef HASTEN_KERNELS_CUDA_DEVICE_H
#define HASTEN_KERNELS_CUDA_DEVICE_H

#include "kernels/cuda/args.h"

#ifdef __CUDACC__

#define DEVICE static __device__ __forceinline__ /* functions, also static ones of a class */
#define DEVICE_INSIDE __device__ __forceinline__ /* members */
#define KERNEL(name, threads, blocks, type) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ struct type a)
#define SHARED(name) extern __shared__ __align__(16) unsigned char name[]

DEVICE float4 load4(const float *p) { return *(const float4 *)p; }
DEVICE void store4(float *p, float4 v) { *(float4 *)p = v; }
DEVICE void store2(float *p, float x, float y) { *(float2 *)p = make_float2(x, y); }

DEVICE void store_words(void *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    *(uint4 *)p = make_uint4(a, b, c, d);
}

DEVICE float shuffle_xor(float v, int mask) { return __shfl_xor_sync(~0u, v, mask); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE void atomic_set(unsigned *p) { atomicExch(p, 1u); }

DEVICE uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* 16 bytes from global to shared memory without waiting: the first `bytes` of them, zeros behind. */
DEVICE void copy16(void *shared, const void *global, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(bytes)
                 : "memory");
}

DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits until all but the last `groups` commits of this thread have arrived. */
template <int groups> DEVICE void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

DEVICE void ldmatrix4(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE void mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_tf32(float *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_u8s8(int *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE uint32_t float_bits(float x) { return __float_as_uint(x); }
DEVICE float bits_float(uint32_t u) { return __uint_as_float(u); }

DEVICE uint32_t to_tf32(float x)
{
    uint32_t u;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
    return u;
}

DEVICE uint32_t pack_bf16(float low, float high)
{
    uint32_t u;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
    return u;
}

DEVICE int round_int(float x) { return __float2int_rn(x); }

#else
#include "kernels/cuda/host.h"
#endif

DEVICE float warp_sum(float v)
{
#pragma unroll
    for (int mask = 16; mask; mask >>= 1)
        v += shuffle_xor(v, mask);
    return v;
}

/* The largest and the smallest number, 0 among them, as bits: those of numbers above 0 are in order as signed
 * integers, those below 0 in reverse order as unsigned ones, and infinity and NaN come last in both. */
struct extremes {
    int32_t top;
    uint32_t low;
};

DEVICE extremes no_extremes()
{
    extremes e = {0, 0x80000000u};
    return e;
}

DEVICE void add_bits(extremes &e, uint32_t top, uint32_t low)
{
    e.top = (int32_t)top > e.top ? (int32_t)top : e.top;
    e.low = low > e.low ? low : e.low;
}

DEVICE void add_number(extremes &e, float x) { add_bits(e, float_bits(x), float_bits(x)); }

DEVICE extremes warp_extremes(extremes e)
{
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) {
        float top = shuffle_xor(bits_float((uint32_t)e.top), mask),
              low = shuffle_xor(bits_float(e.low), mask);
        add_bits(e, float_bits(top), float_bits(low));
    }
    return e;
}

/* Those of the block's threads, for all of them. shared: two words a warp. */
DEVICE extremes block_extremes(extremes e, uint32_t *shared)
{
    e = warp_extremes(e);
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32 * 2] = (uint32_t)e.top;
        shared[threadIdx.x / 32 * 2 + 1] = e.low;
    }
    __syncthreads();
    e = no_extremes();
    for (unsigned i = 0; i < blockDim.x / 32; i++)
        add_bits(e, shared[2 * i], shared[2 * i + 1]);
    __syncthreads();
    return e;
}

/* How numbers become codes: see struct row_norm. */
struct rounding {
    struct code_scale scale;
    float inverse;
};

/* A scale so small that its inverse overflows counts as 0. */
DEVICE rounding rounding_of(const extremes &e)
{
    float top = bits_float((uint32_t)e.top), low = bits_float(e.low);
    rounding r;
    r.scale.scale =
        top <= 3.402823466e38f && low >= -3.402823466e38f ? top / 255 - low / 255 : bits_float(0x7fffffffu);
    r.inverse = r.scale.scale >= 1.17549435e-38f ? 1 / r.scale.scale : 0;
    r.scale.zero = r.inverse > 0 ? round_int(-low * r.inverse) : 0;
    return r;
}

DEVICE unsigned char code_of(float x, const rounding &r)
{
    float q = x * r.inverse;
    int code = round_int(q < 256 ? q > -256 ? q : -256 : 256) + r.scale.zero;
    return (unsigned char)(code > 255 ? 255 : code > 0 ? code : 0);
}

DEVICE float activate(float x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return x / (1 + expf(-x));
    case ACT_GELU_TANH: /* (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)) */
        return x / (1 + expf(-2 * 0.79788456080286535588f * (x + 0.044715f * x * x * x)));
    case ACT_GELU_ERF:
        return 0.5f * x * (1 + erff(x * 0.70710678118654752440f));
    case ACT_RELU:
        return x > 0 || x != x ? x : 0;
    case ACT_TANH:
        return tanhf(x);
    case ACT_SIGMOID:
        return 1 / (1 + expf(-x));
    default:
        return x;
    }
}

/* May rows at p, ld numbers apart, be read four at a time? */
DEVICE int is_vector(const void *p, int64_t ld) { return (((uintptr_t)p | (uintptr_t)(ld * 4)) & 15) == 0; }

/* Up to four numbers; at once where `vector` says that they may be. Behind `count` come zeros. */
DEVICE void get4(float *v, const float *p, int count, int vector)
{
    if (vector && count >= 4) {
        float4 x = load4(p);
        v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = i < count ? p[i] : 0;
}

DEVICE void put4(float *p, const float *v, int count, int vector)
{
    if (vector && count >= 4) {
        float4 x;
        x.x = v[0], x.y = v[1], x.z = v[2], x.w = v[3];
        store4(p, x);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < count)
            p[i] = v[i];
}

/* The same in bfloat16. */
DEVICE void put4_bf16(uint16_t *p, const float *v, int count, int vector)
{
    uint32_t low = pack_bf16(v[0], v[1]), high = pack_bf16(v[2], v[3]);
    if (vector && count >= 4) {
        store2((float *)p, bits_float(low), bits_float(high));
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < count)
            p[i] = (uint16_t)((i < 2 ? low : high) >> i % 2 * 16);
}

/* May rows of bfloat16 be written four at a time? */
DEVICE int is_vector_bf16(const void *p, int64_t ld)
{
    return (((uintptr_t)p | (uintptr_t)(ld * 2)) & 7) == 0;
}

/* Up to eight bfloat16 as words of two; an even number of them, at once where `vector` says that they may be.
 */
DEVICE void get8_bf16(uint32_t *w, const uint16_t *p, int count, int vector)
{
    if (vector && count >= 8) {
        float4 x = load4((const float *)p);
        w[0] = float_bits(x.x), w[1] = float_bits(x.y), w[2] = float_bits(x.z), w[3] = float_bits(x.w);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        w[i] = 2 * i < count ? p[2 * i] | (uint32_t)p[2 * i + 1] << 16 : 0;
}

#endif
