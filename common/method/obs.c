/* See obs.h. */
#include "common/method/obs.h"
#include "common/base/mem.h"
#include "common/method/spd.h"

#include <math.h>
#include <string.h>

struct surgeon {
    int n, block, groups;
    double *inverse, *gram; /* brought up to date */
    unsigned char *gone;
    double *a, *g; /* a row of the inverse over its diagonal; a row of gram */
    int row;
};

static void update_part(void *context, int part, int parts)
{
    const struct surgeon *s = context;
    size_t n = (size_t)s->n, p = (size_t)s->row;
    double pivot = s->inverse[p * n + p], gpp = s->g[p];
    struct span span = team_span(s->n, 16, part, parts);
    for (size_t i = (size_t)span.begin; i < (size_t)span.end; i++) {
        double *inverse = s->inverse + i * n, *gram = s->gram + i * n, ai = s->a[i], gi = s->g[i];
        if (i == p || s->gone[i])
            continue;
        for (size_t j = 0; j < n; j++) {
            inverse[j] -= pivot * ai * s->a[j];
            gram[j] += -gi * s->a[j] - ai * s->g[j] + ai * s->a[j] * gpp;
        }
    }
}

/* W_j -= W_p [C^-1]_pj / [C^-1]_pp, and C^-1 of what is left. */
static void take(struct surgeon *s, int p, struct team *team)
{
    size_t n = (size_t)s->n, at = (size_t)p;
    for (size_t j = 0; j < n; j++) {
        s->a[j] = s->gone[j] ? 0 : s->inverse[at * n + j] / s->inverse[at * n + at];
        s->g[j] = s->gone[j] ? 0 : s->gram[at * n + j];
    }
    s->row = p;
    if (team && n >= 128)
        team_run(team, update_part, s);
    else
        update_part(s, 0, 1);
    s->gone[at] = 1;
}

/* The cost of a block now: tr(G_PP [C^-1]_PP^-1). */
static int block_cost(const struct surgeon *s, int first, double *part, double *cost, struct error *e)
{
    size_t b = (size_t)s->block, n = (size_t)s->n, at = (size_t)first;
    *cost = 0;
    for (size_t i = 0; i < b; i++)
        for (size_t j = 0; j < b; j++)
            part[i * b + j] = s->inverse[(at + i) * n + at + j];
    if (spd_inverse(s->block, part, NULL, e) < 0)
        return -1;
    for (size_t i = 0; i < b; i++)
        for (size_t j = 0; j < b; j++)
            *cost += part[i * b + j] * s->gram[(at + i) * n + at + j];
    return 0;
}

/* The block among [first, first + count) that costs least. */
static int cheapest(const struct surgeon *s, int first, int count, double *part, int *best, double *least,
                    struct error *e)
{
    *best = -1;
    for (int i = first; i < first + count; i += s->block) {
        double cost = 0;
        size_t at = (size_t)i * (size_t)s->n + (size_t)i;
        if (s->gone[i])
            continue;
        if (s->block > 1 && block_cost(s, i, part, &cost, e) < 0)
            return -1;
        if (s->block == 1)
            cost = s->gram[at] / s->inverse[at];
        if (*best < 0 || cost < *least) {
            *best = i;
            *least = cost;
        }
    }
    return 0;
}

static int order_all(struct surgeon *s, int most, double *part, struct team *team, int *order, double *cost,
                     struct error *e)
{
    int taken = 0, group = s->n / s->groups;
    double total = 0;
    for (int q = 0; q < most; q++) {
        for (int k = 0; k < s->groups; k++) {
            int best;
            double least = 0;
            if (cheapest(s, k * group, group, part, &best, &least, e) < 0)
                return -1;
            total += fmax(least, 0);
            for (int i = 0; i < s->block; i++) {
                take(s, best + i, team);
                order[taken++] = best + i;
            }
        }
        cost[q] = total;
    }
    return 0;
}

static int check_quanta(int n, int block, int groups, int most, struct error *e)
{
    if (n < 1 || block < 1 || groups < 1 || (block > 1 && groups > 1) || n % (block * groups) || most < 0 ||
        most >= n / (block * groups))
        return error_set(e, HASTEN_EFAIL, "internal: %d of %d channels in blocks of %d and %d groups", most,
                         n, block, groups);
    return 0;
}

int obs_order(int n, const double *covariance, const double *gram, int block, int groups, int most,
              struct team *team, int *order, double *cost, struct error *e)
{
    size_t w = (size_t)n;
    struct surgeon s = {.n = n, .block = block, .groups = groups};
    if (check_quanta(n, block, groups, most, e) < 0)
        return -1;
    s.inverse = mem_array(w * w, sizeof *s.inverse, e);
    s.gram = mem_array(w * w, sizeof *s.gram, e);
    s.gone = mem_array(w, 1, e);
    s.a = mem_array(w, sizeof *s.a, e);
    s.g = mem_array(w, sizeof *s.g, e);
    double *part = mem_array((size_t)block * (size_t)block, sizeof *part, e);
    int status = -1;
    if (s.inverse && s.gram && s.gone && s.a && s.g && part) {
        memcpy(s.inverse, covariance, w * w * sizeof *covariance);
        memcpy(s.gram, gram, w * w * sizeof *gram);
        if (spd_inverse(n, s.inverse, team, e) == 0)
            status = order_all(&s, most, part, team, order, cost, e);
    }
    mem_free(s.inverse);
    mem_free(s.gram);
    mem_free(s.gone);
    mem_free(s.a);
    mem_free(s.g);
    mem_free(part);
    return status;
}

int quanta_order(int n, const double *score, int block, int groups, int most, int *order, struct error *e)
{
    int taken = 0, group = n / groups;
    if (check_quanta(n, block, groups, most, e) < 0)
        return -1;
    unsigned char *gone = mem_array((size_t)n, 1, e);
    if (!gone)
        return -1;
    for (int q = 0; q < most; q++)
        for (int k = 0; k < groups; k++) {
            int best = -1;
            double least = 0;
            for (int i = k * group; i < (k + 1) * group; i += block) {
                double sum = 0;
                for (int j = 0; j < block; j++)
                    sum += score[i + j];
                if (!gone[i] && (best < 0 || sum < least)) {
                    best = i;
                    least = sum;
                }
            }
            for (int j = 0; j < block; j++) {
                gone[best + j] = 1;
                order[taken++] = best + j;
            }
        }
    mem_free(gone);
    return 0;
}

double drop_cost(int n, const double *moment, const double *gram, const int *dropped, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) {
            size_t at = (size_t)dropped[i] * (size_t)n + (size_t)dropped[j];
            sum += moment[at] * gram[at];
        }
    return sum;
}

int reconstruct(int n, int kept, const int *place, const double *cross, const double *own, const double *mean,
                const double *kept_mean, double damp, int centre, struct team *team, double *a, double *shift,
                struct error *e)
{
    size_t k = (size_t)kept;
    double *l = mem_array(k * k, sizeof *l, e), diagonal = 0;
    if (!l)
        return -1;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            l[i * k + j] = own[i * k + j] - (centre ? kept_mean[i] * kept_mean[j] : 0);
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t j = 0; j < k; j++)
            a[i * k + j] = cross[i * k + j] - (centre ? mean[i] * kept_mean[j] : 0);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            a[(size_t)place[i] * k + j] -= l[i * k + j];
    for (size_t i = 0; i < k; i++)
        diagonal += l[i * k + i] / (double)k;
    for (size_t i = 0; i < k; i++)
        l[i * k + i] += damp * (diagonal > 0 ? diagonal : 1);
    if (spd_factor(kept, l, e) < 0) {
        mem_free(l);
        return -1;
    }
    spd_solve(kept, l, a, n, team);
    for (size_t i = 0; i < k; i++)
        a[(size_t)place[i] * k + i] += 1;
    for (size_t i = 0; i < (size_t)n; i++) {
        shift[i] = centre ? mean[i] : 0;
        for (size_t j = 0; centre && j < k; j++)
            shift[i] -= a[i * k + j] * kept_mean[j];
    }
    mem_free(l);
    return 0;
}

struct error_job {
    const struct pair_view *m;
    int rows;
    const float *w;
    const double *a, *shift;
    double *v, *error; /* [rows][kept], [rows] */
};

/* With v = w a and c = w shift: v own v' + 2 c v mean' + c^2 - 2 (w cross v' + (w mean) c). */
static void error_part(void *context, int part, int parts)
{
    const struct error_job *j = context;
    const struct pair_view *m = j->m;
    struct span span = team_span(j->rows, 1, part, parts);
    size_t n = (size_t)m->n, k = (size_t)m->kept;
    for (size_t r = (size_t)span.begin; r < (size_t)span.end; r++) {
        const float *w = j->w + r * n;
        double *v = j->v + r * k, c = 0, wm = 0, vm = 0, sum = 0;
        for (size_t i = 0; j->a && i < n; i++) {
            c += (double)w[i] * j->shift[i];
            for (size_t s = 0; s < k; s++)
                v[s] += (double)w[i] * j->a[i * k + s];
        }
        for (size_t s = 0; !j->a && s < k; s++)
            v[s] = (double)w[m->place[s]];
        for (size_t i = 0; i < n; i++) {
            double dot = 0;
            wm += (double)w[i] * m->mean[i];
            for (size_t s = 0; s < k; s++)
                dot += m->cross[i * k + s] * v[s];
            sum -= 2 * (double)w[i] * dot;
        }
        for (size_t s = 0; s < k; s++) {
            double dot = 0;
            vm += v[s] * m->kept_mean[s];
            for (size_t t = 0; t < k; t++)
                dot += m->own[s * k + t] * v[t];
            sum += v[s] * dot;
        }
        j->error[r] = sum + 2 * c * vm + c * c - 2 * wm * c;
    }
}

int reconstruct_error(const struct pair_view *held, int rows, const float *w, const double *a,
                      const double *shift, struct team *team, double *error, struct error *e)
{
    struct error_job j = {held, rows, w, a, shift, NULL, NULL};
    j.v = mem_array((size_t)rows * (size_t)held->kept, sizeof *j.v, e);
    j.error = mem_array((size_t)rows, sizeof *j.error, e);
    int status = j.v && j.error ? 0 : -1;
    if (status == 0 && team)
        team_run(team, error_part, &j);
    else if (status == 0)
        error_part(&j, 0, 1);
    *error = 0;
    for (int r = 0; status == 0 && r < rows; r++)
        *error += j.error[r];
    mem_free(j.v);
    mem_free(j.error);
    return status;
}
