/* Which products of a pruned network can repair what was lost before them: see prune_inside.h. */
#include "common/graph/ops.h"
#include "common/run/prune_inside.h"

#include <string.h>

/* Is the value of node i1 of g another than that of node i of the original? */
static int differs(const struct graph *original, int i, const struct graph *g, int i1,
                   const unsigned char *changed)
{
    return changed[i1] || strcmp(g->node[i1].name, original->node[i].name) != 0;
}

/* changed[i]: node i of g may give something else than the node of its name in the original. */
static void find_changes(const struct graph *original, const struct graph *g, unsigned char *changed)
{
    for (int i = 0; i < g->count; i++) {
        const struct node *n = &g->node[i], *was = &original->node[graph_find(original, n->name)];
        for (int k = 0; k < GRAPH_MAX_WEIGHTS; k++)
            changed[i] |= n->tensor[k] &&
                          memcmp(n->tensor[k]->shape, was->tensor[k]->shape, sizeof n->tensor[k]->shape) != 0;
        for (int j = 0; j < n->inputs; j++)
            changed[i] |= differs(original, was->in[j], g, n->in[j], changed);
    }
}

static int find_cut(const struct pruner *p, int node)
{
    for (int i = 0; i < p->cuts.count; i++)
        if (p->cuts.cut[i].consumer == node)
            return i;
    return -1;
}

/* The sum that a product's result enters as it is, pixel by pixel: what it is added to, in both networks. */
static void find_skip(const struct pruner *p, const struct branch_list *b, const unsigned char *changed,
                      struct repair *x)
{
    const struct node *n = &p->original->node[x->node];
    const struct tensor *w = node_weight(n, "weight");
    if (shape_rows(p->original->node[n->in[0]].shape) != shape_rows(n->shape) ||
        (w->rank == 4 && (w->shape[2] % 2 == 0 || w->shape[3] % 2 == 0)))
        return;
    for (int i = 0; i < b->count; i++) {
        const struct node *add = &p->original->node[b->branch[i].add];
        int at = graph_find(p->g, add->name);
        if (b->branch[i].value != x->node || at < 0 || (add->in[0] != x->node && add->in[1] != x->node))
            continue;
        const int *in = p->g->node[at].in;
        int skip1 = in[0] == x->node1 ? in[1] : in[0];
        if (differs(p->original, b->branch[i].skip, p->g, skip1, changed)) {
            x->skip = b->branch[i].skip;
            x->skip1 = skip1;
        }
    }
}

int prune_repairs(const struct pruner *p, struct repair **repair, int *count, struct error *e)
{
    struct branch_list branches = {0};
    unsigned char *changed = mem_array((size_t)p->g->count + 1, 1, e);
    *repair = mem_array((size_t)p->g->count + 1, sizeof **repair, e);
    *count = 0;
    int status = changed && *repair ? graph_branches(p->original, &branches, e) : -1;
    if (status == 0)
        find_changes(p->original, p->g, changed);
    for (int i = 0; status == 0 && i < p->original->count; i++) {
        struct repair x = {i, graph_find(p->g, p->original->node[i].name), find_cut(p, i), -1, -1};
        if (x.node1 < 0 || !cut_is_own_product(p->g, x.node1) ||
            !differs(p->original, p->original->node[i].in[0], p->g, p->g->node[x.node1].in[0], changed))
            continue;
        find_skip(p, &branches, changed, &x);
        (*repair)[(*count)++] = x;
    }
    mem_free(changed);
    mem_free(branches.branch);
    return status;
}
