/* See activations.h. */
#include "common/run/activations.h"
#include "common/method/foreground.h"

#include <math.h>
#include <string.h>

enum { MOST_TOKENS = 1024 }; /* attention is counted in tokens^2 times channels */

struct look {
    int attention; /* node, or -1 */
    int rows, columns;
    float *before; /* the value at the last call, one image */
    double sum;
    int sums;
};

struct watcher {
    struct activations *a;
    const struct graph *g;
    struct look *look; /* of each branch */
    int output;
    double *received;
    unsigned char *mask;
};

/* The attention of a branch, if its tokens are the patches of the picture. */
static void find_attention(const struct graph *g, const struct branch *b, struct look *l)
{
    struct shape picture = g->node[graph_find_output(g, "sample")].shape;
    l->attention = -1;
    for (int i = b->value; b->attention && i > b->skip && l->attention < 0; i--)
        if (node_is(&g->node[i], "attention"))
            l->attention = i;
    if (l->attention < 0)
        return;
    const struct node *n = &g->node[l->attention];
    int64_t tokens = shape_rows(n->shape);
    int fits = shape_rows(g->node[n->in[1]].shape) == tokens && tokens <= MOST_TOKENS;
    for (int patch = 1; fits && patch <= picture.height; patch++)
        if (picture.height % patch == 0 && picture.width % patch == 0 &&
            (int64_t)(picture.height / patch) * (picture.width / patch) == tokens) {
            l->rows = picture.height / patch;
            l->columns = picture.width / patch;
        }
    if (!l->rows)
        l->attention = -1;
}

static int look_at_attention(struct watcher *w, const struct engine *x, struct look *l, struct error *e)
{
    const struct node *n = &w->g->node[l->attention];
    struct shape out = w->g->node[w->output].shape;
    const float *q = engine_value(x, n->in[0]), *k = engine_value(x, n->in[1]);
    int tokens = l->rows * l->columns;
    if (attention_received(q, k, tokens, (int)node_attr(n, "heads"), n->shape.channels, w->received, e) < 0 ||
        foreground_mask(engine_value(x, w->output), out.height, out.width, out.channels, l->rows, l->columns,
                        w->mask, e) < 0)
        return -1;
    double overlap = foreground_overlap(w->received, w->mask, tokens);
    if (overlap >= 0) {
        l->sum += overlap;
        l->sums++;
    }
    return 0;
}

/* trajectory.h's network; images come one by one, the first row is the conditional pass. */
static int watch_network(void *context, const struct engine *x, int call, int first, int rows,
                         struct error *e)
{
    struct watcher *w = context;
    (void)rows;
    for (int i = 0; first == 0 && i < w->a->count; i++) {
        struct branch_activity *b = &w->a->branch[i];
        struct look *l = &w->look[i];
        int64_t size = shape_size(w->g->node[b->node].shape);
        const float *now = engine_value(x, b->node);
        double square = 0, moved = 0;
        for (int64_t k = 0; k < size; k++) {
            double d = (double)now[k] - (double)l->before[k];
            square += (double)now[k] * (double)now[k];
            moved += d * d;
        }
        if (call && square > 0)
            b->change[call] += sqrt(moved / square) / w->a->images;
        memcpy(l->before, now, (size_t)size * sizeof *now);
        if (l->attention >= 0 && look_at_attention(w, x, l, e) < 0)
            return -1;
    }
    return 0;
}

static int open_watcher(struct watcher *w, struct activations *a, const struct measure *m,
                        unsigned char *want, const struct branch_list *list, struct error *e)
{
    const struct graph *g = m->graph;
    *w = (struct watcher){.a = a, .g = g, .output = graph_find_output(g, "sample")};
    w->look = mem_array((size_t)list->count + 1, sizeof *w->look, e);
    w->received = mem_array(MOST_TOKENS, sizeof *w->received, e);
    w->mask = mem_array(MOST_TOKENS, 1, e);
    a->branch = mem_array((size_t)list->count + 1, sizeof *a->branch, e);
    if (!w->look || !w->received || !w->mask || !a->branch)
        return -1;
    for (int i = 0; i < list->count; i++) {
        struct look *l = &w->look[i];
        int node = list->branch[i].value;
        a->branch[i].node = node;
        a->branch[i].change = mem_array((size_t)a->calls + 1, sizeof(double), e);
        l->before = mem_array((size_t)shape_size(g->node[node].shape), sizeof *l->before, e);
        a->count++;
        if (!a->branch[i].change || !l->before)
            return -1;
        find_attention(g, &list->branch[i], l);
        want[node] = 1;
        for (int k = 0; l->attention >= 0 && k < 2; k++)
            want[g->node[l->attention].in[k]] = 1;
    }
    return 0;
}

static int conclude(struct activations *a, const struct look *look, struct error *e)
{
    double *overlap = mem_array((size_t)a->count + 1, sizeof *overlap, e);
    int n = 0;
    if (!overlap)
        return -1;
    for (int i = 0; i < a->count; i++) {
        struct branch_activity *b = &a->branch[i];
        for (int c = 1; c < a->calls; c++)
            b->mean += b->change[c] / (a->calls - 1);
        b->overlap = look[i].sums ? look[i].sum / look[i].sums : -1;
        if (b->overlap >= 0)
            overlap[n++] = b->overlap;
    }
    double median = n ? median_of(overlap, n) : 2;
    for (int i = 0; i < a->count; i++)
        a->branch[i].foreground = a->branch[i].overlap >= median;
    mem_free(overlap);
    return 0;
}

int activations_collect(struct activations *a, const struct measure *m, struct error *e)
{
    struct branch_list list = {0};
    struct watcher w = {0};
    struct measure run = *m;
    float *latents = NULL;
    unsigned char *want = mem_array((size_t)m->graph->count + 1, 1, e);
    *a = (struct activations){.images = m->count};
    int status =
        want && measure_calls(m, &a->calls, e) == 0 && graph_branches(m->graph, &list, e) == 0 ? 0 : -1;
    if (status == 0)
        status = open_watcher(&w, a, m, want, &list, e);
    struct trajectory_watch watch = {.context = &w, .network = watch_network};
    run.batch = 1;
    run.seed = CALIBRATION_SEED;
    run.want = want;
    run.watch = &watch;
    if (status == 0)
        status = measure_latents(&run, &latents, NULL, NULL, e);
    if (status == 0)
        status = conclude(a, w.look, e);
    for (int i = 0; w.look && i < list.count; i++)
        mem_free(w.look[i].before);
    mem_free(w.look);
    mem_free(w.received);
    mem_free(w.mask);
    mem_free(latents);
    mem_free(list.branch);
    mem_free(want);
    if (status < 0)
        activations_free(a);
    return status;
}

void activations_free(struct activations *a)
{
    for (int i = 0; a->branch && i < a->count; i++)
        mem_free(a->branch[i].change);
    mem_free(a->branch);
    *a = (struct activations){0};
}
