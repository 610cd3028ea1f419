/* See weights.h. */
#include "common/run/weights.h"
#include "common/graph/ops.h"

#include <string.h>

int weights_split(const struct graph *g, const struct node *n)
{
    if (node_is(n, "conv2d") && (int)node_attr(n, "split") > 0)
        return (int)node_attr(n, "split");
    const struct node *in = &g->node[n->in[0]];
    int joined = node_is(in, "concat") && (int)node_attr(in, "axis") == AXIS_CHANNELS && in->inputs == 2;
    /* A row of a quantized linear layer has one scale, so its codes are one run. */
    return joined && (int)node_attr(n, "format") == FORMAT_PLAIN ? g->node[in->in[0]].shape.channels : 0;
}

static int is_product(const struct node *n) { return node_is(n, "linear") || node_is(n, "conv2d"); }

static struct mm_shape product_shape(const struct graph *g, const struct node *n)
{
    const struct tensor *t = node_weight(n, "weight");
    int channels = (int)t->shape[1] * (node_is_int4(n) ? 2 : 1), split = weights_split(g, n);
    struct mm_shape s = {
        .n = (int)t->shape[0], .kernel_h = 1, .kernel_w = 1, .channels = {split ? split : channels, 0}};
    s.channels[1] = channels - s.channels[0];
    if (t->rank == 4) {
        s.kernel_h = (int)t->shape[2];
        s.kernel_w = (int)t->shape[3];
    }
    return s;
}

struct pack_job {
    const struct cpu_kernels *k;
    void *packed;
    const void *weight;
    const struct mm_shape *shape;
    enum mm_weights form;
    int bytes;           /* of one byte each: int8 or e4m3 */
    struct mm_int4 int4; /* codes NULL: not of four bits */
};

static void pack_part(void *context, int part, int parts)
{
    const struct pack_job *j = context;
    struct span s = team_span(j->shape->n, j->k->mm_panel, part, parts);
    if (s.begin >= s.end)
        return;
    if (j->int4.codes)
        j->k->matmul_pack_int4(j->packed, &j->int4, (int)s.begin, (int)s.end);
    else if (j->form == MM_BF16)
        j->k->matmul_pack_bf16(j->packed, j->weight, j->shape, (int)s.begin, (int)s.end);
    else if (j->form == MM_WINOGRAD || j->form == MM_WINOGRAD_INT8)
        j->k->winograd_pack(j->packed, j->weight, j->shape, j->bytes, (int)s.begin, (int)s.end);
    else if (j->bytes)
        j->k->matmul_pack_int8(j->packed, j->weight, j->shape, (int)s.begin, (int)s.end);
    else
        j->k->matmul_pack(j->packed, j->weight, j->shape, (int)s.begin, (int)s.end);
}

/* The tensor as float32: itself, or a copy in *owned. */
static const float *as_float(const struct tensor *t, float **owned, struct error *e)
{
    if (t->dtype == DTYPE_F32)
        return t->data;
    size_t count = t->size / dtype_size(t->dtype);
    *owned = mem_array(count, sizeof **owned, e);
    if (*owned)
        tensor_to_f32(t->dtype, t->data, *owned, count);
    return *owned;
}

/* e4m3 has a NaN, which decoding does not look for. */
static int check_e4m3(const struct tensor *t, struct error *e)
{
    int64_t at = tensor_first_nonfinite(t->dtype, t->data, t->count);
    return at < 0
               ? 0
               : error_set(e, HASTEN_EFILE, "tensor '%s' has a NaN at element %lld", t->name, (long long)at);
}

static int is_bytes(const struct tensor *t) { return t->dtype == DTYPE_I8 || t->dtype == DTYPE_F8_E4M3; }

/* Bytes of a product that is not of four bits; bytes: its weights are of one byte each. */
static size_t packed_size(const struct cpu_kernels *k, const struct packed *p, int bytes)
{
    return p->form == MM_BF16                                      ? k->matmul_bf16_size(&p->shape)
           : p->form == MM_WINOGRAD || p->form == MM_WINOGRAD_INT8 ? k->winograd_size(&p->shape, bytes)
                                                                   : k->matmul_packed_size(&p->shape, bytes);
}

void weights_measure(const struct cpu_kernels *k, struct packed *p, const struct node *n)
{
    int channels = p->shape.channels[0];
    if (node_is_int4(n)) {
        p->group = channels / (int)node_weight(n, "weight_s_rel")->shape[1];
        p->product_size = k->matmul_int4_size(p->shape.n, channels, p->group);
    } else {
        p->product_size = packed_size(k, p, is_bytes(node_weight(n, "weight")));
    }
}

static int prepare_int4(struct pack_job *j, struct packed *p, const struct node *n, struct error *e)
{
    const struct tensor *codes = node_weight(n, "weight"), *rel = node_weight(n, "weight_s_rel"),
                        *levels = node_weight(n, "weight_codebook");
    if (check_e4m3(rel, e) < 0)
        return -1;
    if (tensor_first_nonfinite(levels->dtype, levels->data, levels->count) >= 0)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has values that are not finite", levels->name);
    weights_measure(j->k, p, n);
    j->int4 =
        (struct mm_int4){codes->data, rel->data, levels->data, p->shape.n, p->shape.channels[0], p->group};
    return 0;
}

int weights_pack_array(const struct cpu_kernels *k, struct team *team, struct packed *p, const void *array,
                       int bytes, struct error *e)
{
    struct pack_job job = {.k = k, .weight = array, .shape = &p->shape, .form = p->form, .bytes = bytes};
    p->product_size = packed_size(k, p, bytes);
    p->product = job.packed = mem_array(p->product_size, 1, e);
    if (!p->product)
        return -1;
    team_run(team, pack_part, &job);
    return 0;
}

int weights_pack_cpu(struct backend *b, struct packed *p, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "weight");
    struct pack_job job = {.k = b->kernels, .shape = &p->shape};
    float *owned = NULL;
    if (node_is_int4(n)) {
        if (prepare_int4(&job, p, n, e) < 0 || !(p->product = job.packed = mem_array(p->product_size, 1, e)))
            return -1;
        team_run(b->team, pack_part, &job);
        return 0;
    }
    if (t->dtype == DTYPE_F8_E4M3 && check_e4m3(t, e) < 0)
        return -1;
    int bytes = is_bytes(t);
    const void *array = bytes || p->form == MM_BF16 ? t->data : as_float(t, &owned, e);
    int status = array ? weights_pack_array(b->kernels, b->team, p, array, bytes, e) : -1;
    mem_free(owned);
    return status;
}

static int keep_plain(struct backend *b, struct packed *p, int slot, const struct tensor *t, struct error *e)
{
    size_t count = t->size / dtype_size(t->dtype);
    float *owned = NULL;
    const float *host = NULL;
    p->plain[slot] = b->ops->allocate(b, count * sizeof(float), e);
    if (!p->plain[slot])
        return -1;
    if (b->ops->sizes_only)
        return 0;
    if (b->ops->direct) {
        tensor_to_f32(t->dtype, t->data, p->plain[slot], count);
        return 0;
    }
    host = as_float(t, &owned, e);
    int status = host ? b->ops->put(b, p->plain[slot], host, count * sizeof(float), e) : -1;
    mem_free(owned);
    return status;
}

/* Fewer multiply-adds (4 of 9) against more weights (16 for 9) and the turning of inputs and outputs: with
 * few pixels the weights, more of them when they are floats, are what takes the time, with few channels the
 * turning is. */
static int suits_winograd(const struct backend *b, const struct packed *p, const struct node *n, int int8)
{
    enum { PIXELS = 256, PIXELS_INT8 = 64, CHANNELS = 16 };
    const struct mm_shape *s = &p->shape;
    return b->ops->host && node_is(n, "conv2d") && s->kernel_h == 3 && s->kernel_w == 3 &&
           (int)node_attr(n, "stride") == 1 &&
           n->shape.height * n->shape.width >= (int8 ? PIXELS_INT8 : PIXELS) && s->n >= CHANNELS &&
           s->channels[0] + s->channels[1] >= CHANNELS && b->kernels->winograd_size(s, int8) > 0;
}

static enum mm_weights form_of(const struct backend *b, const struct packed *p, const struct node *n)
{
    switch ((int)node_attr(n, "format")) {
    case FORMAT_PLAIN:
        return b->ops->half && node_weight(n, "weight")->dtype == DTYPE_BF16 ? MM_BF16
               : suits_winograd(b, p, n, 0)                                  ? MM_WINOGRAD
                                                                             : MM_NATIVE;
    case FORMAT_FP8:
        return MM_E4M3;
    case FORMAT_W8A8:
        return suits_winograd(b, p, n, 1) ? MM_WINOGRAD_INT8 : MM_INT8;
    default:
        return node_is_int4(n) ? MM_INT4 : MM_INT8;
    }
}

static int pack_product(struct backend *b, struct packed *p, const struct graph *g, const struct node *n,
                        struct error *e)
{
    p->shape = product_shape(g, n);
    p->form = form_of(b, p, n);
    return b->ops->pack(b, p, n, e);
}

/* All tensors of the node are in memory. */
static int pack_node(struct weights *w, int i, const struct graph *g, struct error *e)
{
    const struct node *n = &g->node[i];
    for (int slot = 0; slot < GRAPH_MAX_WEIGHTS; slot++) {
        const struct tensor *t = n->tensor[slot];
        if (!t)
            continue;
        if (!t->data && !w->backend->ops->sizes_only)
            return error_set(e, HASTEN_EFAIL, "tensor '%s' is not loaded", t->name);
        int status = 0;
        if (slot == 0 && is_product(n))
            status = pack_product(w->backend, &w->node[i], g, n, e);
        else if (slot < 3 || !is_product(n)) /* what is behind belongs to the packed weight */
            status = keep_plain(w->backend, &w->node[i], slot, t, e);
        if (status < 0)
            return -1;
    }
    if (w->node[i].format > w->format)
        w->format = w->node[i].format;
    return 0;
}

static int load_node(struct weights *w, int i, const struct graph *g, const struct weights_loader *loader,
                     struct error *e)
{
    const struct node *n = &g->node[i];
    int begun = 0, status = 0;
    while (loader && begun < GRAPH_MAX_WEIGHTS) {
        if (n->tensor[begun] && (status = loader->begin(loader->context, n->tensor[begun], e)) < 0)
            break;
        begun++;
    }
    if (status == 0)
        status = pack_node(w, i, g, e);
    for (int slot = 0; loader && loader->end && slot < begun; slot++)
        if (n->tensor[slot])
            loader->end(loader->context, n->tensor[slot]);
    return status;
}

static struct weights *open_on(const struct graph *g, struct backend *b, const struct weights_loader *loader,
                               struct error *e)
{
    struct weights *w = mem_array(1, sizeof *w, e);
    if (!w)
        return NULL;
    w->backend = b;
    w->nodes = g->count;
    w->node = mem_array((size_t)g->count + 1, sizeof *w->node, e);
    for (int i = 0; w->node && i < g->count; i++)
        if (load_node(w, i, g, loader, e) < 0) {
            error_under(e, "node '%s'", g->node[i].name);
            weights_close(w);
            return NULL;
        }
    if (!w->node) {
        weights_close(w);
        return NULL;
    }
    return w;
}

struct weights *weights_open(const struct graph *g, struct backend *b, const struct weights_loader *loader,
                             struct error *e)
{
    struct error why = {0};
    struct weights *w = open_on(g, b, loader, &why);
    if (!w && why.code == HASTEN_ENOMEM && b->give_way && b->give_way(b, &why)) {
        why = (struct error){0};
        w = open_on(g, b, loader, &why);
    }
    if (!w && e)
        *e = why;
    return w;
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; w->node && i < w->nodes; i++) {
        w->backend->ops->release(w->backend, w->node[i].product);
        for (int slot = 0; slot < GRAPH_MAX_WEIGHTS; slot++)
            w->backend->ops->release(w->backend, w->node[i].plain[slot]);
    }
    mem_free(w->node);
    mem_free(w);
}
