/* bfloat16 values: who reads them, and how they come to be. Products whose weights are bfloat16 read rounded
 * rows, and attention does so behind such products and behind those of 8-bit activations, whose own
 * rounding is several times coarser. What writes a value writes it so where a reader wants it;
 * else it is converted in a pass of its own. Which readers there are follows from the graph alone, so that a
 * kept value and a computed one are rounded alike.
 */
#include "common/graph/ops.h"
#include "common/run/builder.h"

static const struct packed *weights_of(const struct builder *b, const struct node *n)
{
    return &b->r->weights->node[n - b->g->node];
}

int product_is_half(const struct builder *b, const struct node *n)
{
    const struct packed *w = weights_of(b, n);
    int rotate = op_attr_index(n->op, "rotate") >= 0 ? (int)node_attr(n, "rotate") : 0;
    return (w->form == MM_BF16 || (w->narrow && !rotate)) && !is_vector(b, n->in[0]) &&
           w->shape.channels[0] % 2 == 0 && w->shape.channels[1] % 2 == 0;
}

static int is_view(const struct node *n)
{
    return node_is(n, "slice") || node_is(n, "tokens") || node_is(n, "grid");
}

static int is_narrow(const struct builder *b, int node)
{
    while (is_view(&b->g->node[node]))
        node = b->g->node[node].in[0];
    const struct node *n = &b->g->node[node];
    return (node_is(n, "linear") || node_is(n, "conv2d")) &&
           (weights_of(b, n)->form == MM_BF16 || weights_of(b, n)->narrow || reads_codes(b, n));
}

/* Scores of codes are of rounded rows. */
static int is_fast(const struct backend *b, const struct node *n)
{
    return !b->ops->host || b->kernels->level >= CPU_AVX512_BF16 || node_attr(n, "int8_scores") != 0;
}

int attention_is_half(const struct builder *b, const struct node *n)
{
    const struct backend *on = b->r->weights->backend;
    int heads = (int)node_attr(n, "heads");
    return on->ops->half && is_fast(on, n) && is_narrow(b, n->in[0]) && is_narrow(b, n->in[1]) &&
           is_narrow(b, n->in[2]) && n->shape.channels / heads % 2 == 0;
}

int wants_half(const struct builder *b, int node, int *wants_float)
{
    int wants = 0;
    *wants_float = b->r->keep[node] || b->r->output[node] || b->in_difference[node];
    for (int i = node + 1; i < b->g->count; i++) {
        const struct node *n = &b->g->node[i];
        for (int j = 0; b->r->run[i] && j < n->inputs; j++) {
            int through_float = 0, half = 0;
            if (n->in[j] != node || !node_reads(n, j))
                continue;
            if (node_is(n, "attention"))
                half = attention_is_half(b, n);
            else if ((node_is(n, "linear") || node_is(n, "conv2d")) && j == 0)
                half = product_is_half(b, n);
            else if (is_view(n))
                half = wants_half(b, i, &through_float);
            wants |= half;
            *wants_float |= !half || through_float;
        }
    }
    return wants;
}

int new_half(struct builder *b, int node)
{
    struct shape s = b->g->node[node].shape;
    int buffer = add_buffer(b, SPACE_ARENA, (size_t)b->r->images * (size_t)shape_size(s) * sizeof(uint16_t));
    b->half[node] = (struct place){buffer, 0, s.channels, shape_size(s)};
    return buffer < 0 ? -1 : 0;
}

int need_half(struct builder *b, int node, struct place *at)
{
    struct shape s = b->g->node[node].shape;
    struct place x;
    *at = b->half[node];
    if (at->buffer >= 0)
        return 0;
    if (row_place(b, node, &x) < 0 || new_half(b, node) < 0)
        return -1;
    *at = b->half[node];
    struct kernel_call *c = add_elementwise(b, node, x);
    if (!c)
        return -1;
    c->elementwise.out_bf16_ld = at->ld;
    c->bytes = 6.0 * b->r->images * (double)shape_size(s);
    return point(b, c, &c->elementwise.out_bf16, at->buffer, at->offset);
}
