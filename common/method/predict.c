/* See predict.h. */
#include "common/method/predict.h"
#include "common/base/mem.h"

#include <math.h>

const char *predict_name(enum predictor p)
{
    static const char *const names[PREDICTORS] = {"reuse", "magnitude", "corrected", "taylor", "two"};
    return names[p];
}

int predict_anchors(enum predictor p) { return p == PREDICT_TAYLOR || p == PREDICT_TWO ? 2 : 1; }

/* Means and central second moments of y = h_t, x = h_s, z = h_r over a group. */
struct moments {
    double n, y, x, z, yy, xx, zz, yx, yz, xz;
};

static struct moments moments_of(const struct gram *g, int group, int t, int s, int r)
{
    struct correct_sums yx = gram_sums(g, group, t, s);
    struct moments m = {.n = yx.n, .y = yx.y / yx.n, .x = yx.x / yx.n};
    m.yy = yx.yy / m.n - m.y * m.y;
    m.xx = yx.xx / m.n - m.x * m.x;
    m.yx = yx.xy / m.n - m.y * m.x;
    if (r < 0)
        return m;
    struct correct_sums yz = gram_sums(g, group, t, r), xz = gram_sums(g, group, s, r);
    m.z = yz.x / m.n;
    m.zz = yz.xx / m.n - m.z * m.z;
    m.yz = yz.xy / m.n - m.y * m.z;
    m.xz = xz.xy / m.n - m.x * m.z;
    return m;
}

/* (cov + ridge) a = c, with a ridge towards the fit of one value: two refreshes next to each other are nearly
 * the same, and what tells them apart may be rounding. */
static struct predict_fit fit_two(const struct moments *m, struct predict_fit one)
{
    double ridge = 1e-7 * (m->xx + m->x * m->x), xx = m->xx + ridge, zz = m->zz + ridge;
    double cx = m->yx + ridge * one.a[0], cz = m->yz, det = xx * zz - m->xz * m->xz;
    if (!(det > 0))
        return one;
    struct predict_fit fit = {{(cx * zz - cz * m->xz) / det, (cz * xx - cx * m->xz) / det}, 0};
    fit.b = m->y - fit.a[0] * m->x - fit.a[1] * m->z;
    return fit;
}

static struct predict_fit fit_group(const struct gram *g, enum predictor p, int group, int t, int s, int r)
{
    struct predict_fit fit = {{1, 0}, 0};
    if (p == PREDICT_TAYLOR && r >= 0) {
        double step = (double)(t - s) / (s - r);
        return (struct predict_fit){{1 + step, -step}, 0};
    }
    if (p == PREDICT_CORRECTED || p == PREDICT_TWO) {
        struct correct_sums sums = gram_sums(g, group, t, s);
        correct_line(&sums, &fit.a[0], &fit.b, NULL);
    }
    if (p == PREDICT_TWO && r >= 0 && gram_sums(g, group, t, s).n > 0) {
        struct moments m = moments_of(g, group, t, s, r);
        return fit_two(&m, fit);
    }
    return fit;
}

void predict_fit(const struct gram *g, enum predictor p, int t, int s, int r, struct predict_fit *fit)
{
    double power = gram_power(g, s), ratio = power > 0 ? sqrt(gram_power(g, t) / power) : 1;
    for (int group = 0; group < g->groups; group++) {
        fit[group] = fit_group(g, p, group, t, s, r);
        if (p == PREDICT_MAGNITUDE)
            fit[group].a[0] = ratio;
    }
}

double predict_fit_error(const struct gram *g, int t, int s, int r, const struct predict_fit *fit)
{
    double sum = 0, all = 0;
    for (int group = 0; group < g->groups; group++) {
        struct moments m = moments_of(g, group, t, s, r);
        double a = fit[group].a[0], c = fit[group].a[1];
        double mean = m.y - a * m.x - c * m.z - fit[group].b;
        double rest = m.yy + a * a * m.xx + c * c * m.zz - 2 * a * m.yx - 2 * c * m.yz + 2 * a * c * m.xz;
        sum += m.n * (fmax(rest, 0) + mean * mean);
        all += m.n;
    }
    return all > 0 ? sum / all : 0;
}

double predict_error(const struct gram *g, enum predictor p, int t, int s, int r, struct predict_fit *room)
{
    predict_fit(g, p, t, s, r, room);
    return predict_fit_error(g, t, s, r, room);
}

size_t predict_table_size(enum predictor p, int calls)
{
    return predict_anchors(p) == 2 ? schedule_pair_count(calls) : (size_t)calls * (size_t)calls;
}

static int check_rows(const struct gram *g, struct error *e)
{
    for (int t = 0; t < g->calls; t++)
        if (g->rows[t] != g->rows[0] || g->rows[t] == 0)
            return error_set(e, HASTEN_EFAIL, "call %d has given %lld rows of features, call 0 %lld", t,
                             (long long)g->rows[t], (long long)g->rows[0]);
    return 0;
}

int predict_table(const struct gram *g, enum predictor p, double *error, struct error *e)
{
    if (check_rows(g, e) < 0)
        return -1;
    struct predict_fit *fit = mem_array((size_t)g->groups, sizeof *fit, e);
    for (int t = 0; fit && t < g->calls; t++) {
        if (predict_anchors(p) == 2) {
            for (int s = 0; s < t; s++)
                for (int r = 0; r <= s; r++)
                    error[schedule_pair_index(t, s, r)] = predict_error(g, p, t, s, r < s ? r : -1, fit);
            continue;
        }
        for (int s = 0; s < g->calls; s++)
            error[t * g->calls + s] = s > t ? INFINITY : s == t ? 0 : predict_error(g, p, t, s, -1, fit);
    }
    mem_free(fit);
    return fit ? 0 : -1;
}
