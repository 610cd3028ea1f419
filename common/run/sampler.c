/* Opening, tables and limits: what all methods share. Tables are made as diffusers makes them: betas and
 * products as float32 (torch sums its cumulative product in double and rounds each entry), the rest in
 * double. */
#include "common/run/sampler_inside.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct sampler_method *const methods[SAMPLER_CLASSES] = {
    &method_ddim, &method_ddpm,  &method_pndm,  &method_euler, &method_euler_a, &method_heun,
    &method_lms,  &method_dpmpp, &method_unipc, &method_lcm,   &method_flow,
};

/* torch.linspace in float32: from both ends towards the middle, each number rounded once (fused
 * multiply-add). */
static float torch_linspace(float start, float end, int n, int i)
{
    double step = n > 1 ? (end - start) / (float)(n - 1) : 0;
    return (float)(n == 1 || i < n / 2 ? start + step * i : end - step * (n - 1 - i));
}

static double cosine_bar(double u)
{
    double c = cos((u + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

static float beta_at(const struct sampler_config *c, int i)
{
    int n = c->train_steps;
    float v;
    if (c->betas)
        return (float)c->betas[i];
    switch (c->beta_schedule) {
    case BETA_LINEAR:
        return torch_linspace((float)c->beta_start, (float)c->beta_end, n, i);
    case BETA_SCALED_LINEAR:
        v = torch_linspace((float)sqrt(c->beta_start), (float)sqrt(c->beta_end), n, i);
        return v * v;
    case BETA_SIGMOID:
        v = torch_linspace(-6, 6, n, i);
        return (float)(1 / (1 + exp(-v)) * (c->beta_end - c->beta_start) + c->beta_start);
    default:
        return (float)fmin(1 - cosine_bar((i + 1.0) / n) / cosine_bar((double)i / n), 0.999);
    }
}

/* Lin et al. 2024, algorithm 1: shift and scale the square roots so that the last is 0 and the first stays.
 */
static void rescale_zero_snr(float *bar, int n)
{
    float first = sqrtf(bar[0]), last = sqrtf(bar[n - 1]);
    for (int i = 0; i < n; i++) {
        float root = (sqrtf(bar[i]) - last) * (first / (first - last));
        bar[i] = root * root;
    }
}

static void fill_alphas(struct sampler *s)
{
    const struct sampler_config *c = &s->c;
    double product = 1;
    for (int i = 0; i < c->train_steps; i++) {
        product *= 1.0f - beta_at(c, i);
        s->alphas[i] = (float)product;
    }
    if (!c->zero_snr)
        return;
    rescale_zero_snr(s->alphas, c->train_steps);
    /* diffusers goes back to betas and multiplies again. */
    float before = 1;
    product = 1;
    for (int i = 0; i < c->train_steps; i++) {
        float alpha = i ? s->alphas[i] / before : s->alphas[0];
        before = s->alphas[i];
        product *= 1.0f - (1.0f - alpha);
        s->alphas[i] = (float)product;
    }
    if (c->kind == SAMPLER_EULER || c->kind == SAMPLER_EULER_A || c->kind == SAMPLER_DPMPP ||
        c->kind == SAMPLER_UNIPC)
        s->alphas[c->train_steps - 1] = 5.9604644775390625e-8f; /* 2^-24: the first sigma stays finite */
}

/* What pipelines pass as mu: linear in the number of tokens between the two given sizes. */
static double mu_of_size(const struct sampler_config *c, int tokens)
{
    double slope = c->max_seq_len > c->base_seq_len
                       ? (c->max_shift - c->base_shift) / (c->max_seq_len - c->base_seq_len)
                       : 0;
    return c->base_shift + slope * (tokens - c->base_seq_len);
}

/* A timestep of a method that has no sigmas: the cumulative product there must be one it can divide by.
 * Without any signal only the first may be, and only where nothing is divided by it. */
static int check_alpha(const struct sampler *s, int call, struct error *e)
{
    double t = s->timestep[call];
    if (t >= s->c.train_steps)
        return error_set(e, HASTEN_EUSAGE, "%d steps: with steps_offset %d the first timestep is %g of %d",
                         s->run.steps, s->c.steps_offset, t, s->c.train_steps);
    float alpha = s->alphas[(int)t];
    int divides = s->c.prediction == PREDICT_EPSILON && !(s->c.clip_sample && !s->c.thresholding);
    if (!(alpha >= 0 && alpha <= 1) || (alpha == 1 && s->c.kind != SAMPLER_LCM))
        return error_set(e, HASTEN_EFILE, "the betas leave no noise at timestep %g", t);
    if (alpha == 0 && (call > 0 || divides))
        return error_set(
            e, HASTEN_EFILE,
            "the betas leave no signal at timestep %g (beta_end, rescale_betas_zero_snr), which a "
            "step would divide by",
            t);
    return 0;
}

/* Whatever an update would divide by is looked at here, before the first network call. */
static int check_tables(const struct sampler *s, struct error *e)
{
    for (int i = 0; i < s->calls; i++) {
        if (!(s->timestep[i] >= 0 && isfinite(s->timestep[i])))
            return error_set(e, HASTEN_EUSAGE, "%d steps: timestep %d would be %g", s->run.steps, i,
                             s->timestep[i]);
        if (!s->method->sigma_table && check_alpha(s, i, e) < 0)
            return -1;
    }
    for (int i = 0; s->method->sigma_table && i < s->run.steps; i++) {
        if (!(s->sigma[i] < 1e9) /* its fourth power is a float32 */ ||
            (s->sigma[i] <= 0 && s->c.kind != SAMPLER_FLOW))
            return error_set(e, HASTEN_EFILE, "noise level %d of %d would be %g", i, s->run.steps,
                             s->sigma[i]);
    }
    return 0;
}

struct sampler *sampler_open(const struct sampler_config *c, const struct sampler_run *run, int images,
                             int64_t size, struct error *e)
{
    int most = c->kind == SAMPLER_FLOW ? 100000 : c->train_steps;
    if (run->steps < 1 || run->steps > most) {
        error_set(e, HASTEN_EUSAGE, "%d steps: this sampler takes 1 to %d", run->steps, most);
        return NULL;
    }
    struct sampler *s = mem_array(1, sizeof *s, e);
    if (!s)
        return NULL;
    s->c = *c;
    s->run = *run;
    s->method = methods[c->kind];
    s->images = s->most_images = images;
    s->size = size;
    s->init_sigma = 1;
    s->mu = run->has_mu ? run->mu : mu_of_size(c, run->seq_len);
    if (c->kind != SAMPLER_FLOW && (s->alphas = mem_array((size_t)c->train_steps, sizeof *s->alphas, e)))
        fill_alphas(s);
    if ((c->kind != SAMPLER_FLOW && !s->alphas) || s->method->prepare(s, e) < 0 || check_tables(s, e) < 0)
        goto fail;
    s->c.betas = NULL; /* the caller's; not needed any more */
    s->run.sigmas = NULL;
    for (int i = 0; i < s->method->histories; i++)
        if (!(s->history[i] = mem_array((size_t)images * (size_t)size, sizeof(float), e)))
            goto fail;
    if (c->thresholding && !(s->sorted = mem_array((size_t)size, sizeof(float), e)))
        goto fail;
    return s;
fail:
    sampler_close(s);
    return NULL;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    for (int i = 0; i < SAMPLER_HISTORY; i++)
        mem_free(s->history[i]);
    mem_free(s->alphas);
    mem_free(s->timestep);
    mem_free(s->sigma);
    mem_free(s->sorted);
    mem_free(s);
}

int sampler_tables(struct sampler *s, int calls, int sigmas, struct error *e)
{
    s->calls = calls;
    s->timestep = mem_array((size_t)calls, sizeof *s->timestep, e);
    s->sigma = mem_array((size_t)(sigmas ? calls + 1 : 1), sizeof *s->sigma, e);
    return s->timestep && s->sigma ? 0 : -1;
}

double sampler_linspace(double start, double stop, int n, int i)
{
    return n > 1 && i == n - 1 ? stop : start + i * (n > 1 ? (stop - start) / (n - 1) : 0);
}

/* DPM-Solver's lambda_min_clipped: timesteps whose log signal-to-noise ratio is below it are left out. */
static int usable_steps(const struct sampler *s)
{
    int n = s->c.train_steps;
    while (s->c.kind == SAMPLER_DPMPP && n > 1 &&
           logf(sqrtf(s->alphas[n - 1])) - logf(sqrtf(1 - s->alphas[n - 1])) < s->c.lambda_min)
        n--;
    return n;
}

void sampler_space(const struct sampler *s, int n, int drop_last, int round, double *out)
{
    int train = usable_steps(s), points = n + (drop_last ? 1 : 0);
    for (int i = 0; i < n; i++) {
        int back = points - 1 - i;
        if (s->c.spacing == SPACING_LINSPACE) {
            double t = points > 1 ? sampler_linspace(0, train - 1, points, back) : 0;
            out[i] = round ? nearbyint(t) : (double)(float)t;
        } else if (s->c.spacing == SPACING_LEADING) {
            out[i] = (double)(train / points) * back + s->c.steps_offset;
        } else {
            double apart = (train - (double)s->c.train_steps / n) - train; /* as numpy.arange steps */
            out[i] = nearbyint(train + i * apart) - 1;
        }
    }
}

float sampler_alpha(const struct sampler *s, int t)
{
    int one = s->c.kind == SAMPLER_DDPM || s->c.alpha_to_one;
    return t >= 0 ? s->alphas[t] : one ? 1 : s->alphas[0];
}

double sampler_sigma_at(const struct sampler *s, double t)
{
    int last = s->c.train_steps - 1;
    t = t > 0 ? fmin(t, last) : 0; /* as numpy.interp does; the table is checked afterwards */
    int low = (int)t, high = low < last ? low + 1 : last;
    float a = s->alphas[low], b = s->alphas[high];
    /* The root in double, then rounded: the end of a zero-SNR schedule is half-way between two floats,
     * and torch has the upper one, 4096. */
    double x = (float)sqrt((1 - a) / a), y = (float)sqrt((1 - b) / b);
    return x + (y - x) * (t - low);
}

void sampler_karras(const struct sampler *s, double high, double low, int n, double *out)
{
    high = s->c.sigma_max > 0 ? s->c.sigma_max : high;
    low = s->c.sigma_min > 0 ? s->c.sigma_min : low;
    double a = pow(high, 1 / 7.0), b = pow(low, 1 / 7.0);
    for (int i = 0; i < n; i++)
        out[i] = pow(a + sampler_linspace(0, 1, n, i) * (b - a), 7);
}

static double log_sigma(const struct sampler *s, int t) { return logf((float)sampler_sigma_at(s, t)); }

double sampler_time_of_sigma(const struct sampler *s, double sigma)
{
    double target = log(fmax(sigma, 1e-10));
    int low = 0;
    if (s->c.train_steps == 1)
        return 0;
    while (low < s->c.train_steps - 2 && log_sigma(s, low + 1) <= target)
        low++;
    double a = log_sigma(s, low), b = log_sigma(s, low + 1), w = (a - target) / (a - b);
    w = w < 0 ? 0 : w > 1 ? 1 : w;
    return (1 - w) * low + w * (low + 1);
}

int sampler_sigma_schedule(struct sampler *s, int n, double *timestep, double *sigma)
{
    sampler_space(s, n, 0, 0, timestep);
    for (int i = 0; i < n; i++)
        sigma[i] = sampler_sigma_at(s, timestep[i]);
    if (s->c.karras) {
        sampler_karras(s, sigma[0], sigma[n - 1], n, sigma);
        for (int i = 0; i < n; i++)
            timestep[i] = (float)sampler_time_of_sigma(s, sigma[i]);
    }
    sigma[n] = s->c.kind == SAMPLER_EULER && s->c.sigma_min_final ? sampler_sigma_at(s, 0) : 0;
    double most = 0;
    for (int i = 0; i <= n; i++) {
        sigma[i] = (float)sigma[i];
        most = sigma[i] > most ? sigma[i] : most;
    }
    s->init_sigma = s->c.spacing == SPACING_LEADING ? sqrtf((float)most * (float)most + 1) : most;
    return 0;
}

int sampler_calls(const struct sampler *s) { return s->calls; }
double sampler_timestep(const struct sampler *s, int call) { return s->timestep[call]; }
double sampler_init_sigma(const struct sampler *s) { return (float)s->init_sigma; }
int sampler_needs_noise(const struct sampler *s, int call)
{
    return s->method->noise && s->method->noise(s, call);
}

int sampler_uses_variance(const struct sampler *s)
{
    return s->c.kind == SAMPLER_DDPM &&
           (s->c.variance == VARIANCE_LEARNED || s->c.variance == VARIANCE_LEARNED_RANGE);
}

double sampler_sigma(const struct sampler *s, int call)
{
    if (s->c.kind == SAMPLER_HEUN)
        return s->sigma[(call + 1) / 2];
    if (s->method->sigma_table)
        return s->sigma[call];
    double a = s->alphas[(int)s->timestep[call]];
    return sqrt((1 - a) / a);
}

void sampler_scale(const struct sampler *s, int call, const float *x, float *input)
{
    float sigma = s->method->scales ? (float)sampler_sigma(s, call) : 0;
    float divisor = sqrtf(sigma * sigma + 1);
    if (!s->method->scales)
        memcpy(input, x, (size_t)sampler_count(s) * sizeof *x);
    for (int64_t i = 0; s->method->scales && i < sampler_count(s); i++)
        input[i] = x[i] / divisor;
}

void sampler_step(struct sampler *s, int call, const float *output, const float *variance, const float *noise,
                  float *x)
{
    s->method->step(s, call, output, variance, noise, x);
}

void sampler_restart(struct sampler *s, int images)
{
    s->images = images;
    s->filled = 0;
}

static int by_value(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

/* Saharia et al. 2022 (Imagen), dynamic thresholding, with torch.quantile's linear interpolation. */
static void threshold(struct sampler *s, float *x)
{
    for (int64_t i = 0; i < s->size; i++)
        s->sorted[i] = fabsf(x[i]);
    qsort(s->sorted, (size_t)s->size, sizeof *s->sorted, by_value);
    double at = s->c.threshold_ratio * (double)(s->size - 1);
    int64_t low = (int64_t)at, high = low + 1 < s->size ? low + 1 : low;
    double q = s->sorted[low] + (at - (double)low) * ((double)s->sorted[high] - s->sorted[low]);
    float top = (float)(q < 1 ? 1 : q);
    top = top > (float)s->c.sample_max ? (float)s->c.sample_max : top;
    for (int64_t i = 0; i < s->size; i++)
        x[i] = (x[i] < -top ? -top : x[i] > top ? top : x[i]) / top;
}

void sampler_limit(struct sampler *s, float *x0)
{
    float range = (float)s->c.clip_range;
    if (s->probe) {
        memcpy(s->probe, x0, (size_t)s->size * sizeof *x0);
        for (int64_t i = 0; i < s->size; i++)
            x0[i] = i == SAMPLER_PROBE_PICTURE;
        return;
    }
    for (int image = 0; s->c.thresholding && image < s->images; image++)
        threshold(s, x0 + image * s->size);
    for (int64_t i = 0; !s->c.thresholding && s->c.clip_sample && i < sampler_count(s); i++)
        x0[i] = x0[i] < -range ? -range : x0[i] > range ? range : x0[i];
}
