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

const struct sampler_method method_lms = {
    .histories = 4, .scales = 1, .sigma_table = 1, .prepare = euler_prepare, .step = lms_step};

/* ---- flow matching (Lipman et al. 2023; shifts: Esser et al. 2024, section 5.3.2) ---- */

static double flow_shifted(const struct sampler *s, double sigma, double mu)
{
    if (!s->c.dynamic_shift)
        return s->c.shift * sigma / (1 + (s->c.shift - 1) * sigma);
    double m = s->c.linear_shift ? mu : exp(mu);
    return m / (m + (1 / sigma - 1));
}

/* The table is shifted when the class is built and again by set_timesteps: the ends are shifted twice. */
static int flow_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps, train = s->c.train_steps;
    double low = 1.0 / train, high = 1, mu = s->run.mu;
    if (sampler_tables(s, n, 1, e) < 0)
        return -1;
    if (s->c.dynamic_shift && !s->run.has_mu) {
        double m = (s->c.max_shift - s->c.base_shift) / (s->c.max_seq_len - s->c.base_seq_len);
        mu = m * s->run.seq_len + s->c.base_shift - m * s->c.base_seq_len;
    }
    if (!s->c.dynamic_shift) {
        low = (float)flow_shifted(s, (float)low, 0);
        high = (float)flow_shifted(s, high, 0);
    }
    for (int i = 0; i < n; i++) {
        double sigma =
            s->run.sigmas ? (float)s->run.sigmas[i] : high + (n > 1 ? (low - high) * i / (n - 1) : 0);
        /* Without shift the pipelines that shift dynamically pass linspace(1, 1/n, n). */
        if (s->c.uniform_sigmas || (s->c.dynamic_shift && !s->run.sigmas))
            sigma = 1 - (double)i / n;
        s->sigma[i] = s->c.uniform_sigmas ? sigma : flow_shifted(s, sigma, mu);
    }
    double stretch = s->c.shift_terminal > 0 ? (1 - s->sigma[n - 1]) / (1 - s->c.shift_terminal) : 1;
    for (int i = 0; i < n; i++) {
        s->sigma[i] = (float)(1 - (1 - s->sigma[i]) / stretch);
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
