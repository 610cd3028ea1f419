/* Places of values and the small kernel calls that bring a value into the form a reader needs. */
#include "common/graph/ops.h"
#include "common/run/builder.h"

static int64_t padded(int64_t channels) { return (channels + 63) / 64 * 64; }

/* A place without gaps for the value of `node` in this buffer. */
static struct place plain_place(const struct builder *b, int node, int buffer)
{
    struct shape s = b->g->node[node].shape;
    return (struct place){buffer, 0, s.channels, shape_size(s)};
}

static int new_place(struct builder *b, int node, struct place *at)
{
    int buffer = add_buffer(
        b, SPACE_ARENA, (size_t)b->r->images * (size_t)shape_size(b->g->node[node].shape) * sizeof(float));
    *at = plain_place(b, node, buffer);
    return buffer < 0 ? -1 : 0;
}

int place_value(struct builder *b, int node)
{
    if (b->r->keep[node]) {
        b->p->place[node] = b->r->given[node];
        return 0;
    }
    return new_place(b, node, &b->p->place[node]);
}

int emit_copy(struct builder *b, const struct place *from, const struct place *to, int node, int height,
              int width, int channels)
{
    struct kernel_call *c = add_call(b, KERNEL_MOVE, node);
    if (!c)
        return -1;
    c->move = (struct move){.kind = MOVE_COPY,
                            .in_ld = from->ld,
                            .in_image_ld = from->image_ld,
                            .out_ld = to->ld,
                            .out_image_ld = to->image_ld,
                            .images = b->r->images,
                            .in_height = height,
                            .in_width = width,
                            .out_height = height,
                            .out_width = width,
                            .channels = channels};
    c->bytes = 8.0 * b->r->images * height * width * channels;
    return point(b, c, &c->move.in, from->buffer, from->offset) < 0 ||
                   point(b, c, &c->move.out, to->buffer, to->offset) < 0
               ? -1
               : 0;
}

/* Make a concatenation or an upsampled image that could not be read in place. */
static int make_lazy(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    enum lazy kind = b->lazy[node];
    b->lazy[node] = LAZY_NO;
    if (place_value(b, node) < 0)
        return -1;
    struct place to = b->p->place[node], from;
    if (kind == LAZY_UPSAMPLE) {
        struct shape s = b->g->node[n->in[0]].shape;
        if (float_place(b, n->in[0], &from) < 0)
            return -1;
        struct kernel_call *c = add_call(b, KERNEL_MOVE, node);
        if (!c)
            return -1;
        c->move = (struct move){.kind = MOVE_UPSAMPLE,
                                .in_ld = from.ld,
                                .in_image_ld = from.image_ld,
                                .out_ld = to.ld,
                                .out_image_ld = to.image_ld,
                                .images = b->r->images,
                                .in_height = s.height,
                                .in_width = s.width,
                                .out_height = n->shape.height,
                                .out_width = n->shape.width,
                                .channels = s.channels};
        c->bytes = 4.0 * b->r->images * (double)(shape_size(s) + shape_size(n->shape));
        return point(b, c, &c->move.in, from.buffer, from.offset) < 0 ||
                       point(b, c, &c->move.out, to.buffer, to.offset) < 0
                   ? -1
                   : 0;
    }
    for (int i = 0; i < n->inputs; i++) {
        int channels = b->g->node[n->in[i]].shape.channels;
        if (float_place(b, n->in[i], &from) < 0 ||
            emit_copy(b, &from, &to, node, n->shape.height, n->shape.width, channels) < 0)
            return -1;
        to.offset += (size_t)channels * sizeof(float);
    }
    return 0;
}

int float_place(struct builder *b, int node, struct place *at)
{
    if (b->lazy[node] && make_lazy(b, node) < 0)
        return -1;
    *at = b->p->place[node];
    if (at->buffer < 0)
        return error_set(b->e, HASTEN_EFAIL, "internal: the value of '%s' was never made",
                         b->g->node[node].name);
    return 0;
}

int row_place(struct builder *b, int node, struct place *at)
{
    struct shape s = b->g->node[node].shape;
    if (float_place(b, node, at) < 0)
        return -1;
    if (s.kind == VALUE_VECTOR)
        at->ld = at->image_ld;
    if (at->image_ld == shape_rows(s) * at->ld && at->image_ld != 0)
        return 0;
    return packed_place(b, node, at);
}

int packed_place(struct builder *b, int node, struct place *at)
{
    struct shape s = b->g->node[node].shape;
    struct place from;
    if (float_place(b, node, &from) < 0)
        return -1;
    *at = from;
    if (from.image_ld == shape_size(s) && (from.ld == s.channels || shape_rows(s) == 1))
        return 0;
    if (new_place(b, node, at) < 0)
        return -1;
    return emit_copy(b, &from, at, node, s.height, s.width, s.channels);
}

/* ---- int8 codes ---- */

static int add_codes_side(struct builder *b, struct codes *codes, int side, int channels, int64_t rows,
                          int64_t scales)
{
    codes->channels[side] = channels;
    codes->ld[side] = padded(channels);
    codes->buffer[side] = add_buffer(b, SPACE_ARENA, (size_t)(rows * codes->ld[side]));
    codes->scale[side] = add_buffer(b, SPACE_ARENA, (size_t)scales * sizeof(struct code_scale));
    return codes->buffer[side] < 0 || codes->scale[side] < 0 ? -1 : 0;
}

int reads_codes(const struct builder *b, const struct node *n)
{
    return node_rounds_input(n) && !(b->r->wide && b->r->wide[n - b->g->node]);
}

int new_row_codes(struct builder *b, int node, int rotate)
{
    struct shape s = b->g->node[node].shape;
    int64_t rows = b->r->images * shape_rows(s);
    b->row_codes[node].made = 1;
    b->row_codes[node].rotate = rotate;
    return add_codes_side(b, &b->row_codes[node], 0, s.channels, rows, rows);
}

int new_image_codes(struct builder *b, int node, int split)
{
    struct shape s = b->g->node[node].shape;
    struct codes *codes = &b->image_codes[node];
    int64_t rows = b->r->images * shape_rows(s);
    codes->made = 1;
    if (add_codes_side(b, codes, 0, split ? split : s.channels, rows, b->r->images) < 0)
        return -1;
    return split ? add_codes_side(b, codes, 1, s.channels - split, rows, b->r->images) : 0;
}

int need_row_codes(struct builder *b, int node, int rotate)
{
    if (b->row_codes[node].made && b->row_codes[node].rotate == rotate)
        return 0;
    struct shape s = b->g->node[node].shape;
    struct place x;
    if (row_place(b, node, &x) < 0 || new_row_codes(b, node, rotate) < 0)
        return -1;
    struct kernel_call *c = add_call(b, KERNEL_ROW_NORM, node);
    if (!c)
        return -1;
    const struct codes *codes = &b->row_codes[node];
    c->row_norm = (struct row_norm){.x_ld = x.ld,
                                    .images = b->r->images,
                                    .rows_per_image = (int)shape_rows(s),
                                    .channels = s.channels,
                                    .rotate = rotate,
                                    .codes_ld = codes->ld[0]};
    c->bytes = 5.0 * b->r->images * (double)shape_size(s);
    if (point(b, c, &c->row_norm.x, x.buffer, x.offset) < 0 ||
        point(b, c, &c->row_norm.codes, codes->buffer[0], 0) < 0)
        return -1;
    return point(b, c, &c->row_norm.row_scale, codes->scale[0], 0);
}

int need_rotated(struct builder *b, int node, int rotate, struct place *at)
{
    struct shape s = b->g->node[node].shape;
    struct place x;
    *at = b->rotated[node].at;
    if (b->rotated[node].rotate == rotate)
        return 0;
    if (row_place(b, node, &x) < 0 || new_place(b, node, at) < 0)
        return -1;
    b->rotated[node] = (struct rotated){rotate, *at};
    struct kernel_call *c = add_call(b, KERNEL_ROW_NORM, node);
    if (!c)
        return -1;
    c->row_norm = (struct row_norm){.x_ld = x.ld,
                                    .images = b->r->images,
                                    .rows_per_image = (int)shape_rows(s),
                                    .channels = s.channels,
                                    .rotate = rotate,
                                    .out_ld = s.channels};
    c->bytes = 8.0 * b->r->images * (double)shape_size(s);
    return point(b, c, &c->row_norm.x, x.buffer, x.offset) < 0
               ? -1
               : point(b, c, &c->row_norm.out, at->buffer, at->offset);
}

static int quantize_side(struct builder *b, int node, int side, const struct place *x, int from)
{
    struct shape s = b->g->node[node].shape;
    const struct codes *codes = &b->image_codes[node];
    int64_t blocks = (shape_rows(s) + GROUP_NORM_BLOCK - 1) / GROUP_NORM_BLOCK;
    int workspace = add_buffer(b, SPACE_ARENA, (size_t)(2 * b->r->images * blocks) * sizeof(float));
    struct kernel_call *c = workspace < 0 ? NULL : add_call(b, KERNEL_IMAGE_QUANTIZE, node);
    if (!c)
        return -1;
    c->phases = 2;
    c->image_quantize = (struct image_quantize){.x_ld = x->ld,
                                                .images = b->r->images,
                                                .rows_per_image = (int)shape_rows(s),
                                                .channels = codes->channels[side],
                                                .codes_ld = codes->ld[side]};
    c->bytes = 9.0 * b->r->images * (double)shape_rows(s) * codes->channels[side];
    if (point(b, c, &c->image_quantize.x, x->buffer, x->offset + (size_t)from * sizeof(float)) < 0 ||
        point(b, c, &c->image_quantize.codes, codes->buffer[side], 0) < 0 ||
        point(b, c, &c->image_quantize.image_scale, codes->scale[side], 0) < 0)
        return -1;
    return point(b, c, &c->image_quantize.workspace, workspace, 0);
}

/* Codes of another split than the one there are made anew. */
int need_image_codes(struct builder *b, int node, int split)
{
    struct codes *codes = &b->image_codes[node];
    if (codes->made && codes->channels[1] == (split ? b->g->node[node].shape.channels - split : 0) &&
        (!split || codes->channels[0] == split))
        return 0;
    const struct node *n = &b->g->node[node];
    struct place x[2];
    /* A concatenation cut where its parts meet needs no copy. */
    int apart = b->lazy[node] == LAZY_CONCAT && split == b->g->node[n->in[0]].shape.channels;
    for (int side = 0; side < (apart ? 2 : 1); side++)
        if (row_place(b, apart ? n->in[side] : node, &x[side]) < 0)
            return -1;
    if (new_image_codes(b, node, split) < 0 || quantize_side(b, node, 0, &x[0], 0) < 0)
        return -1;
    return split ? quantize_side(b, node, 1, apart ? &x[1] : &x[0], apart ? 0 : split) : 0;
}

/* ---- epilogues ---- */

static int point_vector(struct builder *b, struct kernel_call *c, const float **field, int64_t *ld, int node)
{
    struct place at;
    if (float_place(b, node, &at) < 0)
        return -1;
    *ld = at.image_ld;
    return point(b, c, field, at.buffer, at.offset);
}

/* Fill in what the chain found. Operands are in memory already, so no call comes in between. */
int fill_epilogue(struct builder *b, struct kernel_call *c, struct mm_epilogue *ep, const struct chain *chain)
{
    ep->act = chain->act;
    ep->scale = chain->scale;
    if (chain->image_bias >= 0 &&
        point_vector(b, c, &ep->image_bias, &ep->image_bias_ld, chain->image_bias) < 0)
        return -1;
    if (chain->gate >= 0 && point_vector(b, c, &ep->gate, &ep->gate_ld, chain->gate) < 0)
        return -1;
    if (chain->residual >= 0) {
        struct place at = b->p->place[chain->residual];
        ep->residual_ld = is_vector(b, chain->residual) ? at.image_ld : at.ld;
        if (point(b, c, &ep->residual, at.buffer, at.offset) < 0)
            return -1;
    }
    if (chain->tap >= 0) {
        struct place at = b->r->given[chain->tap];
        b->p->place[chain->tap] = at;
        ep->tap_ld = is_vector(b, chain->tap) ? at.image_ld : at.ld;
        if (point(b, c, &ep->tap, at.buffer, at.offset) < 0)
            return -1;
    }
    for (int i = 0; i < chain->nodes; i++)
        if (cover(b, c, chain->node[i]) < 0)
            return -1;
    return 0;
}
