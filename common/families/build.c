/* The builder: see family.h. */
#include "common/families/family.h"
#include "common/base/json.h"

#include <math.h>
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

int b_has(const struct builder *b, const char *tensor)
{
    char text[1200];
    snprintf(text, sizeof text, "%s%s", b->prefix, tensor);
    return b->find(b->context, text) != NULL;
}

int b_input(struct builder *b, const char *name, enum value_kind kind, int channels, int height, int width)
{
    int n = b->failed ? -1 : graph_input(b->g, name, kind, channels, height, width, b->e);
    b->failed |= n < 0;
    return n < 0 ? 0 : n;
}

int b_node(struct builder *b, const char *op, const char *name, int a, int c, int d)
{
    int in[3] = {a, c, d}, n = -1;
    if (!b->failed)
        n = graph_node(b->g, op, name, in, (a >= 0) + (c >= 0) + (d >= 0), b->e);
    b->failed |= n < 0;
    return n < 0 ? 0 : n;
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

void b_weight(struct builder *b, int node, const char *slot, const char *tensor)
{
    const char *full = b_name(b, "%s%s", b->prefix, tensor);
    if (!b->failed && graph_weight(b->g, node, slot, full, b->e) < 0)
        b->failed = 1;
}

void b_output(struct builder *b, const char *name, int node)
{
    if (!b->failed && graph_output(b->g, name, node, b->e) < 0)
        b->failed = 1;
}

static void weight_and_bias(struct builder *b, int node, const char *name)
{
    b_weight(b, node, "weight", b_name(b, "%s.weight", name));
    if (b_has(b, b_name(b, "%s.bias", name)))
        b_weight(b, node, "bias", b_name(b, "%s.bias", name));
}

int b_linear(struct builder *b, const char *name, int in)
{
    int n = b_node(b, "linear", name, in, -1, -1);
    weight_and_bias(b, n, name);
    return n;
}

int b_conv(struct builder *b, const char *name, int in, int stride, int pad, int pad_end)
{
    int n = b_node(b, "conv2d", name, in, -1, -1);
    b_attr(b, n, "stride", stride);
    b_attr(b, n, "pad", pad);
    if (pad_end != pad)
        b_attr(b, n, "pad_end", pad_end);
    weight_and_bias(b, n, name);
    return n;
}

int b_group_norm(struct builder *b, const char *name, int in, int groups, double eps)
{
    int n = b_node(b, "group_norm", name, in, -1, -1);
    b_attr(b, n, "groups", groups);
    b_attr(b, n, "eps", eps);
    weight_and_bias(b, n, name);
    return n;
}

int b_layer_norm(struct builder *b, const char *name, int in, double eps)
{
    int n = b_node(b, "layer_norm", name, in, -1, -1);
    b_attr(b, n, "eps", eps);
    if (b_has(b, b_name(b, "%s.weight", name)))
        weight_and_bias(b, n, name);
    return n;
}

int b_act(struct builder *b, const char *name, const char *act, int in)
{
    if (!strcmp(act, "silu") || !strcmp(act, "swish"))
        return b_node(b, "silu", name, in, -1, -1);
    if (!strcmp(act, "gelu") || !strcmp(act, "relu"))
        return b_node(b, act, name, in, -1, -1);
    return b_fail(b, "act_fn '%s' is not supported", act);
}

int b_slice(struct builder *b, const char *name, int in, int begin, int length)
{
    int n = b_node(b, "slice", name, in, -1, -1);
    b_attr(b, n, "begin", begin);
    b_attr(b, n, "length", length);
    return n;
}

int b_scale(struct builder *b, const char *name, int in, double factor)
{
    if (factor == 1)
        return in;
    int n = b_node(b, "scale", name, in, -1, -1);
    b_attr(b, n, "factor", factor);
    return n;
}

int b_time_embedding(struct builder *b, const char *sinusoid, const char *name, int time, int dim, int flip,
                     double shift, const char *act)
{
    int h = b_node(b, "timestep_embedding", sinusoid, time, -1, -1);
    b_attr(b, h, "dim", dim);
    b_attr(b, h, "flip", flip);
    b_attr(b, h, "shift", shift);
    h = b_linear(b, b_name(b, "%s.linear_1", name), h);
    h = b_act(b, b_name(b, "%s.act", name), act, h);
    return b_linear(b, b_name(b, "%s.linear_2", name), h);
}

static int channels_of(struct builder *b, const char *tensor, int dimension)
{
    char text[1200];
    snprintf(text, sizeof text, "%s%s", b->prefix, tensor);
    const struct tensor *t = b->find(b->context, text);
    if (!t || t->rank <= dimension)
        return b_fail(b, "tensor '%s' is missing", text);
    return (int)t->shape[dimension];
}

int b_resnet(struct builder *b, const char *name, int in, const struct resnet *r)
{
    int h = b_group_norm(b, b_name(b, "%s.norm1", name), in, r->groups, r->eps), x = in;
    h = b_act(b, b_name(b, "%s.act1", name), r->act, h);
    const char *resample = r->down ? "avg_pool" : r->up ? "upsample" : NULL;
    if (resample) {
        h = b_node(b, resample, b_name(b, "%s.resample_hidden", name), h, -1, -1);
        x = b_node(b, resample, b_name(b, "%s.resample_skip", name), x, -1, -1);
    }
    h = b_conv(b, b_name(b, "%s.conv1", name), h, 1, 1, 1);
    int width = channels_of(b, b_name(b, "%s.conv1.weight", name), 0), scale = -1, shift = -1;
    if (r->temb >= 0) {
        int t = b_act(b, b_name(b, "%s.act_time", name), r->act, r->temb);
        t = b_linear(b, b_name(b, "%s.time_emb_proj", name), t);
        if (r->scale_shift) {
            scale = b_slice(b, b_name(b, "%s.time_scale", name), t, 0, width);
            shift = b_slice(b, b_name(b, "%s.time_shift", name), t, width, width);
        } else {
            h = b_node(b, "add", b_name(b, "%s.time_add", name), h, t, -1);
        }
    }
    h = b_group_norm(b, b_name(b, "%s.norm2", name), h, r->groups, r->eps);
    if (scale >= 0)
        h = b_node(b, "modulate", b_name(b, "%s.time_modulate", name), h, shift, scale);
    h = b_act(b, b_name(b, "%s.act2", name), r->act, h);
    h = b_conv(b, b_name(b, "%s.conv2", name), h, 1, 1, 1);
    if (b_has(b, b_name(b, "%s.conv_shortcut.weight", name)))
        x = b_conv(b, b_name(b, "%s.conv_shortcut", name), x, 1, 0, 0);
    h = b_node(b, "add", b_name(b, "%s.residual", name), x, h, -1);
    return b_scale(b, b_name(b, "%s.rescale", name), h, 1 / r->scale);
}

int b_pixel_attention(struct builder *b, const char *name, int in, int groups, double eps, int head_dim,
                      double scale)
{
    int h = b_group_norm(b, b_name(b, "%s.group_norm", name), in, groups, eps);
    int q = b_linear(b, b_name(b, "%s.to_q", name), h), k = b_linear(b, b_name(b, "%s.to_k", name), h);
    int v = b_linear(b, b_name(b, "%s.to_v", name), h),
        width = channels_of(b, b_name(b, "%s.to_q.weight", name), 0);
    int a = b_node(b, "attention", b_name(b, "%s.attention", name), q, k, v);
    if (head_dim > 0 && width % head_dim)
        return b_fail(b, "attention_head_dim %d does not divide %d channels", head_dim, width);
    b_attr(b, a, "heads", head_dim > 0 ? width / head_dim : 1);
    a = b_linear(b, b_name(b, "%s.to_out.0", name), a);
    a = b_node(b, "add", b_name(b, "%s.residual", name), in, a, -1);
    return b_scale(b, b_name(b, "%s.rescale", name), a, 1 / scale);
}

/* ---- config ---- */

const cJSON *c_get(const cJSON *config, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    return v && !cJSON_IsNull(v) ? v : NULL;
}

int c_int(struct builder *b, const cJSON *config, const char *key, int fallback)
{
    int64_t v = fallback;
    if (!b->failed && json_int_or(config, key, -(1 << 24), 1 << 24, fallback, &v, b->e) < 0)
        b->failed = 1;
    return (int)v;
}

double c_double(struct builder *b, const cJSON *config, const char *key, double fallback)
{
    double v = fallback;
    if (!b->failed && json_double_or(config, key, -1e30, 1e30, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

int c_bool(struct builder *b, const cJSON *config, const char *key, int fallback)
{
    int v = fallback;
    if (!b->failed && json_bool_or(config, key, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

const char *c_text(struct builder *b, const cJSON *config, const char *key, const char *fallback)
{
    const char *v = fallback;
    if (!b->failed && json_string_or(config, key, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

void c_only(struct builder *b, const cJSON *config, const char *key, const char *value)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    char text[64] = "null";
    if (!v)
        return;
    if (cJSON_IsBool(v))
        snprintf(text, sizeof text, "%s", cJSON_IsTrue(v) ? "true" : "false");
    else if (cJSON_IsNumber(v))
        snprintf(text, sizeof text, "%g", v->valuedouble);
    else if (cJSON_IsString(v))
        snprintf(text, sizeof text, "%s", v->valuestring);
    else if (!cJSON_IsNull(v))
        snprintf(text, sizeof text, "a list or an object");
    if (strcmp(text, value))
        b_fail(b, "config key '%s' is %s, only %s is supported", key, text, value);
}
