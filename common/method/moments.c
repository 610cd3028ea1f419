/* See frechet.h: streaming mean and covariance. */
#include "common/base/mem.h"
#include "common/method/frechet.h"

#include <math.h>

enum { DIM_MAX = 4096 };

int moments_open(int dim, struct moments *m, struct error *e)
{
    if (dim < 1 || dim > DIM_MAX)
        return error_set(e, HASTEN_EFILE, "features of dimension %d: 1 to %d are possible", dim, DIM_MAX);
    *m = (struct moments){.dim = dim};
    m->mean = mem_array((size_t)dim, sizeof(double), e);
    m->scatter = mem_array((size_t)dim * (size_t)dim, sizeof(double), e);
    m->room = mem_array((size_t)dim, sizeof(double), e);
    if (m->mean && m->scatter && m->room)
        return 0;
    moments_free(m);
    return -1;
}

void moments_free(struct moments *m)
{
    mem_free(m->mean);
    mem_free(m->scatter);
    mem_free(m->room);
    *m = (struct moments){0};
}

int moments_add(struct moments *m, const float *x, struct error *e)
{
    for (int i = 0; i < m->dim; i++)
        if (!isfinite(x[i]))
            return error_set(e, HASTEN_EFAIL, "feature %d of sample %lld is %f", i, (long long)m->count,
                             (double)x[i]);
    m->count++;
    for (int i = 0; i < m->dim; i++) {
        m->room[i] = (double)x[i] - m->mean[i];
        m->mean[i] += m->room[i] / (double)m->count;
    }
    double weight = (double)(m->count - 1) / (double)m->count;
    for (int i = 0; i < m->dim; i++) {
        double *row = m->scatter + (size_t)i * (size_t)m->dim, factor = weight * m->room[i];
        for (int k = 0; k <= i; k++)
            row[k] += factor * m->room[k];
    }
    return 0;
}

void moments_merge(struct moments *into, const struct moments *from)
{
    if (from->count == 0)
        return;
    double a = (double)into->count, b = (double)from->count, n = a + b;
    for (int i = 0; i < into->dim; i++)
        into->room[i] = from->mean[i] - into->mean[i];
    for (int i = 0; i < into->dim; i++) {
        size_t row = (size_t)i * (size_t)into->dim;
        for (int k = 0; k <= i; k++)
            into->scatter[row + (size_t)k] +=
                from->scatter[row + (size_t)k] + into->room[i] * into->room[k] * (a * b / n);
        into->mean[i] += into->room[i] * (b / n);
    }
    into->count += from->count;
}

void moments_covariance(const struct moments *m, double *covariance)
{
    size_t n = (size_t)m->dim;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++)
            covariance[i * n + k] = covariance[k * n + i] =
                m->scatter[i * n + k] / (double)(m->count - 1);
}

static int check_stored(int dim, int64_t count, const double *mean, const double *covariance,
                        struct error *e)
{
    size_t n = (size_t)dim;
    double largest = 0;
    if (count < 2)
        return error_set(e, HASTEN_EFILE, "a covariance of %lld samples", (long long)count);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(mean[i]))
            return error_set(e, HASTEN_EFILE, "entry %zu of the mean is not finite", i);
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(covariance[i]))
            return error_set(e, HASTEN_EFILE, "entry (%zu, %zu) of the covariance is not finite", i / n,
                             i % n);
        largest = fmax(largest, fabs(covariance[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (covariance[i * n + i] < 0)
            return error_set(e, HASTEN_EFILE, "variance %zu of the covariance is negative", i);
        for (size_t k = 0; k < i; k++)
            if (fabs(covariance[i * n + k] - covariance[k * n + i]) > 1e-6 * largest)
                return error_set(e, HASTEN_EFILE, "the covariance is not symmetric at (%zu, %zu)", i, k);
    }
    return 0;
}

int moments_from(int dim, int64_t count, const double *mean, const double *covariance, struct moments *m,
                 struct error *e)
{
    if (moments_open(dim, m, e) < 0)
        return -1;
    if (check_stored(dim, count, mean, covariance, e) < 0) {
        moments_free(m);
        return -1;
    }
    size_t n = (size_t)dim;
    m->count = count;
    for (size_t i = 0; i < n; i++) {
        m->mean[i] = mean[i];
        for (size_t k = 0; k <= i; k++)
            m->scatter[i * n + k] =
                0.5 * (covariance[i * n + k] + covariance[k * n + i]) * (double)(count - 1);
    }
    return 0;
}
