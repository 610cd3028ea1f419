/* See tensor.h: element conversions. The narrow floats are converted by integer arithmetic without branches,
 * so that the compiler can vectorise the loops and every machine gives the same bits. */
#include "common/base/vector.h"
#include "common/file/tensor.h"

#include <math.h>
#include <string.h>

/* A small float has `man` bits of mantissa and an exponent with `bias`; both are constants where this is
 * inlined. Its subnormals are whole multiples of 2^(1 - bias - man). */

/* Widening is exact. `special`: the all-ones exponent means infinity or NaN. */
static IN_VECTOR float widen(uint32_t v, int man, int bias, int width, int special)
{
    uint32_t sign = (v >> (width - 1)) << 31, a = v & ((1u << (width - 1)) - 1);
    uint32_t normal = (a << (23 - man)) + ((uint32_t)(127 - bias) << 23);
    /* Not by multiplying a subnormal float32: a mode that flushes those would lose it. */
    uint32_t tiny = bits_of((float)(int32_t)a * float_of((uint32_t)(127 + 1 - bias - man) << 23));
    uint32_t top = ((1u << (width - 1 - man)) - 1) << man, wide = (a << (23 - man)) | 0x7F800000u;
    uint32_t u = a < (1u << man) ? tiny : special && a >= top ? wide : normal;
    return float_of(u | sign);
}

/* Narrowing, to nearest, ties to even; `over` is the result from 2^(emax+1) upwards, `nan` for a NaN. */
static inline uint32_t narrow(float f, int man, int bias, int width, uint32_t limit, uint32_t over,
                              uint32_t nan)
{
    uint32_t u = bits_of(f), sign = u >> 31 << (width - 1), a = u & 0x7FFFFFFFu;
    int drop = 23 - man;
    uint32_t odd = a >> drop & 1;
    uint32_t normal = (a - ((uint32_t)(127 - bias) << 23) + (1u << (drop - 1)) - 1 + odd) >> drop;
    /* Adding the float whose last bit is worth one subnormal step lets the processor round. */
    uint32_t magic = (uint32_t)(127 + 1 - bias - man + 23) << 23;
    uint32_t tiny = bits_of(float_of(a < 0x7F800000u ? a : 0) + float_of(magic)) - magic;
    uint32_t r = a < (uint32_t)(127 + 1 - bias) << 23 ? tiny : normal;
    r = a >= limit ? over : r;
    r = a > 0x7F800000u ? nan : r;
    return r | sign;
}

static IN_VECTOR float from_f16(uint16_t v) { return widen(v, 10, 15, 16, 1); }
static inline float from_e5m2(uint8_t v) { return widen(v, 2, 15, 8, 1); }

static inline float from_e4m3(uint8_t v)
{
    float f = widen(v, 3, 7, 8, 0);
    return (v & 0x7F) == 0x7F ? float_of(0x7FC00000u | (uint32_t)(v & 0x80) << 24) : f;
}

/* Limits: 2^16 for F16 and E5M2 (65520 and 61440 round to the infinity by themselves); 448 for E4M3, which
 * clamps. */
static inline uint16_t to_f16(float f)
{
    return (uint16_t)narrow(f, 10, 15, 16, 0x47800000u, 0x7C00, 0x7E00);
}
static inline uint8_t to_e5m2(float f) { return (uint8_t)narrow(f, 2, 15, 8, 0x47800000u, 0x7C, 0x7F); }
static inline uint8_t to_e4m3(float f) { return (uint8_t)narrow(f, 3, 7, 8, 0x43E00000u, 0x7E, 0x7F); }

static inline uint16_t to_bf16(float f)
{
    uint32_t u = bits_of(f), rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7FFFFFFFu) > 0x7F800000u ? u >> 16 | 0x40 : rounded);
}

ANY_VECTOR static void f32_of_bf16(const uint16_t *in, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = float_of((uint32_t)in[i] << 16);
}

ANY_VECTOR static void f32_of_f16(const uint16_t *in, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from_f16(in[i]);
}

void tensor_to_f32(enum dtype from, const void *in, float *out, size_t count)
{
#define EACH(TYPE, EXPRESSION)             \
    do {                                   \
        const TYPE *x = in;                \
        for (size_t i = 0; i < count; i++) \
            out[i] = (EXPRESSION);         \
    } while (0)
    switch (from) {
    case DTYPE_F32:
        if (count)
            memcpy(out, in, count * sizeof *out);
        break;
    case DTYPE_F16:
        f32_of_f16(in, out, count);
        break;
    case DTYPE_BF16:
        f32_of_bf16(in, out, count);
        break;
    case DTYPE_F64:
        EACH(double, (float)x[i]);
        break;
    case DTYPE_I64:
        EACH(int64_t, (float)x[i]);
        break;
    case DTYPE_I32:
        EACH(int32_t, (float)x[i]);
        break;
    case DTYPE_I16:
        EACH(int16_t, x[i]);
        break;
    case DTYPE_I8:
        EACH(int8_t, x[i]);
        break;
    case DTYPE_U8:
        EACH(uint8_t, x[i]);
        break;
    case DTYPE_BOOL:
        EACH(uint8_t, x[i] != 0);
        break;
    case DTYPE_F8_E4M3:
        EACH(uint8_t, from_e4m3(x[i]));
        break;
    case DTYPE_F8_E5M2:
        EACH(uint8_t, from_e5m2(x[i]));
        break;
    case DTYPE_COUNT:
        break;
    }
#undef EACH
}

/* Nearest, ties to even, clamped; max is the largest float32 that is not above the type's largest value. */
static int64_t to_integer(float f, float min, float max, int64_t largest)
{
    if (f != f)
        return 0;
    float r = rintf(f);
    return r < min ? (int64_t)min : r > max ? largest : (int64_t)r;
}

void tensor_from_f32(enum dtype to, const float *in, void *out, size_t count)
{
#define EACH(TYPE, EXPRESSION)             \
    do {                                   \
        TYPE *y = out;                     \
        for (size_t i = 0; i < count; i++) \
            y[i] = (TYPE)(EXPRESSION);     \
    } while (0)
    switch (to) {
    case DTYPE_F32:
        if (count)
            memcpy(out, in, count * sizeof *in);
        break;
    case DTYPE_F16:
        EACH(uint16_t, to_f16(in[i]));
        break;
    case DTYPE_BF16:
        EACH(uint16_t, to_bf16(in[i]));
        break;
    case DTYPE_F64:
        EACH(double, in[i]);
        break;
    case DTYPE_I64:
        EACH(int64_t, to_integer(in[i], -0x1p63f, 0x1.fffffep62f, INT64_MAX));
        break;
    case DTYPE_I32:
        EACH(int32_t, to_integer(in[i], -0x1p31f, 0x1.fffffep30f, INT32_MAX));
        break;
    case DTYPE_I16:
        EACH(int16_t, to_integer(in[i], -32768, 32767, 32767));
        break;
    case DTYPE_I8:
        EACH(int8_t, to_integer(in[i], -128, 127, 127));
        break;
    case DTYPE_U8:
        EACH(uint8_t, to_integer(in[i], 0, 255, 255));
        break;
    case DTYPE_BOOL:
        EACH(uint8_t, in[i] != 0);
        break;
    case DTYPE_F8_E4M3:
        EACH(uint8_t, to_e4m3(in[i]));
        break;
    case DTYPE_F8_E5M2:
        EACH(uint8_t, to_e5m2(in[i]));
        break;
    case DTYPE_COUNT:
        break;
    }
#undef EACH
}

/* Index of the first element whose exponent bits are all set, or -1. */
#define FIRST(TYPE, MASK, VALUE)                        \
    do {                                                \
        const TYPE *x = data;                           \
        for (size_t i = 0; i < count; i++)              \
            if ((x[i] & (TYPE)(MASK)) == (TYPE)(VALUE)) \
                return (int64_t)i;                      \
    } while (0)

int64_t tensor_first_nonfinite(enum dtype d, const void *data, size_t count)
{
    if (d == DTYPE_F32)
        FIRST(uint32_t, 0x7F800000u, 0x7F800000u);
    else if (d == DTYPE_F16)
        FIRST(uint16_t, 0x7C00, 0x7C00);
    else if (d == DTYPE_BF16)
        FIRST(uint16_t, 0x7F80, 0x7F80);
    else if (d == DTYPE_F64)
        FIRST(uint64_t, 0x7FF0000000000000u, 0x7FF0000000000000u);
    else if (d == DTYPE_F8_E4M3)
        FIRST(uint8_t, 0x7F, 0x7F);
    else if (d == DTYPE_F8_E5M2)
        FIRST(uint8_t, 0x7C, 0x7C);
    return -1;
}
