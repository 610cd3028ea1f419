/* Repair by least squares: every product whose input was cut gets weights that give, from what is left, the
 * original's output on the same states as well as possible. In groups from the input on, so that later ones
 * see what earlier ones repaired. See prune_inside.h and method/obs.h. */
#include "common/method/obs.h"
#include "common/run/prune_inside.h"

static int refit_one(struct pruner *p, int cut, const struct edge_pair *m, struct error *e)
{
    const struct cut *c = &p->cuts.cut[cut];
    const struct node *from = &p->original->node[c->consumer];
    const struct tensor *weight = node_weight(from, "weight"), *bias = node_weight(from, "bias");
    int to = graph_find(p->g, from->name);
    double *a = mem_array((size_t)m->n * (size_t)m->n1, sizeof *a, e);
    double *shift = mem_array((size_t)m->n, sizeof *shift, e);
    int status = a && shift ? reconstruct(m->n, m->n1, p->kept[cut].channel, m->cross, m->own, m->mean,
                                          m->mean1, 0.01, bias != NULL, p->b->team, a, shift, e)
                            : -1;
    if (status == 0)
        status = narrow_refit(p->g, &p->over, to, weight, bias, m->n, m->n1, a, shift, e);
    mem_free(a);
    mem_free(shift);
    return status;
}

static int refit_group(struct pruner *p, const int *cuts, int count, struct error *e)
{
    struct edge_pair *pair = mem_array((size_t)count + 1, sizeof *pair, e);
    int status = pair ? 0 : -1;
    for (int i = 0; status == 0 && i < count; i++) {
        const struct cut *c = &p->cuts.cut[cuts[i]];
        int at = graph_find(p->g, p->original->node[c->edge].name);
        pair[i] = (struct edge_pair){
            .node = c->edge, .node1 = at, .n = c->channels, .n1 = p->g->node[at].shape.channels};
    }
    if (status == 0)
        status = pairs_open(pair, count, 0, e);
    if (status == 0)
        status = pairs_collect(pair, count, &p->states, p->original, p->original_weights, p->g, p->weights,
                               p->b, e);
    for (int i = 0; status == 0 && i < count; i++)
        status = refit_one(p, cuts[i], &pair[i], e);
    if (pair)
        pairs_free(pair, count);
    mem_free(pair);
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
        if (p->o->progress)
            p->o->progress(p->o->context, "refit", r + 1, rounds);
    }
    mem_free(cuts);
    return status;
}
