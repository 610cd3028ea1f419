/* Where a graph can be made narrower inside: channels of an edge that one product reads and that nothing but
 * that product needs. Found by structure: neurons of an MLP, heads of an attention, inner channels of a
 * residual block.
 *
 *     struct cut_list list;
 *     if (graph_cuts(g, &list, e) < 0) ...                   // after graph_infer
 *     ... g->node[list.cut[i].edge].name, list.cut[i].channels ...
 *     cut_list_free(&list);
 *
 * Channel c of the edge exists in every weight that cut->edit lists: entry edit.offset + c along axis 0, and
 * along axis 1 in the weight of the consumer. Elementwise operations, group norms and attention heads are
 * looked through; sums over all channels (layer_norm) are not. */
#ifndef HASTEN_GRAPH_CUTS_H
#define HASTEN_GRAPH_CUTS_H

#include "common/graph/graph.h"

enum { CUT_EDITS = 24 };

struct cut_edit {
    int node, slot, offset;
};

struct cut {
    int edge, consumer; /* nodes: the value, and the product that reads it */
    int channels;
    int block;     /* neighbours that go together: the size of a head, or 1 */
    int groups;    /* as many of each of these equal parts must go, or 1 */
    int attention; /* the node that loses heads, or -1 */
    struct cut_edit edit[CUT_EDITS];
    int edits;
};

struct cut_list {
    struct cut *cut;
    int count;
};

/* In graph order of their consumers. Only layers with plain weights that no other node uses. */
int graph_cuts(const struct graph *g, struct cut_list *list, struct error *e) HASTEN_CHECKED;
void cut_list_free(struct cut_list *list);

/* The nodes of a cut: producers, what is between, the consumer. marks: g->count bytes, cleared first. */
void cut_nodes(const struct graph *g, const struct cut *c, unsigned char *marks);

#endif
