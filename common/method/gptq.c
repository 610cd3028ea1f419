/* See gptq.h. */
#include "common/method/gptq.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum {
    ROWS = 8,    /* of weights that go through the columns together: a row of U is read once for them */
    BLOCK = 128, /* columns after which the errors reach the columns behind the block */
};

/* ---- U with U'U = h^-1 ----
 *
 * h = M M' with M upper triangular (Cholesky from the last row up); then U = M^-1, since
 * h^-1 = M^-T M^-1 = U'U. */

struct factor {
    double *h;
    int64_t n, at;
};

/* The rows above the diagonal of column `at`: M_i,at = (h_ia - sum over k > at of M_ik M_ak) / M_aa. */
static void factor_column(void *data, int part, int parts)
{
    struct factor *f = data;
    int64_t n = f->n, a = f->at;
    struct span span = team_span(a, 16, part, parts);
    const double *last = f->h + a * n;
    for (int64_t i = span.begin; i < span.end; i++) {
        double *row = f->h + i * n, sum[4] = {0, 0, 0, 0};
        int64_t k = a + 1;
        for (; k + 4 <= n; k += 4)
            for (int j = 0; j < 4; j++)
                sum[j] += row[k + j] * last[k + j];
        for (; k < n; k++)
            sum[0] += row[k] * last[k];
        row[a] = (row[a] - (sum[0] + sum[1] + sum[2] + sum[3])) / last[a];
    }
}

static int factorize(double *h, int64_t n, struct team *team, struct error *e)
{
    for (int64_t a = n - 1; a >= 0; a--) {
        double *row = h + a * n, pivot = row[a];
        for (int64_t k = a + 1; k < n; k++)
            pivot -= row[k] * row[k];
        if (!(pivot > 0) || !isfinite(pivot))
            return error_set(e, HASTEN_EFILE,
                             "the second moments of %lld channels are not positive definite at %lld (%g)",
                             (long long)n, (long long)a, pivot);
        row[a] = sqrt(pivot);
        struct factor f = {h, n, a};
        if (team)
            team_run(team, factor_column, &f);
        else
            factor_column(&f, 0, 1);
    }
    return 0;
}

/* Rows of the inverse of an upper triangular matrix, each on its own: U_i. = the solution of x M = e_i. */
struct inverse {
    const double *m;
    float *upper;
    double *room; /* [parts][n] */
    int64_t n;
};

static void invert_rows(void *data, int part, int parts)
{
    struct inverse *v = data;
    int64_t n = v->n;
    double *x = v->room + part * n;
    for (int64_t i = part; i < n; i += parts) {
        for (int64_t j = 0; j < n; j++)
            x[j] = j == i;
        for (int64_t j = i; j < n; j++) {
            const double *row = v->m + j * n;
            double value = x[j] /= row[j];
            for (int64_t k = j + 1; k < n; k++)
                x[k] -= value * row[k];
        }
        for (int64_t j = 0; j < n; j++)
            v->upper[i * n + j] = (float)x[j];
    }
}

struct weight_of {
    double value;
    int64_t column;
};

static int falling(const void *x, const void *y)
{
    const struct weight_of *a = x, *b = y;
    if (a->value != b->value)
        return a->value < b->value ? 1 : -1;
    return (a->column > b->column) - (a->column < b->column);
}

static int choose_order(struct gptq *g, const double *h, struct error *e)
{
    struct weight_of *w = mem_array((size_t)g->channels, sizeof *w, e);
    if (!w)
        return -1;
    for (int64_t i = 0; i < g->channels; i++)
        w[i] = (struct weight_of){h[i * g->channels + i], i};
    qsort(w, (size_t)g->channels, sizeof *w, falling);
    for (int64_t i = 0; i < g->channels; i++)
        g->order[i] = w[i].column;
    mem_free(w);
    return 0;
}

/* Few numbers, in their own order. */
static int open_taps(struct gptq *g, const double *moment, struct error *e)
{
    double m[GPTQ_TAPS * GPTQ_TAPS], room[GPTQ_TAPS];
    struct inverse v = {m, g->tap_upper, room, g->taps};
    g->tap_upper[0] = 1;
    if (!moment)
        return 0;
    for (int i = 0; i < g->taps * g->taps; i++)
        m[i] = moment[i];
    if (factorize(m, g->taps, NULL, e) < 0)
        return -1;
    invert_rows(&v, 0, 1);
    return 0;
}

static int open_channels(struct gptq *g, double *h, struct team *team, struct error *e)
{
    int64_t n = g->channels;
    int parts = team ? team_size(team) : 1, status = -1;
    double *sorted = mem_array((size_t)n * (size_t)n, sizeof *sorted, e),
           *room = mem_array((size_t)n * (size_t)parts, sizeof *room, e);
    if (!sorted || !room || choose_order(g, h, e) < 0)
        goto out;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            sorted[i * n + j] = h[g->order[i] * n + g->order[j]];
    if (factorize(sorted, n, team, e) < 0 || !(g->upper = mem_array((size_t)n * (size_t)n, sizeof(float), e)))
        goto out;
    struct inverse v = {sorted, g->upper, room, n};
    if (team)
        team_run(team, invert_rows, &v);
    else
        invert_rows(&v, 0, 1);
    status = 0;
out:
    mem_free(sorted);
    mem_free(room);
    return status;
}

int gptq_open(struct gptq *g, double *h, int64_t channels, const double *tap_moment, int taps,
              struct team *team, struct error *e)
{
    *g = (struct gptq){.channels = channels, .taps = taps};
    g->order = mem_array((size_t)channels, sizeof *g->order, e);
    for (int64_t i = 0; g->order && i < channels; i++)
        g->order[i] = i;
    if (g->order && open_taps(g, tap_moment, e) == 0 && (!h || open_channels(g, h, team, e) == 0))
        return 0;
    gptq_close(g);
    return -1;
}

void gptq_close(struct gptq *g)
{
    mem_free(g->upper);
    mem_free(g->order);
    *g = (struct gptq){0};
}

/* ---- rounding ---- */

struct sweep {
    const struct gptq *g;
    float *w;
    int64_t rows;
    gptq_round *round;
    void *context;
    float *room; /* [parts]: [ROWS][taps][channels] of weights, then [ROWS][taps][BLOCK] of errors */
};

/* w[from..to) -= error * u[from..to) */
static void subtract(float *w, const float *u, float error, int64_t from, int64_t to)
{
    for (int64_t j = from; j < to; j++)
        w[j] -= error * u[j];
}

/* All taps of one channel of one row; error[t * BLOCK]: what reaches tap t of the channels behind, in units
 * of U's entry for the two channels. w[t * channels + at]. */
static void round_channel(const struct sweep *s, int64_t row, int64_t at, float *w, float *error)
{
    const struct gptq *g = s->g;
    int64_t n = g->channels, taps = g->taps, channel = g->order[at];
    float own = g->upper ? g->upper[at * n + at] : 1;
    for (int64_t t = 0; t < taps; t++)
        error[t * BLOCK] = 0;
    for (int64_t t = 0; t < taps; t++) {
        const float *u = g->tap_upper + t * taps;
        int64_t column = channel * taps + t;
        /* What earlier taps of this channel left reaches it here. */
        float value = w[t * n + at] - own * error[t * BLOCK], q = s->round(s->context, row, column, value),
              here = (value - q) / (own * u[t]);
        s->w[row * n * taps + column] = q;
        for (int64_t k = t; k < taps; k++)
            error[k * BLOCK] += here * u[k];
    }
}

static void sweep_rows(const struct sweep *s, int64_t first, int64_t count, float *w, float *error)
{
    const struct gptq *g = s->g;
    int64_t n = g->channels, taps = g->taps;
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t t = 0; t < taps; t++)
                w[(r * taps + t) * n + i] = s->w[((first + r) * n + g->order[i]) * taps + t];
    for (int64_t from = 0; from < n; from += BLOCK) {
        int64_t to = from + BLOCK < n ? from + BLOCK : n;
        for (int64_t c = from; c < to; c++)
            for (int64_t r = 0; r < count; r++) {
                float *e = error + r * taps * BLOCK + c - from;
                round_channel(s, first + r, c, w + r * taps * n, e);
                for (int64_t t = 0; g->upper && t < taps; t++)
                    subtract(w + (r * taps + t) * n, g->upper + c * n, e[t * BLOCK], c + 1, to);
            }
        for (int64_t c = from; g->upper && c < to && to < n; c++)
            for (int64_t r = 0; r < count * taps; r++)
                subtract(w + r * n, g->upper + c * n, error[r * BLOCK + c - from], to, n);
    }
}

static void sweep_part(void *data, int part, int parts)
{
    const struct sweep *s = data;
    int64_t block = ROWS * s->g->taps, n = s->g->channels;
    struct span span = team_span(s->rows, ROWS, part, parts);
    float *w = s->room + part * block * (n + BLOCK), *error = w + block * n;
    for (int64_t row = span.begin; row < span.end; row += ROWS)
        sweep_rows(s, row, span.end - row < ROWS ? span.end - row : ROWS, w, error);
}

int gptq_rows(const struct gptq *g, float *w, int64_t rows, gptq_round *round, void *context,
              struct team *team, struct error *e)
{
    size_t parts = team ? (size_t)team_size(team) : 1;
    struct sweep s = {g, w, rows, round, context, NULL};
    s.room = mem_array(parts * ROWS * (size_t)g->taps * (size_t)(g->channels + BLOCK), sizeof(float), e);
    if (!s.room)
        return -1;
    if (team)
        team_run(team, sweep_part, &s);
    else
        sweep_part(&s, 0, 1);
    mem_free(s.room);
    return 0;
}
