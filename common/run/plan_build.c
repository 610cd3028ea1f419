/* Visiting the nodes of a plan in order: each becomes a kernel call, joins one, or is read in place. */
#include "common/graph/ops.h"
#include "common/run/builder.h"

#include <string.h>

static int emit_elementwise(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    int binary = n->inputs == 2;
    struct place x, y = {0};
    if (row_place(b, n->in[0], &x) < 0)
        return -1;
    int broadcast = binary && is_vector(b, n->in[1]) && !is_vector(b, node);
    if (binary && (broadcast ? float_place(b, n->in[1], &y) : row_place(b, n->in[1], &y)) < 0)
        return -1;
    int wants_float, half = wants_half(b, node, &wants_float);
    if (((wants_float || !half) && place_value(b, node) < 0) || (half && new_half(b, node) < 0))
        return -1;
    struct place out = b->p->place[node];
    struct kernel_call *c = add_elementwise(b, node, x);
    if (!c)
        return -1;
    struct elementwise *el = &c->elementwise;
    el->b_ld = broadcast ? y.image_ld : y.ld;
    el->b_kind = broadcast ? PER_IMAGE : PER_ROW;
    el->act = activation_of(n);
    el->out_ld = is_vector(b, node) ? out.image_ld : out.ld;
    el->out_bf16_ld = b->half[node].ld;
    el->op = node_is(n, "mul") ? BIN_MUL : node_is(n, "sub") ? BIN_SUB : BIN_ADD;
    c->bytes = (binary && !broadcast ? 12.0 : 8.0) * b->r->images * (double)shape_size(n->shape);
    if (cover(b, c, node) < 0 ||
        ((wants_float || !half) && point(b, c, &el->out, out.buffer, out.offset) < 0) ||
        (half && point(b, c, &el->out_bf16, b->half[node].buffer, 0) < 0))
        return -1;
    return binary ? point(b, c, &el->b, y.buffer, y.offset) : 0;
}

static int emit_attention(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    struct place at[3], out;
    int narrow = attention_is_half(b, n), wants_float, half = wants_half(b, node, &wants_float);
    half = half && !wants_float; /* one of the two is written; the other is converted */
    for (int i = 0; i < 3; i++)
        if ((narrow ? need_half(b, n->in[i], &at[i]) : float_place(b, n->in[i], &at[i])) < 0)
            return -1;
    if ((half ? new_half(b, node) : place_value(b, node)) < 0)
        return -1;
    out = half ? b->half[node] : b->p->place[node];
    double scale = node_attr(n, "scale");
    int heads = (int)node_attr(n, "heads"), dim = n->shape.channels / heads;
    struct attention a = {.q_ld = at[0].ld,
                          .k_ld = at[1].ld,
                          .v_ld = at[2].ld,
                          .q_image_ld = at[0].image_ld,
                          .k_image_ld = at[1].image_ld,
                          .v_image_ld = at[2].image_ld,
                          .images = b->r->images,
                          .heads = heads,
                          .head_dim = dim,
                          .queries = (int)shape_rows(n->shape),
                          .keys = (int)shape_rows(b->g->node[n->in[1]].shape),
                          .causal = (int)node_attr(n, "causal"),
                          .int8_scores = narrow && node_attr(n, "int8_scores") && dim % 4 == 0 && dim <= 128,
                          .scale = (float)(scale > 0 ? scale : 1 / __builtin_sqrt(dim)),
                          .out_ld = out.ld,
                          .out_image_ld = out.image_ld};
    struct kernel_call *c = add_call(b, KERNEL_ATTENTION, node);
    if (!c)
        return -1;
    c->attention = a;
    c->format = b->r->weights->format;
    c->flops = 4.0 * a.images * a.queries * (double)a.keys * n->shape.channels;
    c->bytes = (narrow ? 4.0 : 8.0) * a.images * ((double)a.queries + a.keys) * n->shape.channels;
    c->precision = narrow ? PRECISION_BF16 : PRECISION_F32;
    const void *field[3] = {&c->attention.q, &c->attention.k, &c->attention.v},
               *narrow_field[3] = {&c->attention.q_bf16, &c->attention.k_bf16, &c->attention.v_bf16};
    for (int i = 0; i < 3; i++)
        if (point(b, c, narrow ? narrow_field[i] : field[i], at[i].buffer, at[i].offset) < 0)
            return -1;
    const void *to = half ? (const void *)&c->attention.out_bf16 : &c->attention.out;
    if (cover(b, c, node) < 0 || point(b, c, to, out.buffer, out.offset) < 0)
        return -1;
    size_t bytes;
    int status = add_scratch(b, c, &c->attention.scratch, &bytes);
    c->attention.scratch_ld = bytes / sizeof(float);
    return status;
}

static int emit_move(struct builder *b, int node, enum move_kind kind)
{
    const struct node *n = &b->g->node[node];
    struct shape in = b->g->node[n->in[0]].shape, out = n->shape;
    struct place from, to;
    if (float_place(b, n->in[0], &from) < 0 || place_value(b, node) < 0)
        return -1;
    to = b->p->place[node];
    struct kernel_call *c = add_call(b, KERNEL_MOVE, node);
    if (!c)
        return -1;
    int block = op_attr_index(n->op, "block") >= 0 ? (int)node_attr(n, "block")
                : kind == MOVE_AVG_POOL            ? (int)node_attr(n, "size")
                                                   : 0;
    c->move = (struct move){.kind = kind,
                            .in_ld = from.ld,
                            .in_image_ld = from.image_ld,
                            .out_ld = to.ld,
                            .out_image_ld = to.image_ld,
                            .images = b->r->images,
                            .in_height = in.height,
                            .in_width = in.width,
                            .out_height = out.height,
                            .out_width = out.width,
                            .channels = kind == MOVE_DEPTH_TO_SPACE ? in.channels : out.channels,
                            .block = block};
    c->bytes = 4.0 * b->r->images * (double)(shape_size(in) + shape_size(out));
    return cover(b, c, node) < 0 || point(b, c, &c->move.in, from.buffer, from.offset) < 0
               ? -1
               : point(b, c, &c->move.out, to.buffer, to.offset);
}

/* Tokens behind one another, image by image. */
static int emit_token_concat(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    if (place_value(b, node) < 0)
        return -1;
    struct place to = b->p->place[node], from;
    for (int i = 0; i < n->inputs; i++) {
        struct shape s = b->g->node[n->in[i]].shape;
        int tokens = (int)node_attr(n, "axis") == AXIS_TOKENS;
        if (float_place(b, n->in[i], &from) < 0 ||
            emit_copy(b, &from, &to, node, s.height, s.width, s.channels) < 0)
            return -1;
        to.offset += (size_t)(tokens ? s.width * to.ld : s.channels) * sizeof(float);
    }
    return cover(b, &b->p->call[b->p->calls - 1], node);
}

/* Where node n's value lies in its input's place. */
static void view_of(const struct node *n, size_t element, struct place *at)
{
    if (!node_is(n, "slice")) {
        at->ld = n->shape.channels;
        return;
    }
    int tokens = (int)node_attr(n, "axis") == AXIS_TOKENS;
    at->offset += (size_t)(node_attr(n, "begin") * (tokens ? (double)at->ld : 1)) * element;
}

/* Same numbers, other shape: a view when they lie without gaps; a slice: always a view. */
static int emit_view(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    struct place at = b->half[n->in[0]];
    int slice = node_is(n, "slice");
    if (at.buffer >= 0) {
        view_of(n, sizeof(uint16_t), &at);
        b->half[node] = at;
    }
    if (at.buffer >= 0 && b->p->place[n->in[0]].buffer < 0)
        return 0; /* nothing reads it as float */
    if ((slice ? float_place(b, n->in[0], &at) : packed_place(b, n->in[0], &at)) < 0)
        return -1;
    view_of(n, sizeof(float), &at);
    if (!b->r->keep[node]) {
        b->p->place[node] = at;
        return 0;
    }
    struct place to = b->p->place[node] = b->r->given[node];
    return emit_copy(b, &at, &to, node, n->shape.height, n->shape.width, n->shape.channels);
}

/* Any operation through its reference: for what is computed once a trajectory. */
static int emit_reference(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    const struct packed *w = &b->r->weights->node[node];
    struct place in[GRAPH_MAX_INPUTS], out;
    for (int i = 0; i < n->inputs; i++)
        if (node_reads(n, i) && packed_place(b, n->in[i], &in[i]) < 0)
            return -1;
    if (place_value(b, node) < 0)
        return -1;
    out = b->p->place[node];
    struct kernel_call *c = add_call(b, KERNEL_REFERENCE, node);
    if (!c)
        return -1;
    c->reference = (struct op_call){.node = n, .images = b->r->images, .out_shape = n->shape};
    for (int i = 0; i < GRAPH_MAX_WEIGHTS; i++) {
        c->reference.weight[i] = w->plain[i];
        for (int d = 0; n->tensor[i] && d < 4; d++)
            c->reference.weight_shape[i][d] = d < n->tensor[i]->rank ? n->tensor[i]->shape[d] : 1;
    }
    for (int i = 0; i < n->inputs; i++) {
        c->reference.in_shape[i] = b->g->node[n->in[i]].shape;
        if (node_reads(n, i) && point(b, c, &c->reference.in[i], in[i].buffer, in[i].offset) < 0)
            return -1;
    }
    c->bytes = 8.0 * b->r->images * (double)shape_size(n->shape);
    return cover(b, c, node) < 0 ? -1 : point(b, c, &c->reference.out, out.buffer, out.offset);
}

/* The value's own place beside the cache that it comes from. */
static int place_beside(struct builder *b, int node)
{
    struct shape s = b->g->node[node].shape;
    int buffer = add_buffer(b, SPACE_ARENA, (size_t)b->r->images * (size_t)shape_size(s) * sizeof(float));
    b->p->place[node] = (struct place){buffer, 0, s.channels, shape_size(s)};
    return buffer < 0 ? -1 : 0;
}

/* The tables of scales and of the bias lie behind one another. */
static int point_tables(struct builder *b, struct kernel_call *c, int node)
{
    struct cache_read *r = &c->cache_read;
    struct place at = b->r->correct[node];
    const struct place *older = b->r->older && b->r->older[node].buffer >= 0 ? &b->r->older[node] : NULL;
    size_t row = (size_t)r->channels * sizeof(float);
    if (point(b, c, &r->a, at.buffer, at.offset) < 0)
        return -1;
    at.offset += row;
    if (older) {
        if (point(b, c, &r->cache2, older->buffer, older->offset) < 0 ||
            point(b, c, &r->a2, at.buffer, at.offset) < 0)
            return -1;
        at.offset += row;
    }
    return point(b, c, &r->b, at.buffer, at.offset);
}

static int base_of(const struct builder *b, int node) { return b->r->base ? b->r->base[node] : -1; }

/* A value that comes from a cache, when it is predicted or something can be done in the same pass. */
static int emit_cache_read(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    int corrected = b->r->correct && b->r->correct[node].buffer >= 0, base = base_of(b, node);
    struct place from = b->p->place[node], to, residual;
    struct chain chain = {.last = node, .image_bias = -1, .gate = -1, .residual = base, .tap = -1};
    if (base < 0)
        chain = find_chain(b, node, STAGE_ACT);
    else if (row_place(b, base, &residual) < 0)
        return -1;
    if (!corrected && chain.nodes == 0 && base < 0)
        return 0;
    if ((chain.nodes == 0 ? place_beside(b, node) : place_value(b, chain.last)) < 0)
        return -1;
    to = b->p->place[chain.last];
    struct kernel_call *c = add_call(b, KERNEL_CACHE_READ, node);
    if (!c)
        return -1;
    struct cache_read *r = &c->cache_read;
    *r = (struct cache_read){.cache_ld = is_vector(b, node) ? from.image_ld : from.ld,
                             .images = b->r->images,
                             .rows_per_image = (int)shape_rows(n->shape),
                             .channels = n->shape.channels,
                             .out_ld = is_vector(b, node) ? to.image_ld : to.ld};
    c->bytes = 8.0 * b->r->images * (double)shape_size(n->shape) * (chain.residual >= 0 ? 1.5 : 1);
    if (point(b, c, &r->cache, from.buffer, from.offset) < 0 ||
        point(b, c, &r->out, to.buffer, to.offset) < 0 || (corrected && point_tables(b, c, node) < 0))
        return -1;
    if (base < 0)
        return fill_epilogue(b, c, &r->epilogue, &chain);
    r->epilogue.residual_ld = residual.ld;
    return point(b, c, &r->epilogue.residual, residual.buffer, residual.offset);
}

/* What a later call adds to the base's value of that time. */
static int emit_difference(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    struct place x, y, out = b->r->given[node];
    if (row_place(b, node, &x) < 0 || row_place(b, base_of(b, node), &y) < 0)
        return -1;
    struct kernel_call *c = add_elementwise(b, node, x);
    if (!c)
        return -1;
    c->elementwise.b_ld = y.ld;
    c->elementwise.b_kind = PER_ROW;
    c->elementwise.op = BIN_SUB;
    c->elementwise.out_ld = is_vector(b, node) ? out.image_ld : out.ld;
    c->bytes = 12.0 * b->r->images * (double)shape_size(n->shape);
    if (point(b, c, &c->elementwise.b, y.buffer, y.offset) < 0)
        return -1;
    return point(b, c, &c->elementwise.out, out.buffer, out.offset);
}

static int can_be_lazy(const struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    if (b->r->keep[node] || b->r->output[node])
        return LAZY_NO;
    if (node_is(n, "upsample"))
        return LAZY_UPSAMPLE;
    if (is_gate(b, node))
        return LAZY_GATE;
    return node_is(n, "concat") && n->inputs == 2 && (int)node_attr(n, "axis") == AXIS_CHANNELS ? LAZY_CONCAT
                                                                                                : LAZY_NO;
}

static int visit(struct builder *b, int node)
{
    static const struct {
        const char *op;
        enum move_kind kind;
    } moves[] = {{"avg_pool", MOVE_AVG_POOL},
                 {"mean_pool", MOVE_MEAN_POOL},
                 {"upsample", MOVE_UPSAMPLE},
                 {"depth_to_space", MOVE_DEPTH_TO_SPACE},
                 {"space_to_depth", MOVE_SPACE_TO_DEPTH}};
    const struct node *n = &b->g->node[node];
    enum lazy lazy = (enum lazy)can_be_lazy(b, node);
    if (lazy) {
        b->lazy[node] = (unsigned char)lazy;
        return 0;
    }
    if (node_is(n, "linear") || node_is(n, "conv2d"))
        return emit_product(b, node);
    if (node_is(n, "layer_norm"))
        return emit_layer_norm(b, node);
    if (node_is(n, "group_norm"))
        return emit_group_norm(b, node);
    if (node_is(n, "attention") && !is_vector(b, node))
        return emit_attention(b, node);
    if (node_is(n, "mul") && (b->lazy[n->in[0]] == LAZY_GATE || b->lazy[n->in[1]] == LAZY_GATE))
        return emit_gated(b, node);
    if (node_is(n, "add") || node_is(n, "sub") || node_is(n, "mul") || activation_of(n) != ACT_NONE)
        return emit_elementwise(b, node);
    if (node_is(n, "slice") || node_is(n, "tokens") || node_is(n, "grid"))
        return emit_view(b, node);
    if (node_is(n, "concat"))
        return emit_token_concat(b, node);
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (node_is(n, moves[i].op))
            return emit_move(b, node, moves[i].kind);
    return emit_reference(b, node);
}

static void count_readers(struct builder *b)
{
    for (int i = 0; i < b->g->count; i++)
        for (int j = 0; b->r->run[i] && j < b->g->node[i].inputs; j++) {
            if (!node_reads(&b->g->node[i], j))
                continue;
            b->readers[b->g->node[i].in[j]]++;
            b->reader[b->g->node[i].in[j]] = i;
        }
    /* Both sides of a difference are needed as they are: two readers more, so that no kernel takes them in.
     */
    for (int i = 0; b->r->base && i < b->g->count; i++) {
        int both[] = {i, b->r->base[i]};
        int reads = b->r->difference[i] || (b->r->is_given[i] && (b->readers[i] || b->r->output[i]));
        for (int k = 0; both[1] >= 0 && reads && k < 2; k++) {
            b->readers[both[k]] += 2;
            b->in_difference[both[k]] = 1;
        }
    }
}

static int build(struct builder *b)
{
    const struct plan_request *r = b->r;
    struct plan *p = b->p;
    for (int i = 0; i < r->given_buffers; i++) {
        int at = add_buffer(b, r->given_buffer[i].space, r->given_buffer[i].size);
        if (at < 0)
            return -1;
        p->buffer[at] = r->given_buffer[i];
    }
    for (int i = 0; i < b->g->count; i++)
        p->place[i] = r->is_given[i] ? r->given[i] : (struct place){.buffer = -1};
    for (int i = 0; i < b->g->count; i++)
        b->half[i].buffer = -1;
    count_readers(b);
    for (int i = 0; i < b->g->count; i++) {
        int status = 0;
        if (r->is_given[i] && (b->readers[i] || r->output[i]) && p->place[i].buffer >= 0 &&
            p->buffer[p->place[i].buffer].space == SPACE_CACHE)
            status = emit_cache_read(b, i);
        else if (r->run[i] && !b->done[i])
            status = visit(b, i);
        if (status == 0 && r->difference && r->difference[i])
            status = emit_difference(b, i);
        if (status < 0)
            return error_under(b->e, "node '%s'", b->g->node[i].name);
    }
    for (int i = 0; i < b->g->count; i++) {
        struct place at;
        if (!r->output[i])
            continue;
        if (float_place(b, i, &at) < 0)
            return -1;
        p->buffer[at.buffer].last = p->calls;
    }
    return assign_arena(p, b->e);
}

struct plan *plan_build(const struct plan_request *r, struct error *e)
{
    size_t n = (size_t)r->graph->count + 1;
    struct plan *p = mem_array(1, sizeof *p, e);
    struct builder b = {.r = r, .g = r->graph, .p = p, .e = e};
    int status = -1;
    if (!p)
        return NULL;
    p->images = r->images;
    p->backend = r->weights->backend;
    p->nodes = r->graph->count;
    p->place = mem_array(n, sizeof *p->place, e);
    b.row_codes = mem_array(n, sizeof *b.row_codes, e);
    b.image_codes = mem_array(n, sizeof *b.image_codes, e);
    b.rotated = mem_array(n, sizeof *b.rotated, e);
    b.half = mem_array(n, sizeof *b.half, e);
    b.lazy = mem_array(n, 1, e);
    b.done = mem_array(n, 1, e);
    b.in_difference = mem_array(n, 1, e);
    b.readers = mem_array(n, sizeof *b.readers, e);
    b.reader = mem_array(n, sizeof *b.reader, e);
    if (p->place && b.row_codes && b.image_codes && b.rotated && b.half && b.lazy && b.done &&
        b.in_difference && b.readers && b.reader)
        status = build(&b);
    mem_free(b.row_codes);
    mem_free(b.image_codes);
    mem_free(b.rotated);
    mem_free(b.half);
    mem_free(b.lazy);
    mem_free(b.done);
    mem_free(b.in_difference);
    mem_free(b.readers);
    mem_free(b.reader);
    if (status == 0)
        return p;
    plan_free(p);
    return NULL;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->recordings; i++) {
        if (p->recorded[i].recording)
            p->backend->ops->drop(p->backend, p->recorded[i].recording);
        mem_free(p->recorded[i].address);
    }
    mem_free(p->addresses);
    mem_free(p->call);
    mem_free(p->buffer);
    mem_free(p->patch);
    mem_free(p->cover);
    mem_free(p->place);
    mem_free(p);
}
