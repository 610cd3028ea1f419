/* See mixed.h; probe.c has the fixed inputs. */
#include "common/run/mixed.h"
#include "common/run/node_cost.h"
#include "common/run/probe.h"

#include <math.h>
#include <string.h>

static size_t at(const struct mixed *x, int layer, int format)
{
    return (size_t)layer * (size_t)x->formats + (size_t)format;
}

/* ---- trials: graph and packed weights of a choice, without copying either's data ---- */

struct trial {
    struct graph *graph;
    struct weights weights;
};

static void close_trial(struct trial *t)
{
    graph_close(t->graph);
    mem_free(t->weights.node);
}

static int open_trial(const struct mixed *x, const int *choice, struct trial *t, struct error *e)
{
    size_t n = (size_t)x->measure->graph->count;
    *t = (struct trial){.graph = graph_copy(x->measure->graph, e), .weights = *x->weights[0]};
    t->weights.node = mem_array(n, sizeof *t->weights.node, e);
    if (!t->graph || !t->weights.node) {
        close_trial(t);
        return -1;
    }
    memcpy(t->weights.node, x->weights[0]->node, n * sizeof *t->weights.node);
    for (int i = 0; i < x->layers; i++) {
        if (choice[i] == 0)
            continue;
        stored_apply(&x->stored[at(x, i, choice[i])], t->graph, x->node[i]);
        t->weights.node[x->node[i]] = x->weights[choice[i]]->node[x->node[i]];
    }
    return 0;
}

int mixed_latents(const struct mixed *x, const int *choice, float **latents, struct error *e)
{
    struct trial t;
    if (open_trial(x, choice, &t, e) < 0)
        return -1;
    struct measure m = *x->measure;
    m.graph = t.graph;
    m.weights = &t.weights;
    int status = measure_latents(&m, latents, NULL, NULL, e);
    close_trial(&t);
    return status;
}

/* ---- sketches ---- */

static uint64_t scramble(uint64_t z)
{
    z = (z + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* CountSketch: each number, with a random sign, to one of SKETCH places. Products are kept on average. */
static void sketch_difference(const struct probe *p, const float *got, float *sketch)
{
    int64_t n = (int64_t)p->calls * p->images * p->out_size;
    memset(sketch, 0, SKETCH * sizeof *sketch);
    for (int64_t i = 0; i < n; i++) {
        uint64_t h = scramble((uint64_t)i);
        float d = got[i] - p->exact[i];
        sketch[h % SKETCH] += h >> 63 ? d : -d;
    }
}

static int run_choice(const struct mixed *x, const int *choice, float *out, struct error *e)
{
    struct trial t;
    if (open_trial(x, choice, &t, e) < 0)
        return -1;
    int status = probe_outputs(&x->probe, t.graph, &t.weights, out, e);
    close_trial(&t);
    return status;
}

static int measure_differences(struct mixed *x, void (*progress)(void *context, int done, int of),
                               void *context, struct error *e)
{
    size_t n = (size_t)x->probe.calls * (size_t)x->probe.images * (size_t)x->probe.out_size;
    float *got = mem_array(n, sizeof *got, e);
    int *choice = mem_array((size_t)x->layers, sizeof *choice, e), status = got && choice ? 0 : -1;
    for (int i = 0; status == 0 && i < x->layers; i++)
        for (int f = 1; status == 0 && f < x->formats; f++) {
            if (!x->allowed[at(x, i, f)])
                continue;
            choice[i] = f;
            status = run_choice(x, choice, got, e);
            if (status == 0)
                sketch_difference(&x->probe, got, x->sketch + at(x, i, f) * SKETCH);
            choice[i] = 0;
            progress(context, i * x->formats + f, x->layers * x->formats);
        }
    mem_free(got);
    mem_free(choice);
    return status;
}

int mixed_change(const struct mixed *x, const int *choice, double *change, struct error *e)
{
    size_t n = (size_t)x->probe.calls * (size_t)x->probe.images * (size_t)x->probe.out_size;
    float *got = mem_array(n, sizeof *got, e);
    int status = got ? run_choice(x, choice, got, e) : -1;
    double sum = 0;
    for (size_t i = 0; status == 0 && i < n; i++)
        sum += (double)(got[i] - x->probe.exact[i]) * (double)(got[i] - x->probe.exact[i]);
    *change = x->probe.power > 0 ? sqrt(sum / x->probe.power) : 0;
    mem_free(got);
    return status;
}

struct allocation mixed_allocation(const struct mixed *x)
{
    return (struct allocation){.layers = x->layers,
                               .formats = x->formats,
                               .dim = SKETCH,
                               .sketch = x->sketch,
                               .allowed = x->allowed,
                               .cost = {x->bytes, x->ms}};
}

double mixed_predicted(const struct mixed *x, const int *choice)
{
    struct allocation a = mixed_allocation(x);
    return x->probe.power > 0 ? sqrt(allocation_j(&a, choice) / x->probe.power) : 0;
}

/* ---- all formats of all layers ---- */

static int make_format(struct mixed *x, int f, struct error *e)
{
    const struct measure *m = x->measure;
    struct timing timing = {.batch = x->batch, .repeats = 9};
    double *ms = mem_array((size_t)m->graph->count + 1, sizeof *ms, e), total;
    int status = ms && (x->graph[f] = graph_copy(m->graph, e)) ? 0 : -1;
    for (int i = 0; status == 0 && i < x->layers; i++) {
        struct stored_layer *s = &x->stored[at(x, i, f)];
        /* A format that the layer does not take is made as the plain one. */
        int format = x->allowed[at(x, i, f)] ? x->format[f] : FORMAT_PLAIN;
        status = quantizer_layer(x->quantizer, x->node[i], format, s, e);
        if (status == 0 && format != FORMAT_PLAIN)
            stored_apply(s, x->graph[f], x->node[i]);
        x->bytes[at(x, i, f)] = (double)s->bytes;
    }
    if (status == 0 && !(x->weights[f] = weights_open(x->graph[f], m->backend, NULL, e)))
        status = -1;
    timing.graph = x->graph[f];
    timing.weights = x->weights[f];
    if (status == 0)
        status = node_cost(&timing, ms, &total, e);
    for (int i = 0; status == 0 && i < x->layers; i++)
        x->ms[at(x, i, f)] = ms[x->node[i]];
    if (status == 0 && f == 0)
        x->call_ms = total;
    mem_free(ms);
    return status;
}

int mixed_open(struct mixed *x, void (*progress)(void *context, int done, int of), void *context,
               struct error *e)
{
    size_t n = (size_t)x->layers * (size_t)x->formats;
    x->stored = mem_array(n, sizeof *x->stored, e);
    x->bytes = mem_array(n, sizeof *x->bytes, e);
    x->ms = mem_array(n, sizeof *x->ms, e);
    x->sketch = mem_array(n * SKETCH, sizeof *x->sketch, e);
    if (!x->stored || !x->bytes || !x->ms || !x->sketch)
        return -1;
    for (int f = 0; f < x->formats; f++)
        if (make_format(x, f, e) < 0)
            return -1;
    if (probe_record(&x->probe, x->measure, e) < 0 ||
        probe_outputs(&x->probe, x->graph[0], x->weights[0], x->probe.exact, e) < 0)
        return -1;
    size_t count = (size_t)x->probe.calls * (size_t)x->probe.images * (size_t)x->probe.out_size;
    for (size_t i = 0; i < count; i++)
        x->probe.power += (double)x->probe.exact[i] * (double)x->probe.exact[i];
    return measure_differences(x, progress, context, e);
}

void mixed_close(struct mixed *x)
{
    for (int i = 0; x->stored && i < x->layers * x->formats; i++)
        stored_free(&x->stored[i]);
    for (int f = 0; f < x->formats; f++) {
        weights_close(x->weights[f]);
        graph_close(x->graph[f]);
    }
    mem_free(x->stored);
    mem_free(x->bytes);
    mem_free(x->ms);
    mem_free(x->sketch);
    probe_free(&x->probe);
}
