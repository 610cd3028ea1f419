/* See latent_score.h. */
#include "common/method/latent_score.h"
#include "common/base/mem.h"

#include <math.h>

int latent_open(int64_t elements, struct latent_stats *s, struct error *e)
{
    if (elements < 1)
        return error_set(e, HASTEN_EFILE, "latents of %lld elements", (long long)elements);
    *s = (struct latent_stats){.elements = elements};
    s->mean = mem_array((size_t)elements, sizeof(double), e);
    s->squares = mem_array((size_t)elements, sizeof(double), e);
    if (s->mean && s->squares)
        return 0;
    latent_free(s);
    return -1;
}

void latent_free(struct latent_stats *s)
{
    mem_free(s->mean);
    mem_free(s->squares);
    *s = (struct latent_stats){0};
}

int latent_add(struct latent_stats *s, const float *latent, struct error *e)
{
    for (int64_t i = 0; i < s->elements; i++)
        if (!isfinite(latent[i]))
            return error_set(e, HASTEN_EFAIL, "element %lld of latent %lld is %f", (long long)i,
                             (long long)s->count, (double)latent[i]);
    s->count++;
    for (int64_t i = 0; i < s->elements; i++) {
        double before = (double)latent[i] - s->mean[i];
        s->mean[i] += before / (double)s->count;
        s->squares[i] += before * ((double)latent[i] - s->mean[i]);
    }
    return 0;
}

static double deviation(const struct latent_stats *s, int64_t i)
{
    return s->count > 1 ? sqrt(s->squares[i] / (double)(s->count - 1)) : 0;
}

double latent_score(const struct latent_stats *a, const struct latent_stats *b)
{
    double means = 0, deviations = 0;
    for (int64_t i = 0; i < a->elements; i++) {
        double m = a->mean[i] - b->mean[i], s = deviation(a, i) - deviation(b, i);
        means += m * m;
        deviations += s * s;
    }
    return sqrt(means) + sqrt(deviations);
}

double latent_paired(const float *a, const float *b, int64_t seeds, int64_t elements)
{
    double sum = 0;
    for (int64_t n = 0; n < seeds; n++) {
        double squares = 0;
        for (int64_t i = n * elements; i < (n + 1) * elements; i++) {
            double d = (double)a[i] - (double)b[i];
            squares += d * d;
        }
        sum += sqrt(squares);
    }
    return seeds ? sum / (double)seeds : 0;
}
