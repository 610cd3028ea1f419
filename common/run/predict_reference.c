/* The reference network of predict.h: one of every kind of kernel, at sizes between the small and the large.
 */
#include "common/graph/ops.h"
#include "common/run/measure.h"
#include "common/run/predict.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 32, NARROW = 64, WIDE = 256, ROTATE = 64, MOST_TENSORS = 120, REPEATS = 5 };

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
    if (integer && !n->e->code &&
        (graph_choice(n->g, at, "format", "w8a8", n->e) < 0 ||
         (from % ROTATE == 0 && graph_attr(n->g, at, "rotate", ROTATE, n->e) < 0)))
        return 0;
    weight(n, at, "weight", dtype, 2, (int64_t[4]){to, from});
    weight(n, at, "bias", DTYPE_F32, 1, (int64_t[4]){to});
    if (integer)
        weight(n, at, "weight_scale", DTYPE_F32, 2, (int64_t[4]){to, 1});
    return at;
}

static int conv(struct network *n, const char *name, int in, int from, int to, enum dtype dtype)
{
    int at = node(n, "conv2d", name, in, -1, -1);
    if (!n->e->code && (graph_attr(n->g, at, "pad", 1, n->e) < 0 ||
                        (dtype == DTYPE_I8 && graph_choice(n->g, at, "format", "w8a8", n->e) < 0)))
        return 0;
    weight(n, at, "weight", dtype, 4, (int64_t[4]){to, from, 3, 3});
    weight(n, at, "bias", DTYPE_F32, 1, (int64_t[4]){to});
    if (dtype == DTYPE_I8)
        weight(n, at, "weight_scale", DTYPE_F32, 4, (int64_t[4]){to, 1, 1, 1});
    return at;
}

static int group_norm(struct network *n, const char *name, int in, int channels)
{
    int at = node(n, "group_norm", name, in, -1, -1);
    weight(n, at, "weight", DTYPE_F32, 1, (int64_t[4]){channels});
    weight(n, at, "bias", DTYPE_F32, 1, (int64_t[4]){channels});
    return node(n, "silu", "act", at, -1, -1);
}

static int attention(struct network *n, const char *name, int in, int from, int to, int heads,
                     enum dtype dtype)
{
    char part[3][16];
    int of[3];
    for (int i = 0; i < 3; i++) {
        snprintf(part[i], sizeof part[i], "%.10s.%c", name, "qkv"[i]);
        of[i] = linear(n, part[i], in, from, to, dtype);
    }
    int at = node(n, "attention", name, of[0], of[1], of[2]);
    if (!n->e->code)
        (void)(graph_attr(n->g, at, "heads", heads, n->e) < 0);
    return at;
}

/* A block of a transformer in one type. */
static int block(struct network *n, const char *name, int in, int from, int inner, int heads,
                 enum dtype dtype)
{
    char part[6][16];
    static const char *const names[6] = {"norm1", "attn", "out", "norm2", "up", "down"};
    for (int i = 0; i < 6; i++)
        snprintf(part[i], sizeof part[i], "%.7s.%s", name, names[i]);
    int l = node(n, "layer_norm", part[0], in, -1, -1);
    int a = attention(n, part[1], l, from, from, heads, dtype);
    int h = node(n, "add", name, linear(n, part[2], a, from, from, dtype), in, -1);
    int m = linear(n, part[4], node(n, "layer_norm", part[3], h, -1, -1), from, inner, dtype);
    return linear(n, part[5], node(n, "gelu", "gelu", m, -1, -1), inner, from, dtype);
}

/* Images of 32 x 32: convolutions and group norms in float and int8. Half as wide: blocks of a transformer in
 * float, int8 and bfloat16. Of 4 x 4: what costs little more than its start. */
static int build(struct network *n)
{
    int x = graph_input(n->g, "sample", VALUE_IMAGE, 32, SIDE, SIDE, n->e);
    if (x < 0)
        return -1;
    int h = conv(n, "conv1", x, 32, NARROW, DTYPE_F32), c = h;
    h = conv(n, "conv2", group_norm(n, "norm1", h, NARROW), NARROW, NARROW, DTYPE_F32);
    h = node(n, "add", "residual",
             conv(n, "conv3", group_norm(n, "norm2", h, NARROW), NARROW, NARROW, DTYPE_I8), c, -1);
    h = node(n, "mul", "product", node(n, "sigmoid", "gate", c, -1, -1), h, -1);
    h = node(n, "avg_pool", "pool", h, -1, -1);
    h = block(n, "float", h, NARROW, WIDE, 2, DTYPE_F32);
    h = block(n, "int", h, NARROW, WIDE, 2, DTYPE_I8);
    h = block(n, "half", h, NARROW, WIDE, 2, DTYPE_BF16);
    for (int i = 0; i < 2; i++)
        h = node(n, "avg_pool", i ? "pool3" : "pool2", h, -1, -1);
    h = block(n, "small", h, NARROW, NARROW, 2, DTYPE_F32);
    h = block(n, "small8", h, NARROW, NARROW, 2, DTYPE_I8);
    h = block(n, "small16", h, NARROW, NARROW, 2, DTYPE_BF16);
    c = conv(n, "small.conv", h, NARROW, 32, DTYPE_F32);
    h = node(n, "concat", "both", c, node(n, "silu", "small.act", c, -1, -1), -1);
    h = node(n, "depth_to_space", "wide", h, -1, -1);
    return n->e->code || graph_output(n->g, "sample", h, n->e) < 0 ||
                   graph_infer(n->g, 0, 0, find, n, n->e) < 0
               ? -1
               : 0;
}

/* One of a shape: the fastest. */
static int add_sample(struct kernel_sample *s, int count, struct kernel_sample one)
{
    if (!(one.ms > 0))
        return count;
    for (int i = 0; i < count; i++)
        if (kernel_samples_alike(&s[i], &one)) {
            s[i].ms = one.ms < s[i].ms ? one.ms : s[i].ms;
            return count;
        }
    if (count < PREDICT_SAMPLES)
        s[count++] = one;
    return count;
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
    if (p && timed_run(x, 0, &ms, times, kernel, NULL, NULL, n->e) == 0)
        for (int i = 0; i < p->calls; i++)
            count = add_sample(s, count, kernel_sample(&p->call[i], kernel[i]));
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
