/* See cuts.h. */
#include "common/graph/cuts.h"
#include "common/graph/ops.h"

#include <string.h>

struct walk {
    const struct graph *g;
    struct cut *c;
    unsigned char *marks;
    int failed;
};

static int is_product(const struct node *n) { return node_is(n, "linear") || node_is(n, "conv2d"); }

static int is_plain(const struct node *n) { return (int)node_attr(n, "format") == FORMAT_PLAIN; }

/* Operations on each channel by itself. */
static int is_channelwise(const struct node *n)
{
    static const char *const names[] = {"silu",  "relu", "tanh", "sigmoid", "gelu",
                                        "scale", "add",  "sub",  "mul",     "modulate"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (node_is(n, names[i]))
            return 1;
    return 0;
}

static void add_edit(struct walk *w, int node, const char *slot, int offset)
{
    int s = op_weight_index(w->g->node[node].op, slot);
    if (!w->g->node[node].weight[s])
        return;
    if (w->c->edits == CUT_EDITS)
        w->failed = 1;
    else
        w->c->edit[w->c->edits++] = (struct cut_edit){node, s, offset};
}

/* A part of a vector that one layer makes for several readers: the layer loses rows, all slices move. */
static void walk_slice(struct walk *w, int at)
{
    const struct node *n = &w->g->node[at];
    int from = n->in[0];
    if ((int)node_attr(n, "axis") != AXIS_CHANNELS || !node_is(&w->g->node[from], "linear") ||
        !is_plain(&w->g->node[from])) {
        w->failed = 1;
        return;
    }
    for (int i = 0; i < w->g->count; i++)
        for (int j = 0; j < w->g->node[i].inputs; j++)
            if (w->g->node[i].in[j] == from && (!node_is(&w->g->node[i], "slice") ||
                                                (int)node_attr(&w->g->node[i], "axis") != AXIS_CHANNELS))
                w->failed = 1;
    for (int i = 0; i < w->g->outputs; i++)
        w->failed |= w->g->output[i].node == from;
    add_edit(w, from, "weight", (int)node_attr(n, "begin"));
    add_edit(w, from, "bias", (int)node_attr(n, "begin"));
}

static void walk_value(struct walk *w, int at)
{
    const struct node *n = &w->g->node[at];
    struct cut *c = w->c;
    int inputs = 0;
    if (w->marks[at] || w->failed)
        return;
    w->marks[at] = 1;
    if (n->shape.channels != c->channels) {
        w->failed = 1;
    } else if (is_product(n)) {
        w->failed |= !is_plain(n);
        add_edit(w, at, "weight", 0);
        add_edit(w, at, "bias", 0);
    } else if (node_is(n, "attention")) {
        int heads = (int)node_attr(n, "heads");
        w->failed |= c->attention >= 0 || heads < 2;
        c->attention = at;
        c->block = c->channels / heads;
        inputs = 3;
    } else if (node_is(n, "group_norm")) {
        int groups = (int)node_attr(n, "groups");
        w->failed |= c->groups > 1 && c->groups != groups;
        c->groups = groups;
        add_edit(w, at, "weight", 0);
        add_edit(w, at, "bias", 0);
        inputs = 1;
    } else if (is_channelwise(n)) {
        inputs = n->inputs;
    } else if (node_is(n, "slice")) {
        walk_slice(w, at);
    } else {
        w->failed = 1;
    }
    for (int i = 0; i < inputs && !w->failed; i++)
        walk_value(w, n->in[i]);
}

/* Is every marked value read by marked nodes and the consumer alone? */
static int is_closed(const struct walk *w)
{
    const struct graph *g = w->g;
    for (int i = 0; i < g->outputs; i++)
        if (w->marks[g->output[i].node])
            return 0;
    for (int i = 0; i < g->count; i++)
        for (int j = 0; j < g->node[i].inputs; j++) {
            int from = g->node[i].in[j];
            if (!w->marks[from])
                continue;
            int inside = w->marks[i] && !is_product(&g->node[i]) && !node_is(&g->node[i], "slice");
            if (!inside && !(i == w->c->consumer && j == 0))
                return 0;
        }
    return 1;
}

static int is_shared(const struct graph *g, const char *tensor)
{
    int uses = 0;
    for (int i = 0; i < g->count; i++)
        for (int s = 0; s < GRAPH_MAX_WEIGHTS; s++)
            uses += g->node[i].weight[s] && !strcmp(g->node[i].weight[s], tensor);
    return uses > 1;
}

static int shares_tensors(const struct graph *g, const struct cut *c)
{
    const struct node *n = &g->node[c->consumer];
    for (int i = 0; i < c->edits; i++)
        if (is_shared(g, g->node[c->edit[i].node].weight[c->edit[i].slot]))
            return 1;
    for (int s = 0; s < GRAPH_MAX_WEIGHTS; s++)
        if (n->weight[s] && is_shared(g, n->weight[s]))
            return 1;
    return 0;
}

static int find_cut(const struct graph *g, int consumer, const unsigned char *depends, unsigned char *marks,
                    struct cut *c)
{
    const struct node *n = &g->node[consumer];
    if (!is_product(n) || !depends[consumer] || !is_plain(n) || is_product(&g->node[n->in[0]]))
        return 0;
    *c = (struct cut){.edge = n->in[0],
                      .consumer = consumer,
                      .channels = g->node[n->in[0]].shape.channels,
                      .block = 1,
                      .groups = 1,
                      .attention = -1};
    struct walk w = {g, c, marks, 0};
    memset(marks, 0, (size_t)g->count);
    walk_value(&w, c->edge);
    return !w.failed && c->edits && depends[c->edge] && (c->block == 1 || c->groups == 1) && is_closed(&w) &&
           c->channels > c->block * c->groups && !shares_tensors(g, c);
}

int graph_cuts(const struct graph *g, struct cut_list *list, struct error *e)
{
    size_t n = (size_t)g->count + 1;
    int sample = graph_find(g, "sample");
    unsigned char *marks = mem_array(n, 1, e), *depends = mem_array(n, 1, e);
    *list = (struct cut_list){.cut = mem_array(n, sizeof *list->cut, e)};
    if (!marks || !depends || !list->cut) {
        mem_free(marks);
        mem_free(depends);
        cut_list_free(list);
        return -1;
    }
    if (sample >= 0)
        graph_depends(g, sample, depends);
    for (int i = 0; i < g->count; i++)
        list->count += find_cut(g, i, depends, marks, &list->cut[list->count]);
    mem_free(marks);
    mem_free(depends);
    return 0;
}

void cut_list_free(struct cut_list *list)
{
    mem_free(list->cut);
    *list = (struct cut_list){0};
}

void cut_nodes(const struct graph *g, const struct cut *c, unsigned char *marks)
{
    struct cut copy = *c;
    struct walk w = {g, &copy, marks, 0};
    copy.edits = 0;
    copy.attention = -1;
    memset(marks, 0, (size_t)g->count);
    walk_value(&w, c->edge);
    marks[c->consumer] = 1;
}
