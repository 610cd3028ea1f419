/* Which followers of a value its kernel can take into its epilogue: struct mm_epilogue applies, in this
 * order, an image bias, an activation, (a store), a gate, a residual and a factor; the chain of nodes must go
 * through them in the same order, each value having one reader. */
#include "common/graph/ops.h"
#include "common/run/builder.h"

enum activation activation_of(const struct node *n)
{
    if (node_is(n, "silu"))
        return ACT_SILU;
    if (node_is(n, "gelu"))
        return (int)node_attr(n, "approximate") == GELU_TANH ? ACT_GELU_TANH : ACT_GELU_ERF;
    if (node_is(n, "relu"))
        return ACT_RELU;
    if (node_is(n, "tanh"))
        return ACT_TANH;
    return node_is(n, "sigmoid") ? ACT_SIGMOID : ACT_NONE;
}

int is_vector(const struct builder *b, int node) { return b->g->node[node].shape.kind == VALUE_VECTOR; }

/* Is the value there, or can it be made from what is there, before the next call? */
int is_ready(const struct builder *b, int node)
{
    if (b->lazy[node]) {
        const struct node *n = &b->g->node[node];
        return is_ready(b, n->in[0]) && (b->lazy[node] != LAZY_CONCAT || is_ready(b, n->in[1]));
    }
    return b->p->place[node].buffer >= 0;
}

/* Rows of all images at one distance: what a residual must have. */
static int is_even(const struct builder *b, int node)
{
    struct place at = b->p->place[node];
    return is_vector(b, node) || at.image_ld == shape_rows(b->g->node[node].shape) * at.ld;
}

/* Take `next`, which reads `at`, into the chain; 0 when it does not fit behind `stage`. */
static int take(const struct builder *b, struct chain *c, int at, int next, enum stage *stage)
{
    const struct node *n = &b->g->node[next];
    int vector_value = is_vector(b, at);
    if (activation_of(n) != ACT_NONE && *stage < STAGE_ACT) {
        c->act = activation_of(n);
        *stage = STAGE_ACT;
        return 1;
    }
    if (node_is(n, "scale") && node_attr(n, "offset") == 0 && node_attr(n, "factor") != 0 &&
        *stage < STAGE_SCALE) {
        c->scale = (float)node_attr(n, "factor");
        *stage = STAGE_SCALE;
        return 1;
    }
    if ((!node_is(n, "add") && !node_is(n, "mul")) || n->in[0] == n->in[1])
        return 0;
    int other = n->in[0] == at ? n->in[1] : n->in[0];
    int broadcast = !vector_value && is_vector(b, other);
    if (!is_ready(b, other) || b->lazy[other])
        return 0;
    if (node_is(n, "mul")) {
        if (!broadcast || *stage >= STAGE_GATE)
            return 0;
        c->gate = other;
        *stage = STAGE_GATE;
        return 1;
    }
    if (broadcast && *stage < STAGE_IMAGE_BIAS) {
        c->image_bias = other;
        *stage = STAGE_IMAGE_BIAS;
        return 1;
    }
    /* The chain's value must not itself be a vector that the residual broadcasts. */
    if (broadcast || *stage >= STAGE_RESIDUAL || (vector_value && !is_vector(b, other)) || !is_even(b, other))
        return 0;
    c->residual = other;
    *stage = STAGE_RESIDUAL;
    return 1;
}

struct chain find_chain(const struct builder *b, int node, enum stage from)
{
    struct chain c = {.last = node, .image_bias = -1, .gate = -1, .residual = -1, .tap = -1, .scale = 1};
    enum stage stage = from;
    while (c.nodes < 8) {
        int at = c.last, kept = b->r->keep[at] || b->r->output[at];
        if (b->readers[at] != 1 || b->r->is_given[b->reader[at]] ||
            (kept && (stage > STAGE_ACT || b->r->output[at])))
            break;
        struct chain before = c;
        enum stage stage_before = stage;
        if (!take(b, &c, at, b->reader[at], &stage))
            break;
        /* A kept value can be stored on the way only where the epilogue stores: between activation and gate.
         */
        if (kept && at != node && stage_before > STAGE_ACT)
            return before;
        if (kept) {
            if (stage <= STAGE_ACT)
                return before;
            c.tap = at;
        }
        c.node[c.nodes++] = c.last = b->reader[at];
    }
    return c;
}
