/* See quantize_w8.h. */
#include "common/method/quantize_w8.h"
#include "common/base/vector.h"

enum { TOP = 127 };

/* The sum with 1.5 * 2^23 has no room for a fraction: rounded to nearest, ties to even, as rintf does and
 * without a call of it. Only of values below 2^22, which clipping sees to. */
static IN_VECTOR float to_level(float w, float scale)
{
    float level = w / scale;
    level = level > (float)TOP ? (float)TOP : level;
    level = level < (float)-TOP ? (float)-TOP : level;
    return (level + 0x1.8p23f) - 0x1.8p23f;
}

ANY_VECTOR static void round_stretch(const float *w, int columns, float scale, float *level, uint8_t *code)
{
    for (int k = 0; k < columns; k++)
        level[k] = to_level(w[k], scale);
    for (int k = 0; k < columns; k++)
        code[k] = (uint8_t)(int8_t)(int32_t)level[k];
}

int quantize_w8_rows(const struct weight_rows *w, struct team *team, int8_t *q, float *scale,
                     struct quantize_report *report, struct error *e)
{
    return weight_rows_quantize(w, TOP, round_stretch, team, (uint8_t *)q, scale, report, e);
}

int quantize_w8(const float *w, int64_t rows, int64_t columns, struct team *team, int8_t *q, float *scale,
                struct quantize_report *report, struct error *e)
{
    struct weight_matrix m = {w, columns};
    struct weight_rows all = {weight_matrix_rows, &m, rows, columns};
    return quantize_w8_rows(&all, team, q, scale, report, e);
}

float quantize_w8_round(void *context, int64_t row, int64_t column, float w)
{
    const struct quantize_w8 *q = context;
    float scale = q->scale[row], level = scale > 0 ? to_level(w, scale) : 0;
    q->q[row * q->columns + column] = (int8_t)level;
    return scale * level;
}

void quantize_w8_restore(const int8_t *q, const float *scale, int64_t rows, int64_t columns, float *out)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < columns; k++)
            out[row * columns + k] = scale[row] * (float)q[row * columns + k];
}
