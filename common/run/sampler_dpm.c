/* Exponential integrators for the predicted picture: DPM-Solver++ 1, 2M and 3M (Lu et al. 2022) and
 * UniPC (Zhao et al. 2023) with B(h) of either kind. lambda = ln(alpha / sigma); flow models have alpha
 * = 1 - sigma. */
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

static double flow_shifted(const struct sampler *s, double sigma)
{
    double shift = s->c.flow_shift;
    if (s->c.dynamic_shift && s->c.kind == SAMPLER_UNIPC)
        return sampler_dynamic_shift(s, sigma);
    if (s->c.dynamic_shift && s->run.has_mu) /* this class takes exp(mu) as its shift, and mu only if given */
        shift = exp(s->run.mu);
    return shift * sigma / (1 + (shift - 1) * sigma);
}

static void flow_sigmas(struct sampler *s)
{
    int n = s->calls, train = s->c.train_steps, unipc = s->c.kind == SAMPLER_UNIPC;
    for (int i = 0; i < n; i++) {
        double sigma = sampler_linspace(1, 1.0 / train, n + 1, i);
        if (!unipc) /* 1 - linspace(1, 1/T, n + 1), the other way round */
            sigma = 1 - sampler_linspace(1, 1.0 / train, n + 1, n - i);
        s->sigma[i] = flow_shifted(s, s->run.sigmas ? s->run.sigmas[i] : sigma);
    }
    if (unipc)
        sampler_stretch(s);
    if (unipc && fabs(s->sigma[0] - 1) < 1e-6)
        s->sigma[0] -= 1e-6;
    for (int i = 0; i < n; i++)
        s->timestep[i] = s->sigma[i] * train;
}

static int exponential_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps;
    if (sampler_tables(s, n, 1, e) < 0)
        return -1;
    if (s->c.flow_sigmas) {
        flow_sigmas(s);
    } else if (s->c.karras) {
        sampler_karras(s, sampler_sigma_at(s, s->c.train_steps - 1), sampler_sigma_at(s, 0), n, s->sigma);
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

/* Equal noise levels, or the end at zero reached by a higher order: say so before the first network call. */
static int divides(const struct sampler *s, int call, int order, const float *c, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(c[i]))
            return error_set(
                e, HASTEN_EUSAGE,
                "%d steps: the update of order %d from noise level %g to %g divides by zero; take "
                "fewer steps, a lower solver_order or another timestep_spacing",
                s->run.steps, order, s->sigma[call], s->sigma[call + 1]);
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

/* ---- DPM-Solver++: history 0 to 2 the pictures (ring) ---- */

static int dpm_order(const struct sampler *s, int call)
{
    int left = s->calls - call, most = s->c.solver_order, few = s->c.lower_order_final && s->calls < 15;
    if (left == 1 && (s->c.euler_at_final || few || !s->c.sigma_min_final))
        most = 1;
    if (left == 2 && few && most > 2)
        most = 2;
    return most < call + 1 ? most : call + 1;
}

/* Coefficients of a step: x = keep x - go m0 + bend D1 - bow D2, the differences D1 and D2 made from
 * d_k = back[k] (m_k - m_k+1) with mix and curve (appendix B of the paper, its multistep algorithms). */
struct blend {
    float keep, go, bend, bow, back[2], mix, curve;
};

static struct blend blend_of(const struct sampler *s, int call, int order)
{
    struct point to = point_at(s, call + 1), at = point_at(s, call);
    double h = to.lambda - at.lambda, step = to.alpha * (exp(-h) - 1), r[2] = {0};
    struct blend b = {.keep = (float)(to.sigma / at.sigma), .go = (float)step};
    for (int k = 0; k + 1 < order; k++) {
        r[k] = (point_at(s, call - k).lambda - point_at(s, call - k - 1).lambda) / h;
        b.back[k] = (float)(1 / r[k]);
    }
    if (order > 1)
        b.bend = (float)(order == 3 || s->c.heun_solver ? to.alpha * ((exp(-h) - 1) / h + 1) : -0.5 * step);
    if (order > 2) {
        b.bow = (float)(to.alpha * ((exp(-h) - 1 + h) / (h * h) - 0.5));
        b.mix = (float)(r[0] / (r[0] + r[1]));
        b.curve = (float)(1 / (r[0] + r[1]));
    }
    return b;
}

static void dpm_step(struct sampler *s, int call, const float *output, const float *variance,
                     const float *noise, float *x)
{
    (void)variance, (void)noise;
    int order = dpm_order(s, call);
    float *m0 = s->history[call % 3], *m1 = s->history[(call + 2) % 3], *m2 = s->history[(call + 1) % 3];
    struct blend b = blend_of(s, call, order);
    predict(s, call, output, x, m0);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float next = b.keep * x[i] - b.go * m0[i];
        if (order == 2)
            next += b.bend * (b.back[0] * (m0[i] - m1[i]));
        if (order == 3) {
            float d0 = b.back[0] * (m0[i] - m1[i]), d1 = b.back[1] * (m1[i] - m2[i]);
            next += b.bend * (d0 + b.mix * (d0 - d1)) - b.bow * (b.curve * (d0 - d1));
        }
        x[i] = next;
    }
}

static int dpm_prepare(struct sampler *s, struct error *e)
{
    if (exponential_prepare(s, e) < 0)
        return -1;
    for (int call = 0; call < s->calls; call++) {
        struct blend b = blend_of(s, call, dpm_order(s, call));
        float c[] = {b.keep, b.go, b.bend, b.bow, b.back[0], b.back[1], b.mix, b.curve};
        if (divides(s, call, dpm_order(s, call), c, sizeof c / sizeof *c, e) < 0)
            return -1;
    }
    return 0;
}

const struct sampler_method method_dpmpp = {
    .histories = 3, .sigma_table = 1, .prepare = dpm_prepare, .step = dpm_step};

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

static int unipc_order(const struct sampler *s, int call)
{
    int order = s->c.solver_order, left = s->calls - call;
    if (s->c.lower_order_final && order > left)
        order = left;
    return order < call + 1 ? order : call + 1;
}

static void unipc_step(struct sampler *s, int call, const float *output, const float *variance,
                       const float *noise, float *x)
{
    (void)variance, (void)noise;
    float *fresh = picture(s, call), *before = s->history[4];
    predict(s, call, output, x, fresh);
    if (call > 0) {
        int last = unipc_order(s, call - 1);
        struct update u = update_of(s, call - 1, last, 1);
        apply(s, &u, call - 1, last, fresh, before, x);
    }
    int order = unipc_order(s, call);
    memcpy(before, x, (size_t)sampler_count(s) * sizeof *x);
    struct update u = update_of(s, call, order, 0);
    apply(s, &u, call, order, NULL, before, x);
}

static int unipc_prepare(struct sampler *s, struct error *e)
{
    if (exponential_prepare(s, e) < 0)
        return -1;
    for (int call = 0; call < s->calls; call++) {
        int order = unipc_order(s, call), corrected = call + 1 < s->calls;
        for (int corrector = 0; corrector <= corrected; corrector++) {
            struct update u = update_of(s, call, order, corrector);
            float c[4 + MOST] = {u.keep, u.go, u.size};
            for (int k = 0; k + 1 < order; k++)
                c[3 + k] = (float)(u.rho[k] / u.rk[k]);
            if (corrector)
                c[3 + MOST] = (float)u.rho[order - 1];
            if (divides(s, call, order, c, sizeof c / sizeof *c, e) < 0)
                return -1;
        }
    }
    return 0;
}

const struct sampler_method method_unipc = {
    .histories = 5, .sigma_table = 1, .prepare = unipc_prepare, .step = unipc_step};
