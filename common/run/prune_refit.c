/* Repair by least squares: every product whose input is no longer the original's gets weights that give, from
 * what is left, the original's output on the same states as well as possible; where that is added to
 * something else, the original's sum: what the other lacks by now is given beside it. In groups from the
 * input on, so that later ones see what earlier ones repaired. Each is fitted on three quarters of the
 * calibration images with several ridges; the one that does best on the others is taken, fitted on all, and
 * none where the cut weights do better there. See prune_inside.h and method/obs.h. */
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

/* The weight with `lacks` more inputs, each of which goes into the output of its number at the middle tap. */
static int widen(const struct tensor *weight, int n, int lacks, struct tensor *wide, struct error *e)
{
    size_t outs = (size_t)weight->shape[0], inputs = (size_t)(n + lacks);
    size_t taps = weight->count / (outs * (size_t)n);
    float *from = mem_array(weight->count, sizeof *from, e), *to = NULL;
    *wide = *weight;
    wide->data = NULL;
    wide->shape[1] = n + lacks;
    if (from && tensor_measure(wide, e) == 0 && (to = mem_array(wide->count, sizeof *to, e)) &&
        (wide->data = mem_array(wide->size, 1, e))) {
        tensor_to_f32(weight->dtype, weight->data, from, weight->count);
        for (size_t i = 0; i < outs; i++) {
            memcpy(to + i * inputs * taps, from + i * (size_t)n * taps, (size_t)n * taps * sizeof *to);
            if (lacks)
                to[(i * inputs + (size_t)n + i) * taps + taps / 2] = 1;
        }
        tensor_from_f32(wide->dtype, to, wide->data, wide->count);
    }
    mem_free(from);
    mem_free(to);
    return wide->data ? 0 : -1;
}

/* x: the repair with its moments and weights. */
struct fitting {
    const struct repair *at;
    const int *place;
    struct edge_pair *m;
    const struct edge_pair *held;
    const struct tensor *weight, *bias; /* of the original, rows that are left; bias NULL: none */
};

static int refit_rows(struct pruner *p, const struct fitting *f, struct error *e)
{
    struct pair_view x = view_of(f->m, f->place), y = view_of(f->held, f->place);
    size_t n = (size_t)f->m->n;
    double *a = mem_array(n * (size_t)f->m->n1, sizeof *a, e), *shift = mem_array(n, sizeof *shift, e), ridge;
    int centre = f->bias != NULL, status = a && shift ? 0 : -1;
    if (status == 0)
        status = choose_ridge(&x, &y, f->weight, centre, p->b->team, a, shift, &ridge, e);
    if (status == 0 && ridge >= 0) {
        merge(f->m, f->held);
        status = fit(&x, ridge, centre, p->b->team, a, shift, e);
    } else if (status == 0) {
        no_fit(&x, a, shift);
    }
    if (status == 0)
        status =
            narrow_refit(p->g, &p->over, f->at->node1, f->weight, f->bias, f->m->n, f->m->n1, a, shift, e);
    mem_free(a);
    mem_free(shift);
    return status;
}

static int refit_one(struct pruner *p, const struct repair *at, struct edge_pair *m,
                     const struct edge_pair *held, struct error *e)
{
    struct tensor weight = {0}, bias = {0}, wide = {0};
    int *place = mem_array((size_t)m->n1, sizeof *place, e);
    int status = place && rows_left(p, at->node, "weight", &weight, e) == 0 &&
                         rows_left(p, at->node, "bias", &bias, e) == 0 &&
                         widen(&weight, m->n - m->lacks, m->lacks, &wide, e) == 0
                     ? 0
                     : -1;
    struct fitting f = {at, place, m, held, &wide, bias.data ? &bias : NULL};
    for (int i = 0; status == 0 && i < m->n1; i++)
        place[i] = at->cut >= 0 ? p->kept[at->cut].channel[i] : i;
    if (status == 0)
        status = refit_rows(p, &f, e);
    mem_free(place);
    mem_free(weight.data);
    mem_free(bias.data);
    mem_free(wide.data);
    return status;
}

static struct edge_pair *open_pairs(const struct pruner *p, const struct repair *at, int count,
                                    struct error *e)
{
    struct edge_pair *pair = mem_array((size_t)count + 1, sizeof *pair, e);
    for (int i = 0; pair && i < count; i++) {
        int node = p->original->node[at[i].node].in[0], node1 = p->g->node[at[i].node1].in[0];
        int lacks = at[i].skip >= 0 ? p->original->node[at[i].node].shape.channels : 0;
        pair[i] = (struct edge_pair){.node = node,
                                     .node1 = node1,
                                     .n = p->original->node[node].shape.channels + lacks,
                                     .n1 = p->g->node[node1].shape.channels,
                                     .skip = at[i].skip,
                                     .skip1 = at[i].skip1,
                                     .lacks = lacks};
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

static int refit_group(struct pruner *p, const struct repair *at, int count, struct error *e)
{
    struct edge_pair *pair = open_pairs(p, at, count, e), *held = pair ? open_pairs(p, at, count, e) : NULL;
    int images = p->states.images, rest = images / 4, status = held ? 0 : -1;
    if (rest > p->states.batch)
        rest -= rest % p->states.batch;
    if (status == 0 && (collect(p, pair, count, 0, images - rest, e) < 0 ||
                        collect(p, held, count, images - rest, rest, e) < 0))
        status = -1;
    for (int i = 0; status == 0 && i < count; i++)
        status = refit_one(p, &at[i], &pair[i], &held[i], e);
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
    struct repair *at;
    int count, status = prune_repairs(p, &at, &count, e);
    rounds = rounds < count ? rounds : count;
    for (int r = 0; status == 0 && r < rounds; r++) {
        int first = count * r / rounds, last = count * (r + 1) / rounds;
        status = refit_group(p, at + first, last - first, e);
        if (status == 0)
            status = graph_infer(p->g, 0, 0, overlay_find, &p->over, e);
        weights_close(p->weights);
        p->weights = status == 0 ? weights_open(p->g, p->b, NULL, e) : NULL;
        if (!p->weights)
            status = -1;
        if (p->o->progress && !p->quiet)
            p->o->progress(p->o->context, "refit", r + 1, rounds);
    }
    mem_free(at);
    return status;
}
