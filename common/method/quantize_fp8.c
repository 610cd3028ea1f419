/* See quantize_fp8.h. */
#include "common/method/quantize_fp8.h"
#include "common/base/mem.h"
#include "kernels/cpu/cpu.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST = 448, CHUNK_ROWS = 8 };

struct fp8_job {
    const float *w;
    int64_t rows, columns;
    uint8_t *q;
    float *scale;
    double *error, *norm; /* of each row; error < 0: NaN or Inf in it */
};

/* |x| <= 448 (1 + 2^-24). The step between neighbours is 2^(exponent - 3), and 2^-9 below 2^-6. */
static uint8_t to_e4m3(float x)
{
    float most = fabsf(x);
    int exponent;
    frexpf(most, &exponent);
    exponent = most < 0x1p-6f ? -5 : exponent;               /* value in [2^(exponent-1), 2^exponent) */
    int steps = (int)nearbyintf(ldexpf(most, 4 - exponent)); /* 8..16, or 0..8 below 2^-6 */
    int code = (exponent + 6) * 8 + steps - 8; /* 16 steps carry into the exponent by themselves */
    code = most < 0x1p-6f ? steps : code > 126 ? 126 : code;
    return (uint8_t)(code | (x < 0 ? 128 : 0));
}

static void quantize_rows(void *data, int part, int parts)
{
    struct fp8_job *j = data;
    struct span span = team_span(j->rows, CHUNK_ROWS, part, parts);
    for (int64_t row = span.begin; row < span.end; row++) {
        const float *w = j->w + row * j->columns;
        float most = 0, poison = 0;
        for (int64_t k = 0; k < j->columns; k++) {
            most = fmaxf(most, fabsf(w[k]));
            poison += w[k] * 0;
        }
        float scale = most / MOST;
        j->scale[row] = scale < FLT_MIN ? 0 : scale;
        j->error[row] = isnan(poison) ? -1 : 0;
        for (int64_t k = 0; k < j->columns && !isnan(poison); k++) {
            uint8_t code = scale < FLT_MIN ? 0 : to_e4m3(w[k] / scale);
            double d = (double)w[k] - (double)j->scale[row] * (double)mm_e4m3(code);
            j->q[row * j->columns + k] = code;
            j->error[row] += d * d;
            j->norm[row] += (double)w[k] * (double)w[k];
        }
    }
}

int quantize_fp8(const float *w, int64_t rows, int64_t columns, struct team *team, uint8_t *q, float *scale,
                 struct quantize_report *report, struct error *e)
{
    struct fp8_job j = {w, rows, columns, q, scale, NULL, NULL};
    double error = 0, norm = 0;
    int status = -1;
    *report = (struct quantize_report){0};
    j.error = mem_array((size_t)rows, sizeof *j.error, e);
    j.norm = mem_array((size_t)rows, sizeof *j.norm, e);
    if (!j.error || !j.norm)
        goto out;
    if (team)
        team_run(team, quantize_rows, &j);
    else
        quantize_rows(&j, 0, 1);
    status = 0;
    for (int64_t row = 0; row < rows && status == 0; row++) {
        int64_t k = 0;
        while (j.error[row] < 0 && isfinite(w[row * columns + k]))
            k++;
        if (j.error[row] < 0)
            status = error_set(e, HASTEN_EFILE, "the weight at row %lld, column %lld is %f", (long long)row,
                               (long long)k, (double)w[row * columns + k]);
        error += j.error[row];
        norm += j.norm[row];
        report->zero_rows += scale[row] == 0;
        if (j.norm[row] > 0)
            report->worst_row = fmax(report->worst_row, sqrt(j.error[row] / j.norm[row]));
    }
    report->rel_l2 = norm > 0 ? sqrt(error / norm) : 0;
out:
    mem_free(j.error);
    mem_free(j.norm);
    return status;
}

void quantize_fp8_restore(const uint8_t *q, const float *scale, int64_t rows, int64_t columns, float *out)
{
    for (int64_t i = 0; i < rows * columns; i++)
        out[i] = scale[i / columns] * mm_e4m3(q[i]);
}
