/* Nodes and the shapes of their weights: see family.h. */
#include "common/families/family.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int b_fail(struct builder *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(b->e, HASTEN_EFILE, "%s", text);
    b->failed = 1;
    return 0;
}

const char *b_name(struct builder *b, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *s = arena_strdup(&b->g->arena, text, b->e);
    b->failed |= !s;
    return s ? s : "";
}

const struct tensor *b_find(struct builder *b, const char *tensor)
{
    return b->find(b->context, b_name(b, "%s%s", b->prefix, tensor));
}

/* ---- tensors ---- */

static int has_shape(const struct tensor *t, const int shape[5])
{
    int rank = 0, stored = t->rank;
    while (rank < 4 && shape[rank])
        rank++;
    if (rank == 2 && stored == 4 && t->shape[2] == 1 && t->shape[3] == 1)
        stored = 2;
    for (int i = 0; stored == rank && i < rank; i++)
        if (t->shape[i] != shape[i])
            return 0;
    return stored == rank;
}

static void add_defect(struct builder *b, const char *tensor, const struct tensor *t, const int shape[5])
{
    char found[TENSOR_SHAPE_TEXT], wanted[TENSOR_SHAPE_TEXT];
    struct tensor like = {.rank = 0};
    for (; like.rank < 4 && shape[like.rank]; like.rank++)
        like.shape[like.rank] = shape[like.rank];
    tensor_shape_text(&like, wanted);
    b->wrong++;
    int status = t ? buf_printf(&b->defects, b->e, "%s%s has shape %s, %s is expected\n", b->prefix, tensor,
                                tensor_shape_text(t, found), wanted)
                   : buf_printf(&b->defects, b->e, "%s%s is missing, %s is expected\n", b->prefix, tensor,
                                wanted);
    b->failed |= status < 0;
}

void b_expect(struct builder *b, const char *tensor, const int shape[5])
{
    const struct tensor *t = b->failed ? NULL : b_find(b, tensor);
    if (!b->failed && (!t || !has_shape(t, shape)))
        add_defect(b, tensor, t, shape);
}

/* ---- nodes ---- */

static int note_width(struct builder *b, int node, int width)
{
    if (node >= b->room) {
        int room = node + 1 + b->room;
        int *wider = mem_resize(b->width, (size_t)room, sizeof *wider, b->e);
        if (!wider) {
            b->failed = 1;
            return 0;
        }
        b->width = wider;
        b->room = room;
    }
    b->width[node] = width;
    return node;
}

int b_width(const struct builder *b, int node) { return b->failed ? 1 : b->width[node]; }

int b_input(struct builder *b, const char *name, enum value_kind kind, int channels, int height, int width)
{
    int n = b->failed ? -1 : graph_input(b->g, name, kind, channels, height, width, b->e);
    b->failed |= n < 0;
    return n < 0 ? 0 : note_width(b, n, channels);
}

int b_node(struct builder *b, const char *op, const char *name, int a, int c, int d)
{
    int in[3] = {a, c, d}, n = -1, width = 0;
    if (!b->failed)
        n = graph_node(b->g, op, name, in, (a >= 0) + (c >= 0) + (d >= 0), b->e);
    b->failed |= n < 0;
    if (n < 0)
        return 0;
    for (int i = 0; i < (strcmp(op, "concat") ? 1 : 3); i++)
        width += in[i] >= 0 ? b->width[in[i]] : 0;
    return note_width(b, n, width);
}

void b_attr(struct builder *b, int node, const char *name, double value)
{
    if (!b->failed && graph_attr(b->g, node, name, value, b->e) < 0)
        b->failed = 1;
}

void b_choice(struct builder *b, int node, const char *name, const char *word)
{
    if (!b->failed && graph_choice(b->g, node, name, word, b->e) < 0)
        b->failed = 1;
}

void b_weight(struct builder *b, int node, const char *slot, const char *tensor, const int shape[5])
{
    const char *full = b_name(b, "%s%s", b->prefix, tensor);
    b_expect(b, tensor, shape);
    if (!b->failed && graph_weight(b->g, node, slot, full, b->e) < 0)
        b->failed = 1;
}

void b_output(struct builder *b, const char *name, int node)
{
    if (!b->failed && graph_output(b->g, name, node, b->e) < 0)
        b->failed = 1;
}

static void bias(struct builder *b, int node, const char *name, int width)
{
    b_weight(b, node, "bias", b_name(b, "%s.bias", name), (int[5]){width});
}

int b_matrix(struct builder *b, const char *name, int in, int width)
{
    int n = b_node(b, "linear", name, in, -1, -1), from = b_width(b, in);
    b_weight(b, n, "weight", b_name(b, "%s.weight", name), (int[5]){width, from});
    return note_width(b, n, width);
}

int b_linear(struct builder *b, const char *name, int in, int width)
{
    int n = b_matrix(b, name, in, width);
    bias(b, n, name, width);
    return n;
}

int b_conv(struct builder *b, const char *name, int in, int width, int kernel, int stride, int pad,
           int pad_end)
{
    int n = b_node(b, "conv2d", name, in, -1, -1), from = b_width(b, in);
    b_attr(b, n, "stride", stride);
    b_attr(b, n, "pad", pad);
    if (pad_end != pad)
        b_attr(b, n, "pad_end", pad_end);
    b_weight(b, n, "weight", b_name(b, "%s.weight", name), (int[5]){width, from, kernel, kernel});
    bias(b, n, name, width);
    return note_width(b, n, width);
}

int b_same_conv(struct builder *b, const char *name, int in, int width, int kernel)
{
    return b_conv(b, name, in, width, kernel, 1, kernel / 2, kernel / 2);
}

int b_group_norm(struct builder *b, const char *name, int in, int groups, double eps)
{
    int n = b_node(b, "group_norm", name, in, -1, -1), width = b_width(b, n);
    b_attr(b, n, "groups", groups);
    b_attr(b, n, "eps", eps);
    b_weight(b, n, "weight", b_name(b, "%s.weight", name), (int[5]){width});
    bias(b, n, name, width);
    return n;
}

int b_layer_norm(struct builder *b, const char *name, int in, double eps, int affine)
{
    int n = b_node(b, "layer_norm", name, in, -1, -1), width = b_width(b, n);
    b_attr(b, n, "eps", eps);
    if (affine) {
        b_weight(b, n, "weight", b_name(b, "%s.weight", name), (int[5]){width});
        bias(b, n, name, width);
    }
    return n;
}

int b_act(struct builder *b, const char *name, const char *act, int in)
{
    if (!strcasecmp(act, "silu") || !strcasecmp(act, "swish"))
        return b_node(b, "silu", name, in, -1, -1);
    if (!strcasecmp(act, "gelu") || !strcasecmp(act, "relu"))
        return b_node(b, strcasecmp(act, "gelu") ? "relu" : "gelu", name, in, -1, -1);
    return b_fail(b, "act_fn '%s' is not supported", act);
}

int b_slice(struct builder *b, const char *name, int in, int begin, int length)
{
    int n = b_node(b, "slice", name, in, -1, -1);
    b_attr(b, n, "begin", begin);
    b_attr(b, n, "length", length);
    return note_width(b, n, length);
}

int b_scale(struct builder *b, const char *name, int in, double factor)
{
    if (factor == 1)
        return in;
    int n = b_node(b, "scale", name, in, -1, -1);
    b_attr(b, n, "factor", factor);
    return n;
}

int b_embedding(struct builder *b, const char *name, const char *tensor, int label, int rows, int width)
{
    int n = b_node(b, "embedding", name, label, -1, -1);
    b_weight(b, n, "weight", tensor, (int[5]){rows, width});
    return note_width(b, n, width);
}

void builder_free(struct builder *b)
{
    mem_free(b->width);
    b->width = NULL;
    b->room = 0;
    buf_free(&b->defects);
}
