/* Rows, group norm and attention in scalar C, sums in double; the sizes of all levels' work areas. */
#include "kernels/cpu/levels.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t group_norm_workspace(const struct group_norm *g)
{
    size_t channels = (size_t)(g->channels[0] + g->channels[1]), images = (size_t)g->images;
    size_t blocks = images * (size_t)((g->pixels + GROUP_NORM_BLOCK - 1) / GROUP_NORM_BLOCK);
    return channels * (3 * blocks + 3 * images) + 4 * blocks;
}

size_t attention_scratch(const struct attention *a)
{
    /* The largest of all levels: packed keys and values (keys up to a multiple of 32, head size too), a tile
     * of at most 14 queries (head size up to a multiple of 128), their scores for 128 keys, their sums, their
     * weights in half floats. */
    size_t dim = (size_t)a->head_dim, keys = ((size_t)a->keys + 31) / 32 * 32, wide = (dim + 31) / 32 * 32;
    size_t floats = keys * (dim + wide) + 14 * ((dim + 127) / 128 * 128 + 192 + wide);
    return (floats + 15) / 16 * 16;
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

/* The largest and the smallest of some numbers and 0; NaN when one is not finite. */
struct extremes {
    float top, low;
};

static void extremes_add(struct extremes *e, float x)
{
    if (!isfinite(x))
        e->top = NAN;
    else if (!isnan(e->top)) {
        e->top = fmaxf(e->top, x);
        e->low = fminf(e->low, x);
    }
}

/* A scale so small that its inverse overflows counts as 0. */
static float inverse_of(float scale) { return scale >= FLT_MIN ? 1 / scale : 0; }

static struct code_scale scale_of(const struct extremes *e)
{
    float scale = e->top / 255 - e->low / 255;
    return (struct code_scale){scale, isnan(scale) ? 0 : (int32_t)nearbyintf(-e->low * inverse_of(scale))};
}

static uint8_t code_of(float x, const struct code_scale *s)
{
    float q = isnan(s->scale) ? 0 : nearbyintf(x * inverse_of(s->scale)) + (float)s->zero;
    return (uint8_t)(q > 255 ? 255 : q > 0 ? q : 0);
}

static void pad_codes(uint8_t *codes, int channels, int64_t ld, const struct code_scale *s)
{
    memset(codes + channels, s->zero, (size_t)(ld - channels));
}

static void moments(const float *x, int channels, double eps, double *mean, double *inverse)
{
    double square = 0;
    *mean = 0;
    for (int c = 0; c < channels; c++)
        *mean += x[c] / (double)channels;
    for (int c = 0; c < channels; c++)
        square += (x[c] - *mean) * (x[c] - *mean) / channels;
    *inverse = 1 / sqrt(square + eps);
}

static float row_value(const struct row_norm *r, int64_t row, int c, double mean, double inverse)
{
    int64_t mod = row / r->rows_per_image * r->mod_ld + c;
    double v = (r->x[row * r->x_ld + c] - mean) * inverse;
    v *= r->weight ? r->weight[c] : 1;
    v += r->bias ? r->bias[c] : 0;
    v *= r->scale ? 1.0 + r->scale[mod] : 1;
    v += r->shift ? r->shift[mod] : 0;
    return (float)(r->times ? v * activate(r->times[row * r->times_ld + c], r->times_act) : v);
}

/* hadamard.inc's rotation of one block: for output i the sum over j of the product of R4's entries at the
 * digits of i and j to base 4; half of them negative where the digits add up to 3. */
static double rotated(const struct row_norm *r, int64_t row, int c, double mean, double inverse)
{
    double sum = 0;
    int first = c / r->rotate * r->rotate;
    for (int j = 0; j < r->rotate; j++) {
        double sign = 1;
        for (int digit = 1; digit < r->rotate; digit *= 4)
            sign *= (c - first) / digit % 4 + j / digit % 4 == 3 ? -0.5 : 0.5;
        sum += sign * row_value(r, row, first + j, mean, inverse);
    }
    return sum;
}

static float row_result(const struct row_norm *r, int64_t row, int c, double mean, double inverse)
{
    return r->rotate ? (float)rotated(r, row, c, mean, inverse) : row_value(r, row, c, mean, inverse);
}

void row_norm_ref(const struct row_norm *r, int part, int parts)
{
    int64_t rows = (int64_t)r->images * r->rows_per_image;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
        double mean = 0, inverse = 1;
        struct extremes most = {0, 0};
        if (r->norm)
            moments(r->x + row * r->x_ld, r->channels, r->eps, &mean, &inverse);
        for (int c = 0; c < r->channels && r->codes; c++)
            extremes_add(&most, row_result(r, row, c, mean, inverse));
        for (int c = 0; c < r->channels; c++)
            if (r->tap)
                r->tap[row * r->tap_ld + c] = row_value(r, row, c, mean, inverse);
        struct code_scale scale = scale_of(&most);
        for (int c = 0; c < r->channels && r->codes; c++)
            r->codes[row * r->codes_ld + c] = code_of(row_result(r, row, c, mean, inverse), &scale);
        if (r->codes) {
            r->row_scale[row] = scale;
            pad_codes(r->codes + row * r->codes_ld, r->channels, r->codes_ld, &scale);
            continue;
        }
        /* out may be x, so a block is read before it is written */
        double block[256];
        int size = r->rotate ? r->rotate : 1;
        for (int first = 0; first < r->channels; first += size) {
            for (int c = 0; c < size; c++)
                block[c] = row_result(r, row, first + c, mean, inverse);
            for (int c = 0; c < size; c++)
                if (r->out_bf16)
                    r->out_bf16[row * r->out_bf16_ld + first + c] = bf16_of((float)block[c]);
                else
                    r->out[row * r->out_ld + first + c] = (float)block[c];
        }
    }
}

static float group_input(const struct group_norm *g, int64_t row, int c)
{
    int side = c >= g->channels[0];
    return g->x[side][row * g->x_ld[side] + c - (side ? g->channels[0] : 0)];
}

/* Phase 1 leaves mean and 1/std of each group at the start of the workspace, which holds far more. */
static double *group_place(const struct group_norm *g, int image, int group)
{
    return (double *)(void *)g->workspace + 2 * ((int64_t)image * g->groups + group);
}

static void group_moments(const struct group_norm *g, int image)
{
    int width = (g->channels[0] + g->channels[1]) / g->groups;
    for (int group = 0; group < g->groups; group++) {
        double mean = 0, square = 0, count = (double)g->pixels * width;
        for (int64_t i = 0; i < (int64_t)g->pixels * width; i++)
            mean += group_input(g, image * (int64_t)g->pixels + i / width, group * width + (int)(i % width)) /
                    count;
        for (int64_t i = 0; i < (int64_t)g->pixels * width; i++) {
            double d =
                group_input(g, image * (int64_t)g->pixels + i / width, group * width + (int)(i % width)) -
                mean;
            square += d * d / count;
        }
        group_place(g, image, group)[0] = mean;
        group_place(g, image, group)[1] = 1 / sqrt(square + g->eps);
    }
}

static float group_value(const struct group_norm *g, int image, int64_t row, int c)
{
    const double *m = group_place(g, image, c / ((g->channels[0] + g->channels[1]) / g->groups));
    double v = (group_input(g, row, c) - m[0]) * m[1];
    v *= g->weight ? g->weight[c] : 1;
    v += g->bias ? g->bias[c] : 0;
    v *= g->scale ? 1.0 + g->scale[image * g->mod_ld + c] : 1;
    v += g->shift ? g->shift[image * g->mod_ld + c] : 0;
    return (float)activate(v, g->act);
}

static void group_apply(const struct group_norm *g, int image)
{
    int channels = g->channels[0] + g->channels[1];
    struct extremes most[2] = {{0, 0}, {0, 0}};
    for (int64_t i = 0; i < (int64_t)g->pixels * channels; i++) {
        int64_t row = image * (int64_t)g->pixels + i / channels;
        int c = (int)(i % channels), side = c >= g->channels[0];
        float v = group_value(g, image, row, c);
        extremes_add(&most[side], v);
        if (g->tap)
            g->tap[row * g->tap_ld + c] = v;
        if (g->out_bf16)
            g->out_bf16[row * g->out_bf16_ld + c] = bf16_of(v);
        else if (!g->codes[0])
            g->out[row * g->out_ld + c] = v;
    }
    for (int side = 0; g->codes[0] && side < (g->channels[1] ? 2 : 1); side++)
        g->image_scale[side][image] = scale_of(&most[side]);
}

static void group_quantize(const struct group_norm *g, int image)
{
    for (int side = 0; side < (g->channels[1] ? 2 : 1); side++)
        for (int64_t row = image * (int64_t)g->pixels; row < (image + 1) * (int64_t)g->pixels; row++) {
            uint8_t *codes = g->codes[side] + row * g->codes_ld[side];
            for (int c = 0; c < g->channels[side]; c++)
                codes[c] = code_of(group_value(g, image, row, c + (side ? g->channels[0] : 0)),
                                   &g->image_scale[side][image]);
            pad_codes(codes, g->channels[side], g->codes_ld[side], &g->image_scale[side][image]);
        }
}

void group_norm_ref(const struct group_norm *g, int phase, int part, int parts)
{
    for (int image = (int)((int64_t)g->images * part / parts);
         image < (int)((int64_t)g->images * (part + 1) / parts); image++) {
        if (phase == 1)
            group_moments(g, image);
        else if (phase == 2)
            group_apply(g, image);
        else if (phase == 3)
            group_quantize(g, image);
    }
}

void image_quantize_ref(const struct image_quantize *q, int phase, int part, int parts)
{
    for (int image = (int)((int64_t)q->images * part / parts);
         image < (int)((int64_t)q->images * (part + 1) / parts); image++) {
        int64_t first = image * (int64_t)q->rows_per_image;
        struct extremes most = {0, 0};
        for (int64_t i = 0; phase == 0 && i < (int64_t)q->rows_per_image * q->channels; i++)
            extremes_add(&most, q->x[(first + i / q->channels) * q->x_ld + i % q->channels]);
        if (phase == 0)
            q->image_scale[image] = scale_of(&most);
        for (int64_t row = first; phase == 1 && row < first + q->rows_per_image; row++) {
            uint8_t *codes = q->codes + row * q->codes_ld;
            for (int c = 0; c < q->channels; c++)
                codes[c] = code_of(q->x[row * q->x_ld + c], &q->image_scale[image]);
            pad_codes(codes, q->channels, q->codes_ld, &q->image_scale[image]);
        }
    }
}

void elementwise_ref(const struct elementwise *e, int part, int parts)
{
    int64_t rows = (int64_t)e->images * e->rows_per_image;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
        int64_t b = e->b_kind == PER_ROW ? row : e->b_kind == PER_IMAGE ? row / e->rows_per_image : 0;
        for (int c = 0; c < e->channels; c++) {
            double v = e->a[row * e->a_ld + c], w = e->b ? e->b[b * e->b_ld + c] : 0;
            if (e->b)
                v = e->op == BIN_ADD ? v + w : e->op == BIN_SUB ? v - w : v * w;
            float result = (float)(activate((float)v, e->act) * (e->scale != 0 ? e->scale : 1));
            if (e->out)
                e->out[row * e->out_ld + c] = result;
            if (e->out_bf16)
                e->out_bf16[row * e->out_bf16_ld + c] = bf16_of(result);
        }
    }
}

void cache_read_ref(const struct cache_read *r, int part, int parts)
{
    int64_t rows = (int64_t)r->images * r->rows_per_image;
    const struct mm_epilogue *e = &r->epilogue;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++)
        for (int c = 0; c < r->channels; c++) {
            double v = r->cache[row * r->cache_ld + c];
            double older = r->cache2 ? (double)r->cache2[row * r->cache_ld + c] * r->a2[c] : 0;
            v = r->a ? v * r->a[c] + (older + r->b[c]) : v;
            v *= e->gate ? e->gate[row / r->rows_per_image * e->gate_ld + c] : 1;
            v += e->residual ? e->residual[row * e->residual_ld + c] : 0;
            r->out[row * r->out_ld + c] = (float)(v * (e->scale != 0 ? e->scale : 1));
        }
}

/* Element `at` of q, k or v: whichever of the two forms is there. */
static double element(const float *x, const uint16_t *half, int64_t at)
{
    return half ? bf16_to_float(half[at]) : x[at];
}

static double score(const struct attention *a, int64_t q, int64_t k)
{
    double sum = 0;
    for (int d = 0; d < a->head_dim; d++)
        sum += element(a->q, a->q_bf16, q + d) * element(a->k, a->k_bf16, k + d);
    return sum * a->scale;
}

/* weight: [keys], a work area */
static void attend(const struct attention *a, int image, int head, int query, double *weight)
{
    int64_t first = (int64_t)head * a->head_dim, q = image * a->q_image_ld + query * a->q_ld + first,
            k = image * a->k_image_ld + first, v = image * a->v_image_ld + first,
            out = image * a->out_image_ld + query * a->out_ld + first;
    int keys = a->causal && query + 1 < a->keys ? query + 1 : a->keys;
    double top = -INFINITY, total = 0;
    for (int j = 0; j < keys; j++) {
        weight[j] = score(a, q, k + j * a->k_ld);
        top = fmax(top, weight[j]);
    }
    for (int j = 0; j < keys; j++) {
        weight[j] = exp(weight[j] - top);
        total += weight[j];
    }
    for (int d = 0; d < a->head_dim; d++) {
        double sum = 0;
        for (int j = 0; j < keys; j++)
            sum += weight[j] * element(a->v, a->v_bf16, v + j * a->v_ld + d);
        if (a->out_bf16)
            a->out_bf16[out + d] = bf16_of((float)(sum / total));
        else
            a->out[out + d] = (float)(sum / total);
    }
}

void attention_ref(const struct attention *a, int part, int parts)
{
    int64_t all = (int64_t)a->images * a->heads * a->queries;
    /* There is room for more than 32 floats a key. */
    double *weight = (double *)(void *)(a->scratch + (size_t)part * a->scratch_ld);
    for (int64_t i = all * part / parts; i < all * (part + 1) / parts; i++)
        attend(a, (int)(i / a->queries / a->heads), (int)(i / a->queries % a->heads), (int)(i % a->queries),
               weight);
}
