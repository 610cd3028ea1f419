/* What the tests of the engine share: a small transformer and a small U-Net with random weights in every
 * format, and an engine that runs one of them. */
#ifndef HASTEN_ENGINE_TEST_H
#define HASTEN_ENGINE_TEST_H

#include "common/graph/ops.h"
#include "common/run/engine.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 400 };

struct zoo { /* a graph with random tensors */
    struct graph *g;
    struct tensor t[MAX_TENSORS];
    int tensors;
    unsigned state;
    int quantized; /* a format of ops.h, plus ROTATED */
};

enum { ROTATED = 8, MODES = 9 };
static const int modes[MODES] = {FORMAT_PLAIN,          FORMAT_W8A8,           FORMAT_W8A16,
                                 FORMAT_W4A16,          FORMAT_W4A8,           FORMAT_FP8,
                                 FORMAT_W8A8 | ROTATED, FORMAT_W4A8 | ROTATED, FORMAT_W8A16 | ROTATED};

static int rounds(int mode) { return mode % ROTATED == FORMAT_W8A8 || mode % ROTATED == FORMAT_W4A8; }

static float noise(struct zoo *z)
{
    z->state = z->state * 1664525u + 1013904223u;
    return (float)(int32_t)z->state / 2147483648.0f;
}

static const struct tensor *find(const void *context, const char *name)
{
    const struct zoo *z = context;
    for (int i = 0; i < z->tensors; i++)
        if (!strcmp(z->t[i].name, name))
            return &z->t[i];
    return NULL;
}

static const char *tensor(struct zoo *z, const char *node, const char *slot, enum dtype dtype, int rank,
                          const int64_t *shape, float size)
{
    struct error e = {0};
    struct tensor *t = &z->t[z->tensors++];
    *t = (struct tensor){.name = mem_printf(&e, "%s.%s", node, slot), .dtype = dtype, .rank = rank};
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    ck_assert_int_eq(tensor_measure(t, &e), 0);
    t->data = mem_array(t->size, 1, &e);
    for (size_t i = 0; i < t->count; i++)
        if (dtype == DTYPE_I8) {
            ((int8_t *)t->data)[i] = (int8_t)(int)(127 * noise(z));
        } else if (dtype == DTYPE_F8_E4M3) {
            float x = !strcmp(slot, "weight") ? 127 * noise(z) : 90 + 60 * noise(z);
            tensor_from_f32(dtype, &x, (uint8_t *)t->data + i, 1);
        } else
            ((float *)t->data)[i] =
                !strcmp(slot, "weight_scale") ? size * (1.5f + noise(z)) : size * noise(z);
    return t->name;
}

static int node(struct zoo *z, const char *op, const char *name, int a, int b, int c)
{
    struct error e = {0};
    int in[3] = {a, b, c}, count = (a >= 0) + (b >= 0) + (c >= 0);
    int n = graph_node(z->g, op, name, in, count, &e);
    ck_assert_msg(n >= 0, "%s", e.text);
    return n;
}

static void attr(struct zoo *z, int n, const char *name, double value)
{
    struct error e = {0};
    ck_assert_msg(graph_attr(z->g, n, name, value, &e) == 0, "%s", e.text);
}

static void weight(struct zoo *z, int n, const char *slot, enum dtype dtype, int rank, const int64_t *shape,
                   float size)
{
    struct error e = {0};
    ck_assert_int_eq(
        graph_weight(z->g, n, slot, tensor(z, z->g->node[n].name, slot, dtype, rank, shape, size), &e), 0);
}

static int narrow_hoisted; /* the format of layers that depend on time alone, if not 0 */

static int product(struct zoo *z, const char *op, const char *name, int in, int from, int to, int kernel,
                   int split)
{
    int n = node(z, op, name, in, -1, -1), conv = !strcmp(op, "conv2d");
    int64_t shape[4] = {to, from, kernel, kernel}, one[4] = {to, 1, 1, 1};
    float size = 1.7f / sqrtf((float)(from * kernel * kernel));
    /* What is hoisted is in no action. */
    int format = narrow_hoisted && strstr(name, "ada") ? narrow_hoisted : z->quantized % ROTATED;
    int four = format == FORMAT_W4A8 || format == FORMAT_W4A16;
    if (four && (conv || from % 16)) {
        format = format == FORMAT_W4A8 ? FORMAT_W8A8 : FORMAT_W8A16;
        four = 0;
    }
    if (four)
        shape[1] = from / 2;
    weight(z, n, "weight",
           format == FORMAT_FP8 ? DTYPE_F8_E4M3
           : format             ? DTYPE_I8
                                : DTYPE_F32,
           conv ? 4 : 2, shape, size);
    weight(z, n, "bias", DTYPE_F32, 1, shape, 0.3f);
    if (conv)
        attr(z, n, "pad", kernel / 2);
    if (z->quantized) {
        weight(z, n, "weight_scale", DTYPE_F32, conv ? 4 : 2, one, size / 127);
        attr(z, n, "format", format);
        if (conv)
            attr(z, n, "split", split);
        if (four) {
            int64_t groups[2] = {to, from / 16}, levels[1] = {16};
            weight(z, n, "weight_s_rel", DTYPE_F8_E4M3, 2, groups, 1);
            weight(z, n, "weight_codebook", DTYPE_F32, 1, levels, 1);
        }
        /* One reader of the three of a norm is not rotated like the others. */
        if (!conv && z->quantized & ROTATED && from % 16 == 0 && !strstr(name, ".v"))
            attr(z, n, "rotate", from % 64 == 0 ? 64 : 16);
    }
    return n;
}

static int group_norm(struct zoo *z, const char *name, int in, int channels, int groups)
{
    int n = node(z, "group_norm", name, in, -1, -1);
    int64_t shape[1] = {channels};
    attr(z, n, "groups", groups);
    weight(z, n, "weight", DTYPE_F32, 1, shape, 1);
    weight(z, n, "bias", DTYPE_F32, 1, shape, 0.5f);
    return n;
}

static const char *name_of(const char *prefix, const char *rest)
{
    static char text[8][64];
    static int next;
    next = (next + 1) % 8;
    snprintf(text[next], sizeof text[next], "%s%s", prefix, rest);
    return text[next];
}

static int channel_slice(struct zoo *z, const char *name, int in, int begin, int length)
{
    int n = node(z, "slice", name, in, -1, -1);
    attr(z, n, "begin", begin);
    attr(z, n, "length", length);
    return n;
}

enum { WIDTH = 48, HEADS = 3 };

/* GELU, and of block b1 the product of rows with it (GEGLU). */
static int activated(struct zoo *z, const char *p, int h)
{
    int gated = p[1] == '1', wide = 2 * WIDTH;
    h = product(z, "linear", name_of(p, "fc1"), h, WIDTH, gated ? 2 * wide : wide, 1, 0);
    if (!gated)
        return node(z, "gelu", name_of(p, "gelu"), h, -1, -1);
    int value = channel_slice(z, name_of(p, "value"), h, 0, wide),
        gate = channel_slice(z, name_of(p, "gate"), h, wide, wide);
    return node(z, "mul", name_of(p, "product"), value, node(z, "gelu", name_of(p, "gelu"), gate, -1, -1),
                -1);
}

static int dit_block(struct zoo *z, const char *p, int x, int e)
{
    int s = node(z, "silu", name_of(p, "silu"), e, -1, -1),
        m = product(z, "linear", name_of(p, "ada"), s, WIDTH, 6 * WIDTH, 1, 0);
    int part[6];
    for (int i = 0; i < 6; i++) {
        char text[16];
        snprintf(text, sizeof text, "part%d", i);
        part[i] = channel_slice(z, name_of(p, text), m, i * WIDTH, WIDTH);
    }
    int h = node(z, "layer_norm", name_of(p, "norm1"), x, -1, -1);
    h = node(z, "modulate", name_of(p, "mod1"), h, part[0], part[1]);
    int q = product(z, "linear", name_of(p, "q"), h, WIDTH, WIDTH, 1, 0);
    int k = product(z, "linear", name_of(p, "k"), h, WIDTH, WIDTH, 1, 0);
    int v = product(z, "linear", name_of(p, "v"), h, WIDTH, WIDTH, 1, 0);
    int a = node(z, "attention", name_of(p, "attention"), q, k, v);
    attr(z, a, "heads", HEADS);
    int o = product(z, "linear", name_of(p, "to_out"), a, WIDTH, WIDTH, 1, 0);
    o = node(z, "mul", name_of(p, "gate1"), o, part[2], -1);
    x = node(z, "add", name_of(p, "add1"), x, o, -1);
    h = node(z, "layer_norm", name_of(p, "norm2"), x, -1, -1);
    h = node(z, "modulate", name_of(p, "mod2"), h, part[3], part[4]);
    h = activated(z, p, h);
    h = product(z, "linear", name_of(p, "fc2"), h, 2 * WIDTH, WIDTH, 1, 0);
    h = node(z, "mul", name_of(p, "gate2"), part[5] >= 0 ? h : h, part[5], -1);
    return node(z, "add", name_of(p, "add2"), h, x, -1);
}

static int time_and_class(struct zoo *z, int time, int label, int dim, int width)
{
    int t = node(z, "timestep_embedding", "sinusoid", time, -1, -1);
    attr(z, t, "dim", dim);
    t = product(z, "linear", "time1", t, dim, width, 1, 0);
    t = node(z, "silu", "time_silu", t, -1, -1);
    t = product(z, "linear", "time2", t, width, width, 1, 0);
    if (label < 0)
        return t;
    int c = node(z, "embedding", "class", label, -1, -1);
    int64_t shape[2] = {11, width};
    weight(z, c, "weight", DTYPE_F32, 2, shape, 1);
    return node(z, "add", "condition", t, c, -1);
}

static void finish(struct zoo *z, int out)
{
    struct error e = {0};
    ck_assert_int_eq(graph_output(z->g, "sample", out, &e), 0);
    ck_assert_msg(graph_infer(z->g, 0, 0, find, z, &e) == 0, "%s", e.text);
}

static void make_dit(struct zoo *z, int quantized)
{
    struct error e = {0};
    *z = (struct zoo){.g = graph_open("denoiser", &e), .state = 5};
    int x = graph_input(z->g, "sample", VALUE_IMAGE, 3, 8, 12, &e);
    int time = graph_input(z->g, "timestep", VALUE_VECTOR, 1, 0, 0, &e);
    int label = graph_input(z->g, "class_labels", VALUE_VECTOR, 1, 0, 0, &e);
    int c = time_and_class(z, time, label, 20, WIDTH);
    int patch = product(z, "conv2d", "patch", x, 3, WIDTH, 2, 0);
    attr(z, patch, "pad", 0);
    attr(z, patch, "stride", 2);
    int p = node(z, "position_embedding", "position", patch, -1, -1);
    attr(z, p, "dim", WIDTH);
    attr(z, p, "base_size", 4);
    int h = node(z, "add", "embedded", patch, p, -1);
    z->quantized = quantized;
    h = dit_block(z, "b0.", h, c);
    h = dit_block(z, "b1.", h, c);
    z->quantized = 0;
    h = node(z, "layer_norm", "norm_out", h, -1, -1);
    h = product(z, "linear", "proj_out", h, WIDTH, 4 * 5, 1, 0);
    finish(z, node(z, "depth_to_space", "out", h, -1, -1));
}

static int resnet(struct zoo *z, const char *p, int x, int temb, int from, int to, int split)
{
    int h = group_norm(z, name_of(p, "norm1"), x, from, 4);
    h = node(z, "silu", name_of(p, "silu1"), h, -1, -1);
    h = product(z, "conv2d", name_of(p, "conv1"), h, from, to, 3, split);
    int t = node(z, "silu", name_of(p, "tsilu"), temb, -1, -1);
    int saved = z->quantized;
    z->quantized = 0;
    t = product(z, "linear", name_of(p, "temb"), t, 32, to, 1, 0);
    z->quantized = saved;
    h = node(z, "add", name_of(p, "tadd"), h, t, -1);
    h = group_norm(z, name_of(p, "norm2"), h, to, 4);
    h = node(z, "silu", name_of(p, "silu2"), h, -1, -1);
    h = product(z, "conv2d", name_of(p, "conv2"), h, to, to, 3, 0);
    if (from != to)
        x = product(z, "conv2d", name_of(p, "shortcut"), x, from, to, 1, split);
    h = node(z, "add", name_of(p, "add"), x, h, -1);
    int s = node(z, "scale", name_of(p, "scale"), h, -1, -1);
    attr(z, s, "factor", 0.75);
    return s;
}

static void make_unet(struct zoo *z, int quantized)
{
    struct error e = {0};
    *z = (struct zoo){.g = graph_open("denoiser", &e), .state = 9};
    int x = graph_input(z->g, "sample", VALUE_IMAGE, 3, 10, 9, &e);
    int time = graph_input(z->g, "timestep", VALUE_VECTOR, 1, 0, 0, &e);
    int t = time_and_class(z, time, -1, 16, 32);
    int c0 = product(z, "conv2d", "conv_in", x, 3, 16, 3, 0);
    z->quantized = quantized;
    int d0 = resnet(z, "d0.", c0, t, 16, 16, 0);
    int down = product(z, "conv2d", "down", d0, 16, 16, 3, 0);
    attr(z, down, "stride", 2);
    attr(z, down, "pad", 0);
    attr(z, down, "pad_end", 1);
    int d1 = resnet(z, "d1.", down, t, 16, 24, 0);
    int n = group_norm(z, "attn.norm", d1, 24, 4);
    z->quantized = 0;
    int q = product(z, "linear", "attn.q", n, 24, 24, 1, 0),
        k = product(z, "linear", "attn.k", n, 24, 24, 1, 0);
    int v = product(z, "linear", "attn.v", n, 24, 24, 1, 0);
    int a = node(z, "attention", "attn.attention", q, k, v);
    a = product(z, "linear", "attn.out", a, 24, 24, 1, 0);
    int mid = node(z, "add", "attn.add", a, d1, -1);
    z->quantized = quantized;
    int up1 = resnet(z, "u1.", node(z, "concat", "cat1", mid, down, -1), t, 40, 16, quantized ? 24 : 0);
    int grown = node(z, "upsample", "up", up1, d0, -1);
    int upc = product(z, "conv2d", "up.conv", grown, 16, 16, 3, 0);
    int up0 = resnet(z, "u0.", node(z, "concat", "cat0", upc, c0, -1), t, 32, 16, quantized ? 16 : 0);
    z->quantized = 0;
    int o = group_norm(z, "norm_out", up0, 16, 4);
    o = node(z, "silu", "silu_out", o, -1, -1);
    finish(z, product(z, "conv2d", "conv_out", o, 16, 3, 3, 0));
}

static void release(struct zoo *z)
{
    for (int i = 0; i < z->tensors; i++) {
        mem_free((void *)z->t[i].name);
        mem_free(z->t[i].data);
    }
    graph_close(z->g);
}

/* ---- running ---- */

enum { IMAGES = 3, CALLS = 4 };

/* What tests of predictors need on top: nodes to read, how served ones are made. */
static const unsigned char *wanted;
static const struct engine_predictor *predictors;

struct world {
    struct zoo z;
    struct team *team;
    struct backend b;
    struct weights *w;
    struct engine *x;
    float times[CALLS], labels[IMAGES];
    int64_t in_size, out_size;
    int open_status;
};

static void (*open_backend)(struct world *w, struct error *e); /* another one than the CPU's */

/* The CPU with float values between all kernels. */
static void open_float(struct world *w, struct error *e)
{
    static struct backend_ops ops;
    (void)e;
    ops = *w->b.ops;
    ops.half = 0;
    w->b.ops = &ops;
}

static int all_wide; /* actions read floats */

static void start(struct world *w, void (*make)(struct zoo *, int), int quantized, int level, int threads,
                  int images, size_t hoist, const unsigned char *const *actions)
{
    struct error e = {0};
    make(&w->z, quantized);
    w->team = team_open(threads, &e);
    w->b = backend_cpu(cpu_kernels((enum cpu_level)level), w->team);
    w->open_status = 0;
    if (open_backend)
        open_backend(w, &e);
    ck_assert_msg(w->open_status == 0, "%s", e.text);
    w->w = weights_open(w->z.g, &w->b, NULL, &e);
    ck_assert_msg(w->w != NULL, "%s", e.text);
    struct engine_options o = {.images = images, .calls = CALLS, .hoist_bytes = hoist, .want = wanted};
    w->x = engine_open(w->z.g, w->w, &o, &e);
    for (int i = 0; i < CALLS; i++)
        w->times[i] = (float)(900 - 200 * i);
    for (int i = 0; i < IMAGES; i++)
        w->labels[i] = (float)(3 * i);
    ck_assert_int_eq(engine_bind(w->x, "timestep", w->times, 1, 0, &e), 0);
    if (engine_has_input(w->x, "class_labels"))
        ck_assert_int_eq(engine_bind(w->x, "class_labels", w->labels, 0, 1, &e), 0);
    for (int i = 0; actions && actions[i]; i++)
        ck_assert_msg(engine_action(w->x, i + 1, actions[i], predictors, &e) == 0, "%s", e.text);
    unsigned char *wide = calloc((size_t)w->z.g->count, 1);
    memset(wide, 1, (size_t)w->z.g->count);
    for (int i = 0; all_wide && actions && actions[i]; i++)
        ck_assert_msg(engine_wide(w->x, i + 1, wide, &e) == 0, "%s", e.text);
    free(wide);
    ck_assert_msg(engine_ready(w->x, &e) == 0, "%s", e.text);
    w->in_size = shape_size(w->z.g->node[0].shape);
    w->out_size = shape_size(w->z.g->node[w->z.g->output[0].node].shape);
}

static void stop(struct world *w)
{
    engine_close(w->x);
    weights_close(w->w);
    backend_close(&w->b);
    team_close(w->team);
    release(&w->z);
}

static void fill(struct world *w, int call, int images)
{
    struct zoo z = {.state = 77u + (unsigned)call};
    float *x = engine_sample(w->x);
    for (int64_t i = 0; i < images * w->in_size; i++)
        x[i] = noise(&z);
}

static const float *run(struct world *w, int call, int action, int first, int count)
{
    struct error e = {0};
    ck_assert_msg(engine_run(w->x, call, action, first, count, NULL, &e) == 0, "%s", e.text);
    return engine_value(w->x, w->z.g->output[0].node);
}

static void (*const makers[])(struct zoo *, int) = {make_dit, make_unet};

#endif
