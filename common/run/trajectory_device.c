/* The whole trajectory on the backend: network calls with their cache schedule, guidance and sampler steps
 * are recorded once for a number of images and replayed for every batch of that many. What differs between
 * batches is put in place before: noise (all of it, since drawing does not depend on results), labels, and
 * what is hoisted from them. A recording goes as far as hoisted values do: one, or one for each chunk of
 * calls; where the device has no memory for graphs of that length, one for each call. */
#include "common/run/sampler_numbers.h"
#include "common/run/trajectory_inside.h"

#include <string.h>

enum { RECORDINGS = 2 }; /* a full batch and a last one */

struct recording {
    int count, generation; /* count 0: none */
    void **from;           /* [calls] what begins with this call, of the backend; NULL: nothing does */
};

struct device_run {
    struct backend *b;
    struct step_numbers *numbers; /* [calls] */
    float *scale;                 /* [calls] what the network sees is of x */
    int most;                     /* calls in a recording */
    int noisy;                    /* calls that draw noise */
    float *start, *x, *out;       /* [batch][size]; start and out channels first */
    float *noise;                 /* [noisy][batch][size] */
    float *cond;                  /* [batch][pixels][out_channels]: kept while the other stream runs */
    float *history[STEP_HISTORY];
    unsigned *failed;
    size_t bytes;
    struct recording recording[RECORDINGS];
};

/* ---- opening ---- */

static int wanted_steps(const struct trajectory *t)
{
    const struct trajectory_watch *w = t->o.watch;
    return w && (w->state || w->latents || w->network);
}

/* Plans that only the host can finish cannot be recorded. */
static int plans_are_on_device(struct trajectory *t, struct error *e)
{
    int actions = t->o.schedule ? t->o.schedule->actions : 1;
    for (int a = 0; a < actions; a++) {
        const struct plan *p = engine_plan(t->engine, a, 0, t->o.batch, e);
        if (!p)
            return -1;
        if (plan_needs_host(p))
            return 0;
    }
    return 1;
}

static void *take(struct device_run *d, size_t count, struct error *e)
{
    d->bytes += count * sizeof(float);
    return d->b->ops->allocate(d->b, count * sizeof(float), e);
}

static int allocate(struct trajectory *t, struct device_run *d, struct error *e)
{
    size_t n = (size_t)t->o.batch * (size_t)t->size;
    unsigned histories = 0;
    for (int c = 0; c < t->calls; c++)
        histories |= d->numbers[c].writes;
    for (int k = 0; k < STEP_HISTORY; k++)
        if (histories >> k & 1 && !(d->history[k] = take(d, n, e)))
            return -1;
    d->start = take(d, n, e);
    d->x = take(d, n, e);
    d->out = take(d, n, e);
    d->failed = take(d, 1, e);
    d->noise = take(d, n * (size_t)d->noisy, e);
    d->cond = take(d, t->guided ? n / (size_t)t->channels * (size_t)t->out_channels : 0, e);
    for (int i = 0; i < RECORDINGS; i++)
        if (!(d->recording[i].from = mem_array((size_t)t->calls, sizeof(void *), e)))
            return -1;
    return d->start && d->x && d->out && d->failed && d->noise && d->cond ? 0 : -1;
}

int device_open(struct trajectory *t, struct error *e)
{
    struct backend *b = t->o.weights->backend;
    int fits = b->ops->record && !wanted_steps(t) ? plans_are_on_device(t, e) : 0;
    if (fits <= 0)
        return fits;
    struct device_run *d = t->device = mem_array(1, sizeof *d, e);
    if (!d)
        return -1;
    d->b = b;
    d->most = engine_chunk(t->engine);
    d->numbers = mem_array((size_t)t->calls, sizeof *d->numbers, e);
    d->scale = mem_array((size_t)t->calls, sizeof *d->scale, e);
    for (int c = 0; c < t->calls; c++)
        d->noisy += sampler_needs_noise(t->sampler, c);
    int linear =
        d->numbers && d->scale
            ? sampler_numbers(t->o.sampler, &t->o.run, t->out_channels > t->channels, d->numbers, d->scale, e)
            : -1;
    if (linear > 0)
        return allocate(t, d, e);
    device_close(t);
    return linear;
}

static void drop(struct trajectory *t, struct recording *r)
{
    struct backend *b = t->device->b;
    for (int i = 0; r->from && i < t->calls; i++) {
        if (r->from[i])
            b->ops->drop(b, r->from[i]);
        r->from[i] = NULL;
    }
    r->count = 0;
}

void device_close(struct trajectory *t)
{
    struct device_run *d = t->device;
    if (!d)
        return;
    for (int i = 0; i < RECORDINGS; i++) {
        drop(t, &d->recording[i]);
        mem_free(d->recording[i].from);
    }
    void *blocks[] = {d->start, d->x, d->out, d->noise, d->cond, d->failed};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        d->b->ops->release(d->b, blocks[i]);
    for (int k = 0; k < STEP_HISTORY; k++)
        d->b->ops->release(d->b, d->history[k]);
    mem_free(d->numbers);
    mem_free(d->scale);
    mem_free(d);
    t->device = NULL;
}

size_t device_bytes(const struct trajectory *t) { return t->device ? t->device->bytes : 0; }

/* ---- recording ---- */

static int layout(struct trajectory *t, int count, const float *in, float *out, float *again, int to_last,
                  float scale, struct error *e)
{
    struct cuda_layout l = {.in = in,
                            .out = out,
                            .again = again,
                            .images = count,
                            .pixels = (int)shape_rows(t->shape),
                            .channels = t->channels,
                            .to_last = to_last,
                            .scale = scale};
    return t->device->b->ops->layout(t->device->b, &l, e);
}

/* The conditional output out of the way of the unconditional run. */
static int keep_cond(struct trajectory *t, int count, const float *from, struct error *e)
{
    int rows = (int)shape_rows(t->shape);
    int64_t ld = t->out_channels;
    struct move m = {.kind = MOVE_COPY,
                     .in = from,
                     .out = t->device->cond,
                     .in_ld = ld,
                     .in_image_ld = ld * rows,
                     .out_ld = ld,
                     .out_image_ld = ld * rows,
                     .images = count,
                     .in_height = 1,
                     .in_width = rows,
                     .out_height = 1,
                     .out_width = rows,
                     .channels = t->out_channels};
    return t->device->b->ops->move(t->device->b, &m, e);
}

/* The network of one call; where its outputs are. */
static int record_network(struct trajectory *t, int call, int count, int pretend, const float **cond,
                          const float **uncond, struct error *e)
{
    struct call_runs r = trajectory_runs(t, call, count);
    int64_t rows = shape_rows(t->shape) * t->out_channels;
    if (engine_enqueue(t->engine, call, r.action[0], 0, r.joint ? 2 * count : count, pretend, e) < 0)
        return -1;
    *cond = engine_value_address(t->engine, t->output);
    *uncond = r.joint ? *cond + count * rows : NULL;
    if (!r.guided)
        return 0;
    t->uncond_stored = 1;
    if (r.joint)
        return 0;
    if ((!pretend && keep_cond(t, count, *cond, e) < 0) ||
        engine_enqueue(t->engine, call, r.action[1], count, count, pretend, e) < 0)
        return -1;
    *cond = t->device->cond;
    *uncond = engine_value_address(t->engine, t->output);
    return 0;
}

static int record_call(struct trajectory *t, int call, int count, int *drawn, struct error *e)
{
    struct device_run *d = t->device;
    int last = call + 1 == t->calls;
    float *sample = engine_sample_address(t->engine);
    struct cuda_step s = {.images = count,
                          .pixels = (int)shape_rows(t->shape),
                          .channels = t->channels,
                          .out_channels = t->out_channels,
                          .x = d->x,
                          .failed = d->failed,
                          .guidance = (float)t->o.guidance,
                          .numbers = d->numbers[call]};
    if (record_network(t, call, count, 0, &s.cond, &s.uncond, e) < 0)
        return -1;
    if (sampler_needs_noise(t->sampler, call))
        s.noise = d->noise + (int64_t)(*drawn)++ * t->o.batch * t->size;
    memcpy(s.history, d->history, sizeof s.history);
    if (!last) {
        s.input[0] = sample;
        s.input[1] = t->guide_at[call + 1] ? sample + count * t->size : NULL;
        s.input_scale = d->scale[call + 1];
    }
    return d->b->ops->step(d->b, &s, e);
}

/* From noise to x and to the first input. */
static int record_start(struct trajectory *t, int count, struct error *e)
{
    struct device_run *d = t->device;
    float sigma = (float)sampler_init_sigma(t->sampler), *sample = engine_sample_address(t->engine);
    if (layout(t, count, d->start, d->x, NULL, 1, sigma, e) < 0)
        return -1;
    return layout(t, count, d->start, sample, t->guide_at[0] ? sample + count * t->size : NULL, 1,
                  sigma * d->scale[0], e);
}

static int record_calls(struct trajectory *t, int count, int first, int last, int *drawn, struct error *e)
{
    int status = first == 0 ? record_start(t, count, e) : 0;
    for (int call = first; status == 0 && call < last; call++)
        status = record_call(t, call, count, drawn, e);
    if (status == 0 && last == t->calls)
        status = layout(t, count, t->device->x, t->device->out, NULL, 0, 1, e);
    return status;
}

/* From plans that are there; a recording ends where values have to be hoisted anew. */
static int record_all(struct trajectory *t, int count, struct recording *r, struct error *e)
{
    struct device_run *d = t->device;
    int chunk = engine_chunk(t->engine), drawn = 0, last;
    engine_restart(t->engine);
    t->uncond_stored = 0;
    for (int first = 0; first < t->calls; first = last) {
        int end = (first / chunk + 1) * chunk;
        last = first + d->most < end ? first + d->most : end;
        last = last < t->calls ? last : t->calls;
        if (d->b->ops->record(d->b, e) < 0)
            return -1;
        int status = record_calls(t, count, first, last, &drawn, e);
        r->from[first] = d->b->ops->recorded(d->b, e);
        if (status < 0 || !r->from[first])
            return -1;
    }
    return 0;
}

/* All plans first, since memory may grow with them; then the recordings. */
static int record(struct trajectory *t, int count, struct recording *r, struct error *e)
{
    struct device_run *d = t->device;
    struct error why = {0};
    const float *cond, *uncond;
    drop(t, r);
    engine_restart(t->engine);
    t->uncond_stored = 0;
    for (int call = 0; call < t->calls; call++)
        if (record_network(t, call, count, 1, &cond, &uncond, e) < 0)
            return -1;
    int status = record_all(t, count, r, &why);
    if (status < 0 && why.code == HASTEN_ENOMEM && d->most > 1) {
        drop(t, r);
        d->most = 1;
        why = (struct error){0};
        status = record_all(t, count, r, &why);
    }
    if (status < 0)
        return error_set(e, why.code, "%s", why.text);
    r->count = count;
    r->generation = engine_generation(t->engine);
    return 0;
}

/* The recording for so many images, made if it is not there. */
static struct recording *find_recording(struct trajectory *t, int count, struct error *e)
{
    struct device_run *d = t->device;
    struct recording *r = &d->recording[count == t->o.batch ? 0 : 1];
    if (r->count == count && r->generation == engine_generation(t->engine))
        return r;
    return record(t, count, r, e) < 0 ? NULL : r;
}

/* ---- running ---- */

static int put_noise(struct trajectory *t, int count, struct error *e)
{
    struct device_run *d = t->device;
    size_t bytes = (size_t)count * (size_t)t->size * sizeof(float);
    unsigned fine = 0;
    if (d->b->ops->put(d->b, d->start, t->x, bytes, e) < 0 ||
        d->b->ops->put(d->b, d->failed, &fine, sizeof fine, e) < 0)
        return -1;
    for (int call = 0, drawn = 0; call < t->calls; call++) {
        if (!sampler_needs_noise(t->sampler, call))
            continue;
        trajectory_draw(t, t->noise, count);
        if (d->b->ops->put(d->b, d->noise + (int64_t)drawn++ * t->o.batch * t->size, t->noise, bytes, e) < 0)
            return -1;
    }
    return 0;
}

int device_run(struct trajectory *t, int count, float *latents, struct error *e)
{
    struct device_run *d = t->device;
    unsigned failed = 0;
    struct recording *r = find_recording(t, count, e);
    if (!r || put_noise(t, count, e) < 0)
        return -1;
    for (int call = 0; call < t->calls; call++)
        if (r->from[call] &&
            (engine_hoist(t->engine, call, e) < 0 || d->b->ops->replay(d->b, r->from[call], e) < 0))
            return -1;
    if (d->b->ops->get(d->b, latents, d->out, (size_t)count * (size_t)t->size * sizeof *latents, e) < 0 ||
        d->b->ops->get(d->b, &failed, d->failed, sizeof failed, e) < 0)
        return -1;
    return failed != 0;
}
