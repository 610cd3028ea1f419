/* See output_error.h. */
#include "common/method/output_error.h"
#include "common/base/mem.h"

#include <math.h>

enum { ROWS = 64, TAPS = 9 };
static const double most_work = 1e9;

struct job {
    const float *want, *got, *mean;
    const double *moment;
    double noise;
    int64_t rows, channels, stride; /* every so many rows */
    int taps;
    double root[TAPS * TAPS]; /* lower triangular, root root' = the taps' moment */
    double *above, *below, *room;
};

static double quadratic(const double *h, const double *x, int64_t n)
{
    double all = 0;
    for (int64_t i = 0; i < n; i++) {
        double sum[4] = {0, 0, 0, 0};
        const double *row = h + i * n;
        int64_t j = 0;
        for (; j + 4 <= n; j += 4)
            for (int k = 0; k < 4; k++)
                sum[k] += row[j + k] * x[j + k];
        for (; j < n; j++)
            sum[0] += row[j] * x[j];
        all += x[i] * (sum[0] + sum[1] + sum[2] + sum[3]);
    }
    return all;
}

/* A moment of taps that is not quite positive gets zeros where the root would not be real. */
static void find_root(struct job *j, const double *moment)
{
    int n = j->taps;
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++) {
            double sum = moment ? moment[i * n + k] : 1;
            for (int l = 0; l < k; l++)
                sum -= j->root[i * n + l] * j->root[k * n + l];
            double under = j->root[k * n + k];
            j->root[i * n + k] = i == k ? sqrt(fmax(sum, 0)) : under > 0 ? sum / under : 0;
        }
}

/* d: [channels * taps], in room [channels]. */
static double of_row(const struct job *j, const double *d, double *room)
{
    double sum = 0;
    for (int k = 0; k < j->taps; k++) {
        for (int64_t c = 0; c < j->channels; c++) {
            room[c] = 0;
            for (int t = k; t < j->taps; t++)
                room[c] += d[c * j->taps + t] * j->root[t * j->taps + k];
        }
        sum += quadratic(j->moment, room, j->channels);
    }
    return sum;
}

static void sum_rows(void *data, int part, int parts)
{
    struct job *j = data;
    int64_t n = j->channels * j->taps;
    struct span span = team_span((j->rows + j->stride - 1) / j->stride, 1, part, parts);
    double *x = j->room + part * (n + j->channels);
    for (int64_t i = span.begin; i < span.end; i++) {
        const float *want = j->want + i * j->stride * n, *got = j->got + i * j->stride * n;
        for (int64_t k = 0; k < n; k++)
            x[k] = (double)want[k] - (double)got[k];
        j->above[i] = of_row(j, x, x + n);
        for (int64_t k = 0; k < n; k++)
            x[k] = (double)want[k];
        double offset = 0, square = 0;
        for (int64_t k = 0; k < n; k++)
            square += (double)got[k] * (double)got[k];
        j->above[i] += j->noise * square;
        for (int64_t k = 0; j->mean && k < n; k++)
            offset += x[k] * (double)j->mean[k];
        j->below[i] = of_row(j, x, x + n) + offset * offset;
    }
}

int output_error(const float *want, const float *got, int64_t rows, int64_t channels, const float *mean,
                 const double *moment, double noise, const double *tap_moment, int taps, struct team *team,
                 double *relative, struct error *e)
{
    struct job j = {.want = want,
                    .got = got,
                    .mean = mean,
                    .noise = noise,
                    .moment = moment,
                    .rows = rows,
                    .channels = channels,
                    .stride = 1,
                    .taps = taps};
    double above = 0, below = 0;
    size_t parts = team ? (size_t)team_size(team) : 1;
    if ((double)rows * taps * (double)channels * (double)channels > most_work)
        j.stride = (rows + ROWS - 1) / ROWS;
    find_root(&j, tap_moment);
    j.above = mem_array((size_t)rows, sizeof *j.above, e);
    j.below = mem_array((size_t)rows, sizeof *j.below, e);
    j.room = mem_array(parts * (size_t)channels * (size_t)(taps + 1), sizeof *j.room, e);
    int status = j.above && j.below && j.room ? 0 : -1;
    if (status == 0 && team)
        team_run(team, sum_rows, &j);
    else if (status == 0)
        sum_rows(&j, 0, 1);
    for (int64_t i = 0; status == 0 && i < rows; i++) {
        above += j.above[i]; /* zeros where a row was left out */
        below += j.below[i];
    }
    *relative = below > 0 && above > 0 ? sqrt(above / below) : 0;
    mem_free(j.above);
    mem_free(j.below);
    mem_free(j.room);
    return status;
}
