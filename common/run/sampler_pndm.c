/* PNDM (Liu et al. 2022): eq. 9 with Adams-Bashforth outputs; the first steps either by Runge-Kutta (12
 * calls) or, as Stable Diffusion does, by lower orders with the second timestep called twice. History: 0-3
 * outputs (ring), 4 the sample kept, 5 the Runge-Kutta sum. */
#include "common/run/sampler_inside.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

enum { RUNGE_KUTTA_CALLS = 12 };

static int pndm_prepare(struct sampler *s, struct error *e)
{
    int n = s->run.steps, half = s->c.train_steps / n / 2;
    double *falling = mem_array((size_t)n, sizeof *falling, e);
    if (!falling)
        return -1;
    sampler_space(s, n, 0, 1, falling);
    int status = -1;
    if (!s->c.skip_prk && n < 4) {
        error_set(e, HASTEN_EUSAGE, "%d steps: PNDM with Runge-Kutta steps takes at least 4", n);
    } else if (sampler_tables(s, s->c.skip_prk ? (n > 1 ? n + 1 : 1) : RUNGE_KUTTA_CALLS + n - 3, 0, e) ==
               0) {
        status = 0;
        if (s->c.skip_prk) {
            for (int i = 0; i < s->calls; i++)
                s->timestep[i] = falling[i < 2 ? i : i - 1];
        } else {
            /* Each step calls at t, t - half, t - half and at the next t. */
            for (int i = 0; i < RUNGE_KUTTA_CALLS; i++)
                s->timestep[i] = i % 4 == 0   ? falling[i / 4]
                                 : i % 4 == 3 ? falling[i / 4 + 1]
                                              : falling[i / 4 + 1] + half;
            for (int i = 3; i < n; i++)
                s->timestep[RUNGE_KUTTA_CALLS + i - 3] = falling[i];
        }
    }
    mem_free(falling);
    return status;
}

/* Equation 9: from timestep t to `before` along `output`. */
static void transfer(const struct sampler *s, const float *from, int t, int before, const float *output,
                     float *x)
{
    float alpha = sampler_alpha(s, t), next = sampler_alpha(s, before);
    float divisor = alpha * sqrtf(1 - next) + sqrtf(alpha * (1 - alpha) * next);
    float keep = sqrtf(next / alpha), go = next - alpha, a = sqrtf(alpha), b = sqrtf(1 - alpha);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float eps = s->c.prediction == PREDICT_V ? a * output[i] + b * from[i] : output[i];
        x[i] = keep * from[i] - go * eps / divisor;
    }
}

static float *recent(struct sampler *s, int back) { return s->history[(s->filled - 1 - back) % 4]; }

static void remember(struct sampler *s, const float *output)
{
    memcpy(s->history[s->filled++ % 4], output, (size_t)sampler_count(s) * sizeof *output);
}

static void runge_kutta_step(struct sampler *s, int call, const float *output, float *x)
{
    static const float weights[4] = {1 / 6.0f, 1 / 3.0f, 1 / 3.0f, 1 / 6.0f};
    float *kept = s->history[4], *sum = s->history[5];
    int phase = call % 4, half = s->c.train_steps / s->run.steps / 2;
    int before = (int)s->timestep[call] - (phase % 2 ? 0 : half), t = (int)s->timestep[call - phase];
    if (phase == 0) {
        remember(s, output);
        memcpy(kept, x, (size_t)sampler_count(s) * sizeof *x);
    }
    for (int64_t i = 0; i < sampler_count(s); i++)
        sum[i] = (phase ? sum[i] : 0) + weights[phase] * output[i];
    transfer(s, kept, t, before, phase == 3 ? sum : output, x);
}

static void pndm_step(struct sampler *s, int call, const float *output, const float *variance,
                      const float *noise, float *x)
{
    (void)variance, (void)noise;
    int apart = s->c.train_steps / s->run.steps, t = (int)s->timestep[call], before = t - apart;
    float *mixed = s->history[5], *kept = s->history[4];
    if (!s->c.skip_prk && call < RUNGE_KUTTA_CALLS) {
        runge_kutta_step(s, call, output, x);
        return;
    }
    int again = s->c.skip_prk && call == 1;
    if (again) {
        before = t;
        t += apart;
    } else {
        remember(s, output);
    }
    const float *from = again ? kept : x;
    if (call == 0)
        memcpy(kept, x, (size_t)sampler_count(s) * sizeof *x);
    int order = again ? 0 : s->filled < 4 ? s->filled : 4;
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float e0 = recent(s, 0)[i];
        if (again)
            mixed[i] = (output[i] + e0) / 2;
        else if (order == 1)
            mixed[i] = e0;
        else if (order == 2)
            mixed[i] = (3 * e0 - recent(s, 1)[i]) / 2;
        else if (order == 3)
            mixed[i] = (23 * e0 - 16 * recent(s, 1)[i] + 5 * recent(s, 2)[i]) / 12;
        else
            mixed[i] = (55 * e0 - 59 * recent(s, 1)[i] + 37 * recent(s, 2)[i] - 9 * recent(s, 3)[i]) / 24;
    }
    transfer(s, from, t, before, mixed, x);
}

const struct sampler_method method_pndm = {.histories = 6, .prepare = pndm_prepare, .step = pndm_step};
