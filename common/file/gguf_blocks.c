/* See gguf.h: the blocks of quantized types. */
#include "common/file/gguf.h"

#include <string.h>

enum { F32, F16, Q4_0, Q8_0 = 8, Q4_K = 12, Q6_K = 14, BF16 = 30 };

int gguf_block(int type, int *bytes)
{
    static const struct {
        int type, numbers, bytes;
    } types[] = {{F32, 1, 4},    {F16, 1, 2},      {BF16, 1, 2},    {Q4_0, 32, 18},
                 {Q8_0, 32, 34}, {Q4_K, 256, 144}, {Q6_K, 256, 210}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) {
            *bytes = types[i].bytes;
            return types[i].numbers;
        }
    return *bytes = 0;
}

static float half(const unsigned char *at)
{
    float x;
    tensor_to_f32(DTYPE_F16, at, &x, 1);
    return x;
}

static void q4_0(const unsigned char *b, float *out)
{
    float d = half(b);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

static void q8_0(const unsigned char *b, float *out)
{
    float d = half(b);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)b[2 + i];
}

/* Six bits each: scale and minimum of eighth j, in twelve bytes. */
static void scale_of(const unsigned char *s, int j, int *scale, int *least)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *least = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
}

static void q4_k(const unsigned char *b, float *out)
{
    float d = half(b), d_least = half(b + 2);
    for (int j = 0; j < 8; j++) {
        const unsigned char *q = b + 16 + j / 2 * 32;
        int scale, least;
        scale_of(b + 4, j, &scale, &least);
        float step = d * (float)scale, from = d_least * (float)least;
        for (int i = 0; i < 32; i++)
            out[32 * j + i] = step * (float)(j % 2 ? q[i] >> 4 : q[i] & 15) - from;
    }
}

static void q6_k(const unsigned char *b, float *out)
{
    float d = half(b + 208);
    for (int i = 0; i < 256; i++) {
        /* Of each half of the block: four quarters of 32, two bits high, four bits low. */
        int part = i / 128, quarter = i % 128 / 32, l = i % 32;
        int low = b[64 * part + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15,
            high = b[128 + 32 * part + l] >> (2 * quarter) & 3,
            scale = (int8_t)b[192 + 8 * part + 2 * quarter + l / 16];
        out[i] = d * (float)scale * (float)((low | high << 4) - 32);
    }
}

void gguf_decode(int type, const unsigned char *blocks, int64_t n, float *out)
{
    int bytes, numbers = gguf_block(type, &bytes);
    for (int64_t i = 0; i < n; i++, blocks += bytes, out += numbers) {
        if (type == Q4_0)
            q4_0(blocks, out);
        else if (type == Q8_0)
            q8_0(blocks, out);
        else if (type == Q4_K)
            q4_k(blocks, out);
        else if (type == Q6_K)
            q6_k(blocks, out);
        else
            tensor_to_f32(type == F32 ? DTYPE_F32 : type == F16 ? DTYPE_F16 : DTYPE_BF16, blocks, out, 1);
    }
}
