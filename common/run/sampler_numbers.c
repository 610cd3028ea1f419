/* See sampler_numbers.h. Element i of a probing sampler's latent of STEP_INPUTS numbers is the unit vector of
 * input i, so what a step makes of it is that input's coefficient. */
#include "common/run/sampler_numbers.h"
#include "common/run/sampler_inside.h"

#include <math.h>
#include <string.h>

_Static_assert((int)SAMPLER_PROBE_PICTURE == (int)STEP_PICTURE && (int)SAMPLER_HISTORY == (int)STEP_HISTORY,
               "one numbering");

static void set_unit(float *x, int input)
{
    for (int i = 0; i < STEP_INPUTS; i++)
        x[i] = i == input;
}

/* One step on the unit vectors: `to` gets the coefficients of x and of all histories. */
static void probe(struct sampler *s, int call, const float *variance, struct step_numbers *n)
{
    float x[STEP_INPUTS], out[STEP_INPUTS], noise[STEP_INPUTS], seen[STEP_INPUTS] = {0};
    set_unit(x, STEP_X);
    set_unit(out, STEP_OUT);
    set_unit(noise, STEP_NOISE);
    for (int k = 0; k < s->method->histories; k++)
        set_unit(s->history[k], STEP_FIRST_HISTORY + k);
    s->probe = seen;
    sampler_step(s, call, out, variance, sampler_needs_noise(s, call) ? noise : NULL, x);
    s->probe = NULL;
    n->picture_of[0] = seen[STEP_X];
    n->picture_of[1] = seen[STEP_OUT];
    memcpy(n->to[0], x, sizeof x);
    for (int k = 0; k < s->method->histories; k++) {
        float *to = n->to[1 + k];
        memcpy(to, s->history[k], sizeof x);
        for (int i = 0; i < STEP_INPUTS; i++)
            if (to[i] != (i == STEP_FIRST_HISTORY + k))
                n->writes |= 1u << k;
    }
}

/* The deviation that a learned variance gives at share 0 and 1: its two ends, as logarithms of variances. */
static void probe_variance(struct sampler *s, int call, struct step_numbers *n)
{
    float share[STEP_INPUTS];
    struct step_numbers at[2] = {0};
    if (!sampler_needs_noise(s, call))
        return;
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < STEP_INPUTS; i++)
            share[i] = k ? 1 : -1;
        probe(s, call, share, &at[k]);
    }
    n->variance = s->c.variance == VARIANCE_LEARNED ? STEP_LEARNED : STEP_RANGE;
    if (n->variance == STEP_RANGE) {
        n->low = 2 * logf(at[0].to[0][STEP_NOISE]);
        n->high = 2 * logf(at[1].to[0][STEP_NOISE]);
    }
    n->to[0][STEP_NOISE] = 1;
}

static unsigned reads_of(const struct step_numbers *n)
{
    unsigned reads = 0;
    for (int target = 0; target <= STEP_HISTORY; target++)
        for (int k = 0; (target == 0 || n->writes >> (target - 1) & 1) && k < STEP_HISTORY; k++)
            if (n->to[target][STEP_FIRST_HISTORY + k] != 0)
                reads |= 1u << k;
    return reads;
}

/* Histories that no later step reads are not written. */
static void drop_unread(struct step_numbers *n, int calls)
{
    unsigned live = 0;
    for (int call = calls - 1; call >= 0; call--) {
        unsigned written = n[call].writes;
        n[call].writes &= live;
        n[call].reads = reads_of(&n[call]);
        live = (live & ~written) | n[call].reads;
    }
}

static int all_finite(const struct step_numbers *n)
{
    int finite =
        isfinite(n->picture_of[0]) && isfinite(n->picture_of[1]) && isfinite(n->low) && isfinite(n->high);
    for (int target = 0; target <= STEP_HISTORY; target++)
        for (int i = 0; i < STEP_INPUTS; i++)
            finite &= isfinite(n->to[target][i]) != 0;
    return finite;
}

int sampler_numbers(const struct sampler_config *c, const struct sampler_run *run, int variance,
                    struct step_numbers *numbers, float *scale, struct error *e)
{
    if (c->thresholding || (c->kind == SAMPLER_HEUN && c->clip_sample))
        return 0;
    struct sampler *s = sampler_open(c, run, 1, STEP_INPUTS, e);
    if (!s)
        return -1;
    int linear = 1;
    for (int call = 0; call < sampler_calls(s); call++) {
        float unit[STEP_INPUTS], input[STEP_INPUTS];
        struct step_numbers *n = &numbers[call];
        *n = (struct step_numbers){.clip = c->clip_sample ? (float)c->clip_range : 0};
        probe(s, call, NULL, n);
        if (variance && sampler_uses_variance(s))
            probe_variance(s, call, n);
        set_unit(unit, STEP_X);
        sampler_scale(s, call, unit, input);
        scale[call] = input[STEP_X];
        linear &= all_finite(n);
    }
    drop_unread(numbers, sampler_calls(s));
    sampler_close(s);
    return linear;
}
