/* See frechet.h. */
#include "common/method/frechet.h"
#include "common/base/mem.h"
#include "common/method/eigen.h"
#include "common/method/prng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES_MAX = 10000 };

/* Room for one distance: five matrices. */
struct frechet_room {
    double *first, *second, *vectors, *product, *inner, *values;
};

static int room_open(int dim, struct frechet_room *r, struct error *e)
{
    size_t square = (size_t)dim * (size_t)dim;
    r->first = mem_array(5 * square + (size_t)dim, sizeof(double), e);
    if (!r->first)
        return -1;
    r->second = r->first + square;
    r->vectors = r->second + square;
    r->product = r->vectors + square;
    r->inner = r->product + square;
    r->values = r->inner + square;
    return 0;
}

/* out = x y with y symmetric, all n x n. */
static void times_symmetric(const double *x, const double *y, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double *row = out + i * n;
        memset(row, 0, n * sizeof *row);
        for (size_t k = 0; k < n; k++) {
            double factor = x[i * n + k];
            for (size_t j = 0; j < n; j++)
                row[j] += factor * y[k * n + j];
        }
    }
}

/* tr (C1^1/2 C2 C1^1/2)^1/2: with C1 = V' L V (rows of V are eigenvectors) the matrix in brackets has the
 * eigenvalues of L^1/2 V C2 V' L^1/2. Negative ones are rounding. r->first and r->second are C1 and C2.
 */
static int trace_of_root(int dim, struct frechet_room *r, double *trace, struct error *e)
{
    size_t n = (size_t)dim;
    if (eigen_symmetric(dim, r->first, r->values, r->vectors, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        double root = sqrt(fmax(r->values[i], 0));
        for (size_t k = 0; k < n; k++)
            r->vectors[i * n + k] *= root;
    }
    times_symmetric(r->vectors, r->second, r->product, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += r->product[i * n + k] * r->vectors[j * n + k];
            r->inner[i * n + j] = sum;
        }
    if (eigen_symmetric(dim, r->inner, r->values, NULL, e) < 0)
        return -1;
    *trace = 0;
    for (size_t i = 0; i < n; i++)
        *trace += sqrt(fmax(r->values[i], 0));
    return 0;
}

static int distance(const struct moments *a, const struct moments *b, struct frechet_room *r, double *out,
                    struct error *e)
{
    double sum = 0, root;
    moments_covariance(a, r->first);
    moments_covariance(b, r->second);
    for (size_t i = 0; i < (size_t)a->dim; i++) {
        double d = a->mean[i] - b->mean[i];
        sum += d * d + r->first[i * (size_t)a->dim + i] + r->second[i * (size_t)a->dim + i];
    }
    if (trace_of_root(a->dim, r, &root, e) < 0)
        return -1;
    *out = fmax(sum - 2 * root, 0);
    return 0;
}

/* The bootstrap. */
struct bootstrap {
    const struct frechet_side *sides[2];
    double *centred[2]; /* samples minus their mean, count x dim; NULL: this side stays as it is */
    int resamples;
    uint64_t seed;
    double *distances; /* one per resample */
    struct bootstrap_part {
        struct frechet_room room;
        struct moments moments[2];
        int32_t *times[2]; /* how often each sample was drawn */
        struct error error;
    } * parts;
    int part_count;
};

static void draw(const struct bootstrap *job, struct bootstrap_part *p, int side, struct prng *random)
{
    const struct moments *whole = job->sides[side]->moments;
    struct moments *m = &p->moments[side];
    size_t n = (size_t)whole->dim, count = (size_t)whole->count;
    memset(p->times[side], 0, count * sizeof *p->times[side]);
    for (size_t i = 0; i < count; i++)
        p->times[side][prng_below(random, whole->count)]++;
    memset(m->room, 0, n * sizeof *m->room); /* the resample's mean, seen from the whole's */
    memset(m->scatter, 0, n * n * sizeof *m->scatter);
    for (size_t s = 0; s < count; s++) {
        const double *x = job->centred[side] + s * n, times = p->times[side][s];
        for (size_t i = 0; times > 0 && i < n; i++) {
            double factor = times * x[i], *row = m->scatter + i * n;
            m->room[i] += factor;
            for (size_t k = 0; k <= i; k++)
                row[k] += factor * x[k];
        }
    }
    for (size_t i = 0; i < n; i++)
        m->room[i] /= (double)count;
    for (size_t i = 0; i < n; i++) {
        m->mean[i] = whole->mean[i] + m->room[i];
        for (size_t k = 0; k <= i; k++)
            m->scatter[i * n + k] -= (double)count * m->room[i] * m->room[k];
    }
    m->count = whole->count;
}

static void resample(void *data, int part, int parts)
{
    struct bootstrap *job = data;
    struct bootstrap_part *p = &job->parts[part];
    for (int r = part; r < job->resamples; r += parts) {
        struct prng random = {job->seed};
        random.state =
            prng_next(&random) + (uint64_t)r; /* neighbours start far apart */
        random.state = prng_next(&random);
        const struct moments *use[2];
        for (int side = 0; side < 2; side++) {
            use[side] = job->sides[side]->moments;
            if (job->centred[side]) {
                draw(job, p, side, &random);
                use[side] = &p->moments[side];
            }
        }
        if (distance(use[0], use[1], &p->room, &job->distances[r], &p->error) < 0)
            return;
    }
}

static int bootstrap_open(struct bootstrap *job, struct error *e)
{
    int dim = job->sides[0]->moments->dim;
    size_t n = (size_t)dim;
    job->distances = mem_array((size_t)job->resamples, sizeof *job->distances, e);
    job->parts = mem_array((size_t)job->part_count, sizeof *job->parts, e);
    if (!job->distances || !job->parts)
        return -1;
    for (int side = 0; side < 2; side++) {
        const struct frechet_side *s = job->sides[side];
        if (!s->samples)
            continue;
        size_t count = (size_t)s->moments->count;
        double *centred = job->centred[side] = mem_array(count, n * sizeof *centred, e);
        if (!centred)
            return -1;
        for (size_t i = 0; i < count * n; i++)
            centred[i] = (double)s->samples[i] - s->moments->mean[i % n];
        for (int part = 0; part < job->part_count; part++) {
            struct bootstrap_part *p = &job->parts[part];
            p->times[side] = mem_array(count, sizeof *p->times[side], e);
            if (!p->times[side] || moments_open(dim, &p->moments[side], e) < 0)
                return -1;
        }
    }
    for (int part = 0; part < job->part_count; part++)
        if (room_open(dim, &job->parts[part].room, e) < 0)
            return -1;
    return 0;
}

static void bootstrap_free(struct bootstrap *job)
{
    for (int part = 0; job->parts && part < job->part_count; part++) {
        mem_free(job->parts[part].room.first);
        for (int side = 0; side < 2; side++) {
            moments_free(&job->parts[part].moments[side]);
            mem_free(job->parts[part].times[side]);
        }
    }
    mem_free(job->parts);
    mem_free(job->distances);
    mem_free(job->centred[0]);
    mem_free(job->centred[1]);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* NumPy's default percentile: linear between the neighbours. */
static double percentile(const double *sorted, int n, double share)
{
    double place = share * (n - 1);
    int below = (int)place;
    double above = below + 1 < n ? sorted[below + 1] : sorted[below];
    return sorted[below] + (place - below) * (above - sorted[below]);
}

static void interval(double *distances, int n, struct frechet *out)
{
    double mean = 0;
    for (int i = 0; i < n; i++)
        mean += distances[i] / n;
    qsort(distances, (size_t)n, sizeof *distances, ascending);
    out->bias = mean - out->distance;
    out->low = fmax(0, fmin(out->distance, percentile(distances, n, 0.025) - out->bias));
    out->high = fmax(out->distance, percentile(distances, n, 0.975) - out->bias);
}

static int bootstrap(struct bootstrap *job, struct team *team, struct frechet *out, struct error *e)
{
    int status = bootstrap_open(job, e);
    if (status == 0) {
        if (team)
            team_run(team, resample, job);
        else
            resample(job, 0, 1);
        for (int part = 0; part < job->part_count && status == 0; part++)
            if (job->parts[part].error.code)
                status = error_set(e, job->parts[part].error.code, "%s", job->parts[part].error.text);
    }
    if (status == 0)
        interval(job->distances, job->resamples, out);
    bootstrap_free(job);
    return status;
}

int frechet_distance(const struct frechet_side *a, const struct frechet_side *b, int resamples,
                     uint64_t seed, struct team *team, struct frechet *out, struct error *e)
{
    const struct moments *m = a->moments, *n = b->moments;
    if (m->dim != n->dim)
        return error_set(e, HASTEN_EFILE,
                         "features of dimension %d cannot be compared with features of dimension %d",
                         m->dim, n->dim);
    int64_t least = m->count < n->count ? m->count : n->count;
    if (least < 2 * (int64_t)m->dim)
        return error_set(
            e, HASTEN_EFILE,
            "%lld samples are too few for a Fréchet distance of %d features: at least %d are needed",
            (long long)least, m->dim, 2 * m->dim);
    if (resamples < 0 || resamples > RESAMPLES_MAX)
        return error_set(e, HASTEN_EUSAGE, "%d resamples: 0 to %d are possible", resamples,
                         RESAMPLES_MAX);
    struct frechet_room room;
    if (room_open(m->dim, &room, e) < 0)
        return -1;
    int status = distance(m, n, &room, &out->distance, e);
    mem_free(room.first);
    out->low = out->high = out->distance;
    out->bias = 0;
    if (status < 0 || resamples == 0 || (!a->samples && !b->samples))
        return status;
    struct bootstrap job = {
        .sides = {a, b}, .resamples = resamples, .seed = seed, .part_count = team ? team_size(team) : 1};
    return bootstrap(&job, team, out, e);
}
