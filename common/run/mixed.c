/* See mixed.h. */
#include "common/run/mixed.h"
#include "common/file/model_markers.h"
#include "common/run/node_cost.h"

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

/* ---- changes ---- */

static int run_choice(const struct mixed *x, const int *choice, float **latents, int64_t *size,
                      struct error *e)
{
    struct trial t;
    if (open_trial(x, choice, &t, e) < 0)
        return -1;
    struct measure m = *x->measure;
    int steps = m.steps ? m.steps : m.model->sampler.steps;
    m.graph = t.graph;
    m.weights = &t.weights;
    m.seed = ALLOCATION_SEED;
    m.count = MIXED_IMAGES;
    m.steps = steps < MIXED_STEPS ? steps : MIXED_STEPS;
    int status = measure_latents(&m, latents, NULL, size, e);
    close_trial(&t);
    return status;
}

static uint64_t scramble(uint64_t z)
{
    z = (z + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* CountSketch where there are more numbers than places: each, with a random sign, to one of them. Products
 * are kept on average. */
static void sketch_change(const struct mixed *x, const float *got, float *sketch)
{
    for (int m = 0; m < MIXED_IMAGES; m++, sketch += x->sketch)
        for (int64_t i = 0, k = m * x->size; i < x->size; i++, k++) {
            float d = got[k] - x->exact[k];
            if (x->sketch == x->size) {
                sketch[i] = d;
                continue;
            }
            uint64_t h = scramble((uint64_t)i);
            sketch[h % (uint64_t)x->sketch] += h >> 63 ? d : -d;
        }
}

static int open_changes(struct mixed *x, const int *exact, struct error *e)
{
    size_t n = (size_t)x->layers * (size_t)x->formats;
    if (run_choice(x, exact, &x->exact, &x->size, e) < 0)
        return -1;
    x->sketch = x->size < MIXED_SKETCH ? (int)x->size : MIXED_SKETCH;
    x->change = mem_array(n * MIXED_IMAGES * (size_t)x->sketch, sizeof *x->change, e);
    x->products = mem_array(n * n, sizeof *x->products, e);
    return x->change && x->products ? 0 : -1;
}

static int measure_changes(struct mixed *x, void (*progress)(void *context, int done, int of), void *context,
                           struct error *e)
{
    int *choice = mem_array((size_t)x->layers, sizeof *choice, e);
    int status = choice && open_changes(x, choice, e) == 0 ? 0 : -1;
    for (int i = 0; status == 0 && i < x->layers; i++)
        for (int f = 1; status == 0 && f < x->formats; f++) {
            float *got = NULL;
            if (!x->allowed[at(x, i, f)])
                continue;
            choice[i] = f;
            status = run_choice(x, choice, &got, NULL, e);
            if (status == 0)
                sketch_change(x, got, x->change + at(x, i, f) * MIXED_IMAGES * (size_t)x->sketch);
            choice[i] = 0;
            mem_free(got);
            progress(context, i * x->formats + f, x->layers * x->formats);
        }
    mem_free(choice);
    return status;
}

/* Mean over images of the squares of a (b NULL) or of a - b, weighted as J is. */
static double weighted_power(const struct mixed *x, const float *a, const float *b)
{
    double sum = 0;
    for (int m = 0; m < MIXED_IMAGES; m++)
        for (int64_t k = m * x->size; k < (m + 1) * x->size; k++) {
            double d = (double)a[k] - (b ? (double)b[k] : 0);
            sum += x->weight[m] * d * d / MIXED_IMAGES;
        }
    return sum;
}

static double relative(const struct mixed *x, double power)
{
    double whole = weighted_power(x, x->exact, NULL);
    return whole > 0 && power > 0 ? sqrt(power / whole) : 0;
}

int mixed_change(const struct mixed *x, const int *choice, double *change, struct error *e)
{
    float *got;
    if (run_choice(x, choice, &got, NULL, e) < 0)
        return -1;
    *change = relative(x, weighted_power(x, got, x->exact));
    mem_free(got);
    return 0;
}

struct allocation mixed_allocation(const struct mixed *x)
{
    return (struct allocation){.layers = x->layers,
                               .formats = x->formats,
                               .products = x->products,
                               .allowed = x->allowed,
                               .cost = {x->bytes, x->ms}};
}

double mixed_predicted(const struct mixed *x, const int *choice)
{
    struct allocation a = mixed_allocation(x);
    return relative(x, allocation_j(&a, choice));
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
        x->bytes[at(x, i, f)] = (double)(s->bytes + marker_size(&x->graph[f]->node[x->node[i]]));
    }
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, (void *)(uintptr_t)m->model};
    if (status == 0 && !(x->weights[f] = weights_open(x->graph[f], m->backend, &loader, e)))
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
    if (!x->stored || !x->bytes || !x->ms)
        return -1;
    for (int f = 0; f < x->formats; f++)
        if (make_format(x, f, e) < 0)
            return -1;
    if (measure_changes(x, progress, context, e) < 0)
        return -1;
    struct changes c = {.layers = x->layers,
                        .formats = x->formats,
                        .images = MIXED_IMAGES,
                        .size = x->sketch,
                        .change = x->change,
                        .separate = x->separate};
    changes_weights(&c, x->weight);
    x->kept = changes_products(&c, x->weight, x->products);
    return 0;
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
    mem_free(x->exact);
    mem_free(x->change);
    mem_free(x->products);
}
