/* Exponential integrators for the predicted picture: DPM-Solver++ 1 and 2M (Lu et al. 2022) and UniPC (Zhao
 * et al. 2023) with B(h) of either kind. lambda = ln(alpha / sigma); flow models have alpha = 1 - sigma. */
#include "common/run/sampler_inside.h"

#include <math.h>
#include <string.h>

struct point {
    double alpha, sigma, lambda;
};

static struct point point_at(const struct sampler *s, int index)
{
    double sigma = s->sigma[index], alpha = 1 / sqrt(sigma * sigma + 1);
    struct point p =
        s->c.flow_sigmas ? (struct point){1 - sigma, sigma, 0} : (struct point){alpha, sigma * alpha, 0};
    p.lambda = log(p.alpha) - log(p.sigma);
    return p;
}

static void flow_sigmas(struct sampler *s)
{
    int n = s->calls, train = s->c.train_steps, unipc = s->c.kind == SAMPLER_UNIPC;
    double shift = s->c.flow_shift, mu = s->run.mu, stretch;
    for (int i = 0; i < n; i++) {
        double walk = 1 + (1.0 / train - 1) * i / n, sigma = walk;
        if (!unipc) /* 1 - linspace(1, 1/T, n + 1), the other way round */
            sigma = 1 - (1 + (1.0 / train - 1) * (n - i) / n);
        if (s->run.sigmas)
            sigma = s->run.sigmas[i];
        if (unipc && s->c.dynamic_shift)
            sigma =
                (s->c.linear_shift ? mu : exp(mu)) / ((s->c.linear_shift ? mu : exp(mu)) + (1 / sigma - 1));
        else
            sigma = shift * sigma / (1 + (shift - 1) * sigma);
        s->sigma[i] = sigma;
    }
    stretch = s->c.shift_terminal > 0 ? (1 - s->sigma[n - 1]) / (1 - s->c.shift_terminal) : 1;
    for (int i = 0; i < n; i++)
        s->sigma[i] = 1 - (1 - s->sigma[i]) / stretch;
    if (unipc && fabs(s->sigma[0] - 1) < 1e-6)
        s->sigma[0] -= 1e-6;
    for (int i = 0; i < n; i++)
        s->timestep[i] = s->sigma[i] * train;
}

static int dpm_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps;
    if (sampler_tables(s, n, 1, e) < 0)
        return -1;
    if (s->c.flow_sigmas) {
        flow_sigmas(s);
    } else if (s->c.karras) {
        sampler_karras(sampler_sigma_at(s, s->c.train_steps - 1), sampler_sigma_at(s, 0), n, s->sigma);
        for (int i = 0; i < n; i++) {
            double t = sampler_time_of_sigma(s, s->sigma[i]);
            s->timestep[i] =
                s->c.beta_schedule == BETA_COSINE && s->c.kind == SAMPLER_DPMPP ? t : nearbyint(t);
        }
    } else {
        sampler_space(s, n, s->c.spacing != SPACING_TRAILING, 1, s->timestep);
        for (int i = 0; i < n; i++)
            s->sigma[i] = sampler_sigma_at(s, s->timestep[i]);
    }
    double least = s->c.kind == SAMPLER_UNIPC && (s->c.karras || s->c.flow_sigmas) ? s->sigma[n - 1]
                   : s->alphas                                                     ? sampler_sigma_at(s, 0)
                                                                                   : 0;
    s->sigma[n] = s->c.sigma_min_final ? least : 0;
    for (int i = 0; i <= n; i++)
        s->sigma[i] = (float)s->sigma[i];
    for (int i = 0; i < n; i++)
        s->timestep[i] = floor(s->timestep[i]); /* the class keeps them as integers */
    return 0;
}

static void predict(struct sampler *s, int call, const float *output, const float *x, float *x0)
{
    struct point p = point_at(s, call);
    float alpha = (float)p.alpha, sigma = (float)p.sigma;
    for (int64_t i = 0; i < sampler_count(s); i++) {
        if (s->c.prediction == PREDICT_EPSILON)
            x0[i] = (x[i] - sigma * output[i]) / alpha;
        else if (s->c.prediction == PREDICT_SAMPLE)
            x0[i] = output[i];
        else if (s->c.prediction == PREDICT_V)
            x0[i] = alpha * x[i] - sigma * output[i];
        else
            x0[i] = x[i] - (float)s->sigma[call] * output[i];
    }
    sampler_limit(s, x0);
}

/* ---- DPM-Solver++: history 0 and 1 the pictures, in turn ---- */

static void dpm_step(struct sampler *s, int call, const float *output, const float *variance,
                     const float *noise, float *x)
{
    (void)variance, (void)noise;
    int last = call == s->calls - 1;
    int first_order =
        s->c.solver_order == 1 || call == 0 ||
        (last && (s->c.euler_at_final || (s->c.lower_order_final && s->calls < 15) || !s->c.sigma_min_final));
    float *m0 = s->history[call % 2], *m1 = s->history[1 - call % 2];
    predict(s, call, output, x, m0);
    struct point to = point_at(s, call + 1), at = point_at(s, call);
    double h = to.lambda - at.lambda, step = to.alpha * (exp(-h) - 1);
    float keep = (float)(to.sigma / at.sigma), go = (float)step, bend = 0;
    if (!first_order) {
        double ratio = (at.lambda - point_at(s, call - 1).lambda) / h;
        double second = s->c.heun_solver ? to.alpha * ((exp(-h) - 1) / h + 1) : -0.5 * step;
        bend = (float)(second / ratio);
    }
    for (int64_t i = 0; i < sampler_count(s); i++)
        x[i] = keep * x[i] - go * m0[i] + (first_order ? 0 : bend * (m0[i] - m1[i]));
}

const struct sampler_method method_dpmpp = {
    .histories = 2, .sigma_table = 1, .prepare = dpm_prepare, .step = dpm_step};

/* ---- UniPC: history 0-3 the pictures (ring), 4 the sample before the last step ---- */

enum { MOST = 3 };

static float *picture(struct sampler *s, int call) { return s->history[call % 4]; }

/* Solve the n x n system in place, n <= 3, with pivots. */
static void solve(double a[MOST][MOST + 1], int n, double *x)
{
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c + 1; r < n; r++)
            if (fabs(a[r][c]) > fabs(a[pivot][c]))
                pivot = r;
        for (int k = 0; k <= n; k++) {
            double t = a[c][k];
            a[c][k] = a[pivot][k];
            a[pivot][k] = t;
        }
        for (int r = 0; r < n; r++)
            for (int k = n; r != c && k >= c; k--)
                a[r][k] -= a[r][c] / a[c][c] * a[c][k];
    }
    for (int r = 0; r < n; r++)
        x[r] = a[r][n] / a[r][r];
}

/* Coefficients of one predictor or corrector update from call `from` to index `from + 1`. rho[k] belongs to
 * the k-th earlier picture; the corrector's last one to the new picture. */
struct update {
    float keep, go, size; /* x keep - go * m0 - size * sum(rho d) */
    double rk[MOST], rho[MOST];
};

static struct update update_of(const struct sampler *s, int from, int order, int corrector)
{
    struct point to = point_at(s, from + 1), at = point_at(s, from);
    double h = to.lambda - at.lambda, hh = -h, phi1 = expm1(hh), phi = phi1 / hh - 1,
           b = s->c.bh1 ? hh : phi1;
    double factorial = 1, r[MOST], right[MOST], a[MOST][MOST + 1];
    struct update u = {
        .keep = (float)(to.sigma / at.sigma), .go = (float)(to.alpha * phi1), .size = (float)(to.alpha * b)};
    for (int k = 0; k + 1 < order; k++)
        r[k] = u.rk[k] = (point_at(s, from - 1 - k).lambda - at.lambda) / h;
    r[order - 1] = 1;
    for (int i = 0; i < order; i++) {
        right[i] = phi * factorial / b;
        factorial *= i + 2;
        phi = phi / hh - 1 / factorial;
    }
    int unknowns = corrector ? order : order - 1;
    for (int i = 0; i < unknowns; i++) {
        for (int k = 0; k < unknowns; k++)
            a[i][k] = pow(r[k], i);
        a[i][unknowns] = right[i];
    }
    if (unknowns > 0)
        solve(a, unknowns, u.rho);
    if (order == 1 || (!corrector && order == 2))
        u.rho[0] = 0.5; /* the published simplification */
    return u;
}

static void apply(struct sampler *s, const struct update *u, int from, int order, const float *fresh,
                  const float *x, float *out)
{
    const float *m0 = picture(s, from);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        double sum = 0;
        for (int k = 0; k + 1 < order; k++)
            sum += u->rho[k] * ((picture(s, from - 1 - k)[i] - m0[i]) / u->rk[k]);
        if (fresh)
            sum += u->rho[order - 1] * ((double)fresh[i] - m0[i]);
        out[i] = u->keep * x[i] - u->go * m0[i] - u->size * (float)sum;
    }
}

static void unipc_step(struct sampler *s, int call, const float *output, const float *variance,
                       const float *noise, float *x)
{
    (void)variance, (void)noise;
    float *fresh = picture(s, call), *before = s->history[4];
    predict(s, call, output, x, fresh);
    if (call > 0) {
        struct update u = update_of(s, call - 1, s->order, 1);
        apply(s, &u, call - 1, s->order, fresh, before, x);
    }
    int order = s->c.solver_order;
    if (s->c.lower_order_final && order > s->calls - call)
        order = s->calls - call;
    s->order = order < call + 1 ? order : call + 1;
    memcpy(before, x, (size_t)sampler_count(s) * sizeof *x);
    struct update u = update_of(s, call, s->order, 0);
    apply(s, &u, call, s->order, NULL, before, x);
}

const struct sampler_method method_unipc = {
    .histories = 5, .sigma_table = 1, .prepare = dpm_prepare, .step = unipc_step};
