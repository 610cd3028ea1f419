/* See trajectory.h. */
#include "common/run/trajectory_inside.h"

#include <math.h>
#include <string.h>

void to_channels_first(const float *in, float *out, int64_t rows, int channels, int take)
{
    for (int c = 0; c < take; c++)
        for (int64_t r = 0; r < rows; r++)
            out[c * rows + r] = in[r * channels + c];
}

void to_channels_last(const float *in, float *out, int64_t rows, int channels)
{
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < channels; c++)
            out[r * channels + c] = in[c * rows + r];
}

/* ---- opening ---- */

static int check_schedule(const struct trajectory *t, struct error *e)
{
    const struct cache_schedule *s = t->o.schedule;
    if (!s)
        return 0;
    if (s->calls != t->calls || s->steps != t->o.run.steps)
        return error_set(e, HASTEN_EFILE,
                         "the schedule is for %d steps (%d network calls), this run has %d (%d)", s->steps,
                         s->calls, t->o.run.steps, t->calls);
    if (s->height && (s->height != t->shape.height || s->width != t->shape.width))
        return error_set(e, HASTEN_EFILE, "the schedule is for latents of %dx%d, these are %dx%d", s->width,
                         s->height, t->shape.width, t->shape.height);
    return 0;
}

/* All layers of an action read floats. */
static int widen(struct trajectory *t, int action, struct error *e)
{
    unsigned char *all = mem_array((size_t)t->o.graph->count + 1, 1, e);
    if (!all)
        return -1;
    memset(all, 1, (size_t)t->o.graph->count);
    int status = engine_wide(t->engine, action, all, e);
    mem_free(all);
    return status;
}

static int open_engine(struct trajectory *t, struct error *e)
{
    if (triggered_open(t, e) < 0)
        return -1;
    struct engine_options o = {.images = t->o.batch * (t->guided ? 2 : 1),
                               .calls = t->calls,
                               .hoist_bytes = t->o.hoist_bytes,
                               .want = t->want};
    t->engine = engine_open(t->o.graph, t->o.weights, &o, e);
    if (!t->engine)
        return -1;
    if (engine_has_input(t->engine, "timestep") && engine_bind(t->engine, "timestep", t->times, 1, 0, e) < 0)
        return -1;
    for (int a = 1; t->o.schedule && a < t->o.schedule->actions; a++) {
        const struct cache_action *x = &t->o.schedule->action[a];
        if (x->difference) /* made here, the network does not run */
            continue;
        if (engine_action(t->engine, a, x->served, x->predictor, e) < 0 || (x->wide && widen(t, a, e) < 0))
            return -1;
    }
    return triggered_actions(t, e) < 0 ? -1 : engine_ready(t->engine, e);
}

static int prepare(struct trajectory *t, struct error *e)
{
    const struct graph *g = t->o.graph;
    int in = graph_find(g, "sample"), out = graph_find_output(g, "sample");
    if (in < 0 || out < 0 || g->node[in].shape.kind != VALUE_IMAGE || g->node[out].shape.kind != VALUE_IMAGE)
        return error_set(e, HASTEN_EFILE,
                         "component '%s' is no denoiser: it needs an image input and output 'sample'",
                         g->component);
    t->shape = g->node[in].shape;
    t->size = shape_size(t->shape);
    t->output = out;
    t->channels = t->shape.channels;
    t->out_channels = g->node[out].shape.channels;
    if (shape_rows(g->node[out].shape) != shape_rows(t->shape) ||
        (t->out_channels != t->channels && t->out_channels != 2 * t->channels))
        return error_set(e, HASTEN_EFILE, "the denoiser's output does not fit its input");
    t->sampler = sampler_open(t->o.sampler, &t->o.run, t->o.batch, t->size, e);
    if (!t->sampler)
        return -1;
    t->calls = sampler_calls(t->sampler);
    t->guided = t->o.guidance != 1 && t->o.model->null_class >= 0;
    if (t->o.guidance != 1 && !t->guided)
        return error_set(e, HASTEN_EUSAGE, "guidance %g: the model has no null class", t->o.guidance);
    return check_schedule(t, e);
}

/* Strictly between the ends, which times that are rounded to float32 may just miss. */
static int is_inside(double time, const double interval[2])
{
    double slack = 1e-6 * fmax(1, fabs(time));
    return time > interval[0] + slack && time < interval[1] - slack;
}

struct trajectory *trajectory_open(const struct trajectory_options *o, struct error *e)
{
    struct trajectory *t = mem_array(1, sizeof *t, e);
    if (!t)
        return NULL;
    t->o = *o;
    if (prepare(t, e) < 0)
        goto fail;
    size_t n = (size_t)o->batch * (size_t)t->size;
    t->times = mem_array((size_t)t->calls, sizeof *t->times, e);
    t->guide_at = mem_array((size_t)t->calls, 1, e);
    t->labels = mem_array(2 * (size_t)o->batch, sizeof *t->labels, e);
    t->random = mem_array((size_t)o->batch, sizeof *t->random, e);
    float **arrays[] = {&t->x, &t->input, &t->eps, &t->variance, &t->noise, &t->other};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (!(*arrays[i] = mem_array(n, sizeof(float), e)))
            goto fail;
    if (!t->times || !t->guide_at || !t->labels || !t->random)
        goto fail;
    t->difference = o->schedule && t->guided ? cache_schedule_difference(o->schedule) : 0;
    for (int i = 0; i < 2 && t->difference; i++)
        if (!(t->kept[i] = mem_array(n, sizeof(float), e)))
            goto fail;
    for (int c = 0; c < t->calls; c++) {
        double time =
            o->model->one_minus_sigma ? 1 - sampler_sigma(t->sampler, c) : sampler_timestep(t->sampler, c);
        t->times[c] = (float)time;
        t->guide_at[c] = t->guided && is_inside(time, o->model->interval);
    }
    if (open_engine(t, e) == 0 && (t->trigger || t->difference || device_open(t, e) == 0))
        return t;
fail:
    trajectory_close(t);
    return NULL;
}

void trajectory_close(struct trajectory *t)
{
    if (!t)
        return;
    void *blocks[] = {t->times, t->guide_at, t->labels, t->x,    t->input, t->eps,     t->variance, t->noise,
                      t->other, t->random,   t->serve,  t->want, t->probe, t->kept[0], t->kept[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(blocks[i]);
    trigger_close(t->trigger);
    device_close(t);
    engine_close(t->engine);
    sampler_close(t->sampler);
    mem_free(t);
}

struct trajectory_passes trajectory_passes(const struct trajectory *t) { return t->passes; }
int trajectory_calls(const struct trajectory *t) { return t->calls; }
int64_t trajectory_size(const struct trajectory *t) { return t->size; }
struct shape trajectory_shape(const struct trajectory *t) { return t->shape; }
struct engine *trajectory_engine(const struct trajectory *t) { return t->engine; }

size_t trajectory_bytes(const struct trajectory *t)
{
    return engine_bytes(t->engine) + device_bytes(t) +
           (size_t)(6 + 6 + (t->difference ? 2 : 0)) * (size_t)t->o.batch * (size_t)t->size * sizeof(float);
}

/* ---- one call ---- */

static int has_bad(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return 1;
    return 0;
}

int trajectory_network(struct trajectory *t, int call, int action, int first, int rows, int count,
                       struct error *e)
{
    int64_t pixels = shape_rows(t->shape);
    *(action && action != t->rest ? &t->passes.served : &t->passes.computed) += rows;
    if (engine_run(t->engine, call, action, first, rows, NULL, e) < 0)
        return -1;
    const float *out = engine_value(t->engine, t->output);
    if (has_bad(out, rows * pixels * t->out_channels)) {
        const char *node = engine_first_nonfinite(t->engine, call, action, first, rows, e);
        return error_set(e, HASTEN_EFAIL,
                         "network call %d of %d: values that are not finite, first from node '%s'", call + 1,
                         t->calls, node ? node : t->o.graph->node[t->output].name);
    }
    for (int r = 0; r < rows; r++) {
        const float *from = out + r * pixels * t->out_channels;
        int image = first + r;
        float *eps = image < count ? t->eps + image * t->size : t->other + (image - count) * t->size;
        to_channels_first(from, eps, pixels, t->out_channels, t->channels);
        if (image < count && t->out_channels > t->channels)
            to_channels_first(from + t->channels, t->variance + image * t->size, pixels, t->out_channels,
                              t->channels);
    }
    const struct trajectory_watch *w = t->o.watch;
    return w && w->network ? w->network(w->context, t->engine, call, first, rows, e) : 0;
}

static int action_at(const struct trajectory *t, int stream, int call)
{
    return t->o.schedule ? t->o.schedule->choice[stream][call] : 0;
}

struct call_runs trajectory_runs(const struct trajectory *t, int call, int count)
{
    struct call_runs r = {.guided = t->guide_at[call],
                          .action = {action_at(t, 0, call), action_at(t, 1, call)}};
    int is_difference = r.action[1] && r.action[1] == t->difference;
    if (r.action[1] && t->o.schedule->action[r.action[1]].serves &&
        (is_difference ? !t->differences : !t->uncond_stored))
        r.action[1] = 0; /* nothing is stored for it yet */
    r.joint = r.guided && r.action[0] == r.action[1] && engine_in_phase(t->engine, 0, count);
    return r;
}

/* What the outputs differ by, kept for later; the older one goes. */
static void keep_difference(struct trajectory *t, int count)
{
    float *older = t->kept[1];
    t->kept[1] = t->kept[0];
    t->kept[0] = older;
    for (int64_t i = 0; i < count * t->size; i++)
        older[i] = t->other[i] - t->eps[i];
    t->differences++;
}

/* The unconditional output out of the conditional one and the differences that were kept. */
static void add_difference(struct trajectory *t, int call, int count)
{
    const struct cache_action *x = &t->o.schedule->action[t->difference];
    int rows = x->correct[0] ? x->anchors[0] + 1 : 0;
    int64_t pixels = shape_rows(t->shape);
    for (int64_t k = 0; k < (int64_t)count * t->channels; k++) {
        const float *table =
            rows ? x->correct[0] + (int64_t)call * rows * t->out_channels + k % t->channels : NULL;
        float newest = table ? table[0] : 1, older = rows == 3 ? table[t->out_channels] : 0;
        float bias = table ? table[(rows - 1) * t->out_channels] : 0;
        for (int64_t i = k * pixels; i < (k + 1) * pixels; i++)
            t->other[i] = t->eps[i] + (newest * t->kept[0][i] + older * t->kept[1][i] + bias);
    }
    t->passes.served += count;
}

static int run_streams(struct trajectory *t, int call, const struct call_runs *r, int count, struct error *e)
{
    if (r->guided && r->action[1] && r->action[1] == t->difference) {
        if (trajectory_network(t, call, r->action[0], 0, count, count, e) < 0)
            return -1;
        add_difference(t, call, count);
        return 0;
    }
    if (r->joint)
        return trajectory_network(t, call, r->action[0], 0, 2 * count, count, e);
    return trajectory_network(t, call, r->action[0], 0, count, count, e) < 0 ||
                   (r->guided && trajectory_network(t, call, r->action[1], count, count, count, e) < 0)
               ? -1
               : 0;
}

/* The prediction for all images into t->eps, guided where it is to be. Rows [0, count) are conditional,
 * [count, 2 count) unconditional: one run where both streams do the same. */
static int predict(struct trajectory *t, int call, int count, struct error *e)
{
    int64_t pixels = shape_rows(t->shape), n = count * t->size;
    struct call_runs r = trajectory_runs(t, call, count);
    float *sample = engine_sample(t->engine);
    for (int i = 0; i < count; i++)
        to_channels_last(t->input + i * t->size, sample + i * t->size, pixels, t->channels);
    if (r.guided)
        memcpy(sample + n, sample, (size_t)n * sizeof *sample);
    if (t->trigger && triggered_predict(t, call, r.action[0], r.guided ? r.action[1] : -1, count, e) < 0)
        return -1;
    if (!t->trigger && run_streams(t, call, &r, count, e) < 0)
        return -1;
    if (!r.guided)
        return 0;
    const struct cache_action *did = t->o.schedule ? t->o.schedule->action : NULL;
    if (t->difference && !did[r.action[0]].serves && !did[r.action[1]].serves)
        keep_difference(t, count);
    t->uncond_stored |= !t->difference || r.action[1] != t->difference;
    float scale = (float)t->o.guidance;
    for (int64_t i = 0; i < n; i++)
        t->eps[i] = t->other[i] + scale * (t->eps[i] - t->other[i]);
    return 0;
}

void trajectory_draw(struct trajectory *t, float *x, int count)
{
    if (t->o.single_generator) {
        torch_randn(&t->random[0], x, count * t->size);
        return;
    }
    for (int i = 0; i < count; i++)
        torch_randn(&t->random[i], x + i * t->size, t->size);
}

static int start(struct trajectory *t, const struct trajectory_image *images, int count, struct error *e)
{
    int given = images[0].noise != NULL;
    for (int i = 0; i < count; i++) {
        if (!t->o.single_generator || i == 0)
            torch_random_seed(&t->random[i], images[i].seed);
        if (given)
            memcpy(t->x + i * t->size, images[i].noise, (size_t)t->size * sizeof *t->x);
        t->labels[i] = (float)images[i].label;
        t->labels[count + i] = (float)(images[i].has_negative ? images[i].negative : t->o.model->null_class);
    }
    if (!given)
        trajectory_draw(t, t->x, count);
    if (!engine_has_input(t->engine, "class_labels"))
        return 0;
    return engine_bind(t->engine, "class_labels", t->labels, 0, 1, e);
}

/* All calls, steps made on the host. t->x is the noise. */
static int run_calls(struct trajectory *t, int count, struct error *e)
{
    const struct trajectory_watch *w = t->o.watch;
    float sigma = (float)sampler_init_sigma(t->sampler);
    for (int64_t i = 0; i < count * t->size; i++)
        t->x[i] *= sigma;
    for (int call = 0; call < t->calls; call++) {
        if (w && w->state && w->state(w->context, call, t->x, count, e) < 0)
            return -1;
        sampler_scale(t->sampler, call, t->x, t->input);
        if (predict(t, call, count, e) < 0)
            return -1;
        int noisy = sampler_needs_noise(t->sampler, call);
        if (noisy)
            trajectory_draw(t, t->noise, count);
        sampler_step(t->sampler, call, t->eps,
                     sampler_uses_variance(t->sampler) && t->out_channels > t->channels ? t->variance : NULL,
                     noisy ? t->noise : NULL, t->x);
        if (w && w->latents && w->latents(w->context, call, t->x, count, e) < 0)
            return -1;
        if (w && w->progress)
            w->progress(w->context, call + 1, t->calls);
    }
    return 0;
}

/* What the backend ran, which makes all calls at once. */
static void count_passes(struct trajectory *t, int count)
{
    for (int call = 0, stored = 0; call < t->calls; call++) {
        *(action_at(t, 0, call) ? &t->passes.served : &t->passes.computed) += count;
        if (t->guide_at[call])
            *(stored && action_at(t, 1, call) ? &t->passes.served : &t->passes.computed) += count;
        stored |= t->guide_at[call];
    }
}

int trajectory_run(struct trajectory *t, const struct trajectory_image *images, int count, float *latents,
                   struct error *e)
{
    const struct trajectory_watch *w = t->o.watch;
    int status = t->device ? start(t, images, count, e) < 0 ? -1 : device_run(t, count, latents, e) : 1;
    if (status == 0)
        count_passes(t, count);
    if (status == 0 && w && w->progress)
        w->progress(w->context, t->calls, t->calls);
    if (status <= 0)
        return status;
    /* On the host; or again on the host, call by call, to name the node whose value is not finite. */
    sampler_restart(t->sampler, count);
    engine_restart(t->engine);
    if (t->trigger)
        trigger_restart(t->trigger);
    t->uncond_stored = t->differences = 0;
    if (start(t, images, count, e) < 0 || run_calls(t, count, e) < 0)
        return -1;
    memcpy(latents, t->x, (size_t)(count * t->size) * sizeof *latents);
    return 0;
}
