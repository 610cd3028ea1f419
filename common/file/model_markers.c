/* See model_markers.h. int8_tensorwise and asym_w4a8_int8 are ComfyUI's names and mean the same there;
 * formats that it does not have bear other names, so that it refuses them and does not misread them. */
#include "common/file/model_markers.h"
#include "common/graph/ops.h"

#include <stdio.h>
#include <string.h>

enum { MARKER = 160 };

static const char suffix[] = ".comfy_quant";

/* The marker of a layer's weight tensor; 0: it has none. */
static int marker_of(const struct node *n, char name[TENSOR_MAX_NAME + 1], char text[MARKER])
{
    static const char *const formats[FORMATS] = {NULL,         "int8_tensorwise", "int8_tensorwise",
                                                 "w4a16_int8", "asym_w4a8_int8",  "fp8_row"};
    int conv = node_is(n, "conv2d"), format;
    if (!conv && !node_is(n, "linear"))
        return 0;
    format = (int)node_attr(n, "format");
    size_t length = strlen(n->weight[0]);
    if (format == FORMAT_PLAIN || length < 8 || strcmp(n->weight[0] + length - 7, ".weight"))
        return 0;
    snprintf(name, TENSOR_MAX_NAME + 1, "%.*s%s", (int)(length - 7), n->weight[0], suffix);
    int rotate = conv ? 0 : (int)node_attr(n, "rotate");
    int at = snprintf(text, MARKER, "{\"format\":\"%s\"", conv ? "int8_conv" : formats[format]);
    if (format == FORMAT_FP8 && conv)
        at = snprintf(text, MARKER, "{\"format\":\"fp8_conv\"");
    if (node_is_int4(n))
        at += snprintf(text + at, MARKER - (size_t)at, ",\"group_size\":%d",
                       (int)(2 * n->tensor[0]->shape[1] / node_weight(n, "weight_s_rel")->shape[1]));
    else
        at += snprintf(text + at, MARKER - (size_t)at, ",\"per_row\":true");
    if (format == FORMAT_W8A16)
        at += snprintf(text + at, MARKER - (size_t)at, ",\"full_precision_matrix_mult\":true");
    if (rotate)
        at += snprintf(text + at, MARKER - (size_t)at, ",\"convrot\":true,\"convrot_groupsize\":%d", rotate);
    snprintf(text + at, MARKER - (size_t)at, "}");
    return 1;
}

size_t marker_size(const struct node *n)
{
    char name[TENSOR_MAX_NAME + 1], text[MARKER];
    return marker_of(n, name, text) ? strlen(text) : 0;
}

static int is_listed(const struct tensor *t, int from, int to, const char *name)
{
    for (int i = from; i < to; i++)
        if (!strcmp(t[i].name, name))
            return 1;
    return 0;
}

int markers_add(const struct model *m, struct arena *arena, struct tensor **tensors, int *count,
                struct error *e)
{
    size_t most = (size_t)m->tensors + 1;
    char name[TENSOR_MAX_NAME + 1], text[MARKER];
    for (int c = 0; c < m->components; c++)
        most += (size_t)m->graph[c]->count;
    struct tensor *t = *tensors = mem_array(most, sizeof *t, e);
    if (!t)
        return -1;
    memcpy(t, m->tensor, (size_t)m->tensors * sizeof *t);
    *count = m->tensors;
    for (int c = 0; c < m->components; c++)
        for (int i = 0; i < m->graph[c]->count; i++) {
            if (!marker_of(&m->graph[c]->node[i], name, text) || is_listed(t, m->tensors, *count, name))
                continue;
            struct tensor *marker = &t[(*count)++];
            *marker = (struct tensor){.dtype = DTYPE_U8, .rank = 1, .shape = {(int64_t)strlen(text)}};
            marker->name = arena_strdup(arena, name, e);
            marker->data = arena_strdup(arena, text, e);
            if (!marker->name || !marker->data || tensor_measure(marker, e) < 0)
                return -1;
        }
    return 0;
}

/* Does a layer of the model have this marker? */
static int is_right(const struct model *m, const struct tensor *t)
{
    char name[TENSOR_MAX_NAME + 1], text[MARKER];
    for (int c = 0; c < m->components; c++)
        for (int i = 0; i < m->graph[c]->count; i++)
            if (marker_of(&m->graph[c]->node[i], name, text) && !strcmp(name, t->name) &&
                t->dtype == DTYPE_U8 && t->size == strlen(text) && !memcmp(t->data, text, t->size))
                return 1;
    return 0;
}

int markers_check(struct model *m, struct error *e)
{
    int kept = 0;
    for (int i = 0; i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i];
        size_t length = strlen(t->name), tail = sizeof suffix - 1;
        if (length > tail && !strcmp(t->name + length - tail, suffix)) {
            if (!is_right(m, t))
                return error_set(e, HASTEN_EFILE, "marker '%s' does not say what the graph says of its layer",
                                 t->name);
            continue;
        }
        m->tensor[kept] = m->tensor[i];
        m->owned[kept++] = m->owned[i];
    }
    m->tensors = kept;
    m->sorted = 0;
    return 0;
}
