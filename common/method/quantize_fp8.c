/* See quantize_fp8.h. */
#include "common/method/quantize_fp8.h"
#include "common/base/vector.h"
#include "kernels/cpu/cpu.h"

#include <string.h>

enum { MOST = 448, LARGEST_CODE = 126 };

/* |x| <= 448 (1 + 2^-24), to nearest, ties to even: from 2^-6 on by the bits that go, below by the sum with a
 * float whose last bit is worth the step of 2^-9. */
static IN_VECTOR uint32_t to_e4m3(float x)
{
    uint32_t bits = bits_of(x), size = bits & 0x7FFFFFFF;
    uint32_t normal = (size - (120u << 23) + (1u << 19) - 1 + (size >> 20 & 1)) >> 20;
    uint32_t tiny = bits_of(float_of(size) + 0x1p14f) - bits_of(0x1p14f);
    uint32_t code = size < 121u << 23 ? tiny : normal;
    code = code > LARGEST_CODE ? LARGEST_CODE : code;
    return code | bits >> 31 << 7;
}

static IN_VECTOR float from_e4m3(uint32_t code)
{
    uint32_t size = code & 127;
    float tiny = (float)(int32_t)size * 0x1p-9f, normal = float_of((size << 20) + (120u << 23));
    return float_of(bits_of(size < 8 ? tiny : normal) | code >> 7 << 31);
}

ANY_VECTOR static void round_stretch(const float *w, int columns, float scale, float *level, uint8_t *code)
{
    uint32_t wide[WEIGHT_STRETCH];
    for (int k = 0; k < columns; k++)
        wide[k] = to_e4m3(w[k] / scale);
    for (int k = 0; k < columns; k++)
        level[k] = from_e4m3(wide[k]);
    for (int k = 0; k < columns; k++)
        code[k] = (uint8_t)wide[k];
}

int quantize_fp8_rows(const struct weight_rows *w, struct team *team, uint8_t *q, float *scale,
                      struct quantize_report *report, struct error *e)
{
    return weight_rows_quantize(w, MOST, round_stretch, team, q, scale, report, e);
}

int quantize_fp8(const float *w, int64_t rows, int64_t columns, struct team *team, uint8_t *q, float *scale,
                 struct quantize_report *report, struct error *e)
{
    struct weight_matrix m = {w, columns};
    struct weight_rows all = {weight_matrix_rows, &m, rows, columns};
    return quantize_fp8_rows(&all, team, q, scale, report, e);
}

void quantize_fp8_restore(const uint8_t *q, const float *scale, int64_t rows, int64_t columns, float *out)
{
    for (int64_t i = 0; i < rows * columns; i++)
        out[i] = scale[i / columns] * mm_e4m3(q[i]);
}
