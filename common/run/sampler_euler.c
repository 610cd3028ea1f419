/* Samplers in sigma (Karras et al. 2022): Euler, ancestral Euler, Heun (algorithm 1 without churn), linear
 * multistep (Adams-Bashforth on the sigma grid), and Euler for flow matching. */
#include "common/run/sampler_inside.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

/* The slope (x - x0) / sigma at one number. */
static float slope(const struct sampler *s, float output, float x, float sigma)
{
    float clean, one_more = sigma * sigma + 1;
    if (s->c.prediction == PREDICT_EPSILON)
        clean = x - sigma * output;
    else if (s->c.prediction == PREDICT_SAMPLE)
        clean = output;
    else
        clean = output * (-sigma / sqrtf(one_more)) + x / one_more;
    if (s->c.kind == SAMPLER_HEUN && s->c.clip_sample) {
        float range = (float)s->c.clip_range;
        clean = clean < -range ? -range : clean > range ? range : clean;
    }
    return (x - clean) / sigma;
}

static int euler_prepare(struct sampler *s, struct error *e)
{
    return sampler_tables(s, s->run.steps, 1, e) < 0
               ? -1
               : sampler_sigma_schedule(s, s->run.steps, s->timestep, s->sigma);
}

static void euler_step(struct sampler *s, int call, const float *output, const float *variance,
                       const float *noise, float *x)
{
    (void)variance, (void)noise;
    float go = (float)(s->sigma[call + 1] - s->sigma[call]);
    for (int64_t i = 0; i < sampler_count(s); i++)
        x[i] += slope(s, output[i], x[i], (float)s->sigma[call]) * go;
}

const struct sampler_method method_euler = {
    .scales = 1, .sigma_table = 1, .prepare = euler_prepare, .step = euler_step};

static int always(const struct sampler *s, int call)
{
    (void)s, (void)call;
    return 1;
}

static void euler_a_step(struct sampler *s, int call, const float *output, const float *variance,
                         const float *noise, float *x)
{
    (void)variance;
    float from = (float)s->sigma[call], to = (float)s->sigma[call + 1];
    float up = sqrtf(to * to * (from * from - to * to) / (from * from)),
          down = sqrtf(fmaxf(0, to * to - up * up)), go = down - from;
    for (int64_t i = 0; i < sampler_count(s); i++)
        x[i] = x[i] + slope(s, output[i], x[i], from) * go + noise[i] * up;
}

const struct sampler_method method_euler_a = {
    .scales = 1, .sigma_table = 1, .prepare = euler_prepare, .noise = always, .step = euler_a_step};

/* ---- Heun: history 0 the slope, 1 the sample before the trial step ---- */

static int heun_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps;
    if (sampler_tables(s, 2 * n - 1, 1, e) < 0 || sampler_sigma_schedule(s, n, s->timestep, s->sigma) < 0)
        return -1;
    for (int call = 2 * n - 2; call > 0; call--)
        s->timestep[call] = s->timestep[(call + 1) / 2];
    return 0;
}

static void heun_step(struct sampler *s, int call, const float *output, const float *variance,
                      const float *noise, float *x)
{
    (void)variance, (void)noise;
    float from = (float)s->sigma[call / 2], to = (float)s->sigma[call / 2 + 1];
    float go = to - from, *before = s->history[0], *start = s->history[1];
    for (int64_t i = 0; i < sampler_count(s); i++) {
        if (call % 2 == 0) {
            before[i] = slope(s, output[i], x[i], from);
            start[i] = x[i];
            x[i] += before[i] * go;
        } else {
            x[i] = start[i] + (before[i] + slope(s, output[i], x[i], to)) / 2 * go;
        }
    }
}

const struct sampler_method method_heun = {
    .histories = 2, .scales = 1, .sigma_table = 1, .prepare = heun_prepare, .step = heun_step};

/* ---- linear multistep: history a ring of four slopes ---- */

/* Integral of the Lagrange basis polynomial of sigma[call - which] over the step: four Gauss points are exact
 * for the degree 3 that there is at most. */
static double basis_integral(const struct sampler *s, int call, int order, int which)
{
    static const double point[2] = {0.33998104358485626, 0.86113631159405258},
                        weight[2] = {0.65214515486254614, 0.34785484513745386};
    double low = s->sigma[call], high = s->sigma[call + 1], sum = 0;
    for (int p = 0; p < 4; p++) {
        double at = (low + high) / 2 + (high - low) / 2 * (p % 2 ? point[p / 2] : -point[p / 2]),
               product = weight[p / 2];
        for (int k = 0; k < order; k++)
            if (k != which)
                product *= (at - s->sigma[call - k]) / (s->sigma[call - which] - s->sigma[call - k]);
        sum += product;
    }
    return sum * (high - low) / 2;
}

static void lms_step(struct sampler *s, int call, const float *output, const float *variance,
                     const float *noise, float *x)
{
    (void)variance, (void)noise;
    int order = call + 1 < 4 ? call + 1 : 4;
    float c[4];
    for (int k = 0; k < order; k++)
        c[k] = (float)basis_integral(s, call, order, k);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        s->history[call % 4][i] = slope(s, output[i], x[i], (float)s->sigma[call]);
        float sum = 0;
        for (int k = 0; k < order; k++)
            sum += c[k] * s->history[(call - k) % 4][i];
        x[i] += sum;
    }
}

static int lms_prepare(struct sampler *s, struct error *e)
{
    if (euler_prepare(s, e) < 0)
        return -1;
    for (int i = 0; i < s->calls; i++)
        if (!(s->sigma[i + 1] < s->sigma[i]))
            return error_set(e, HASTEN_EUSAGE,
                             "%d steps: noise levels %d and %d are equal, and LMS divides by the "
                             "difference; take fewer steps",
                             s->calls, i, i + 1);
    return 0;
}

const struct sampler_method method_lms = {
    .histories = 4, .scales = 1, .sigma_table = 1, .prepare = lms_prepare, .step = lms_step};

/* ---- flow matching (Lipman et al. 2023; shifts: Esser et al. 2024, section 5.3.2) ---- */

/* Numbers given by the caller are float32 arrays in diffusers, and stay so: every operation rounds. */
static double rounded(int single, double v) { return single ? (double)(float)v : v; }

double sampler_dynamic_shift(const struct sampler *s, double sigma)
{
    int single = s->c.kind == SAMPLER_FLOW && s->run.sigmas;
    double m = s->c.linear_shift ? s->mu : exp(s->mu), rest = rounded(single, 1 / sigma);
    m = rounded(single, m);
    rest = rounded(single, rest - 1);
    return rounded(single, m / rounded(single, m + rest));
}

void sampler_stretch(struct sampler *s)
{
    int n = s->run.steps, single = s->c.kind == SAMPLER_FLOW && s->run.sigmas;
    if (s->c.shift_terminal <= 0)
        return;
    double scale = rounded(single, rounded(single, 1 - s->sigma[n - 1]) / (1 - s->c.shift_terminal));
    for (int i = 0; i < n; i++)
        s->sigma[i] = rounded(single, 1 - rounded(single, rounded(single, 1 - s->sigma[i]) / scale));
}

static double fixed_shift(const struct sampler *s, double sigma, int single)
{
    double shift = s->c.shift, below = rounded(single, (shift - 1) * sigma);
    return rounded(single, rounded(single, shift * sigma) / rounded(single, 1 + below));
}

/* With a fixed shift the table is shifted when the class is built and again by set_timesteps: its ends,
 * between which the timesteps are spread, are shifted twice. */
static double flow_sigma(const struct sampler *s, int i, double low, double high)
{
    int n = s->run.steps;
    if (s->c.uniform_sigmas)
        return 1 - (double)i / n;
    double sigma = sampler_linspace(high * s->c.train_steps, low * s->c.train_steps, n, i) / s->c.train_steps;
    if (s->run.sigmas)
        sigma = (float)s->run.sigmas[i];
    else if (s->c.dynamic_shift && !s->run.has_mu)
        sigma = sampler_linspace(1, 1.0 / n, n, i); /* the list of the pipelines that know the size only */
    return s->c.dynamic_shift ? sampler_dynamic_shift(s, sigma)
                              : fixed_shift(s, sigma, s->run.sigmas != NULL);
}

static int flow_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps, train = s->c.train_steps;
    float low = 1.0f / (float)train, high = 1;
    if (sampler_tables(s, n, 1, e) < 0)
        return -1;
    if (!s->c.dynamic_shift) {
        low = (float)fixed_shift(s, low, 1);
        high = (float)fixed_shift(s, high, 1);
    }
    for (int i = 0; i < n; i++)
        s->sigma[i] = flow_sigma(s, i, low, high);
    sampler_stretch(s);
    for (int i = 0; i < n; i++) {
        s->sigma[i] = (float)s->sigma[i];
        s->timestep[i] = (float)s->sigma[i] * (float)train;
    }
    s->sigma[n] = 0;
    return 0;
}

static void flow_step(struct sampler *s, int call, const float *output, const float *variance,
                      const float *noise, float *x)
{
    (void)variance, (void)noise;
    float go = (float)(s->sigma[call + 1] - s->sigma[call]), sigma = (float)s->sigma[call];
    for (int64_t i = 0; i < sampler_count(s); i++)
        x[i] += go * (s->c.prediction == PREDICT_SAMPLE ? (x[i] - output[i]) / sigma : output[i]);
}

const struct sampler_method method_flow = {.sigma_table = 1, .prepare = flow_prepare, .step = flow_step};
