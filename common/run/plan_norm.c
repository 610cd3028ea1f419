/* Norms with what follows them: modulation, activation, quantization for int8 readers. */
#include "common/graph/ops.h"
#include "common/run/builder.h"

#include <string.h>

/* Do readers of this node want int8 codes of that kind (op "linear": by row, of blocks rotated so; "conv2d":
 * by image, cut there), and does anything else read it as float? */
int wants_codes(const struct builder *b, int node, const char *op, int form, int *wants_float)
{
    int wants = 0;
    *wants_float = b->r->keep[node] || b->r->output[node] || b->in_difference[node];
    for (int i = node + 1; i < b->g->count; i++) {
        const struct node *n = &b->g->node[i];
        for (int j = 0; b->r->run[i] && j < n->inputs; j++) {
            if (n->in[j] != node)
                continue;
            int quantized = node_is(n, op) && reads_codes(b, n) &&
                            (int)node_attr(n, !strcmp(op, "conv2d") ? "split" : "rotate") == form;
            wants |= quantized;
            *wants_float |= !quantized;
        }
    }
    return wants;
}

/* The modulation behind `at`, when it is its only reader and its vectors are there; else -1. */
static int modulation_of(const struct builder *b, int at)
{
    int next = b->readers[at] == 1 && !b->r->keep[at] && !b->r->output[at] ? b->reader[at] : -1;
    if (next < 0 || !node_is(&b->g->node[next], "modulate") || b->g->node[next].in[0] != at ||
        b->r->is_given[next])
        return -1;
    const struct node *m = &b->g->node[next];
    return is_ready(b, m->in[1]) && is_ready(b, m->in[2]) && !b->lazy[m->in[1]] && !b->lazy[m->in[2]] ? next
                                                                                                      : -1;
}

/* Scale and shift are pointed to by the fields; their common distance goes to *ld. Two vectors at different
 * distances are packed. */
static int modulation_places(struct builder *b, int modulate, struct place *scale, struct place *shift)
{
    const struct node *m = &b->g->node[modulate];
    if (float_place(b, m->in[1], shift) < 0 || float_place(b, m->in[2], scale) < 0)
        return -1;
    if (shift->image_ld == scale->image_ld)
        return 0;
    return packed_place(b, m->in[1], shift) < 0 || packed_place(b, m->in[2], scale) < 0 ? -1 : 0;
}

/* The rotation of the first linear layer that reads codes of this value. */
static int rotation_of_readers(const struct builder *b, int node)
{
    for (int i = node + 1; i < b->g->count; i++) {
        const struct node *n = &b->g->node[i];
        if (b->r->run[i] && node_is(n, "linear") && n->in[0] == node && reads_codes(b, n))
            return (int)node_attr(n, "rotate");
    }
    return 0;
}

/* The forms in which readers want the value that a pass over rows makes. */
struct forms {
    int real, half, codes, rotate;
};

static struct forms forms_of(const struct builder *b, int node)
{
    int wants_float;
    struct forms f = {.rotate = rotation_of_readers(b, node)};
    f.codes = wants_codes(b, node, "linear", f.rotate, &wants_float);
    f.half = !f.codes && wants_half(b, node, &wants_float);
    f.real = wants_float || (!f.codes && !f.half);
    return f;
}

/* The pass over the rows at x that makes the value of `last`; its result is pointed to. */
static struct kernel_call *add_pass(struct builder *b, int node, int last, const struct place *x)
{
    struct forms f = forms_of(b, last);
    struct shape s = b->g->node[node].shape;
    if ((f.real && place_value(b, last) < 0) || (f.half && new_half(b, last) < 0) ||
        (f.codes && new_row_codes(b, last, f.rotate) < 0))
        return NULL;
    struct kernel_call *c = add_call(b, KERNEL_ROW_NORM, node);
    if (!c)
        return NULL;
    struct row_norm *r = &c->row_norm;
    struct place out = b->p->place[last];
    const struct codes *codes = &b->row_codes[last];
    int64_t out_ld = is_vector(b, node) ? out.image_ld : out.ld;
    *r = (struct row_norm){.x_ld = x->ld,
                           .images = b->r->images,
                           .rows_per_image = (int)shape_rows(s),
                           .channels = s.channels,
                           .rotate = f.codes ? f.rotate : 0,
                           .out_ld = out_ld,
                           .tap_ld = out_ld,
                           .out_bf16_ld = b->half[last].ld,
                           .codes_ld = f.codes ? codes->ld[0] : 0};
    c->bytes = (4.0 + (f.codes ? 1 : f.half ? 2 : 4)) * b->r->images * (double)shape_size(s);
    if (cover(b, c, node) < 0 || point(b, c, &r->x, x->buffer, x->offset) < 0 ||
        (f.real && point(b, c, f.codes || f.half ? &r->tap : &r->out, out.buffer, out.offset) < 0) ||
        (f.half && point(b, c, &r->out_bf16, b->half[last].buffer, 0) < 0) ||
        (f.codes && (point(b, c, &r->codes, codes->buffer[0], 0) < 0 ||
                     point(b, c, &r->row_scale, codes->scale[0], 0) < 0)))
        return NULL;
    return c;
}

int emit_layer_norm(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    const struct packed *w = &b->r->weights->node[node];
    int modulate = modulation_of(b, node), last = modulate >= 0 ? modulate : node;
    struct place x, scale = {0}, shift = {0};
    if (row_place(b, n->in[0], &x) < 0 ||
        (modulate >= 0 && modulation_places(b, modulate, &scale, &shift) < 0))
        return -1;
    struct kernel_call *c = add_pass(b, node, last, &x);
    if (!c)
        return -1;
    struct row_norm *r = &c->row_norm;
    r->norm = 1;
    r->eps = (float)node_attr(n, "eps");
    r->weight = w->plain[0];
    r->bias = w->plain[1];
    r->mod_ld = scale.image_ld;
    if (modulate < 0)
        return 0;
    return cover(b, c, modulate) < 0 || point(b, c, &r->scale, scale.buffer, scale.offset) < 0 ||
                   point(b, c, &r->shift, shift.buffer, shift.offset) < 0
               ? -1
               : 0;
}

int is_gate(const struct builder *b, int node)
{
    int next = b->reader[node], real = b->r->keep[node] || b->r->output[node] || b->in_difference[node];
    if (!b->r->weights->backend->ops->half || real || b->readers[node] != 1 || is_vector(b, node) ||
        activation_of(&b->g->node[node]) == ACT_NONE || b->r->is_given[next])
        return 0;
    const struct node *n = &b->g->node[next];
    int other = n->in[0] == node ? n->in[1] : n->in[0];
    return node_is(n, "mul") && !is_vector(b, other) && b->lazy[other] != LAZY_GATE;
}

/* Rows times an activation of other rows. */
int emit_gated(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    int side = b->lazy[n->in[1]] == LAZY_GATE, gate = n->in[side];
    struct place x, times;
    if (row_place(b, n->in[!side], &x) < 0 || row_place(b, b->g->node[gate].in[0], &times) < 0)
        return -1;
    struct kernel_call *c = add_pass(b, node, node, &x);
    if (!c)
        return -1;
    c->row_norm.times_ld = times.ld;
    c->row_norm.times_act = activation_of(&b->g->node[gate]);
    c->bytes += 4.0 * b->r->images * (double)shape_size(n->shape);
    return cover(b, c, gate) < 0 ? -1 : point(b, c, &c->row_norm.times, times.buffer, times.offset);
}

/* The one or two values whose channels the norm runs over. */
static int norm_inputs(struct builder *b, int in, struct place x[2], int channels[2])
{
    int joined = b->lazy[in] == LAZY_CONCAT;
    channels[1] = 0;
    for (int i = 0; i < (joined ? 2 : 1); i++) {
        int from = joined ? b->g->node[in].in[i] : in;
        if (row_place(b, from, &x[i]) < 0)
            return -1;
        channels[i] = b->g->node[from].shape.channels;
    }
    return joined ? 2 : 1;
}

static int point_codes(struct builder *b, struct kernel_call *c, int last)
{
    const struct codes *codes = &b->image_codes[last];
    struct group_norm *g = &c->group_norm;
    for (int side = 0; side < (codes->channels[1] ? 2 : 1); side++) {
        g->codes_ld[side] = codes->ld[side];
        if (point(b, c, &g->codes[side], codes->buffer[side], 0) < 0 ||
            point(b, c, &g->image_scale[side], codes->scale[side], 0) < 0)
            return -1;
    }
    return 0;
}

int emit_group_norm(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    const struct packed *w = &b->r->weights->node[node];
    struct place x[2], scale = {0}, shift = {0};
    struct group_norm g = {.images = b->r->images,
                           .pixels = (int)shape_rows(n->shape),
                           .groups = (int)node_attr(n, "groups"),
                           .eps = (float)node_attr(n, "eps"),
                           .weight = w->plain[0],
                           .bias = w->plain[1]};
    int sides = norm_inputs(b, n->in[0], x, g.channels), modulate = modulation_of(b, node), wants_float;
    if (sides < 0 || (modulate >= 0 && modulation_places(b, modulate, &scale, &shift) < 0))
        return -1;
    int last = modulate >= 0 ? modulate : node;
    int next = b->readers[last] == 1 && !b->r->keep[last] && !b->r->output[last] ? b->reader[last] : -1;
    int act = next >= 0 && !b->r->is_given[next] ? (int)activation_of(&b->g->node[next]) : ACT_NONE;
    last = act ? next : last;
    int codes = wants_codes(b, last, "conv2d", sides == 2 ? g.channels[0] : 0, &wants_float);
    int half = !codes && wants_half(b, last, &wants_float);
    g.act = (enum activation)act;
    g.mod_ld = scale.image_ld;
    if ((wants_float || (!codes && !half)) && place_value(b, last) < 0)
        return -1;
    if (half && new_half(b, last) < 0)
        return -1;
    if (codes && new_image_codes(b, last, sides == 2 ? g.channels[0] : 0) < 0)
        return -1;
    struct place out = b->p->place[last];
    g.out_bf16_ld = b->half[last].ld;
    g.out_ld = g.tap_ld = is_vector(b, node) ? out.image_ld : out.ld;
    for (int i = 0; i < sides; i++)
        g.x_ld[i] = x[i].ld;
    int workspace = add_buffer(b, SPACE_ARENA, group_norm_workspace(&g) * sizeof(float));
    struct kernel_call *c = workspace < 0 ? NULL : add_call(b, KERNEL_GROUP_NORM, node);
    if (!c)
        return -1;
    c->group_norm = g;
    c->phases = codes ? 4 : 3;
    c->bytes = (8.0 + (codes ? 5 : half ? 2 : 4)) * b->r->images * (double)shape_size(n->shape);
    if (cover(b, c, node) < 0 || (modulate >= 0 && cover(b, c, modulate) < 0) ||
        (act && cover(b, c, next) < 0) || point(b, c, &c->group_norm.workspace, workspace, 0) < 0)
        return -1;
    for (int i = 0; i < sides; i++)
        if (point(b, c, &c->group_norm.x[i], x[i].buffer, x[i].offset) < 0)
            return -1;
    if (modulate >= 0 && (point(b, c, &c->group_norm.scale, scale.buffer, scale.offset) < 0 ||
                          point(b, c, &c->group_norm.shift, shift.buffer, shift.offset) < 0))
        return -1;
    if ((wants_float || (!codes && !half)) &&
        point(b, c, codes || half ? &c->group_norm.tap : &c->group_norm.out, out.buffer, out.offset) < 0)
        return -1;
    if (half && point(b, c, &c->group_norm.out_bf16, b->half[last].buffer, 0) < 0)
        return -1;
    return codes ? point_codes(b, c, last) : 0;
}
