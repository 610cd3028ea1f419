/* See neighbours.h. */
#include "common/method/neighbours.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { LANES = 8 };

struct job {
    const float *x;
    int height, width, channels;
    double *row; /* [height][NEIGHBOUR_LAGS]: sums of each row of pixels, added in order */
};

/* Lags in order: (0, 0), (0, 1), (0, 2), (1, -2), ..., (1, 2), (2, -2), ..., (2, 2). */
static int lag_of(int dy, int dx) { return dy == 0 ? dx : 5 * dy + dx; }

static double dot(const float *a, const float *b, int n)
{
    float sum[LANES] = {0};
    double all = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    for (int k = 0; k < LANES; k++)
        all += (double)sum[k];
    return all;
}

static void sum_rows(void *data, int part, int parts)
{
    const struct job *j = data;
    struct span span = team_span(j->height, 1, part, parts);
    for (int y = (int)span.begin; y < span.end; y++)
        for (int dy = 0; dy <= 2 && y + dy < j->height; dy++)
            for (int dx = dy ? -2 : 0; dx <= 2; dx++) {
                const float *a = j->x + (int64_t)y * j->width * j->channels,
                            *b = a + ((int64_t)dy * j->width + dx) * j->channels;
                double sum = 0;
                for (int x = dx < 0 ? -dx : 0; x < j->width && x + dx < j->width; x++)
                    sum += dot(a + (int64_t)x * j->channels, b + (int64_t)x * j->channels, j->channels);
                j->row[y * NEIGHBOUR_LAGS + lag_of(dy, dx)] = sum;
            }
}

int neighbour_products(const float *x, int height, int width, int channels, struct team *team,
                       double *products, struct error *e)
{
    struct job j = {x, height, width, channels, NULL};
    j.row = mem_array((size_t)height * NEIGHBOUR_LAGS, sizeof *j.row, e);
    if (!j.row)
        return -1;
    if (team)
        team_run(team, sum_rows, &j);
    else
        sum_rows(&j, 0, 1);
    double pixels = (double)height * width;
    for (int y = 0; y < height; y++)
        for (int i = 0; i < NEIGHBOUR_LAGS; i++)
            products[i] += j.row[y * NEIGHBOUR_LAGS + i] / pixels;
    mem_free(j.row);
    return 0;
}

void neighbour_moment(const double *products, int h, int w, double damp, double *out)
{
    int n = h * w;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            int dy = j / w - i / w, dx = j % w - i % w, turn = dy < 0 || (dy == 0 && dx < 0);
            double like =
                products[0] > 0 ? products[lag_of(turn ? -dy : dy, turn ? -dx : dx)] / products[0] : i == j;
            out[i * n + j] = like + (i == j ? damp : 0);
        }
}

void neighbour_prior(int h, int w, double damp, double *out)
{
    int n = h * w;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            out[i * n + j] = 0.3 + 0.7 * pow(0.5, hypot(i / w - j / w, i % w - j % w)) + (i == j ? damp : 0);
}
