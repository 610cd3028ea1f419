/* See actions.h. */
#include "common/run/actions.h"
#include "common/graph/branches.h"
#include "common/graph/ops.h"

#include <stdio.h>
#include <string.h>

static struct candidate *start(const struct graph *g, struct candidate *list, int *count, struct error *e)
{
    if (*count == CANDIDATES)
        return NULL;
    struct candidate *c = &list[*count];
    *c = (struct candidate){.served = mem_array((size_t)g->count + 1, 1, e), .base = -1, .probe = -1};
    if (!c->served)
        return NULL;
    ++*count;
    return c;
}

static void serve(struct candidate *c, int node)
{
    c->serves += !c->served[node];
    c->served[node] = 1;
    c->probe = c->serves == 1 ? node : -1;
}

static int add_joints(const struct graph *g, struct candidate *list, int *count, struct error *e)
{
    int node[256], joints = graph_joints(g, node, 256);
    /* Outermost first; at most 24 of them, so that others have room. */
    for (int i = joints - 1; i >= 0 && joints - 1 - i < 24; i--) {
        struct candidate *c = start(g, list, count, e);
        if (!c)
            return -1;
        serve(c, node[i]);
        snprintf(c->name, sizeof c->name, "branch:%s", g->node[node[i]].name);
    }
    return joints;
}

static int same_shape(const struct graph *g, int a, int b)
{
    return !memcmp(&g->node[a].shape, &g->node[b].shape, sizeof g->node[a].shape);
}

/* The stream behind the blocks [first, last) as its difference to the stream before them. */
static int add_span(const struct graph *g, const struct branch_list *b, int first, int last,
                    struct candidate *list, int *count, struct error *e)
{
    int from = -1, to = -1;
    for (int i = 0; i < b->count; i++) {
        if (b->branch[i].block == first && from < 0)
            from = b->branch[i].skip;
        if (b->branch[i].block == last - 1)
            to = b->branch[i].add;
    }
    if (from < 0 || to <= from || !same_shape(g, from, to))
        return 0;
    struct candidate *c = start(g, list, count, e);
    if (!c)
        return -1;
    serve(c, to);
    c->base = from;
    snprintf(c->name, sizeof c->name, "span:%d-%d", first, last - 1);
    return 0;
}

/* Branches of the blocks [first, last); attention only or all. */
static int add_mask(const struct graph *g, const struct branch_list *b, int first, int last, int attention,
                    struct candidate *list, int *count, struct error *e)
{
    struct candidate *c = start(g, list, count, e);
    if (!c)
        return -1;
    for (int i = 0; i < b->count; i++)
        if (b->branch[i].block >= first && b->branch[i].block < last &&
            (!attention || b->branch[i].attention))
            serve(c, b->branch[i].value);
    snprintf(c->name, sizeof c->name, "%s:%d-%d", attention ? "attention" : "blocks", first, last - 1);
    if (c->serves)
        return 0;
    mem_free(c->served);
    c->served = NULL;
    --*count;
    return 0;
}

static int add_masks(const struct graph *g, struct candidate *list, int *count, struct error *e)
{
    struct branch_list b;
    if (graph_branches(g, &b, e) < 0)
        return -1;
    int blocks = b.blocks, status = 0, step = blocks > 24 ? blocks / 8 : blocks > 8 ? 2 : 1;
    for (int edge = 0; status == 0 && blocks > 0 && 2 * edge < blocks && edge <= 3 * step; edge += step) {
        status = add_mask(g, &b, edge, blocks - edge, 0, list, count, e);
        if (status == 0)
            status = add_mask(g, &b, edge, blocks - edge, 1, list, count, e);
        if (status == 0)
            status = add_span(g, &b, edge, blocks - edge, list, count, e);
    }
    mem_free(b.branch);
    return status;
}

static int add_output(const struct graph *g, struct candidate *list, int *count, struct error *e)
{
    int out = graph_find_output(g, "sample");
    struct candidate *c = out < 0 ? NULL : start(g, list, count, e);
    if (!c)
        return out < 0 ? 0 : -1;
    serve(c, out);
    snprintf(c->name, sizeof c->name, "output");
    return 0;
}

int candidate_actions(const struct graph *g, struct candidate *list, struct error *e)
{
    int count = 0, joints = add_joints(g, list, &count, e);
    if (joints < 0 || (joints == 0 && add_masks(g, list, &count, e) < 0) ||
        add_output(g, list, &count, e) < 0 || e->code) {
        candidates_free(list, count);
        return -1;
    }
    return count;
}

/* Is there a layer to run that rounds its input, while these nodes are served as differences to `base`? */
static int rounds(const struct graph *g, const unsigned char *served, int base, unsigned char *live)
{
    int want[8], wants = 0, found = 0;
    for (int i = 0; i < g->outputs && wants < 7; i++)
        want[wants++] = g->output[i].node;
    if (base >= 0)
        want[wants++] = base;
    graph_live(g, want, wants, served, live);
    for (int i = 0; i < g->count; i++)
        found |= live[i] && node_rounds_input(&g->node[i]);
    return found;
}

int candidates_widen(const struct graph *g, struct candidate *list, int count, struct error *e)
{
    int all = count;
    unsigned char *live = mem_array((size_t)g->count + 1, 1, e);
    for (int i = -1; live && i < count && all < CANDIDATES; i++) {
        const struct candidate *of = i < 0 ? NULL : &list[i];
        if (!rounds(g, of ? of->served : NULL, of ? of->base : -1, live))
            continue;
        struct candidate *c = start(g, list, &all, e);
        if (!c)
            break;
        if (of) {
            memcpy(c->served, of->served, (size_t)g->count);
            c->serves = of->serves;
            c->base = of->base;
            c->probe = of->probe;
        }
        c->wide = 1;
        c->twin = i;
        snprintf(c->name, sizeof c->name, "%.80s, wide", of ? of->name : "full");
    }
    mem_free(live);
    if (!e->code)
        return all;
    candidates_free(list + count, all - count);
    return -1;
}

void candidates_free(struct candidate *list, int count)
{
    for (int i = 0; i < count; i++)
        mem_free(list[i].served);
}
