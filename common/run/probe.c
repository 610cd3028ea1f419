/* See probe.h. */
#include "common/run/probe.h"

#include <string.h>

struct recorder {
    struct probe *p;
    const int *call; /* those that are kept */
};

/* trajectory.h's network: the conditional rows come first. */
static int keep_sample(void *context, const struct engine *g, int call, int first, int rows, struct error *e)
{
    struct recorder *r = context;
    int64_t n = r->p->images * r->p->in_size;
    (void)rows, (void)e;
    for (int i = 0; first == 0 && i < r->p->calls; i++)
        if (r->call[i] == call)
            memcpy(r->p->samples + i * n, engine_sample((struct engine *)g),
                   (size_t)n * sizeof *r->p->samples);
    return 0;
}

/* The times of PROBE_CALLS calls, evenly spread. */
static int choose_calls(struct probe *p, const struct measure *m, int call[PROBE_CALLS], struct error *e)
{
    struct sampler_config config = {0};
    const struct model_sampler *s = &m->model->sampler;
    struct sampler_run run = {.steps = m->steps ? m->steps : s->steps,
                              .seq_len = m->model->image.height * m->model->image.width};
    if (sampler_config_read(&config, s->config, NULL, e) < 0)
        return -1;
    struct sampler *x = sampler_open(&config, &run, 1, 16, e);
    int calls = x ? sampler_calls(x) : 0;
    p->calls = calls < PROBE_CALLS ? calls : PROBE_CALLS;
    for (int i = 0; i < p->calls; i++) {
        call[i] = (2 * i + 1) * calls / (2 * p->calls);
        p->times[i] =
            (float)(s->one_minus_sigma ? 1 - sampler_sigma(x, call[i]) : sampler_timestep(x, call[i]));
    }
    sampler_close(x);
    sampler_config_free(&config);
    return x ? 0 : -1;
}

int probe_record(struct probe *p, const struct measure *m, struct error *e)
{
    int call[PROBE_CALLS], in = graph_find(m->graph, "sample"), out = graph_find_output(m->graph, "sample");
    struct recorder r = {p, call};
    struct trajectory_watch watch = {.context = &r, .network = keep_sample};
    struct measure run = *m;
    float *latents = NULL;
    *p = (struct probe){.images = PROBE_IMAGES};
    if (in < 0 || out < 0)
        return error_set(e, HASTEN_EFILE, "the network has no input and output 'sample'");
    p->in_size = shape_size(m->graph->node[in].shape);
    p->out_size = shape_size(m->graph->node[out].shape);
    if (choose_calls(p, m, call, e) < 0)
        return -1;
    size_t values = (size_t)p->calls * (size_t)p->images;
    p->samples = mem_array(values * (size_t)p->in_size, sizeof *p->samples, e);
    p->exact = mem_array(values * (size_t)p->out_size, sizeof *p->exact, e);
    if (!p->samples || !p->exact)
        return -1;
    run.watch = &watch;
    run.count = run.batch = PROBE_IMAGES;
    run.seed = CALIBRATION_SEED;
    for (int i = 0; i < PROBE_IMAGES; i++)
        p->labels[i] = (float)(m->model->sampler.classes ? i % m->model->sampler.classes : 0);
    int status = measure_latents(&run, &latents, NULL, NULL, e);
    mem_free(latents);
    return status;
}

int probe_outputs(const struct probe *p, const struct graph *g, const struct weights *w, float *out,
                  struct error *e)
{
    struct engine_options o = {.images = p->images, .calls = p->calls};
    struct engine *x = engine_open(g, w, &o, e);
    int node = graph_find_output(g, "sample"), status = x ? 0 : -1;
    if (status == 0 && engine_has_input(x, "timestep"))
        status = engine_bind(x, "timestep", p->times, 1, 0, e);
    if (status == 0 && engine_has_input(x, "class_labels"))
        status = engine_bind(x, "class_labels", p->labels, 0, 1, e);
    if (status == 0)
        status = engine_ready(x, e);
    for (int c = 0; status == 0 && c < p->calls; c++) {
        int64_t in = p->images * p->in_size, size = p->images * p->out_size;
        memcpy(engine_sample(x), p->samples + c * in, (size_t)in * sizeof *out);
        status = engine_run(x, c, 0, 0, p->images, NULL, e);
        if (status == 0)
            memcpy(out + c * size, engine_value(x, node), (size_t)size * sizeof *out);
    }
    engine_close(x);
    return status;
}

void probe_free(struct probe *p)
{
    mem_free(p->samples);
    mem_free(p->exact);
}
