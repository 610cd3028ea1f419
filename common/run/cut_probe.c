/* See cut_probe.h. */
#include "common/run/cut_probe.h"
#include "common/method/latent_score.h"
#include "common/method/prune_choose.h"

#include <string.h>

enum { PROBE_ACTIONS = ENGINE_MAX_ACTIONS - 1 };

struct pass {
    struct cut_probe *p;
    int count, dims;
    const struct states *s;
    struct state_engine *x;
    float *zeros;  /* correction that leaves nothing: [2][channels] of the widest edge */
    float **masks; /* [count] corrections, NULL where nothing stays */
    float *plain, *got;
    struct latent_stats whole, *stats; /* [count] of the present call */
};

/* What is read by nodes that see the change and does not see it: taken from the run without a change, so that
 * nothing before the cut is run again. */
static int serve_frontier(const struct pass *a, const struct cut_probe *p, unsigned char *served,
                          struct error *e)
{
    const struct graph *g = a->x->graph;
    unsigned char *sees = mem_array((size_t)g->count + 1, 1, e);
    if (!sees)
        return -1;
    for (int i = 0; i < g->count; i++) {
        for (int k = 0; k < p->edges; k++)
            sees[i] |= p->edge[k] == i;
        for (int j = 0; j < g->node[i].inputs; j++)
            sees[i] |= node_reads(&g->node[i], j) && sees[g->node[i].in[j]];
    }
    for (int i = 0; i < g->count; i++)
        for (int j = 0; sees[i] && j < g->node[i].inputs; j++) {
            int from = g->node[i].in[j];
            if (node_reads(&g->node[i], j) && !sees[from] && engine_is_step(a->x->engine, from) &&
                !node_is(&g->node[from], "input"))
                served[from] = 1;
        }
    mem_free(sees);
    return 0;
}

static int declare(struct pass *a, int at, struct error *e)
{
    const struct graph *g = a->x->graph;
    const struct cut_probe *p = &a->p[at];
    unsigned char *served = mem_array((size_t)g->count + 1, 1, e);
    struct engine_predictor *made = mem_array((size_t)g->count + 1, sizeof *made, e);
    int status = served && made ? 0 : -1;
    for (int i = 0; status == 0 && i < g->count; i++)
        made[i] = (struct engine_predictor){.anchors = 1, .base = -1};
    if (status == 0)
        status = serve_frontier(a, p, served, e);
    if (status == 0 && p->keep) {
        int channels = g->node[p->edge[0]].shape.channels;
        a->masks[at] = mem_array(2 * (size_t)channels, sizeof **a->masks, e);
        for (int c = 0; a->masks[at] && c < channels; c++)
            a->masks[at][c] = p->keep[c] ? 1 : 0;
        status = a->masks[at] ? 0 : -1;
    }
    for (int i = 0; status == 0 && i < p->edges; i++) {
        served[p->edge[i]] = 1;
        made[p->edge[i]].table = p->keep ? a->masks[at] : a->zeros;
    }
    if (status == 0)
        status = engine_action(a->x->engine, at + 1, served, made, e);
    mem_free(served);
    mem_free(made);
    return status;
}

static int open_pass(struct pass *a, const struct graph *g, const struct weights *w, struct error *e)
{
    int widest = 1;
    size_t n = (size_t)a->s->batch * (size_t)a->s->size;
    for (int i = 0; i < g->count; i++)
        widest = g->node[i].shape.channels > widest ? g->node[i].shape.channels : widest;
    a->zeros = mem_array(2 * (size_t)widest, sizeof *a->zeros, e);
    a->masks = mem_array((size_t)a->count + 1, sizeof *a->masks, e);
    a->plain = mem_array(n, sizeof *a->plain, e);
    a->got = mem_array(n, sizeof *a->got, e);
    a->stats = mem_array((size_t)a->count + 1, sizeof *a->stats, e);
    a->x = a->zeros && a->masks && a->plain && a->got && a->stats ? states_open(a->s, g, w, NULL, e) : NULL;
    for (int i = 0; a->x && i < a->count; i++)
        if (declare(a, i, e) < 0)
            return -1;
    return a->x ? states_ready(a->x, e) : -1;
}

static void close_pass(struct pass *a)
{
    states_close(a->x);
    for (int i = 0; a->masks && i < a->count; i++)
        mem_free(a->masks[i]);
    for (int i = 0; a->stats && i < a->count; i++)
        latent_free(&a->stats[i]);
    latent_free(&a->whole);
    mem_free(a->stats);
    mem_free(a->masks);
    mem_free(a->zeros);
    mem_free(a->plain);
    mem_free(a->got);
}

static int add_images(struct latent_stats *stats, const float *x, int images, int64_t size, struct error *e)
{
    for (int i = 0; i < images; i++)
        if (latent_add(stats, x + i * size, e) < 0)
            return -1;
    return 0;
}

static int run_batch(struct pass *a, int call, int first, struct error *e)
{
    const struct states *s = a->s;
    int images;
    int64_t at = ((int64_t)call * s->images + first) * s->size;
    states_rows(s, call, first, &images);
    if (states_run(a->x, call, first, 0, e) < 0)
        return -1;
    states_prediction(a->x, a->plain);
    if (add_images(&a->whole, a->plain, images, s->size, e) < 0)
        return -1;
    for (int i = 0; i < a->count; i++) {
        if (states_run(a->x, call, first, i + 1, e) < 0)
            return -1;
        states_prediction(a->x, a->got);
        if (add_images(&a->stats[i], a->got, images, s->size, e) < 0)
            return -1;
        for (int64_t k = 0; k < images * s->size; k++)
            a->got[k] -= a->plain[k];
        sketch_add(a->p[i].change, a->dims, at, a->got, images * s->size);
    }
    return 0;
}

static int run_call(struct pass *a, int call, struct error *e)
{
    const struct states *s = a->s;
    if (latent_open(s->size, &a->whole, e) < 0)
        return -1;
    for (int i = 0; i < a->count; i++)
        if (latent_open(s->size, &a->stats[i], e) < 0)
            return -1;
    for (int first = 0; first < s->images; first += s->batch)
        if (run_batch(a, call, first, e) < 0)
            return -1;
    for (int i = 0; i < a->count; i++) {
        a->p[i].latent += latent_score(&a->whole, &a->stats[i]) / s->calls;
        latent_free(&a->stats[i]);
    }
    latent_free(&a->whole);
    return 0;
}

int cut_probe_run(struct cut_probe *p, int count, const struct states *s, const struct graph *g,
                  const struct weights *w, int dims, const struct probe_report *report, struct error *e)
{
    double total = (double)count * s->calls, done = 0;
    int status = 0;
    for (int i = 0; i < count; i++) {
        p[i].latent = 0;
        p[i].change = mem_array((size_t)dims, sizeof *p[i].change, e);
        if (!p[i].change)
            return -1;
    }
    for (int i = 0; status == 0 && i < count; i += PROBE_ACTIONS) {
        struct pass a = {.p = p + i, .dims = dims, .s = s};
        a.count = count - i < PROBE_ACTIONS ? count - i : PROBE_ACTIONS;
        status = open_pass(&a, g, w, e);
        for (int call = 0; status == 0 && call < s->calls; call++) {
            status = run_call(&a, call, e);
            done += a.count;
            if (report && report->progress)
                report->progress(report->context, done, total);
        }
        close_pass(&a);
    }
    return status;
}

void cut_probes_free(struct cut_probe *p, int count)
{
    for (int i = 0; i < count; i++) {
        mem_free(p[i].change);
        p[i].change = NULL;
    }
}

int cut_probe_base(const struct states *s, const struct graph *g, const struct weights *w,
                   const struct graph *g1, const struct weights *w1, int dims, float *change, struct error *e)
{
    size_t n = (size_t)s->batch * (size_t)s->size;
    float *x = mem_array(n, sizeof *x, e), *y = mem_array(n, sizeof *y, e);
    struct state_engine *a = x && y ? states_open(s, g, w, NULL, e) : NULL;
    struct state_engine *b = a ? states_open(s, g1, w1, NULL, e) : NULL;
    int status = b && states_ready(a, e) == 0 && states_ready(b, e) == 0 ? 0 : -1;
    for (int call = 0; status == 0 && call < s->calls; call++)
        for (int first = 0; status == 0 && first < s->images; first += s->batch) {
            int images;
            states_rows(s, call, first, &images);
            if (states_run(a, call, first, 0, e) < 0 || states_run(b, call, first, 0, e) < 0) {
                status = -1;
                break;
            }
            states_prediction(a, x);
            states_prediction(b, y);
            for (int64_t k = 0; k < images * s->size; k++)
                y[k] -= x[k];
            sketch_add(change, dims, ((int64_t)call * s->images + first) * s->size, y, images * s->size);
        }
    states_close(a);
    states_close(b);
    mem_free(x);
    mem_free(y);
    return status;
}
