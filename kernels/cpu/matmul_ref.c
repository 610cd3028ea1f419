/* Matrix products in scalar C: the loops of the definition, float sums in double, int8 sums in int32. */
#include "kernels/cpu/levels.h"

#include <math.h>
#include <string.h>

static int64_t weights_per_row(const struct mm_shape *s)
{
    return (int64_t)(s->channels[0] + s->channels[1]) * s->kernel_h * s->kernel_w;
}

size_t matmul_packed_size_ref(const struct mm_shape *s, int int8)
{
    return (size_t)(s->n * weights_per_row(s)) * (int8 ? 1 : sizeof(float));
}

void matmul_pack_ref(void *packed, const float *weight, const struct mm_shape *s, int begin, int end)
{
    int64_t k = weights_per_row(s);
    memcpy((float *)packed + begin * k, weight + begin * k, (size_t)((end - begin) * k) * sizeof(float));
}

void matmul_pack_int8_ref(void *packed, const int8_t *weight, const struct mm_shape *s, int begin, int end)
{
    int64_t k = weights_per_row(s);
    memcpy((int8_t *)packed + begin * k, weight + begin * k, (size_t)((end - begin) * k));
}

/* ---- compressed weights: 4-bit ones lie as on disk, codes, scales, levels ---- */

float mm_e4m3(uint8_t code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    float most = exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);
    return (code & 127) == 127 ? NAN : code & 128 ? -most : most;
}

int mm_int4_value(float level, uint8_t scale)
{
    float q = rintf(level * mm_e4m3(scale));
    return q > 127 ? 127 : q > -127 ? (int)q : -127;
}

size_t matmul_int4_size_ref(int n, int channels, int group)
{
    return (size_t)n * (size_t)(channels / 2 + channels / group) + 16 * sizeof(float);
}

void matmul_pack_int4_ref(void *packed, const struct mm_int4 *w, int begin, int end)
{
    size_t row = (size_t)w->channels / 2, groups = (size_t)(w->channels / w->group), n = (size_t)w->n;
    char *levels = packed, *codes = levels + 16 * sizeof(float), *scales = codes + n * row;
    memcpy(levels, w->levels, 16 * sizeof(float));
    memcpy(codes + (size_t)begin * row, w->codes + (size_t)begin * row, (size_t)(end - begin) * row);
    memcpy(scales + (size_t)begin * groups, w->scales + (size_t)begin * groups,
           (size_t)(end - begin) * groups);
}

/* The reference keeps to the definition. */
size_t winograd_size_ref(const struct mm_shape *s, int int8)
{
    return int8 ? 0 : matmul_packed_size_ref(s, 0);
}

void winograd_pack_ref(void *packed, const void *weight, const struct mm_shape *s, int int8, int begin,
                       int end)
{
    (void)int8;
    matmul_pack_ref(packed, weight, s, begin, end);
}

size_t matmul_scratch_ref(const struct matmul *m)
{
    (void)m;
    return 0;
}

/* Weight `at` of all, before its column's scale. */
static double weight_at(const struct matmul *m, int64_t at)
{
    if (m->form == MM_E4M3)
        return mm_e4m3(((const uint8_t *)m->weights)[at]);
    if (m->form == MM_BF16 || (m->form == MM_NATIVE && m->bf16))
        return bf16_to_float(((const uint16_t *)m->weights)[at]);
    if (m->form == MM_WINOGRAD || (m->form == MM_NATIVE && !m->int8))
        return ((const float *)m->weights)[at];
    if (m->form != MM_INT4)
        return ((const int8_t *)m->weights)[at];
    const float *levels = m->weights;
    const uint8_t *codes = (const uint8_t *)(levels + 16), *scales = codes + m->n * m->source[0].channels / 2;
    return mm_int4_value(levels[codes[at / 2] >> at % 2 * 4 & 15], scales[at / m->group]);
}

size_t matmul_bf16_size_ref(const struct mm_shape *s)
{
    return (size_t)(s->n * weights_per_row(s)) * sizeof(uint16_t);
}

void matmul_pack_bf16_ref(void *packed, const uint16_t *weight, const struct mm_shape *s, int begin, int end)
{
    int64_t k = weights_per_row(s);
    memcpy((uint16_t *)packed + begin * k, weight + begin * k, (size_t)((end - begin) * k) * sizeof *weight);
}

static double activate(double x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return x / (1 + exp(-x));
    case ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case ACT_RELU:
        return x > 0 || isnan(x) ? x : 0;
    case ACT_TANH:
        return tanh(x);
    case ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

/* The stored pixel that tap (y, x) of the output pixel reads, or -1. */
static int64_t source_row(const struct matmul *m, const struct mm_source *s, int h, int w, int y, int x)
{
    int up = s->upsample > 1 ? s->upsample : 1;
    int row = h * m->stride - m->pad_top + y, column = w * m->stride - m->pad_left + x;
    if (row < 0 || column < 0 || row >= s->height * up || column >= s->width * up)
        return -1;
    return (int64_t)(row / up) * s->width + column / up;
}

/* The sum over one source, before any scale of the column. */
static double source_sum(const struct matmul *m, int which, int image, int h, int w, int n)
{
    const struct mm_source *s = &m->source[which];
    int64_t taps = (int64_t)m->kernel_h * m->kernel_w, first = which ? m->source[0].channels : 0;
    int64_t all = m->source[0].channels + (m->sources > 1 ? m->source[1].channels : 0);
    double sum = 0;
    uint32_t isum = 0; /* wraps as the vectors do */
    int64_t center = 0, per_image = (int64_t)s->height * s->width;
    for (int64_t tap = 0; tap < taps; tap++) {
        int64_t row = source_row(m, s, h, w, (int)(tap / m->kernel_w), (int)(tap % m->kernel_w));
        if (row < 0)
            continue;
        center = row;
        int zero = m->int8 ? s->scale[m->scale_per_row ? image * per_image + row : image].zero : 0;
        int64_t at = image * s->image_ld + row * s->ld, weight = (n * all + first) * taps + tap;
        for (int64_t c = 0; c < s->channels; c++)
            if (m->int8)
                isum += (uint32_t)((((const uint8_t *)s->data)[at + c] - zero) *
                                   (int)weight_at(m, weight + c * taps));
            else
                sum += (m->bf16 ? bf16_to_float(((const uint16_t *)s->data)[at + c])
                                : (double)((const float *)s->data)[at + c]) *
                       weight_at(m, weight + c * taps);
    }
    if (!m->int8)
        return sum;
    return (double)(int32_t)isum * s->scale[m->scale_per_row ? image * per_image + center : image].scale;
}

static float finish(const struct matmul *m, double sum, int image, int64_t row, int n)
{
    const struct mm_epilogue *e = &m->epilogue;
    double v = m->column_scale ? sum * m->column_scale[n] : sum;
    v += e->bias ? e->bias[n] : 0;
    v += e->image_bias ? e->image_bias[image * e->image_bias_ld + n] : 0;
    v = activate(v, e->act);
    if (e->tap)
        e->tap[row * e->tap_ld + n] = (float)v;
    v *= e->gate ? e->gate[image * e->gate_ld + n] : 1;
    v += e->residual ? e->residual[row * e->residual_ld + n] : 0;
    return (float)(v * (e->scale != 0 ? e->scale : 1));
}

void matmul_ref(const struct matmul *m, int part, int parts)
{
    int64_t per_image = (int64_t)m->out_height * m->out_width, rows = m->images * per_image;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
        int image = (int)(row / per_image), h = (int)(row % per_image / m->out_width),
            w = (int)(row % m->out_width);
        for (int n = 0; n < m->n; n++) {
            double sum = 0;
            for (int s = 0; s < m->sources; s++)
                sum += source_sum(m, s, image, h, w, n);
            float v = finish(m, sum, image, row, n);
            if (m->out)
                m->out[row * m->out_ld + n] = v;
            if (m->out_bf16)
                m->out_bf16[row * m->out_bf16_ld + n] = bf16_of(v);
        }
    }
}
