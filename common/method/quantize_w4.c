/* See quantize_w4.h. */
#include "common/method/quantize_w4.h"
#include "common/base/mem.h"
#include "common/base/vector.h"
#include "kernels/cpu/cpu.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { TOP = QUANTIZE_W4_SCALES, LEVELS = 16, PASSES = 2, CHUNK_ROWS = 4, GROUP_MOST = 64 };

/* Magnitudes of the Lloyd-Max quantizer with 16 symmetric levels for Gaussian groups divided by their largest
 * magnitude: groups of up to 16, 32, more (64). By iteration over 400000 simulated groups (scripts/golden/
 * quantizers.py). */
static const float magnitudes[3][8] = {
    {0.05285f, 0.15966f, 0.26964f, 0.38486f, 0.50864f, 0.64466f, 0.79896f, 0.98148f},
    {0.05009f, 0.15133f, 0.25575f, 0.36582f, 0.48531f, 0.61895f, 0.77476f, 0.96897f},
    {0.04729f, 0.14292f, 0.24182f, 0.34662f, 0.46110f, 0.59085f, 0.74634f, 0.95044f},
};

int quantize_w4_open(struct quantize_w4 *q, struct error *e)
{
    size_t n = (size_t)q->rows, k = (size_t)q->columns;
    if (q->group < 2 || q->group > GROUP_MOST || q->columns % q->group)
        return error_set(e, HASTEN_EFAIL, "internal: groups of %d do not divide %lld columns", q->group,
                         (long long)q->columns);
    q->codes = mem_array(n, k, e);
    q->s_rel = mem_array(n, k / (size_t)q->group, e);
    q->scale = mem_array(n, sizeof *q->scale, e);
    if (q->codes && q->s_rel && q->scale)
        return 0;
    quantize_w4_close(q);
    return -1;
}

void quantize_w4_close(struct quantize_w4 *q)
{
    mem_free(q->codes);
    mem_free(q->s_rel);
    mem_free(q->scale);
    q->codes = q->s_rel = NULL;
    q->scale = NULL;
}

/* ---- e4m3, positive ---- */

/* The code of the nearest value; ties to the lower. */
static uint8_t to_e4m3(float x, const float values[TOP])
{
    int low = 0, high = TOP - 1; /* code 127 is NaN */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        *(values[middle] <= x ? &low : &high) = middle;
    }
    return (uint8_t)(x - values[low] > values[high] - x ? high : low);
}

/* ---- one group ---- */

struct fit {
    struct quantize_w4 *q;
    const float *w, *importance;
    float e4m3[TOP];    /* of each s_rel */
    unsigned char *bad; /* rows with NaN or Inf */
    float *room;        /* [rows][groups] scales of groups */
};

static float weight_of(const struct fit *f, int64_t column)
{
    return f->importance ? f->importance[column] : 1;
}

/* The nearest of 16 rising levels: how many of the borders between them lie below. */
static int nearest(const float borders[LEVELS - 1], float x)
{
    int code = 0;
    for (int i = 0; i < LEVELS - 1; i++)
        code += x > borders[i];
    return code;
}

static void borders_of(const float levels[LEVELS], float borders[LEVELS - 1])
{
    for (int i = 0; i < LEVELS - 1; i++)
        borders[i] = 0.5f * (levels[i] + levels[i + 1]);
}

typedef float values16 __attribute__((vector_size(64)));
typedef int integers16 __attribute__((vector_size(64)));

/* nearest() of n values, several at a time. */
ANY_VECTOR static void nearest_all(const float borders[LEVELS - 1], const float *x, int n, int *codes)
{
    for (int at = 0; at < n; at += LEVELS) { /* x and codes have room for GROUP_MOST */
        values16 value;
        integers16 code = {0};
        memcpy(&value, x + at, sizeof value);
        for (int b = 0; b < LEVELS - 1; b++)
            code -= value > borders[b]; /* -1 where it is */
        memcpy(codes + at, &code, sizeof code);
    }
}

/* The scale of a group: from its largest magnitude, then twice the least-squares one for its nearest levels.
 */
static float group_scale(const struct fit *f, const float *w, int64_t column)
{
    const float *c = f->q->codebook;
    float most = 0, borders[LEVELS - 1], x[GROUP_MOST] = {0};
    int codes[GROUP_MOST];
    for (int i = 0; i < f->q->group; i++)
        most = fmaxf(most, fabsf(w[i]));
    float rho = most / fmaxf(c[LEVELS - 1], -c[0]);
    borders_of(c, borders);
    for (int pass = 0; pass < PASSES && rho > 0; pass++) {
        double above = 0, below = 0;
        float inverse = 1 / rho;
        if (!isfinite(inverse))
            return 0;
        for (int i = 0; i < f->q->group; i++)
            x[i] = w[i] * inverse;
        nearest_all(borders, x, f->q->group, codes);
        for (int i = 0; i < f->q->group; i++) {
            float level = c[codes[i]], h = weight_of(f, column + i);
            above += (double)(h * w[i] * level);
            below += (double)(h * level * level);
        }
        rho = below > 0 ? (float)(above / below) : 0;
    }
    return rho > 0 ? rho : 0;
}

/* Codes of one group with this scale of it; the error in units of the row's scale. */
static double choose_codes(const struct fit *f, const float *w, int64_t column, float inverse, uint8_t s_rel,
                           uint8_t *codes)
{
    const float *levels = f->q->integers[s_rel];
    float x[GROUP_MOST] = {0};
    int code[GROUP_MOST];
    double error = 0;
    for (int i = 0; i < f->q->group; i++)
        x[i] = w[i] * inverse;
    nearest_all(f->q->borders[s_rel], x, f->q->group, code);
    for (int i = 0; i < f->q->group; i++) {
        codes[i] = (uint8_t)code[i];
        float d = x[i] - levels[code[i]];
        error += (double)(weight_of(f, column + i) * d * d);
    }
    return error;
}

static void fit_row(const struct fit *f, int64_t row)
{
    struct quantize_w4 *q = f->q;
    int64_t groups = q->columns / q->group;
    const float *w = f->w + row * q->columns;
    uint8_t *codes = q->codes + row * q->columns, *s_rel = q->s_rel + row * groups, other[GROUP_MOST];
    float poison = 0, most = 0;
    for (int64_t k = 0; k < q->columns; k++)
        poison += w[k] * 0;
    f->bad[row] = (unsigned char)(isnan(poison) != 0);
    q->scale[row] = 0;
    if (f->bad[row])
        return;
    float *rho = f->room + row * groups;
    for (int64_t g = 0; g < groups; g++) {
        rho[g] = group_scale(f, w + g * q->group, g * q->group);
        most = fmaxf(most, rho[g]);
    }
    float scale = most * fmaxf(q->codebook[LEVELS - 1], -q->codebook[0]) / TOP;
    if (scale < FLT_MIN) { /* a row of zeros */
        memset(codes, LEVELS / 2, (size_t)q->columns);
        memset(s_rel, 0, (size_t)groups);
        return;
    }
    q->scale[row] = scale;
    for (int64_t g = 0; g < groups; g++) {
        int64_t at = g * q->group;
        uint8_t first = to_e4m3(rho[g] / scale, f->e4m3);
        double least = choose_codes(f, w + at, at, 1 / scale, first, codes + at);
        s_rel[g] = first;
        /* Its neighbours are 6 to 12 % away; what the integers lose differs. */
        for (int step = -1; step <= 1 && first; step += 2) {
            uint8_t s = (uint8_t)(first + step);
            if (s >= TOP)
                continue;
            double error = choose_codes(f, w + at, at, 1 / scale, s, other);
            if (error < least) {
                least = error;
                s_rel[g] = s;
                memcpy(codes + at, other, (size_t)q->group);
            }
        }
    }
}

static void fit_rows(void *data, int part, int parts)
{
    const struct fit *f = data;
    struct span span = team_span(f->q->rows, CHUNK_ROWS, part, parts);
    for (int64_t row = span.begin; row < span.end; row++)
        fit_row(f, row);
}

static void choose_codebook(struct quantize_w4 *q, int linear)
{
    const float *m = magnitudes[q->group <= 16 ? 0 : q->group <= 32 ? 1 : 2];
    for (int i = 0; i < LEVELS; i++)
        q->codebook[i] = linear ? (float)(i - 8) / 8 : i < 8 ? -m[7 - i] : m[i - 8];
}

int quantize_w4_fit(struct quantize_w4 *q, const float *w, const float *importance, int linear,
                    struct team *team, struct error *e)
{
    struct fit f = {.q = q, .w = w, .importance = importance};
    f.bad = mem_array((size_t)q->rows, 1, e);
    f.room = mem_array((size_t)q->rows, (size_t)(q->columns / q->group) * sizeof *f.room, e);
    if (!f.bad || !f.room) {
        mem_free(f.bad);
        mem_free(f.room);
        return -1;
    }
    choose_codebook(q, linear);
    for (int i = 0; i < TOP; i++) {
        f.e4m3[i] = mm_e4m3((uint8_t)i);
        for (int k = 0; k < LEVELS; k++)
            q->integers[i][k] = (float)mm_int4_value(q->codebook[k], (uint8_t)i);
        borders_of(q->integers[i], q->borders[i]);
    }
    if (team)
        team_run(team, fit_rows, &f);
    else
        fit_rows(&f, 0, 1);
    int status = 0;
    for (int64_t row = 0; status == 0 && row < q->rows; row++) {
        int64_t k = 0;
        while (f.bad[row] && k < q->columns && isfinite(w[row * q->columns + k]))
            k++;
        if (f.bad[row])
            status = error_set(e, HASTEN_EFILE, "the weight at row %lld, column %lld is %f", (long long)row,
                               (long long)k, (double)w[row * q->columns + k]);
    }
    mem_free(f.bad);
    mem_free(f.room);
    return status;
}

float quantize_w4_round(void *context, int64_t row, int64_t column, float w)
{
    struct quantize_w4 *q = context;
    float scale = q->scale[row];
    int s = q->s_rel[row * (q->columns / q->group) + column / q->group],
        code = nearest(q->borders[s], scale > 0 ? w / scale : 0);
    q->codes[row * q->columns + column] = (uint8_t)code;
    return scale * q->integers[s][code];
}

void quantize_w4_pack(const struct quantize_w4 *q, uint8_t *bytes)
{
    for (int64_t i = 0; i < q->rows * q->columns / 2; i++)
        bytes[i] = (uint8_t)(q->codes[2 * i] | q->codes[2 * i + 1] << 4);
}

struct restore {
    const struct quantize_w4 *q;
    float *out;
};

static void restore_rows(void *data, int part, int parts)
{
    const struct restore *r = data;
    const struct quantize_w4 *q = r->q;
    struct span span = team_span(q->rows, CHUNK_ROWS, part, parts);
    for (int64_t row = span.begin; row < span.end; row++)
        for (int64_t g = 0; g < q->columns / q->group; g++) {
            const float *levels = q->integers[q->s_rel[row * (q->columns / q->group) + g]];
            for (int64_t i = row * q->columns + g * q->group, end = i + q->group; i < end; i++)
                r->out[i] = q->scale[row] * levels[q->codes[i]];
        }
}

void quantize_w4_restore(const struct quantize_w4 *q, struct team *team, float *out)
{
    struct restore r = {q, out};
    if (team)
        team_run(team, restore_rows, &r);
    else
        restore_rows(&r, 0, 1);
}

void quantize_w4_report(const struct quantize_w4 *q, const float *w, struct quantize_report *report)
{
    double error = 0, norm = 0;
    *report = (struct quantize_report){0};
    for (int64_t row = 0; row < q->rows; row++) {
        double row_error = 0, row_norm = 0;
        for (int64_t g = 0; g < q->columns / q->group; g++) {
            const float *levels = q->integers[q->s_rel[row * (q->columns / q->group) + g]];
            for (int64_t i = row * q->columns + g * q->group, end = i + q->group; i < end; i++) {
                double d = (double)w[i] - (double)q->scale[row] * (double)levels[q->codes[i]];
                row_error += d * d;
                row_norm += (double)w[i] * (double)w[i];
            }
        }
        error += row_error;
        norm += row_norm;
        report->zero_rows += q->scale[row] == 0;
        if (row_norm > 0)
            report->worst_row = fmax(report->worst_row, sqrt(row_error / row_norm));
    }
    report->rel_l2 = norm > 0 ? sqrt(error / norm) : 0;
}
