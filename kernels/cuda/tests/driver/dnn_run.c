/* Graphs of the stand-in for cuDNN: what makes one valid, and how it is computed, by scalar loops. See dnn.c.
 */
#include "kernels/cuda/tests/driver/dnn_inside.h"

#include <math.h>
#include <stdlib.h>

static struct program *programs; /* the newest first */

/* ---- graphs ---- */

static int is_virtual(const struct descriptor *t)
{
    return *(const unsigned char *)dnn_get(t, DNN_TENSOR_IS_VIRTUAL, 1);
}

/* A tensor of the program that has memory; its place. */
static int add_tensor(struct program *p, const struct descriptor *t)
{
    if (is_virtual(t))
        broken("a virtual tensor that nothing gives");
    if (p->tensors == TENSORS)
        broken("too many tensors");
    struct view *v = &p->tensor[p->tensors];
    v->id = *(const int64_t *)dnn_get(t, DNN_TENSOR_ID, 1);
    v->bf16 = dnn_number(t, DNN_TENSOR_TYPE) == DNN_BF16;
    memcpy(v->dims, dnn_get(t, DNN_TENSOR_DIMS, 4), sizeof v->dims);
    memcpy(v->strides, dnn_get(t, DNN_TENSOR_STRIDES, 4), sizeof v->strides);
    for (int i = 0; i < p->tensors; i++)
        if (p->tensor[i].id == v->id)
            broken("two tensors of id %lld", (long long)v->id);
    return p->tensors++;
}

static const int64_t *dims_of(const struct descriptor *t) { return dnn_get(t, DNN_TENSOR_DIMS, 4); }

/* What an operation gives: virtual and float32 before the last one. */
static const struct descriptor *result_of(const struct program *p, const struct descriptor *op, int name,
                                          int last)
{
    const struct descriptor *out = dnn_one(op, name, DNN_TENSOR);
    if (is_virtual(out) == last || (!last && dnn_number(out, DNN_TENSOR_TYPE) != DNN_F32))
        broken("a result on the way has memory, or is not float32, or the last has none");
    if (memcmp(dims_of(out), p->dims, sizeof p->dims) != 0)
        broken("a result of other dimensions");
    return out;
}

static const struct descriptor *check_convolution(struct program *p, const struct descriptor *op, int last)
{
    const struct descriptor *how = dnn_one(op, DNN_OP_CONVOLUTION_HOW, DNN_CONVOLUTION),
                            *y = dnn_one(op, DNN_OP_CONVOLUTION_Y, DNN_TENSOR);
    const int64_t *pre = dnn_get(how, DNN_CONVOLUTION_PRE, 2), *post = dnn_get(how, DNN_CONVOLUTION_POST, 2),
                  *stride = dnn_get(how, DNN_CONVOLUTION_STRIDES, 2);
    if (*(const float *)dnn_get(op, DNN_OP_CONVOLUTION_ALPHA, 1) != 1 ||
        *(const float *)dnn_get(op, DNN_OP_CONVOLUTION_BETA, 1) != 0)
        broken("a convolution with factors");
    const struct view *x = &p->tensor[add_tensor(p, dnn_one(op, DNN_OP_CONVOLUTION_X, DNN_TENSOR))],
                      *w = &p->tensor[add_tensor(p, dnn_one(op, DNN_OP_CONVOLUTION_W, DNN_TENSOR))];
    memcpy(p->dims, dims_of(y), sizeof p->dims);
    memcpy(p->pre, pre, sizeof p->pre);
    memcpy(p->stride, stride, sizeof p->stride);
    if (!x->bf16 || !w->bf16 || x->dims[0] != p->dims[0] || x->dims[1] != w->dims[1] ||
        w->dims[0] != p->dims[1])
        broken("a convolution of tensors that do not fit");
    for (int i = 0; i < 2; i++)
        if (pre[i] < 0 || post[i] < 0 || stride[i] < 1 ||
            (x->dims[2 + i] + pre[i] + post[i] - w->dims[2 + i]) / stride[i] + 1 != p->dims[2 + i])
            broken("a convolution whose windows do not fit");
    return result_of(p, op, DNN_OP_CONVOLUTION_Y, last);
}

static const struct descriptor *check_pointwise(struct program *p, const struct descriptor *op,
                                                const struct descriptor *before, int last)
{
    const struct descriptor *how = dnn_one(op, DNN_OP_POINTWISE_HOW, DNN_POINTWISE);
    int mode = dnn_number(how, DNN_POINTWISE_MODE), operand = -1;
    if (dnn_one(op, DNN_OP_POINTWISE_X, DNN_TENSOR) != before)
        broken("an operation that does not read what the one before gives");
    if (dnn_number(how, DNN_POINTWISE_MATH) != DNN_F32 || (mode != DNN_ADD && mode != DNN_SWISH) ||
        (mode == DNN_ADD) != (dnn_find(op, DNN_OP_POINTWISE_B) != NULL))
        broken("a pointwise operation %d", mode);
    if (mode == DNN_ADD) {
        operand = add_tensor(p, dnn_one(op, DNN_OP_POINTWISE_B, DNN_TENSOR));
        for (int i = 0; i < 4; i++)
            if (p->tensor[operand].dims[i] != 1 && p->tensor[operand].dims[i] != p->dims[i])
                broken("an operand whose dimensions do not fit");
    }
    if (p->steps == STEPS)
        broken("too many operations");
    p->step[p->steps].mode = mode;
    p->step[p->steps++].operand = operand;
    return result_of(p, op, DNN_OP_POINTWISE_Y, last);
}

static void check_attention(struct program *p, const struct descriptor *op)
{
    static const int names[] = {DNN_OP_ATTENTION_Q, DNN_OP_ATTENTION_K, DNN_OP_ATTENTION_V,
                                DNN_OP_ATTENTION_SCALE, DNN_OP_ATTENTION_O};
    const struct view *t = p->tensor;
    p->attention = 1;
    for (int i = 0; i < 5; i++) {
        const struct descriptor *x = dnn_one(op, names[i], DNN_TENSOR);
        add_tensor(p, x);
        if ((dnn_find(x, DNN_TENSOR_IS_VALUE) != NULL) != (i == 3) || t[i].bf16 == (i == 3))
            broken("tensor %d of attention is of another kind", i);
    }
    memcpy(p->dims, t[4].dims, sizeof p->dims);
    if (memcmp(t[0].dims, t[4].dims, sizeof p->dims) != 0 ||
        memcmp(t[1].dims, t[2].dims, sizeof p->dims) != 0)
        broken("attention whose tensors do not fit");
    for (int i = 0; i < 4; i++)
        if ((i != 2 && t[0].dims[i] != t[1].dims[i]) || (i == 3 && t[0].dims[i] % 8 != 0))
            broken("attention whose heads do not fit");
}

void dnn_check_graph(const struct descriptor *graph)
{
    const struct attribute *ops = dnn_find(graph, DNN_GRAPH_OPS);
    struct program *p = need(calloc(1, sizeof *p));
    const struct descriptor *out = NULL;
    dnn_get(graph, DNN_GRAPH_HANDLE, 1);
    p->graph = graph;
    p->next = programs;
    programs = p;
    for (int64_t i = 0; i < ops->count; i++) {
        const struct descriptor *op = ((const struct descriptor *const *)ops->values)[i];
        int last = i + 1 == ops->count;
        if (op->final && op->type == DNN_OP_ATTENTION && ops->count == 1) {
            check_attention(p, op);
            return;
        }
        if (!op->final || op->type != (i == 0 ? DNN_OP_CONVOLUTION : DNN_OP_POINTWISE))
            broken("operation %lld is a descriptor %d", (long long)i, op->type);
        out = i == 0 ? check_convolution(p, op, last) : check_pointwise(p, op, out, last);
    }
    add_tensor(p, out);
}

struct program *dnn_program(const struct descriptor *graph)
{
    struct program *p = programs;
    while (p && p->graph != graph)
        p = p->next;
    if (!p)
        broken("a graph that was not finalized");
    return p;
}

void dnn_forget_programs(void)
{
    for (struct program *p = programs, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    programs = NULL;
}

/* ---- execution ---- */

struct run_args {
    const struct program *program;
    void *at[TENSORS], *workspace;
    float scale; /* of attention: read when it is asked for */
};

/* The number at these coordinates; a dimension of one serves all. */
static int64_t offset_of(const struct view *v, const int64_t at[4])
{
    int64_t offset = 0;
    for (int i = 0; i < 4; i++)
        offset += v->dims[i] == 1 ? 0 : at[i] * v->strides[i];
    return offset;
}

static float number_at(const struct view *v, const void *data, const int64_t at[4])
{
    int64_t offset = offset_of(v, at);
    if (!v->bf16)
        return ((const float *)data)[offset];
    uint32_t u = (uint32_t)((const uint16_t *)data)[offset] << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void put_number(const struct view *v, void *data, const int64_t at[4], float x)
{
    int64_t offset = offset_of(v, at);
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (v->bf16)
        ((uint16_t *)data)[offset] = (uint16_t)(x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16);
    else
        ((float *)data)[offset] = x;
}

/* One result: the sum in `parts` shares of the channels, which are then added as float32. */
static float convolve(const struct run_args *r, const int64_t at[4])
{
    const struct program *p = r->program;
    const struct view *x = &p->tensor[0], *w = &p->tensor[1];
    double sum = 0;
    float all = 0;
    for (int64_t c = 0; c < x->dims[1]; c++) {
        for (int64_t ky = 0; ky < w->dims[2]; ky++)
            for (int64_t kx = 0; kx < w->dims[3]; kx++) {
                int64_t row = at[2] * p->stride[0] + ky - p->pre[0],
                        column = at[3] * p->stride[1] + kx - p->pre[1];
                if (row >= 0 && column >= 0 && row < x->dims[2] && column < x->dims[3])
                    sum += (double)number_at(x, r->at[0], (const int64_t[]){at[0], c, row, column}) *
                           (double)number_at(w, r->at[1], (const int64_t[]){at[1], c, ky, kx});
            }
        if ((c + 1) % ((x->dims[1] + p->parts - 1) / p->parts) == 0 || c + 1 == x->dims[1]) {
            all += (float)sum;
            sum = 0;
        }
    }
    return all;
}

static void attend(const struct run_args *r)
{
    const struct program *p = r->program;
    const struct view *q = &p->tensor[0], *k = &p->tensor[1], *v = &p->tensor[2], *out = &p->tensor[4];
    int64_t keys = k->dims[2], width = q->dims[3];
    double *weight = need(calloc((size_t)keys, sizeof *weight));
    for (int64_t i = 0; i < q->dims[0] * q->dims[1] * q->dims[2]; i++) {
        int64_t at[4] = {i / q->dims[2] / q->dims[1], i / q->dims[2] % q->dims[1], i % q->dims[2], 0};
        double most = -INFINITY, all = 0;
        for (int64_t j = 0; j < keys; j++) {
            weight[j] = 0;
            for (int64_t x = 0; x < width; x++)
                weight[j] += (double)number_at(q, r->at[0], (const int64_t[]){at[0], at[1], at[2], x}) *
                             (double)number_at(k, r->at[1], (const int64_t[]){at[0], at[1], j, x});
            weight[j] *= (double)r->scale;
            most = weight[j] > most ? weight[j] : most;
        }
        for (int64_t j = 0; j < keys; j++) {
            weight[j] = exp(weight[j] - most);
            all += weight[j];
        }
        for (int64_t x = 0; x < width; x++) {
            double sum = 0;
            for (int64_t j = 0; j < keys; j++)
                sum += weight[j] * (double)number_at(v, r->at[2], (const int64_t[]){at[0], at[1], j, x});
            put_number(out, r->at[4], (const int64_t[]){at[0], at[1], at[2], x}, (float)(sum / all));
        }
    }
    free(weight);
}

static void run(const void *args)
{
    const struct run_args *r = args;
    const struct program *p = r->program;
    memset(r->workspace, GUARD_BYTE, DNN_WORKSPACE); /* whatever is there */
    if (p->attention) {
        attend(r);
        return;
    }
    for (int64_t i = 0; i < p->dims[0] * p->dims[1] * p->dims[2] * p->dims[3]; i++) {
        int64_t row = i / p->dims[1], at[4] = {row / p->dims[3] / p->dims[2], i % p->dims[1],
                                               row / p->dims[3] % p->dims[2], row % p->dims[3]};
        float x = convolve(r, at);
        for (int s = 0; s < p->steps; s++) {
            int operand = p->step[s].operand;
            x = p->step[s].mode == DNN_SWISH ? (float)(x / (1 + exp(-(double)x)))
                                             : x + number_at(&p->tensor[operand], r->at[operand], at);
        }
        put_number(&p->tensor[p->tensors - 1], r->at[p->tensors - 1], at, x);
    }
}

static size_t bytes_of(const struct view *v)
{
    int64_t last = 0;
    for (int i = 0; i < 4; i++)
        last += (v->dims[i] - 1) * v->strides[i];
    return (size_t)(last + 1) * (v->bf16 ? 2 : 4);
}

void dnn_execute(const struct program *p, const struct descriptor *pack)
{
    const struct attribute *ids = dnn_find(pack, DNN_PACK_IDS);
    void *const *pointers = dnn_find(pack, DNN_PACK_POINTERS)->values;
    struct run_args r = {.program = p, .workspace = *(void *const *)dnn_get(pack, DNN_PACK_WORKSPACE, 1)};
    if (ids->count != p->tensors)
        broken("%lld pointers for %d tensors", (long long)ids->count, p->tensors);
    for (int i = 0; i < p->tensors; i++) {
        for (int64_t k = 0; k < ids->count; k++)
            if (((const int64_t *)ids->values)[k] == p->tensor[i].id)
                r.at[i] = pointers[k];
        if (p->attention && i == 3 && r.at[i]) {
            memcpy(&r.scale, r.at[i], sizeof r.scale);
            continue;
        }
        if (!r.at[i] || (uintptr_t)r.at[i] % DNN_ALIGNED)
            broken("tensor %lld is at %p", (long long)p->tensor[i].id, r.at[i]);
        driver_range(r.at[i], bytes_of(&p->tensor[i]), "a tensor of cuDNN");
    }
    if ((uintptr_t)r.workspace % CUDA_LIBRARY_ALIGNED)
        broken("a workspace at %p", r.workspace);
    driver_range(r.workspace, DNN_WORKSPACE, "the workspace of cuDNN");
    driver_call(run, &r, sizeof r);
}
