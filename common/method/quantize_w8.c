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
    STRETCH = 512, /* columns at once */
    LANES = 8, /* sums and maxima are kept apart by column modulo this, whatever the processor does at once */
};

/* What happened to a row; error < 0 marks a NaN or Inf in it. */
struct row_result {
    double error, norm;
    int zero;
};

struct w8_job {
    const struct weight_rows *w;
    float *room; /* CHUNK_ROWS rows for each part */
    int8_t *q;
    float *scale;
    struct row_result *results;
};

/* The sum with 1.5 * 2^23 has no room for a fraction: rounded to nearest, ties to even, as rintf does and
 * without a call of it. Only of values below 2^22, which clipping sees to. */
static IN_VECTOR float to_level(float w, float scale)
{
    float level = w / scale;
    level = level > (float)TOP ? (float)TOP : level;
    level = level < (float)-TOP ? (float)-TOP : level;
    return (level + 0x1.8p23f) - 0x1.8p23f;
}

/* Loops of one kind each: the compiler makes vectors of them, which it does not of their sum. */

/* The largest of all bits without the sign: those of the largest |w|, and of a NaN or Inf, if there is one.
 */
ANY_VECTOR static int32_t largest_bits(const float *w, int64_t columns)
{
    int32_t most = 0;
    for (int64_t k = 0; k < columns; k++) {
        int32_t bits;
        memcpy(&bits, w + k, sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    return most;
}

ANY_VECTOR static void add_squares(const float *w, int64_t columns, double *sum)
{
    double own[LANES] = {0};
    for (int64_t k = 0; k < columns; k += LANES)
        for (int i = 0; i < LANES; i++)
            own[i] += (double)w[k + i] * (double)w[k + i];
    memcpy(sum, own, sizeof own);
}

/* The largest |w| and the sum of squares; 0: a NaN or Inf is among them. */
static int survey(const float *w, int64_t columns, float *largest, double *norm)
{
    int32_t bits = largest_bits(w, columns);
    int64_t k = columns / LANES * LANES;
    double sum[LANES];
    memcpy(largest, &bits, sizeof bits);
    add_squares(w, k, sum);
    for (; k < columns; k++)
        sum[0] += (double)w[k] * (double)w[k];
    *norm = 0;
    for (int i = 0; i < LANES; i++)
        *norm += sum[i];
    return isfinite(*largest);
}

ANY_VECTOR static void round_stretch(const float *w, int columns, float scale, float *level, int8_t *q)
{
    for (int k = 0; k < columns; k++)
        level[k] = to_level(w[k], scale);
    for (int k = 0; k < columns; k++)
        q[k] = (int8_t)(int32_t)level[k];
}

ANY_VECTOR static void add_errors(const float *w, int columns, float scale, const float *level, double *sum)
{
    double d[STRETCH], own[LANES];
    for (int k = 0; k < columns; k++)
        d[k] = (double)w[k] - (double)scale * (double)level[k];
    memcpy(own, sum, sizeof own);
    for (int k = 0; k < columns; k += LANES)
        for (int i = 0; i < LANES; i++)
            own[i] += d[k + i] * d[k + i];
    memcpy(sum, own, sizeof own);
}

/* Codes of a row, and the squared error. */
static double round_row(const float *w, int64_t columns, float scale, int8_t *q)
{
    double sum[LANES] = {0}, all = 0;
    for (int64_t at = 0; at < columns; at += STRETCH) {
        int n = columns - at < STRETCH ? (int)(columns - at) : STRETCH, whole = n / LANES * LANES;
        float level[STRETCH];
        round_stretch(w + at, n, scale, level, q + at);
        add_errors(w + at, whole, scale, level, sum);
        for (int k = whole; k < n; k++) {
            double d = (double)w[at + k] - (double)scale * (double)level[k];
            sum[0] += d * d;
        }
    }
    for (int i = 0; i < LANES; i++)
        all += sum[i];
    return all;
}

static struct row_result quantize_row(const struct w8_job *job, int64_t row, const float *w)
{
    int64_t columns = job->w->columns;
    int8_t *q = job->q + row * columns;
    struct row_result r = {0};
    float largest;
    if (!survey(w, columns, &largest, &r.norm)) {
        r.error = -1;
        return r;
    }
    r.zero = largest / TOP < FLT_MIN;
    float scale = r.zero ? 0 : largest / TOP;
    job->scale[row] = scale;
    if (!r.zero) {
        r.error = round_row(w, columns, scale, q);
        return r;
    }
    memset(q, 0, (size_t)columns);
    r.error = r.norm;
    return r;
}

static void quantize_rows(void *data, int part, int parts)
{
    struct w8_job *job = data;
    const struct weight_rows *w = job->w;
    struct span span = team_span(w->rows, CHUNK_ROWS, part, parts);
    float *room = job->room + (int64_t)part * CHUNK_ROWS * w->columns;
    for (int64_t first = span.begin; first < span.end; first += CHUNK_ROWS) {
        int64_t count = span.end - first < CHUNK_ROWS ? span.end - first : CHUNK_ROWS;
        w->get(w->context, first, count, room);
        for (int64_t i = 0; i < count; i++)
            job->results[first + i] = quantize_row(job, first + i, room + i * w->columns);
    }
}

static int bad_entry(const struct w8_job *job, int64_t row, struct error *e)
{
    int64_t k = 0;
    job->w->get(job->w->context, row, 1, job->room);
    while (isfinite(job->room[k]))
        k++;
    return error_set(e, HASTEN_EFILE, "the weight at row %lld, column %lld is %f", (long long)row,
                     (long long)k, (double)job->room[k]);
}

static int sum_up(const struct w8_job *job, struct quantize_report *report, struct error *e)
{
    double error = 0, norm = 0;
    *report = (struct quantize_report){0};
    for (int64_t row = 0; row < job->w->rows; row++) {
        const struct row_result *r = &job->results[row];
        if (r->error < 0)
            return bad_entry(job, row, e);
        error += r->error;
        norm += r->norm;
        report->zero_rows += r->zero;
        if (r->norm > 0)
            report->worst_row = fmax(report->worst_row, sqrt(r->error / r->norm));
    }
    report->rel_l2 = norm > 0 ? sqrt(error / norm) : 0;
    return 0;
}

int quantize_w8_rows(const struct weight_rows *w, struct team *team, int8_t *q, float *scale,
                     struct quantize_report *report, struct error *e)
{
    struct w8_job job = {.w = w, .q = q, .scale = scale};
    size_t parts = team ? (size_t)team_size(team) : 1;
    job.results = mem_array((size_t)w->rows, sizeof *job.results, e);
    job.room = mem_array(parts * CHUNK_ROWS * (size_t)w->columns, sizeof *job.room, e);
    int status = job.results && job.room ? 0 : -1;
    if (status == 0) {
        if (team)
            team_run(team, quantize_rows, &job);
        else
            quantize_rows(&job, 0, 1);
        status = sum_up(&job, report, e);
    }
    mem_free(job.results);
    mem_free(job.room);
    return status;
}

struct matrix {
    const float *w;
    int64_t columns;
};

static void copy_rows(void *context, int64_t row, int64_t rows, float *out)
{
    const struct matrix *m = context;
    memcpy(out, m->w + row * m->columns, (size_t)(rows * m->columns) * sizeof *out);
}

int quantize_w8(const float *w, int64_t rows, int64_t columns, struct team *team, int8_t *q, float *scale,
                struct quantize_report *report, struct error *e)
{
    struct matrix m = {w, columns};
    struct weight_rows all = {copy_rows, &m, rows, columns};
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
