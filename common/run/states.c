/* See states.h. */
#include "common/run/states.h"

#include <string.h>

enum { STATES_BATCH = 8 };

struct recorder {
    struct states *s;
    const struct graph *graph;
    int has_label, has_time, done; /* images of earlier batches */
};

/* trajectory.h's network. */
static int record(void *context, const struct engine *g, int call, int first, int rows, struct error *e)
{
    struct recorder *r = context;
    struct states *s = r->s;
    int left = s->images - r->done, batch = left < s->batch ? left : s->batch;
    const float *sample = engine_last_sample(g);
    if (first != 0 || rows % batch || r->done >= s->images)
        return error_set(e, HASTEN_EFAIL, "internal: %d rows from %d on in a batch of %d", rows, first,
                         batch);
    memcpy(s->sample + ((int64_t)call * s->held + r->done) * s->size, sample,
           (size_t)(batch * s->size) * sizeof *sample);
    s->guided[call] = rows > batch;
    s->time[call] = r->has_time ? engine_bound(g, "timestep", call, 0) : 0;
    for (int i = 0; i < batch; i++)
        s->label[r->done + i] = r->has_label ? engine_bound(g, "class_labels", call, i) : 0;
    r->done += call + 1 == s->calls ? batch : 0;
    return 0;
}

static int count_calls(const struct measure *m, int *calls, int64_t *size, struct error *e)
{
    struct measure one = *m;
    float *latents = NULL;
    one.count = one.batch = 1;
    one.watch = NULL;
    int status = measure_latents(&one, &latents, calls, size, e);
    mem_free(latents);
    return status;
}

int states_record(struct states *s, const struct measure *m, struct error *e)
{
    const struct model_sampler *sampler = &m->model->sampler;
    struct measure run = *m;
    struct recorder r = {.s = s, .graph = m->graph};
    struct trajectory_watch watch = {.context = &r, .network = record};
    float *latents = NULL;
    *s = (struct states){.images = m->count,
                         .held = m->count,
                         .batch = m->count < STATES_BATCH ? m->count : STATES_BATCH,
                         .null_label = (float)sampler->null_class};
    s->guidance = m->guidance != 0 ? m->guidance : sampler->null_class >= 0 ? sampler->guidance : 1;
    if (count_calls(m, &s->calls, &s->size, e) < 0)
        return -1;
    size_t n = (size_t)s->calls;
    s->sample = mem_array(n * (size_t)s->images, (size_t)s->size * sizeof *s->sample, e);
    s->time = mem_array(n, sizeof *s->time, e);
    s->guided = mem_array(n, 1, e);
    s->label = mem_array((size_t)s->images, sizeof *s->label, e);
    r.has_label = graph_find(m->graph, "class_labels") >= 0;
    r.has_time = graph_find(m->graph, "timestep") >= 0;
    run.batch = s->batch;
    run.watch = &watch;
    int status =
        s->sample && s->time && s->guided && s->label ? measure_latents(&run, &latents, NULL, NULL, e) : -1;
    mem_free(latents);
    if (status < 0)
        states_free(s);
    return status;
}

void states_free(struct states *s)
{
    mem_free(s->sample);
    mem_free(s->time);
    mem_free(s->guided);
    mem_free(s->label);
    *s = (struct states){0};
}

struct states states_part(const struct states *s, int first, int count)
{
    struct states part = *s;
    part.sample += first * s->size;
    part.label += first;
    part.images = count;
    if (part.batch > count)
        part.batch = count;
    return part;
}

int states_takes(const struct states *s, int call, int first)
{
    return s->stride <= 1 || (call + first / s->batch) % s->stride == 0;
}

struct state_engine *states_open(const struct states *s, const struct graph *g, const struct weights *w,
                                 const unsigned char *want, struct error *e)
{
    struct state_engine *x = mem_array(1, sizeof *x, e);
    struct engine_options o = {.images = 2 * s->batch, .calls = 1, .store_once = 1, .want = want};
    if (!x)
        return NULL;
    *x = (struct state_engine){.s = s, .graph = g, .output = graph_find_output(g, "sample")};
    x->label = mem_array(2 * (size_t)s->batch, sizeof *x->label, e);
    x->engine = x->label ? engine_open(g, w, &o, e) : NULL;
    int status = x->engine ? 0 : -1;
    if (status == 0 && engine_has_input(x->engine, "timestep"))
        status = engine_bind(x->engine, "timestep", &x->time, 0, 0, e);
    if (status == 0 && engine_has_input(x->engine, "class_labels"))
        status = engine_bind(x->engine, "class_labels", x->label, 0, 1, e);
    if (status == 0)
        return x;
    states_close(x);
    return NULL;
}

int states_ready(struct state_engine *x, struct error *e) { return engine_ready(x->engine, e); }

void states_close(struct state_engine *x)
{
    if (!x)
        return;
    engine_close(x->engine);
    mem_free(x->label);
    mem_free(x);
}

int states_rows(const struct states *s, int call, int first, int *images)
{
    *images = s->images - first < s->batch ? s->images - first : s->batch;
    return s->guided[call] ? 2 * *images : *images;
}

int states_run(struct state_engine *x, int call, int first, int action, struct error *e)
{
    const struct states *s = x->s;
    int images, rows = states_rows(s, call, first, &images);
    float *sample = engine_sample(x->engine);
    if (action == 0) {
        x->call = call;
        x->first = first;
        x->time = s->time[call];
        for (int i = 0; i < rows; i++) {
            x->label[i] = i < images ? s->label[first + i] : s->null_label;
            memcpy(sample + i * s->size, s->sample + ((int64_t)call * s->held + first + i % images) * s->size,
                   (size_t)s->size * sizeof *sample);
        }
        /* Bound again, since what was hoisted is of the call before. */
        if (engine_has_input(x->engine, "class_labels") &&
            engine_bind(x->engine, "class_labels", x->label, 0, 1, e) < 0)
            return -1;
        if (engine_has_input(x->engine, "timestep") &&
            engine_bind(x->engine, "timestep", &x->time, 0, 0, e) < 0)
            return -1;
    }
    return engine_run(x->engine, 0, action, 0, rows, NULL, e);
}

void states_prediction(const struct state_engine *x, float *out)
{
    const struct states *s = x->s;
    struct shape in = x->graph->node[x->output].shape;
    int images, rows = states_rows(s, x->call, x->first, &images);
    int64_t pixels = shape_rows(in), channels = s->size / pixels;
    const float *value = engine_value(x->engine, x->output);
    for (int i = 0; i < images; i++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++) {
                float cond = value[(i * pixels + p) * in.channels + c], *to = &out[i * s->size];
                if (rows > images) {
                    float uncond = value[((images + i) * pixels + p) * in.channels + c];
                    cond = uncond + (float)s->guidance * (cond - uncond);
                }
                to[p * channels + c] = cond;
            }
}
