/* Rows of floats as e4m3, each with a scale of its own: struct e4m3_args. */
#include "kernels/cuda/device.h"

/* Two numbers to nearest, ties to even, those beyond +-448 to it; the first in the low byte. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
DEVICE uint32_t pack_e4m3(float low, float high)
{
    uint16_t u;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(u) : "f"(high), "f"(low));
    return u;
}
#else
DEVICE uint32_t to_e4m3(float x)
{
    uint32_t u = float_bits(x), sign = u >> 24 & 128, code;
    float most = bits_float(u & 0x7fffffffu);
    most = most < 448 ? most : 448;
    u = float_bits(most);
    code = most < 0.015625f ? (uint32_t)round_int(most * 512) /* steps of 2^-9 below 2^-6 */
                            : ((u + 0x7ffffu + (u >> 20 & 1)) >> 20) - (120 << 3);
    return sign | code;
}

DEVICE uint32_t pack_e4m3(float low, float high) { return to_e4m3(low) | to_e4m3(high) << 8; }
#endif

/* Eight numbers of a row, zeros behind its end. */
DEVICE void get8(const struct e4m3_args &a, float *v, int64_t at, int count, int vector)
{
    if (a.half) {
        uint32_t w[4];
        get8_bf16(w, (const uint16_t *)a.from.data + at, count, vector);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[2 * i] = bits_float(w[i] << 16), v[2 * i + 1] = bits_float(w[i] & 0xffff0000u);
    } else {
        get4(v, (const float *)a.from.data + at, count, vector);
        get4(v + 4, (const float *)a.from.data + at + 4, count - 4, vector);
    }
}

KERNEL(rows_e4m3, 128, 8, e4m3_args)
{
    int lane = (int)(threadIdx.x % 32), channels = (int)a.from.channels;
    int row = (int)(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
    if (row >= a.rows)
        return;
    int64_t from = row / a.per_image * a.from.image_ld + row % a.per_image * a.from.ld;
    int vector = (((uintptr_t)a.from.data + (uintptr_t)(from * (a.half ? 2 : 4))) & 15) == 0;
    uint32_t most = 0; /* as bits, numbers above 0 are in order; NaN comes last */
    float v[8];
    for (int c = lane * 8; c < channels; c += 256) {
        get8(a, v, from + c, channels - c, vector);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint32_t u = float_bits(v[i]) & 0x7fffffffu;
            most = u > most ? u : most;
        }
    }
#pragma unroll
    for (int mask = 16; mask; mask >>= 1) {
        uint32_t u = float_bits(shuffle_xor(bits_float(most), mask));
        most = u > most ? u : most;
    }
    float top = bits_float(most), scale = top <= 3.402823466e38f ? top / 448 : bits_float(0x7fffffffu);
    float inverse = scale >= 1.17549435e-38f ? 1 / scale : 0;
    unsigned char *to = a.codes + (int64_t)row * a.k;
    for (int c = lane * 8; c < a.k; c += 256) {
        uint32_t word[2];
        get8(a, v, from + c, channels - c, vector);
#pragma unroll
        for (int i = 0; i < 2; i++)
            word[i] = pack_e4m3(v[4 * i] * inverse, v[4 * i + 1] * inverse) |
                      pack_e4m3(v[4 * i + 2] * inverse, v[4 * i + 3] * inverse) << 16;
        store2((float *)(to + c), bits_float(word[0]), bits_float(word[1]));
    }
    if (lane == 0)
        a.scale[row] = scale;
}
