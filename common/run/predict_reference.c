/* The reference network of predict.h: one of every kind of kernel, at sizes between the small and the large.
 */
#include "common/graph/ops.h"
#include "common/run/measure.h"
#include "common/run/predict.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 32, NARROW = 96, WIDE = 384, MOST_TENSORS = 40, REPEATS = 5 };

struct network {
    struct graph *g;
    struct tensor tensor[MOST_TENSORS];
    char name[MOST_TENSORS][32];
    int tensors;
    struct error *e;
};

static const struct tensor *find(const void *context, const char *name)
{
    const struct network *n = context;
    for (int i = 0; i < n->tensors; i++)
        if (!strcmp(n->name[i], name))
            return &n->tensor[i];
    return NULL;
}

static void fill(struct tensor *t)
{
    for (size_t i = 0; i < t->count; i++) { /* small, no denormals */
        int v = (int)(i * 7919 % 201) - 100;
        float small = (float)v / 1000;
        if (t->dtype == DTYPE_I8)
            ((int8_t *)t->data)[i] = (int8_t)v;
        else
            tensor_from_f32(t->dtype, &small, (char *)t->data + i * dtype_size(t->dtype), 1);
    }
}

static void weight(struct network *n, int node, const char *slot, enum dtype dtype, int rank,
                   const int64_t shape[4])
{
    if (n->e->code || n->tensors == MOST_TENSORS)
        return;
    struct tensor *t = &n->tensor[n->tensors];
    char *name = n->name[n->tensors++];
    snprintf(name, sizeof n->name[0], "t%d", n->tensors);
    *t = (struct tensor){.name = name, .dtype = dtype, .rank = rank};
    memcpy(t->shape, shape, sizeof t->shape[0] * (size_t)rank);
    if (tensor_measure(t, n->e) < 0 || !(t->data = mem_array(t->size + 1, 1, n->e)))
        return;
    fill(t);
    (void)(graph_weight(n->g, node, slot, name, n->e) < 0);
}

static int node(struct network *n, const char *op, const char *name, int a, int b, int c)
{
    int in[3] = {a, b, c},
        at = n->e->code ? -1 : graph_node(n->g, op, name, in, (a >= 0) + (b >= 0) + (c >= 0), n->e);
    return at < 0 ? 0 : at;
}

static int linear(struct network *n, const char *name, int in, int from, int to, enum dtype dtype)
{
    int at = node(n, "linear", name, in, -1, -1);
    int integer = dtype == DTYPE_I8;
    if (integer && !n->e->code && graph_choice(n->g, at, "format", "w8a8", n->e) < 0)
        return 0;
    weight(n, at, "weight", dtype, 2, (int64_t[4]){to, from});
    weight(n, at, "bias", DTYPE_F32, 1, (int64_t[4]){to});
    if (integer)
        weight(n, at, "weight_scale", DTYPE_F32, 2, (int64_t[4]){to, 1});
    return at;
}

static int conv(struct network *n, const char *name, int in, int from, int to)
{
    int at = node(n, "conv2d", name, in, -1, -1);
    if (!n->e->code)
        (void)(graph_attr(n->g, at, "pad", 1, n->e) < 0);
    weight(n, at, "weight", DTYPE_F32, 4, (int64_t[4]){to, from, 3, 3});
    weight(n, at, "bias", DTYPE_F32, 1, (int64_t[4]){to});
    return at;
}

/* conv, group norm, conv, attention, two linear layers in each of float, int8 and
 * bfloat16, a pool, an odd sum. */
static int build(struct network *n)
{
    int x = graph_input(n->g, "sample", VALUE_IMAGE, 32, SIDE, SIDE, n->e);
    if (x < 0)
        return -1;
    int h = conv(n, "conv1", x, 32, NARROW), c = h;
    h = node(n, "group_norm", "norm", h, -1, -1);
    weight(n, h, "weight", DTYPE_F32, 1, (int64_t[4]){NARROW});
    weight(n, h, "bias", DTYPE_F32, 1, (int64_t[4]){NARROW});
    h = node(n, "silu", "act", h, -1, -1);
    h = conv(n, "conv2", h, NARROW, NARROW);
    int l = node(n, "layer_norm", "norm_rows", h, -1, -1);
    int q = linear(n, "q", l, NARROW, 2 * NARROW, DTYPE_F32),
        k = linear(n, "k", l, NARROW, 2 * NARROW, DTYPE_F32);
    int a = node(n, "attention", "attention", q, k, linear(n, "v", l, NARROW, 2 * NARROW, DTYPE_F32));
    if (!n->e->code)
        (void)(graph_attr(n->g, a, "heads", 3, n->e) < 0);
    h = node(n, "add", "residual", linear(n, "out", a, 2 * NARROW, NARROW, DTYPE_F32), h, -1);
    int m = node(n, "gelu", "gelu", linear(n, "ff1", h, NARROW, WIDE, DTYPE_F32), -1, -1);
    h = linear(n, "ff2", m, WIDE, NARROW, DTYPE_F32);
    m = linear(n, "int1", node(n, "layer_norm", "norm_codes", h, -1, -1), NARROW, WIDE, DTYPE_I8);
    h = linear(n, "int2", m, WIDE, NARROW, DTYPE_I8);
    m = node(n, "gelu", "gelu_half", linear(n, "half1", h, NARROW, WIDE, DTYPE_BF16), -1, -1);
    h = linear(n, "half2", m, WIDE, NARROW, DTYPE_BF16);
    h = node(n, "mul", "product", node(n, "sigmoid", "gate", c, -1, -1), h, -1);
    h = node(n, "avg_pool", "pool", h, -1, -1);
    return n->e->code || graph_output(n->g, "sample", h, n->e) < 0 ||
                   graph_infer(n->g, 0, 0, find, n, n->e) < 0
               ? -1
               : 0;
}

static int time_network(struct network *n, struct kernel_sample *s, struct backend *b)
{
    double ms, times[REPEATS], kernel[PREDICT_SAMPLES * 2];
    struct plan *p = NULL;
    struct weights *w = weights_open(n->g, b, NULL, n->e);
    struct timing t = {.graph = n->g, .weights = w, .batch = 1, .repeats = REPEATS};
    struct timed *x = w ? timed_open(&t, NULL, 0, n->e) : NULL;
    int count = 0, status = x ? 0 : -1;
    if (status == 0 && (p = engine_plan(timed_engine(x), 0, 0, 1, n->e)) && p->calls > 2 * PREDICT_SAMPLES)
        p = NULL;
    if (p && timed_run(x, 0, &ms, times, kernel, NULL, n->e) == 0)
        for (int i = 0; i < p->calls && count < PREDICT_SAMPLES; i++)
            if (kernel[i] > 0)
                s[count++] = kernel_sample(&p->call[i], kernel[i]);
    timed_close(x);
    weights_close(w);
    return count ? count : error_set(n->e, HASTEN_EFAIL, "the reference network could not be timed");
}

int reference_samples(struct kernel_sample *s, struct backend *b, struct error *e)
{
    struct network *n = mem_array(1, sizeof *n, e);
    int count = -1;
    if (!n)
        return -1;
    n->e = e;
    n->g = graph_open("reference", e);
    if (n->g && build(n) == 0)
        count = time_network(n, s, b);
    for (int i = 0; i < n->tensors; i++)
        mem_free(n->tensor[i].data);
    graph_close(n->g);
    mem_free(n);
    return count;
}
