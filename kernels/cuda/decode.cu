/* Compressed weights as the products read them: struct decode_args. A thread makes one unit of 16 bytes of
 * pack.c's layout, in the order of memory. */
#include "kernels/cuda/device.h"

enum { UNIT = 16, CODES = 64 };

/* Where a unit belongs: its column, and its first channel of a source at a tap. */
struct unit_place {
    int column, source, tap, channel;
};

DEVICE int chunks_of(const struct mm_shape &s, int source, int per_chunk)
{
    return (s.channels[source] + per_chunk - 1) / per_chunk;
}

DEVICE unit_place find_unit(const struct mm_shape &s, unsigned at, int per_chunk)
{
    int taps = s.kernel_h * s.kernel_w, first = taps * chunks_of(s, 0, per_chunk);
    unsigned chunks = (unsigned)(first + taps * chunks_of(s, 1, per_chunk));
    int chunk = (int)(at / 4 % chunks);
    unit_place p;
    p.source = chunk >= first;
    int in_source = chunk - (p.source ? first : 0), per_tap = chunks_of(s, p.source, per_chunk);
    p.column = (int)(at / 4 / chunks);
    p.tap = in_source / per_tap;
    p.channel = in_source % per_tap * per_chunk + (int)(at % 4) * (per_chunk / 4);
    return p;
}

DEVICE float e4m3(unsigned code)
{
    unsigned exponent = code >> 3 & 15, fraction = code & 7;
    float most =
        exponent ? bits_float((exponent + 120) << 23 | fraction << 20) : (float)fraction * 0.001953125f;
    return (code & 127) == 127 ? bits_float(0x7fffffffu) : code & 128 ? -most : most;
}

/* Four numbers out of the layout of int8, which has zeros behind its ends. */
DEVICE void bytes4(const struct decode_args &a, const unit_place &p, float *v)
{
    int taps = a.shape.kernel_h * a.shape.kernel_w, first = taps * chunks_of(a.shape, 0, CODES);
    int chunks = first + taps * chunks_of(a.shape, 1, CODES);
    int chunk = (p.source ? first : 0) + p.tap * chunks_of(a.shape, p.source, CODES) + p.channel / CODES;
    int64_t at = ((int64_t)p.column * chunks + chunk) * CODES + p.channel % CODES;
    uint32_t word = *(const uint32_t *)((const unsigned char *)a.from + at);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unsigned byte = word >> 8 * i & 255;
        v[i] = a.form == MM_E4M3 ? e4m3(byte) : (float)(signed char)byte;
    }
}

/* Four numbers of a group out of 16 levels, codes [n][channels / 2] and scales [n][channels / group]. */
DEVICE void nibbles4(const struct decode_args &a, const unit_place &p, float *v)
{
    int channels = a.shape.channels[0];
    const float *levels = (const float *)a.from;
    const unsigned char *codes = (const unsigned char *)(levels + 16),
                        *scales = codes + (int64_t)a.shape.n * (channels / 2);
    v[0] = v[1] = v[2] = v[3] = 0;
    if (p.column >= a.shape.n || p.channel >= channels)
        return;
    float scale = e4m3(scales[(int64_t)p.column * (channels / a.group) + p.channel / a.group]);
    const unsigned char *pair = codes + ((int64_t)p.column * channels + p.channel) / 2;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float q = levels[pair[i / 2] >> i % 2 * 4 & 15] * scale;
        v[i] = (float)round_int(q > 127 ? 127 : q > -127 ? q : -127);
    }
}

DEVICE void numbers4(const struct decode_args &a, const unit_place &p, float *v)
{
    if (a.form == MM_INT4)
        nibbles4(a, p, v);
    else
        bytes4(a, p, v);
}

KERNEL(decode_weights, 256, 4, decode_args)
{
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= a.units + a.sum_units)
        return;
    if (at >= a.units) { /* there is one source: the other's sums are 0 */
        float sum[4] = {0, 0, 0, 0};
        unsigned first = (at - a.units) * 4;
        if (first < a.sum_units * 2)
            get4(sum, (const float *)a.weight_sum + first, 4, 1);
        put4((float *)a.to + (int64_t)at * 4, sum, 4, 1);
        return;
    }
    unit_place p = find_unit(a.shape, at,
                             a.as == DECODE_CODES  ? CODES
                             : a.as == DECODE_BF16 ? CODES / 2
                                                   : CODES / 4);
    unsigned char *to = (unsigned char *)a.to + (int64_t)at * UNIT;
    uint32_t word[4];
    float v[4];
    if (a.as == DECODE_F32) {
        numbers4(a, p, v);
        store_words(to, float_bits(v[0]), float_bits(v[1]), float_bits(v[2]), float_bits(v[3]));
        return;
    }
    if (a.as == DECODE_BF16) {
#pragma unroll
        for (int i = 0; i < 4; i += 2, p.channel += 4) {
            numbers4(a, p, v);
            word[i] = pack_bf16(v[0], v[1]), word[i + 1] = pack_bf16(v[2], v[3]);
        }
        store_words(to, word[0], word[1], word[2], word[3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++, p.channel += 4) {
        nibbles4(a, p, v);
        word[i] = 0;
#pragma unroll
        for (int k = 0; k < 4; k++)
            word[i] |= (uint32_t)((int)v[k] & 255) << 8 * k;
    }
    store_words(to, word[0], word[1], word[2], word[3]);
}
