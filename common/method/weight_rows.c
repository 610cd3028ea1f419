/* See weight_rows.h. */
#include "common/method/weight_rows.h"
#include "common/base/mem.h"
#include "common/base/vector.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK_ROWS = 8,
    STRETCH = WEIGHT_STRETCH,
    LANES = 8, /* sums and maxima are kept apart by column modulo this, whatever the processor does at once */
};

/* What happened to a row; error < 0 marks a NaN or Inf in it. */
struct row_result {
    double error, norm;
    int zero;
};

struct row_job {
    const struct weight_rows *w;
    float top;
    weight_round *round;
    float *room; /* a row for each part, which stays in its cache */
    uint8_t *code;
    float *scale;
    struct row_result *results;
};

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
static double round_row(const float *w, int64_t columns, float scale, weight_round *round, uint8_t *code)
{
    double sum[LANES] = {0}, all = 0;
    for (int64_t at = 0; at < columns; at += STRETCH) {
        int n = columns - at < STRETCH ? (int)(columns - at) : STRETCH, whole = n / LANES * LANES;
        float level[STRETCH];
        round(w + at, n, scale, level, code + at);
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

static struct row_result quantize_row(const struct row_job *job, int64_t row, const float *w)
{
    int64_t columns = job->w->columns;
    uint8_t *code = job->code + row * columns;
    struct row_result r = {0};
    float largest;
    if (!survey(w, columns, &largest, &r.norm)) {
        r.error = -1;
        return r;
    }
    r.zero = largest / job->top < FLT_MIN;
    float scale = r.zero ? 0 : largest / job->top;
    job->scale[row] = scale;
    if (!r.zero) {
        r.error = round_row(w, columns, scale, job->round, code);
        return r;
    }
    memset(code, 0, (size_t)columns);
    r.error = r.norm;
    return r;
}

static void quantize_rows(void *data, int part, int parts)
{
    struct row_job *job = data;
    const struct weight_rows *w = job->w;
    struct span span = team_span(w->rows, CHUNK_ROWS, part, parts);
    float *room = job->room + (int64_t)part * w->columns;
    for (int64_t row = span.begin; row < span.end; row++) {
        w->get(w->context, row, 1, room);
        job->results[row] = quantize_row(job, row, room);
    }
}

static int bad_entry(const struct row_job *job, int64_t row, struct error *e)
{
    int64_t k = 0;
    job->w->get(job->w->context, row, 1, job->room);
    while (isfinite(job->room[k]))
        k++;
    return error_set(e, HASTEN_EFILE, "the weight at row %lld, column %lld is %f", (long long)row,
                     (long long)k, (double)job->room[k]);
}

static int sum_up(const struct row_job *job, struct quantize_report *report, struct error *e)
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

int weight_rows_quantize(const struct weight_rows *w, float top, weight_round *round, struct team *team,
                         uint8_t *code, float *scale, struct quantize_report *report, struct error *e)
{
    struct row_job job = {.w = w, .top = top, .round = round, .code = code, .scale = scale};
    size_t parts = team ? (size_t)team_size(team) : 1;
    job.results = mem_array((size_t)w->rows, sizeof *job.results, e);
    job.room = mem_room(parts * (size_t)w->columns, sizeof *job.room, e);
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

void weight_matrix_rows(void *context, int64_t row, int64_t rows, float *out)
{
    const struct weight_matrix *m = context;
    memcpy(out, m->w + row * m->columns, (size_t)(rows * m->columns) * sizeof *out);
}
