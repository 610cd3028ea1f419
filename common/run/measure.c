/* See measure.h. */
#include "common/run/measure.h"
#include "common/base/clock.h"
#include "common/method/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

double spread_of(const double *sorted, int n)
{
    return (sorted[3 * n / 4] - sorted[n / 4]) / (2 * sorted[n / 2]);
}

double median_of(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* ---- latents ---- */

static int run_all(const struct measure *m, struct trajectory *t, int batch, float *latents, struct error *e)
{
    struct trajectory_image *images = mem_array((size_t)batch, sizeof *images, e);
    int classes = m->model->sampler.classes, status = images ? 0 : -1;
    for (int done = 0; status == 0 && done < m->count;) {
        int count = m->count - done < batch ? m->count - done : batch;
        for (int i = 0; i < count; i++)
            images[i] = (struct trajectory_image){.seed = (m->seed ? m->seed : VALIDATION_SEED) +
                                                          (uint64_t)(done + i),
                                                  .label = classes ? (m->label + done + i) % classes : 0};
        status = trajectory_run(t, images, count, latents + done * trajectory_size(t), e);
        done += count;
    }
    mem_free(images);
    return status;
}

int measure_latents(const struct measure *m, float **latents, int *calls, int64_t *size, struct error *e)
{
    const struct model_sampler *s = &m->model->sampler;
    struct sampler_config own = {0};
    struct weights *packed = NULL;
    struct trajectory *t = NULL;
    int status = -1;
    int batch = trajectory_batch(m->schedule, m->batch ? m->batch : m->count < 8 ? m->count : 8);
    *latents = NULL;
    if (!s->present)
        return error_set(e, HASTEN_EFILE, "the model has no sampler");
    if (!m->sampler && sampler_config_read(&own, s->config, NULL, e) < 0)
        return -1;
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, (void *)(uintptr_t)m->model};
    if (!m->weights && !(packed = weights_open(m->graph, m->backend, &loader, e)))
        goto out;
    struct trajectory_options o = {.graph = m->graph,
                                   .weights = m->weights ? m->weights : packed,
                                   .sampler = m->sampler ? m->sampler : &own,
                                   .model = s,
                                   .run = {.steps = m->steps ? m->steps : s->steps,
                                           .seq_len = m->model->image.height * m->model->image.width},
                                   .batch = batch,
                                   .guidance = m->guidance != 0     ? m->guidance
                                               : s->null_class >= 0 ? s->guidance
                                                                    : 1,
                                   .schedule = m->schedule,
                                   .want = m->want,
                                   .watch = m->watch};
    t = trajectory_open(&o, e);
    *latents = t ? mem_array((size_t)m->count * (size_t)trajectory_size(t), sizeof **latents, e) : NULL;
    if (!*latents)
        goto out;
    if (calls)
        *calls = trajectory_calls(t);
    if (size)
        *size = trajectory_size(t);
    status = run_all(m, t, batch, *latents, e);
    if (m->passes)
        *m->passes = trajectory_passes(t);
out:
    trajectory_close(t);
    weights_close(packed);
    sampler_config_free(&own);
    if (status < 0) {
        mem_free(*latents);
        *latents = NULL;
    }
    return status;
}

int measure_calls(const struct measure *m, int *calls, struct error *e)
{
    struct sampler_config own = {0};
    if (!m->sampler && sampler_config_read(&own, m->model->sampler.config, NULL, e) < 0)
        return -1;
    struct sampler_run run = {.steps = m->steps ? m->steps : m->model->sampler.steps};
    struct sampler *s = sampler_open(m->sampler ? m->sampler : &own, &run, 1, 16, e);
    if (s)
        *calls = sampler_calls(s);
    sampler_close(s);
    sampler_config_free(&own);
    return s ? 0 : -1;
}

void measure_quality(const float *reference, const float *got, int count, int64_t size, struct quality *q)
{
    struct metric_mean rel = {0}, psnr = {0};
    double peak = metric_range(reference, count * size);
    q->identical = !memcmp(reference, got, (size_t)count * (size_t)size * sizeof *got);
    for (int i = 0; i < count; i++) {
        const float *a = reference + i * size, *b = got + i * size;
        metric_add(&rel, metric_rel_l2(a, b, size));
        metric_add(&psnr, metric_psnr(a, b, size, peak > 0 ? peak : 1));
    }
    q->rel_l2 = metric_value(&rel);
    q->psnr = metric_value(&psnr);
}

/* ---- milliseconds ---- */

struct timed {
    struct timing o;
    struct engine *engine;
    float time, label;
    float *zeros, *tables;
    struct engine_predictor *predictor; /* of every node */
};

static float *table_of_widest(const struct graph *g, struct error *e)
{
    int widest = 1;
    for (int i = 0; i < g->count; i++)
        widest = g->node[i].shape.channels > widest ? g->node[i].shape.channels : widest;
    float *table = mem_array(3 * (size_t)widest, sizeof *table, e);
    for (int i = 0; table && i < 3 * widest; i++)
        table[i] = 0.25f;
    return table;
}

/* Two stored values with scales and a bias of 0.25, so that nothing is a zero or a denormal. */
static int declare_timed(struct timed *t, int action, const struct candidate *c, struct error *e)
{
    int nodes = t->o.graph->count, status;
    for (int i = 0; i < nodes; i++)
        t->predictor[i] = (struct engine_predictor){t->tables, 2, c->served[i] ? c->base : -1};
    status = engine_action(t->engine, action, c->served, t->predictor, e);
    if (status < 0 || !c->wide)
        return status;
    unsigned char *all = mem_array((size_t)nodes + 1, 1, e);
    if (all)
        memset(all, 1, (size_t)nodes);
    status = all ? engine_wide(t->engine, action, all, e) : -1;
    mem_free(all);
    return status;
}

struct timed *timed_open(const struct timing *o, const struct candidate *list, int count, struct error *e)
{
    struct timed *t = mem_array(1, sizeof *t, e);
    if (!t)
        return NULL;
    t->o = *o;
    t->time = 500;
    struct engine_options x = {.images = o->batch, .calls = 1};
    t->engine = engine_open(o->graph, o->weights, &x, e);
    t->zeros = mem_array(1 << 16, sizeof *t->zeros, e);
    t->predictor = mem_array((size_t)o->graph->count + 1, sizeof *t->predictor, e);
    t->tables = table_of_widest(o->graph, e);
    if (!t->engine || !t->zeros || !t->predictor || !t->tables)
        goto fail;
    for (int i = 0; i < o->graph->count; i++) {
        const struct node *n = &o->graph->node[i];
        if (!node_is(n, "input") || !engine_has_input(t->engine, n->name))
            continue;
        if (shape_size(n->shape) > 1 << 16) {
            error_set(e, HASTEN_EFILE, "input '%s' is too large to time", n->name);
            goto fail;
        }
        if (engine_bind(t->engine, n->name, !strcmp(n->name, "timestep") ? &t->time : t->zeros, 0, 0, e) < 0)
            goto fail;
    }
    for (int a = 1; a <= count; a++)
        if (declare_timed(t, a, &list[a - 1], e) < 0)
            goto fail;
    if (engine_ready(t->engine, e) < 0)
        goto fail;
    /* A latent like noise: speed may depend on denormals and zeros, so avoid them. */
    float *x0 = engine_sample(t->engine);
    for (int64_t i = 0; i < o->batch * shape_size(o->graph->node[0].shape); i++)
        x0[i] = (float)((i * 7919) % 2003) / 1001.5f - 1;
    return t;
fail:
    timed_close(t);
    return NULL;
}

void timed_close(struct timed *t)
{
    if (!t)
        return;
    engine_close(t->engine);
    mem_free(t->zeros);
    mem_free(t->predictor);
    mem_free(t->tables);
    mem_free(t);
}

struct engine *timed_engine(const struct timed *t) { return t->engine; }

int timed_run(struct timed *t, int action, double *ms, double *times, double *kernel_ms,
              double *kernel_spread, struct plan **plan, struct error *e)
{
    struct plan *p = engine_plan(t->engine, action, 0, t->o.batch, e);
    int n = t->o.repeats;
    double *own = mem_array((size_t)n, sizeof *own, e);
    double *each = p && kernel_ms ? mem_array((size_t)n * (size_t)(p->calls + 1), sizeof *each, e) : NULL;
    double *column = mem_array((size_t)n, sizeof *column, e);
    int status = p && own && column && (!kernel_ms || each) ? 0 : -1;
    /* Action 0 first, so that every cache holds something; and one round to warm up. */
    if (status == 0 && (engine_run(t->engine, 0, 0, 0, t->o.batch, NULL, e) < 0 ||
                        engine_run(t->engine, 0, action, 0, t->o.batch, NULL, e) < 0))
        status = -1;
    for (int i = 0; status == 0 && i < n; i++) {
        double start = clock_ms();
        status = engine_run(t->engine, 0, action, 0, t->o.batch,
                            each ? each + (size_t)i * (size_t)p->calls : NULL, e);
        own[i] = clock_ms() - start;
    }
    for (int c = 0; status == 0 && each && c < p->calls; c++) {
        for (int i = 0; i < n; i++)
            column[i] = each[(size_t)i * (size_t)p->calls + (size_t)c];
        kernel_ms[c] = median_of(column, n);
        if (kernel_spread)
            kernel_spread[c] = kernel_ms[c] > 0 ? spread_of(column, n) : 0;
    }
    if (status == 0) {
        *ms = median_of(own, n);
        if (times)
            memcpy(times, own, (size_t)n * sizeof *own);
        if (plan)
            *plan = p;
    }
    mem_free(own);
    mem_free(each);
    mem_free(column);
    return status;
}

int timed_all(struct timed *t, int actions, int rounds, double *ms, struct error *e)
{
    for (int round = 0; round < rounds; round++)
        for (int a = 0; a <= actions; a++) {
            double here;
            if (timed_run(t, a, &here, NULL, NULL, NULL, NULL, e) < 0)
                return -1;
            ms[a] = round == 0 || here < ms[a] ? here : ms[a];
        }
    return 0;
}
