/* What in a graph can be left out: found by structure, not by names of families.
 *
 *     struct branch_list list;
 *     if (graph_branches(g, &list, e) < 0) ...          // after graph_infer
 *     for (int i = 0; i < list.count; i++)
 *         ... g->node[list.branch[i].value].name ...
 *     mem_free(list.branch);
 *
 * A residual branch is an `add` of two values of one shape, where one (the skip) goes into the other. Its
 * value is the edge before the gate, if the branch ends in a gate: what FORA, Learning-to-Cache and BAC
 * cache. A joint is a concatenation along channels of a value that comes from deeper down with a skip:
 * serving the deeper value is DeepCache's branch. */
#ifndef HASTEN_GRAPH_BRANCHES_H
#define HASTEN_GRAPH_BRANCHES_H

#include "common/graph/graph.h"

struct branch {
    int add;       /* the node that adds */
    int skip;      /* what it adds to */
    int value;     /* the edge to serve: the branch's result before its gate */
    int attention; /* 1: there is an attention between skip and value */
    int block;     /* branches of one block have the same number; blocks are numbered from 0 in order */
};

struct branch_list {
    struct branch *branch;
    int count, blocks;
};

/* In graph order. A block is what shares a module path up to its first number ("transformer_blocks.3",
 * "down_blocks.0.resnets.1"). */
int graph_branches(const struct graph *g, struct branch_list *list, struct error *e) HASTEN_CHECKED;

/* The deeper inputs of all joints, in graph order: the last is the outermost (cheapest to recompute around).
 * Gives their number, at most room. */
int graph_joints(const struct graph *g, int *node, int room);

#endif
