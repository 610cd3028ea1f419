/* See correct.h. */
#include "common/method/correct.h"
#include "common/base/mem.h"

#include <math.h>

void correct_line(const struct correct_sums *s, double *a, double *b, double *mse)
{
    *a = 1;
    *b = 0;
    if (mse)
        *mse = 0;
    if (s->n <= 0)
        return;
    double mean_x = s->x / s->n, mean_y = s->y / s->n, square = s->xx / s->n;
    double var_x = fmax(square - mean_x * mean_x, 0), var_y = fmax(s->yy / s->n - mean_y * mean_y, 0);
    double cov = s->xy / s->n - mean_x * mean_y, ridge = 1e-9 * square;
    if (var_x + ridge > 0)
        *a = (cov + ridge) / (var_x + ridge);
    *b = mean_y - *a * mean_x;
    if (mse)
        *mse = fmax(var_y - 2 * *a * cov + *a * *a * var_x, 0);
}

int correct_open(int channels, struct correct *c, struct error *e)
{
    if (channels < 1)
        return error_set(e, HASTEN_EFILE, "a feature with %d channels", channels);
    *c = (struct correct){.channels = channels, .sums = mem_array((size_t)channels, sizeof *c->sums, e)};
    return c->sums ? 0 : -1;
}

void correct_free(struct correct *c)
{
    mem_free(c->sums);
    *c = (struct correct){0};
}

static int check(const float *x, int64_t rows, int channels, const char *what, struct error *e)
{
    for (int64_t i = 0; i < rows * channels; i++)
        if (!isfinite(x[i]))
            return error_set(e, HASTEN_EFAIL, "%s has %f at row %lld, channel %lld", what, (double)x[i],
                             (long long)(i / channels), (long long)(i % channels));
    return 0;
}

int correct_add(struct correct *c, const float *x, const float *y, int64_t rows, struct error *e)
{
    if (check(x, rows, c->channels, "the feature at the refresh", e) < 0 ||
        check(y, rows, c->channels, "the feature at the served call", e) < 0)
        return -1;
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < c->channels; i++) {
            double u = x[r * c->channels + i], v = y[r * c->channels + i];
            struct correct_sums *s = &c->sums[i];
            s->n += 1;
            s->x += u;
            s->y += v;
            s->xx += u * u;
            s->xy += u * v;
            s->yy += v * v;
        }
    return 0;
}

void correct_merge(struct correct *into, const struct correct *from)
{
    for (int i = 0; i < into->channels; i++) {
        struct correct_sums *s = &into->sums[i];
        const struct correct_sums *f = &from->sums[i];
        s->n += f->n;
        s->x += f->x;
        s->y += f->y;
        s->xx += f->xx;
        s->xy += f->xy;
        s->yy += f->yy;
    }
}

void correct_fit(const struct correct *c, float *a, float *b, double *mse)
{
    double sum = 0;
    for (int i = 0; i < c->channels; i++) {
        double scale, offset, rest;
        correct_line(&c->sums[i], &scale, &offset, &rest);
        a[i] = (float)scale;
        b[i] = (float)offset;
        sum += rest;
    }
    if (mse)
        *mse = sum / c->channels;
}
