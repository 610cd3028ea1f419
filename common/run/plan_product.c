/* Linear layers and convolutions: where their input rows lie, and the call. */
#include "common/graph/ops.h"
#include "common/run/builder.h"

/* A source that is read where it lies: a value, or the small image below a nearest upsampling by two. */
static int set_source(struct builder *b, struct mm_source *source, int node, int half, struct place *at)
{
    const struct node *n = &b->g->node[node];
    source->upsample = 1;
    if (b->lazy[node] == LAZY_UPSAMPLE && n->inputs == 1) {
        source->upsample = 2;
        node = n->in[0];
    }
    struct shape s = b->g->node[node].shape;
    if ((half ? need_half(b, node, at) : float_place(b, node, at)) < 0)
        return -1;
    source->channels = s.channels;
    source->height = s.height;
    source->width = s.width;
    source->ld = is_vector(b, node) ? at->image_ld : at->ld;
    source->image_ld = at->image_ld;
    return 0;
}

/* The sources of a product of floats or bfloat16. Everything is made first, since making may emit calls. */
static int float_sources(struct builder *b, int node, struct matmul *m, struct place at[2])
{
    const struct node *n = &b->g->node[node];
    int in = n->in[0], split = weights_split(b->g, n);
    int rotate = node_is(n, "linear") ? (int)node_attr(n, "rotate") : 0;
    if (rotate) {
        struct shape s = n->shape;
        if (need_rotated(b, in, rotate, &at[0]) < 0)
            return -1;
        m->sources = 1;
        m->source[0] = (struct mm_source){.channels = b->g->node[in].shape.channels,
                                          .ld = is_vector(b, in) ? at[0].image_ld : at[0].ld,
                                          .image_ld = at[0].image_ld,
                                          .height = s.height,
                                          .width = s.width,
                                          .upsample = 1};
        return 0;
    }
    if (split && b->lazy[in] == LAZY_CONCAT && split == b->g->node[b->g->node[in].in[0]].shape.channels) {
        m->sources = 2;
        for (int i = 0; i < 2; i++)
            if (set_source(b, &m->source[i], b->g->node[in].in[i], m->bf16, &at[i]) < 0)
                return -1;
        return 0;
    }
    m->sources = 1;
    if (set_source(b, &m->source[0], in, m->bf16, &at[0]) < 0)
        return -1;
    if (split) { /* one buffer, read as two because the weights are packed so */
        m->sources = 2;
        m->source[1] = m->source[0];
        m->source[0].channels = split;
        m->source[1].channels -= split;
        at[1] = at[0];
        at[1].offset += (size_t)split * (m->bf16 ? sizeof(uint16_t) : sizeof(float));
    }
    return 0;
}

static int code_sources(struct builder *b, int node, struct matmul *m, int *source_node)
{
    const struct node *n = &b->g->node[node];
    int in = n->in[0], split = (op_attr_index(n->op, "split") >= 0) ? (int)node_attr(n, "split") : 0;
    int rows = node_is(n, "linear"), upsample = 1;
    if (!rows && b->lazy[in] == LAZY_UPSAMPLE && b->g->node[in].inputs == 1) {
        in = b->g->node[in].in[0];
        upsample = 2;
    }
    if ((rows ? need_row_codes(b, in, (int)node_attr(n, "rotate")) : need_image_codes(b, in, split)) < 0)
        return -1;
    const struct codes *codes = rows ? &b->row_codes[in] : &b->image_codes[in];
    struct shape s = b->g->node[in].shape;
    m->sources = codes->channels[1] ? 2 : 1;
    m->int8 = 1;
    m->scale_per_row = rows;
    for (int i = 0; i < m->sources; i++)
        m->source[i] = (struct mm_source){.channels = codes->channels[i],
                                          .ld = codes->ld[i],
                                          .image_ld = shape_rows(s) * codes->ld[i],
                                          .height = s.height,
                                          .width = s.width,
                                          .upsample = upsample};
    *source_node = in;
    return 0;
}

static int point_sources(struct builder *b, struct kernel_call *c, const struct place at[2], int source_node)
{
    struct matmul *m = &c->matmul;
    const struct codes *codes = m->scale_per_row ? &b->row_codes[source_node] : &b->image_codes[source_node];
    for (int i = 0; i < m->sources; i++) {
        if (point(b, c, &m->source[i].data, m->int8 ? codes->buffer[i] : at[i].buffer,
                  m->int8 ? 0 : at[i].offset) < 0)
            return -1;
        if (m->int8 && point(b, c, &m->source[i].scale, codes->scale[i], 0) < 0)
            return -1;
    }
    return 0;
}

static void count_work(struct kernel_call *c, const struct packed *w, int images, int whole)
{
    const struct matmul *m = &c->matmul;
    double rows = (double)images * m->out_height * m->out_width, element = m->int8 ? 1 : m->bf16 ? 2 : 4;
    double k = (double)(w->shape.channels[0] + w->shape.channels[1]) * m->kernel_h * m->kernel_w;
    c->flops = 2 * rows * k * m->n * (mm_is_turned(m) ? 4.0 / 9 : 1);
    c->bytes = (double)w->product_size + (whole ? 4 : 2) * rows * m->n +
               (m->epilogue.residual_ld ? 4 : 0) * rows * m->n;
    for (int i = 0; i < m->sources; i++)
        c->bytes +=
            element * images * m->source[i].height * m->source[i].width * (double)m->source[i].channels;
    c->precision = m->int8 || w->narrow ? PRECISION_INT8 : m->bf16 ? PRECISION_BF16 : PRECISION_F32;
}

int emit_product(struct builder *b, int node)
{
    const struct node *n = &b->g->node[node];
    const struct packed *w = &b->r->weights->node[node];
    int conv = node_is(n, "conv2d"), source_node = -1;
    struct place at[2];
    struct matmul m = {.images = b->r->images,
                       .out_height = n->shape.height,
                       .out_width = n->shape.width,
                       .n = n->shape.channels,
                       .kernel_h = w->shape.kernel_h,
                       .kernel_w = w->shape.kernel_w,
                       .stride = 1,
                       .weights = w->product,
                       .group = w->group,
                       .column_scale = w->form == MM_NATIVE || w->form == MM_WINOGRAD ? NULL : w->plain[2]};
    if (conv) {
        m.stride = (int)node_attr(n, "stride");
        m.pad_top = m.pad_left = (int)node_attr(n, "pad");
    }
    int quantized = reads_codes(b, n);
    m.bf16 = product_is_half(b, n);
    m.form = (m.bf16 && w->form == MM_BF16) || (quantized && w->form == MM_INT8) ? MM_NATIVE : w->form;
    if ((quantized ? code_sources(b, node, &m, &source_node) : float_sources(b, node, &m, at)) < 0)
        return -1;
    struct chain chain = find_chain(b, node, STAGE_START);
    int wants_float, half = wants_half(b, chain.last, &wants_float), whole = wants_float || !half;
    if ((whole && place_value(b, chain.last) < 0) || (half && new_half(b, chain.last) < 0))
        return -1;
    struct place out = b->p->place[chain.last];
    m.out_ld = is_vector(b, node) ? out.image_ld : out.ld;
    m.out_bf16_ld = b->half[chain.last].ld;
    m.epilogue.bias = w->plain[1];
    struct kernel_call *c = add_call(b, KERNEL_MATMUL, node);
    if (!c)
        return -1;
    c->matmul = m;
    c->format = m.form == MM_NATIVE ? w->format : b->r->weights->format; /* decoded as others are */
    if (cover(b, c, node) < 0 || point_sources(b, c, at, source_node) < 0 ||
        (whole && point(b, c, &c->matmul.out, out.buffer, out.offset) < 0) ||
        (half && point(b, c, &c->matmul.out_bf16, b->half[chain.last].buffer, 0) < 0) ||
        fill_epilogue(b, c, &c->matmul.epilogue, &chain) < 0 ||
        add_scratch(b, c, &c->matmul.scratch, &c->matmul.scratch_ld) < 0)
        return -1;
    count_work(c, w, b->r->images, whole);
    return 0;
}
