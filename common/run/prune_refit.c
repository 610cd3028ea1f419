/* Repair by least squares: every product whose input was cut gets weights that give, from what is left, the
 * original's output on the same states as well as possible. In groups from the input on, so that later ones
 * see what earlier ones repaired. Each is fitted on three quarters of the calibration images with several
 * ridges; the one that does best on the others is taken, fitted on all, and none where the cut weights do
 * better there. See prune_inside.h and method/obs.h. */
#include "common/method/obs.h"
#include "common/run/prune_inside.h"

#include <math.h>
#include <string.h>

static const double ridges[] = {0.001, 0.01, 0.1, 1}; /* of the mean of the diagonal */

enum { RIDGES = sizeof ridges / sizeof *ridges };

static struct pair_view view_of(const struct edge_pair *m, const int *place)
{
    return (struct pair_view){m->n, m->n1, place, m->cross, m->own, m->mean, m->mean1};
}

static int fit(const struct pair_view *m, double ridge, int centre, struct team *team, double *a,
               double *shift, struct error *e)
{
    return reconstruct(m->n, m->kept, m->place, m->cross, m->own, m->mean, m->kept_mean, ridge, centre, team,
                       a, shift, e);
}

/* The best ridge on the held-out rows, or -1: no fit does better there than none. */
static int choose_ridge(const struct pair_view *m, const struct pair_view *held, const struct tensor *weight,
                        int centre, struct team *team, double *a, double *shift, double *ridge,
                        struct error *e)
{
    float *w = NULL;
    double least = 0, error;
    int rows, status = narrow_rows(weight, m->n, &w, &rows, e);
    *ridge = -1;
    if (status == 0)
        status = reconstruct_error(held, rows, w, NULL, NULL, team, &least, e);
    for (int i = 0; status == 0 && i < RIDGES; i++) {
        status = fit(m, ridges[i], centre, team, a, shift, e);
        if (status == 0)
            status = reconstruct_error(held, rows, w, a, shift, team, &error, e);
        if (status == 0 && error < least) {
            least = error;
            *ridge = ridges[i];
        }
    }
    mem_free(w);
    return status;
}

/* m becomes the moments of the rows of both. */
static void merge(struct edge_pair *m, const struct edge_pair *held)
{
    double all = (double)(m->rows + held->rows), x = (double)m->rows / all, y = (double)held->rows / all;
    for (int64_t i = 0; i < (int64_t)m->n1 * m->n1; i++)
        m->own[i] = x * m->own[i] + y * held->own[i];
    for (int64_t i = 0; i < (int64_t)m->n * m->n1; i++)
        m->cross[i] = x * m->cross[i] + y * held->cross[i];
    for (int i = 0; i < m->n; i++)
        m->mean[i] = x * m->mean[i] + y * held->mean[i];
    for (int i = 0; i < m->n1; i++)
        m->mean1[i] = x * m->mean1[i] + y * held->mean1[i];
}

/* A = the selection of what is left, which gives the cut weights again. */
static void no_fit(const struct pair_view *m, double *a, double *shift)
{
    for (int64_t i = 0; i < (int64_t)m->n * m->kept; i++)
        a[i] = 0;
    for (int i = 0; i < m->kept; i++)
        a[(int64_t)m->place[i] * m->kept + i] = 1;
    for (int i = 0; i < m->n; i++)
        shift[i] = 0;
}

/* A weight of the original without the rows that other cuts took: what this product makes is itself a value
 * that may have been cut. data from mem_array; NULL where there is no such weight. */
static int rows_left(const struct pruner *p, int node, const char *slot, struct tensor *left, struct error *e)
{
    int s = op_weight_index(p->original->node[node].op, slot);
    const struct tensor *t = p->original->node[node].tensor[s];
    *left = (struct tensor){0};
    if (!t)
        return 0;
    unsigned char *stays = mem_array((size_t)t->shape[0], 1, e);
    if (!stays)
        return -1;
    memset(stays, 1, (size_t)t->shape[0]);
    for (int i = 0; i < p->cuts.count; i++)
        narrow_mark_rows(&p->cuts.cut[i], node, s, p->kept[i].channel, p->kept[i].count, stays);
    int status = narrow_keep_rows(t, stays, left, e);
    mem_free(stays);
    return status;
}

static int refit_rows(struct pruner *p, int cut, struct edge_pair *m, const struct edge_pair *held,
                      const struct tensor *weight, const struct tensor *bias, struct error *e)
{
    const struct node *from = &p->original->node[p->cuts.cut[cut].consumer];
    struct pair_view x = view_of(m, p->kept[cut].channel), y = view_of(held, p->kept[cut].channel);
    double *a = mem_array((size_t)m->n * (size_t)m->n1, sizeof *a, e), ridge;
    double *shift = mem_array((size_t)m->n, sizeof *shift, e);
    int centre = bias != NULL, status = a && shift ? 0 : -1;
    if (status == 0)
        status = choose_ridge(&x, &y, weight, centre, p->b->team, a, shift, &ridge, e);
    if (status == 0 && ridge >= 0) {
        merge(m, held);
        status = fit(&x, ridge, centre, p->b->team, a, shift, e);
    } else if (status == 0) {
        no_fit(&x, a, shift);
    }
    if (status == 0)
        status = narrow_refit(p->g, &p->over, graph_find(p->g, from->name), weight, bias, m->n, m->n1, a,
                              shift, e);
    mem_free(a);
    mem_free(shift);
    return status;
}

static int refit_one(struct pruner *p, int cut, struct edge_pair *m, const struct edge_pair *held,
                     struct error *e)
{
    int node = p->cuts.cut[cut].consumer;
    struct tensor weight = {0}, bias = {0};
    int status =
        rows_left(p, node, "weight", &weight, e) < 0 || rows_left(p, node, "bias", &bias, e) < 0 ? -1 : 0;
    if (status == 0)
        status = refit_rows(p, cut, m, held, &weight, bias.data ? &bias : NULL, e);
    mem_free(weight.data);
    mem_free(bias.data);
    return status;
}

static struct edge_pair *open_pairs(const struct pruner *p, const int *cuts, int count, struct error *e)
{
    struct edge_pair *pair = mem_array((size_t)count + 1, sizeof *pair, e);
    for (int i = 0; pair && i < count; i++) {
        const struct cut *c = &p->cuts.cut[cuts[i]];
        int at = graph_find(p->g, p->original->node[c->edge].name);
        pair[i] = (struct edge_pair){
            .node = c->edge, .node1 = at, .n = c->channels, .n1 = p->g->node[at].shape.channels};
    }
    if (pair && pairs_open(pair, count, 0, e) < 0) {
        pairs_free(pair, count);
        mem_free(pair);
        pair = NULL;
    }
    return pair;
}

static int collect(struct pruner *p, struct edge_pair *pair, int count, int first, int images,
                   struct error *e)
{
    struct states s = states_part(&p->states, first, images);
    s.stride = REFIT_STRIDE;
    return pairs_collect(pair, count, &s, p->original, p->original_weights, p->g, p->weights, p->b, e);
}

static int refit_group(struct pruner *p, const int *cuts, int count, struct error *e)
{
    struct edge_pair *pair = open_pairs(p, cuts, count, e),
                     *held = pair ? open_pairs(p, cuts, count, e) : NULL;
    int images = p->states.images, rest = images / 4, status = held ? 0 : -1;
    if (rest > p->states.batch)
        rest -= rest % p->states.batch;
    if (status == 0 && (collect(p, pair, count, 0, images - rest, e) < 0 ||
                        collect(p, held, count, images - rest, rest, e) < 0))
        status = -1;
    for (int i = 0; status == 0 && i < count; i++)
        status = refit_one(p, cuts[i], &pair[i], &held[i], e);
    if (pair)
        pairs_free(pair, count);
    if (held)
        pairs_free(held, count);
    mem_free(pair);
    mem_free(held);
    return status;
}

int prune_refit(struct pruner *p, int rounds, struct error *e)
{
    int *cuts = mem_array((size_t)p->cuts.count + 1, sizeof *cuts, e), count = 0, status = cuts ? 0 : -1;
    /* What comes before the first cut is as it was. */
    int changed = 0;
    for (int i = 0; cuts && i < p->cuts.count; i++) {
        const struct cut *c = &p->cuts.cut[i];
        if (graph_find(p->g, p->original->node[c->consumer].name) < 0) {
            changed = 1;
            continue;
        }
        changed |= p->kept[i].count < c->channels;
        if (changed)
            cuts[count++] = i;
    }
    rounds = rounds < count ? rounds : count;
    for (int r = 0; status == 0 && r < rounds; r++) {
        int first = count * r / rounds, last = count * (r + 1) / rounds;
        status = refit_group(p, cuts + first, last - first, e);
        if (status == 0)
            status = graph_infer(p->g, 0, 0, overlay_find, &p->over, e);
        weights_close(p->weights);
        p->weights = status == 0 ? weights_open(p->g, p->b, NULL, e) : NULL;
        if (!p->weights)
            status = -1;
        if (p->o->progress && !p->quiet)
            p->o->progress(p->o->context, "refit", r + 1, rounds);
    }
    mem_free(cuts);
    return status;
}
