/* The order in which the channels of each cut go, and how much of the error a refit takes back: see
 * prune_inside.h. */
#include "common/method/obs.h"
#include "common/method/prng.h"
#include "common/run/prune_inside.h"

#include <math.h>
#include <string.h>

enum { PASS_BYTES = 1 << 30 }; /* of moments that are in memory at once */

static int most_quanta(const struct site *x)
{
    int most = 0;
    for (int l = 0; l < x->levels; l++)
        most = x->level[l].quanta > most ? x->level[l].quanta : most;
    return most;
}

/* The masks of the levels, once the order is there. */
static int set_masks(const struct cut *c, struct site *x, struct error *e)
{
    for (int l = 0; l < x->levels; l++) {
        struct site_level *level = &x->level[l];
        if (!level->quanta)
            continue;
        if (!(level->keep = mem_array((size_t)c->channels, 1, e)))
            return -1;
        memset(level->keep, 1, (size_t)c->channels);
        for (int i = 0; i < level->quanta * c->block * c->groups; i++)
            level->keep[x->order[i]] = 0;
    }
    return 0;
}

/* Without calibration: by magnitude, or by chance. */
static int order_by_weights(struct pruner *p, const struct cut *c, struct site *x, struct prng *r,
                            struct error *e)
{
    double *score = mem_array((size_t)c->channels, sizeof *score, e);
    int status = score ? 0 : -1;
    if (status == 0 && p->o->score == PRUNE_MAGNITUDE)
        status = narrow_squares(p->g, c, score, e);
    for (int i = 0; status == 0 && p->o->score == PRUNE_RANDOM && i < c->channels; i++)
        score[i] = prng_unit(r);
    if (status == 0)
        status = quanta_order(c->channels, score, c->block, c->groups, most_quanta(x), x->order, e);
    mem_free(score);
    return status;
}

/* With a refit by optimal brain surgeon; without one by what each channel contributes, E[x^2] |w|^2. */
static int order_by_moments(struct pruner *p, const struct cut *c, struct site *x, const struct edge_pair *m,
                            struct error *e)
{
    size_t n = (size_t)c->channels;
    int most = most_quanta(x), status = -1;
    double *gram = mem_array(n * n, sizeof *gram, e), *damped = mem_array(n * n, sizeof *damped, e);
    double *cost = mem_array((size_t)most + 1, sizeof *cost, e), *score = mem_array(n, sizeof *score, e);
    const struct tensor *w = node_weight(&p->g->node[c->consumer], "weight");
    double diagonal = 0;
    if (!gram || !damped || !cost || !score || narrow_gram(w, c->channels, gram, p->b->team, e) < 0)
        goto out;
    for (size_t i = 0; i < n; i++) {
        diagonal += (m->own[i * n + i] - m->mean1[i] * m->mean1[i]) / (double)n;
        score[i] = m->own[i * n + i] * gram[i * n + i];
        for (size_t j = 0; j < n; j++)
            damped[i * n + j] = m->own[i * n + j] - m->mean1[i] * m->mean1[j];
    }
    for (size_t i = 0; i < n; i++)
        damped[i * n + i] += 0.01 * (diagonal > 0 ? diagonal : 1);
    status = p->o->compensate ? obs_order(c->channels, damped, gram, c->block, c->groups, most, p->b->team,
                                          x->order, cost, e)
                              : quanta_order(c->channels, score, c->block, c->groups, most, x->order, e);
    for (int l = 0; status == 0 && l < x->levels; l++) {
        struct site_level *level = &x->level[l];
        if (!level->quanta)
            continue;
        level->local = drop_cost(c->channels, m->own, gram, x->order, level->quanta * c->block * c->groups);
        double with = cost[level->quanta - 1];
        if (p->o->compensate && level->local > with)
            level->factor = sqrt(with / level->local);
    }
out:
    mem_free(gram);
    mem_free(damped);
    mem_free(cost);
    mem_free(score);
    return status;
}

static int order_pass(struct pruner *p, struct site_list *s, int first, int last, struct error *e)
{
    int count = 0, status = -1;
    struct edge_pair *pair = mem_array((size_t)(last - first) + 1, sizeof *pair, e);
    for (int i = first; pair && i < last; i++)
        if (s->site[i].cut >= 0) {
            const struct cut *c = &s->cuts.cut[s->site[i].cut];
            pair[count++] =
                (struct edge_pair){.node = c->edge, .node1 = c->edge, .n = c->channels, .n1 = c->channels};
        }
    struct states some = p->states;
    some.stride = p->o->compensate ? REFIT_STRIDE : 1;
    if (pair && pairs_open(pair, count, 1, e) == 0 &&
        pairs_collect(pair, count, &some, p->g, p->weights, p->g, p->weights, p->b, e) == 0)
        status = 0;
    for (int i = first, k = 0; status == 0 && i < last; i++)
        if (s->site[i].cut >= 0)
            status = order_by_moments(p, &s->cuts.cut[s->site[i].cut], &s->site[i], &pair[k++], e);
    if (pair)
        pairs_free(pair, count);
    mem_free(pair);
    return status;
}

int prune_orders(struct pruner *p, struct site_list *s, struct error *e)
{
    struct prng r = {p->o->seed ^ 0x5DEECE66Du};
    int by_weights = p->o->score == PRUNE_MAGNITUDE || p->o->score == PRUNE_RANDOM, status = 0;
    for (int i = 0; status == 0 && i < s->count; i++) {
        struct site *x = &s->site[i];
        if (x->cut < 0)
            continue;
        x->order = mem_array((size_t)s->cuts.cut[x->cut].channels, sizeof *x->order, e);
        if (!x->order)
            return -1;
        if (by_weights)
            status = order_by_weights(p, &s->cuts.cut[x->cut], x, &r, e);
    }
    for (int first = 0; status == 0 && !by_weights && first < s->count;) {
        double bytes = 0;
        int last = first;
        for (; last < s->count && (last == first || bytes < PASS_BYTES); last++) {
            double n = s->site[last].cut >= 0 ? s->cuts.cut[s->site[last].cut].channels : 0;
            bytes += 8 * n * n;
        }
        status = order_pass(p, s, first, last, e);
        if (p->o->progress)
            p->o->progress(p->o->context, "order", last, s->count);
        first = last;
    }
    for (int i = 0; status == 0 && i < s->count; i++)
        if (s->site[i].cut >= 0)
            status = set_masks(&s->cuts.cut[s->site[i].cut], &s->site[i], e);
    return status;
}
