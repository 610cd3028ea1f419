/* See quantize_w8.h. */
#include "common/method/quantize_w8.h"
#include "common/base/mem.h"
#include "common/base/vector.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    TOP = 127,
    CHUNK_ROWS = 8,
    LANES = 8, /* sums and maxima are kept apart by column modulo this, whatever the processor does at once */
};

/* What happened to a row; error < 0 marks a NaN or Inf in it. */
struct row_result {
    double error, norm;
    int zero;
};

struct w8_job {
    const float *w;
    int64_t columns, rows;
    int8_t *q;
    float *scale;
    struct row_result *results;
};

/* The sum with 1.5 * 2^23 has no room for a fraction: rounded to nearest, ties to even, as rintf does and
 * without a call of it. Only of values below 2^22, which clipping sees to. */
static inline float to_level(float w, float scale)
{
    float level = w / scale;
    level = level > TOP ? TOP : level < -TOP ? -TOP : level;
    return (level + 0x1.8p23f) - 0x1.8p23f;
}

/* One loop for all columns, in lanes: the compiler makes vectors of it. */
ANY_VECTOR static void survey(const float *w, int64_t columns, float *largest, float *poison, double *norm)
{
    float most[LANES] = {0}, bad[LANES] = {0};
    double sum[LANES] = {0};
    int64_t k = 0;
    for (; k + LANES <= columns; k += LANES)
        for (int i = 0; i < LANES; i++) {
            float x = w[k + i], size = fabsf(x);
            most[i] = size > most[i] ? size : most[i];
            bad[i] += x * 0;
            sum[i] += (double)x * (double)x;
        }
    for (; k < columns; k++) {
        float size = fabsf(w[k]);
        most[0] = size > most[0] ? size : most[0];
        bad[0] += w[k] * 0;
        sum[0] += (double)w[k] * (double)w[k];
    }
    *largest = *poison = 0;
    *norm = 0;
    for (int i = 0; i < LANES; i++) {
        *largest = most[i] > *largest ? most[i] : *largest;
        *poison += bad[i];
        *norm += sum[i];
    }
}

/* Codes of a row, and the squared error. */
ANY_VECTOR static double round_row(const float *w, int64_t columns, float scale, int8_t *q)
{
    double sum[LANES] = {0}, all = 0;
    int64_t k = 0;
    for (; k + LANES <= columns; k += LANES)
        for (int i = 0; i < LANES; i++) {
            float level = to_level(w[k + i], scale);
            double d = (double)w[k + i] - (double)scale * (double)level;
            q[k + i] = (int8_t)(int32_t)level;
            sum[i] += d * d;
        }
    for (; k < columns; k++) {
        float level = to_level(w[k], scale);
        double d = (double)w[k] - (double)scale * (double)level;
        q[k] = (int8_t)(int32_t)level;
        sum[0] += d * d;
    }
    for (int i = 0; i < LANES; i++)
        all += sum[i];
    return all;
}

static struct row_result quantize_row(const struct w8_job *job, int64_t row)
{
    const float *w = job->w + row * job->columns;
    int8_t *q = job->q + row * job->columns;
    struct row_result r = {0};
    float largest, poison;
    survey(w, job->columns, &largest, &poison, &r.norm);
    if (isnan(poison)) {
        r.error = -1;
        return r;
    }
    r.zero = largest / TOP < FLT_MIN;
    float scale = r.zero ? 0 : largest / TOP;
    job->scale[row] = scale;
    if (!r.zero) {
        r.error = round_row(w, job->columns, scale, q);
        return r;
    }
    memset(q, 0, (size_t)job->columns);
    r.error = r.norm;
    return r;
}

static void quantize_rows(void *data, int part, int parts)
{
    struct w8_job *job = data;
    struct span span = team_span(job->rows, CHUNK_ROWS, part, parts);
    for (int64_t row = span.begin; row < span.end; row++)
        job->results[row] = quantize_row(job, row);
}

static int bad_entry(const struct w8_job *job, int64_t row, struct error *e)
{
    int64_t k = 0;
    while (isfinite(job->w[row * job->columns + k]))
        k++;
    return error_set(e, HASTEN_EFILE, "the weight at row %lld, column %lld is %f", (long long)row,
                     (long long)k, (double)job->w[row * job->columns + k]);
}

int quantize_w8(const float *w, int64_t rows, int64_t columns, struct team *team, int8_t *q, float *scale,
                struct quantize_report *report, struct error *e)
{
    struct w8_job job = {w, columns, rows, q, scale, NULL};
    job.results = mem_array((size_t)rows, sizeof *job.results, e);
    if (!job.results)
        return -1;
    if (team)
        team_run(team, quantize_rows, &job);
    else
        quantize_rows(&job, 0, 1);
    double error = 0, norm = 0;
    int status = 0;
    *report = (struct quantize_report){0};
    for (int64_t row = 0; row < rows && status == 0; row++) {
        const struct row_result *r = &job.results[row];
        if (r->error < 0) {
            status = bad_entry(&job, row, e);
            continue;
        }
        error += r->error;
        norm += r->norm;
        report->zero_rows += r->zero;
        if (r->norm > 0)
            report->worst_row = fmax(report->worst_row, sqrt(r->error / r->norm));
    }
    report->rel_l2 = norm > 0 ? sqrt(error / norm) : 0;
    mem_free(job.results);
    return status;
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
