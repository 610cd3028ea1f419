/* Operations as cuDNN's operation graphs; see dnn.h. Images are channels last: dimensions are named (image,
 * channel, row, column), those of attention (image, head, row, number), strides say how they lie. Virtual
 * tensors between operations are float32. */
#include "kernels/cuda/plugin/dnn.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

struct dnn_functions dnn;

enum { OPS = 8 };

int dnn_find_functions(void *library)
{
    struct {
        const char *name;
        void *to;
    } all[] = {
#define ENTRY(name, arguments) {#name, &dnn.name},
        DNN_FUNCTIONS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(library, all[i].name);
        if (!symbol)
            return -1;
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    return 0;
}

/* ---- descriptors ---- */

void *dnn_new(struct dnn_made *m, int type)
{
    void *made = NULL;
    if (m->status == 0 && m->count == DNN_MADE)
        m->status = DNN_NOT_SUPPORTED;
    if (m->status == 0)
        m->status = dnn.cudnnBackendCreateDescriptor(type, &made);
    if (m->status != 0)
        return NULL;
    return m->at[m->count++] = made;
}

void dnn_set(struct dnn_made *m, void *descriptor, int name, int type, int64_t count, const void *values)
{
    if (m->status == 0)
        m->status = dnn.cudnnBackendSetAttribute(descriptor, name, type, count, values);
}

void dnn_set_one(struct dnn_made *m, void *descriptor, int name, void *other)
{
    dnn_set(m, descriptor, name, DNN_IS_DESCRIPTOR, 1, &other);
}

void dnn_finalize(struct dnn_made *m, void *descriptor)
{
    if (m->status == 0)
        m->status = dnn.cudnnBackendFinalize(descriptor);
}

void dnn_drop(struct dnn_made *m)
{
    while (m->count > 0)
        dnn.cudnnBackendDestroyDescriptor(m->at[--m->count]);
    m->status = 0;
}

/* ---- tensors ---- */

struct four {
    int64_t at[4];
};

static void *tensor(struct dnn_made *m, int64_t id, int32_t type, struct four dims, struct four strides)
{
    void *t = dnn_new(m, DNN_TENSOR);
    int64_t aligned = DNN_ALIGNED;
    bool is_virtual = id >= DNN_FIRST_VIRTUAL, is_value = id == DNN_VALUE;
    dnn_set(m, t, DNN_TENSOR_ID, DNN_IS_INT64, 1, &id);
    dnn_set(m, t, DNN_TENSOR_TYPE, DNN_IS_DATA_TYPE, 1, &type);
    dnn_set(m, t, DNN_TENSOR_ALIGNMENT, DNN_IS_INT64, 1, &aligned);
    dnn_set(m, t, DNN_TENSOR_DIMS, DNN_IS_INT64, 4, dims.at);
    dnn_set(m, t, DNN_TENSOR_STRIDES, DNN_IS_INT64, 4, strides.at);
    dnn_set(m, t, DNN_TENSOR_IS_VIRTUAL, DNN_IS_BOOLEAN, 1, &is_virtual);
    if (is_value)
        dnn_set(m, t, DNN_TENSOR_IS_VALUE, DNN_IS_BOOLEAN, 1, &is_value);
    dnn_finalize(m, t);
    return t;
}

/* Channels last, rows `ld` apart. */
static struct four rows_of(int64_t width, int64_t ld, int64_t image_ld)
{
    return (struct four){{image_ld, 1, width * ld, ld}};
}

/* ---- a convolution and what follows it ---- */

/* The chain of operations: where it has got to. */
struct chain {
    struct dnn_made *m;
    const struct cuda_shape *s;
    void **op, *last; /* last: the tensor that the operations so far give */
    int ops, left;    /* left: operations to come, the last of which gives `out` */
};

/* Where the next operation's result goes. */
static void *next_result(struct chain *c)
{
    const struct cuda_convolution *v = &c->s->convolution;
    struct four dims = {{c->s->images, v->n, v->out_height, v->out_width}};
    if (--c->left == 0) {
        struct four at = rows_of(v->out_width, v->out_ld, v->out_ld * v->out_height * v->out_width);
        return tensor(c->m, CUDA_OUT + 1, v->out_bf16 ? DNN_BF16 : DNN_F32, dims, at);
    }
    struct four at = rows_of(v->out_width, v->n, v->n * v->out_height * v->out_width);
    return tensor(c->m, DNN_FIRST_VIRTUAL + c->left, DNN_F32, dims, at);
}

static void add_convolution(struct chain *c)
{
    const struct cuda_convolution *v = &c->s->convolution;
    struct dnn_made *m = c->m;
    int64_t pre[] = {v->pad_top, v->pad_left}, post[] = {v->pad_bottom, v->pad_right},
            strides[] = {v->stride, v->stride}, dilations[] = {1, 1}, dims = 2;
    int32_t math = DNN_F32, mode = DNN_CROSS_CORRELATION;
    float alpha = 1, beta = 0;
    void *in = tensor(m, CUDA_IN + 1, DNN_BF16,
                      (struct four){{c->s->images, v->channels, v->in_height, v->in_width}},
                      rows_of(v->in_width, v->in_ld, v->in_image_ld));
    void *weights =
        tensor(m, CUDA_WEIGHTS + 1, DNN_BF16, (struct four){{v->n, v->channels, v->kernel_h, v->kernel_w}},
               rows_of(v->kernel_w, v->weights_ld, v->kernel_h * v->kernel_w * v->weights_ld));
    void *how = dnn_new(m, DNN_CONVOLUTION);
    dnn_set(m, how, DNN_CONVOLUTION_MATH, DNN_IS_DATA_TYPE, 1, &math);
    dnn_set(m, how, DNN_CONVOLUTION_MODE, DNN_IS_CONVOLUTION_MODE, 1, &mode);
    dnn_set(m, how, DNN_CONVOLUTION_DIMS, DNN_IS_INT64, 1, &dims);
    dnn_set(m, how, DNN_CONVOLUTION_PRE, DNN_IS_INT64, 2, pre);
    dnn_set(m, how, DNN_CONVOLUTION_POST, DNN_IS_INT64, 2, post);
    dnn_set(m, how, DNN_CONVOLUTION_STRIDES, DNN_IS_INT64, 2, strides);
    dnn_set(m, how, DNN_CONVOLUTION_DILATIONS, DNN_IS_INT64, 2, dilations);
    dnn_finalize(m, how);
    void *out = next_result(c), *op = dnn_new(m, DNN_OP_CONVOLUTION);
    dnn_set_one(m, op, DNN_OP_CONVOLUTION_X, in);
    dnn_set_one(m, op, DNN_OP_CONVOLUTION_W, weights);
    dnn_set_one(m, op, DNN_OP_CONVOLUTION_Y, out);
    dnn_set_one(m, op, DNN_OP_CONVOLUTION_HOW, how);
    dnn_set(m, op, DNN_OP_CONVOLUTION_ALPHA, DNN_IS_FLOAT, 1, &alpha);
    dnn_set(m, op, DNN_OP_CONVOLUTION_BETA, DNN_IS_FLOAT, 1, &beta);
    dnn_finalize(m, op);
    c->op[c->ops++] = op;
    c->last = out;
}

/* last = mode(last, other), without `other` of last alone. */
static void add_pointwise(struct chain *c, int32_t mode, void *other)
{
    int32_t math = DNN_F32;
    struct dnn_made *m = c->m;
    void *how = dnn_new(m, DNN_POINTWISE);
    dnn_set(m, how, DNN_POINTWISE_MODE, DNN_IS_POINTWISE_MODE, 1, &mode);
    dnn_set(m, how, DNN_POINTWISE_MATH, DNN_IS_DATA_TYPE, 1, &math);
    dnn_finalize(m, how);
    void *out = next_result(c), *op = dnn_new(m, DNN_OP_POINTWISE);
    dnn_set_one(m, op, DNN_OP_POINTWISE_HOW, how);
    dnn_set_one(m, op, DNN_OP_POINTWISE_X, c->last);
    if (other)
        dnn_set_one(m, op, DNN_OP_POINTWISE_B, other);
    dnn_set_one(m, op, DNN_OP_POINTWISE_Y, out);
    dnn_finalize(m, op);
    c->op[c->ops++] = op;
    c->last = out;
}

static int has(const struct cuda_shape *s, enum cuda_convolution_operand o)
{
    return (int)(s->operands >> o & 1);
}

/* One for all images, or each its own. */
static void add_bias(struct chain *c, enum cuda_convolution_operand which, int64_t images, int64_t ld)
{
    int64_t n = c->s->convolution.n;
    if (has(c->s, which))
        add_pointwise(
            c, DNN_ADD,
            tensor(c->m, which + 1, DNN_F32, (struct four){{images, n, 1, 1}}, (struct four){{ld, 1, n, n}}));
}

static int add_convolution_chain(struct dnn_made *m, const struct cuda_shape *s, void **op)
{
    const struct cuda_convolution *v = &s->convolution;
    int own = v->image_bias_ld != 0; /* else all images share one */
    struct chain c = {.m = m, .s = s, .op = op};
    c.left = 1 + has(s, CUDA_BIAS) + has(s, CUDA_IMAGE_BIAS) + (v->silu != 0) + has(s, CUDA_RESIDUAL);
    add_convolution(&c);
    add_bias(&c, CUDA_BIAS, 1, v->n);
    add_bias(&c, CUDA_IMAGE_BIAS, own ? s->images : 1, own ? v->image_bias_ld : v->n);
    if (v->silu)
        add_pointwise(&c, DNN_SWISH, NULL);
    if (has(s, CUDA_RESIDUAL))
        add_pointwise(
            &c, DNN_ADD,
            tensor(m, CUDA_RESIDUAL + 1, DNN_F32,
                   (struct four){{s->images, v->n, v->out_height, v->out_width}},
                   rows_of(v->out_width, v->residual_ld, v->residual_ld * v->out_height * v->out_width)));
    return c.ops;
}

/* ---- attention ---- */

static void add_attention(struct dnn_made *m, const struct cuda_shape *s, void **op)
{
    const struct cuda_heads *a = &s->attention;
    const struct {
        int name, id;
        int64_t rows, ld, image_ld;
    } all[] = {{DNN_OP_ATTENTION_Q, CUDA_Q, a->queries, a->q_ld, a->q_image_ld},
               {DNN_OP_ATTENTION_K, CUDA_K, a->keys, a->k_ld, a->k_image_ld},
               {DNN_OP_ATTENTION_V, CUDA_V, a->keys, a->v_ld, a->v_image_ld},
               {DNN_OP_ATTENTION_O, CUDA_ATTENDED, a->queries, a->out_ld, a->out_image_ld}};
    void *made[4];
    struct four one = {{1, 1, 1, 1}};
    for (int i = 0; i < 4; i++)
        made[i] =
            tensor(m, all[i].id + 1, DNN_BF16, (struct four){{s->images, a->heads, all[i].rows, a->head_dim}},
                   (struct four){{all[i].image_ld, a->head_dim, all[i].ld, 1}});
    void *scale = tensor(m, DNN_VALUE, DNN_F32, one, one);
    *op = dnn_new(m, DNN_OP_ATTENTION);
    for (int i = 0; i < 4; i++)
        dnn_set_one(m, *op, all[i].name, made[i]);
    dnn_set_one(m, *op, DNN_OP_ATTENTION_SCALE, scale);
    dnn_finalize(m, *op);
}

void *dnn_graph(struct dnn_made *m, const struct cuda_shape *s, void *handle)
{
    void *op[OPS];
    int ops = 1;
    if (s->kind == CUDA_ATTENTION)
        add_attention(m, s, op);
    else
        ops = add_convolution_chain(m, s, op);
    void *graph = dnn_new(m, DNN_GRAPH);
    if (handle)
        dnn_set(m, graph, DNN_GRAPH_HANDLE, DNN_IS_HANDLE, 1, &handle);
    dnn_set(m, graph, DNN_GRAPH_OPS, DNN_IS_DESCRIPTOR, ops, op);
    dnn_finalize(m, graph);
    return graph;
}
