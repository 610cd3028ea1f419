/* See search_blocks.h. */
#include "common/run/search_blocks.h"
#include "common/run/search_inside.h"
#include "common/method/schedule_blocks.h"

#include <stdio.h>

int schedule_of_masks(struct cache_schedule *s, const struct graph *g, const struct branch_list *b,
                      unsigned char *compute, struct error *e)
{
    int calls = s->calls, masks, n, status = 0;
    struct blocks_problem p = {.calls = calls, .blocks = b->count};
    int *mask_of = mem_array((size_t)calls, sizeof *mask_of, e);
    double *cost = mem_array((size_t)b->count, sizeof *cost, e);
    const char **names = mem_array((size_t)b->count, sizeof *names, e);
    for (int u = 0; cost && u < b->count; u++)
        cost[u] = 1;
    if (!mask_of || !cost || !names)
        status = -1;
    if (status == 0)
        status = blocks_merge(&p, cost, SCHEDULE_MAX_ACTIONS, compute, mask_of, &masks, e);
    for (int t = 1, done = 0; status == 0 && t < calls; t++) {
        if (mask_of[t] > done) { /* sets are numbered by first use; call 0 has number 0 and computes all */
            done = mask_of[t];
            n = 0;
            for (int u = 0; u < b->count; u++)
                if (!compute[u * calls + t])
                    names[n++] = g->node[b->branch[u].value].name;
            char name[32];
            snprintf(name, sizeof name, "mask:%d", done);
            status = cache_schedule_add(s, name, names, n, e) < 0 ? -1 : 0;
        }
        s->choice[0][t] = s->choice[1][t] = mask_of[t];
    }
    mem_free((void *)names);
    mem_free(cost);
    mem_free(mask_of);
    return status;
}

/* Relative square errors of reusing branch u's value: [calls * calls] of error. */
static int branch_errors(const struct search *x, int node, double *error, struct error *e)
{
    const struct calibration *c = search_round(x, x->rounds);
    size_t calls = (size_t)c->calls;
    int k = 0;
    while (k < c->nodes && !(c->node[k] == node && c->base[k] < 0))
        k++;
    if (k == c->nodes)
        return error_set(e, HASTEN_EFILE,
                         "branch '%s' was not measured: U-Nets are measured at their joints only, "
                         "transformers at no more than %d nodes",
                         c->g->node[node].name, CALIBRATION_NODES);
    if (predict_table(&c->gram[k], PREDICT_REUSE, error, e) < 0)
        return -1;
    for (size_t t = 0; t < calls; t++) {
        double power = gram_power(&c->gram[k], (int)t);
        for (size_t s = 0; s < t; s++)
            error[t * calls + s] /= power > 0 ? power : 1;
    }
    return 0;
}

static int solve(const struct search *x, const struct branch_list *b, int updates, int bubble,
                 unsigned char *compute, struct error *e)
{
    size_t n = (size_t)x->c.calls * (size_t)x->c.calls, count = (size_t)b->count;
    double *error = mem_array(count, n * sizeof *error, e);
    int *layer = mem_array(count, sizeof *layer, e), status = error && layer ? 0 : -1;
    unsigned char *feed_forward = mem_array(count, 1, e);
    struct blocks_problem p = {.calls = x->c.calls, .blocks = b->count, .error = error, .refreshes = updates};
    if (!feed_forward)
        status = -1;
    for (int u = 0; status == 0 && u < b->count; u++) {
        layer[u] = b->branch[u].block;
        feed_forward[u] = !b->branch[u].attention;
        status = branch_errors(x, b->branch[u].value, error + (size_t)u * n, e);
    }
    if (status == 0)
        status = blocks_each(&p, compute, e);
    if (status == 0)
        status = blocks_bubble(&p, layer, feed_forward, bubble, compute, e);
    mem_free(feed_forward);
    mem_free(layer);
    mem_free(error);
    return status;
}

int search_blocks(struct search *x, int updates, int bubble, struct cache_schedule *s, struct error *e)
{
    struct branch_list b;
    if (graph_branches(x->c.g, &b, e) < 0)
        return -1;
    int status = b.count ? 0 : error_set(e, HASTEN_EFILE, "the network has no transformer blocks");
    unsigned char *compute = status == 0 ? mem_array((size_t)b.count, (size_t)x->calls, e) : NULL;
    if (!compute)
        status = -1;
    if (status == 0)
        status = solve(x, &b, updates, bubble, compute, e);
    if (status == 0)
        status = cache_schedule_new(s, x->calls, e);
    if (status == 0)
        status = schedule_of_masks(s, x->c.g, &b, compute, e);
    mem_free(compute);
    mem_free(b.branch);
    return status;
}
