/* Shape rules of the operations, and the checks of their weights' shapes. Messages leave out the node's name,
 * which graph_infer puts in front. */
#include "common/graph/ops.h"

#include <stdio.h>
#include <string.h>

static const char *describe(struct shape s, char text[64])
{
    if (s.kind == VALUE_VECTOR)
        snprintf(text, 64, "vector of %d", s.channels);
    else if (s.kind == VALUE_TOKENS)
        snprintf(text, 64, "%d tokens of %d", s.width, s.channels);
    else
        snprintf(text, 64, "image %dx%dx%d", s.height, s.width, s.channels);
    return text;
}

static int same_shape(struct shape a, struct shape b)
{
    return a.kind == b.kind && a.height == b.height && a.width == b.width && a.channels == b.channels;
}

static int is_vector_of(struct shape s, int channels)
{
    return s.kind == VALUE_VECTOR && s.channels == channels;
}

static int bad_weight(const struct tensor *t, const char *expected, struct error *e)
{
    char text[128];
    int n = snprintf(text, sizeof text, "[");
    for (int i = 0; i < t->rank && n < 100; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld", i ? "," : "", (long long)t->shape[i]);
    return error_set(e, HASTEN_EFILE, "tensor '%s' has shape %s], %s is expected", t->name, text, expected);
}

static int is_float(enum dtype d)
{
    return d == DTYPE_F32 || d == DTYPE_F16 || d == DTYPE_BF16 || d == DTYPE_F64;
}

/* A float tensor of n numbers in one dimension, when present. */
static int check_row(const struct node *n, const char *slot, int64_t count, struct error *e)
{
    const struct tensor *t = node_weight(n, slot);
    char expected[48];
    snprintf(expected, sizeof expected, "[%lld] of floats", (long long)count);
    if (t && (t->rank != 1 || t->shape[0] != count || !is_float(t->dtype)))
        return bad_weight(t, expected, e);
    return 0;
}

/* One float32 for each output channel, [N], [N,1] or [N,1,1,1]. */
static int check_scale(const struct tensor *s, int64_t rows, struct error *e)
{
    int64_t count = s->rank ? 1 : 0;
    for (int i = 0; i < s->rank; i++)
        count *= s->shape[i];
    if (s->dtype != DTYPE_F32 || count != rows || s->shape[0] != rows)
        return bad_weight(s, "one float32 for each output channel", e);
    return 0;
}

/* Codes of four bits: where their groups' scales and their levels are. */
static int check_int4(const struct node *n, int64_t rows, int64_t channels, struct error *e)
{
    const struct tensor *rel = node_weight(n, "weight_s_rel"), *levels = node_weight(n, "weight_codebook");
    if (!rel || !levels)
        return error_set(e, HASTEN_EFILE, "weight_s_rel or weight_codebook is missing, format has four bits");
    int64_t groups = rel->rank == 2 ? rel->shape[1] : 0;
    if (rel->dtype != DTYPE_F8_E4M3 || rel->rank != 2 || rel->shape[0] != rows || groups < 1 ||
        channels % groups || channels / groups % 16)
        return bad_weight(rel, "[N,K/g] of F8_E4M3 with groups of a multiple of 16 channels", e);
    if (levels->dtype != DTYPE_F32 || levels->rank != 1 || levels->shape[0] != 16)
        return bad_weight(levels, "[16] of F32", e);
    return 0;
}

/* dtype of the weight and presence of what belongs to it, as the format says. */
static int check_format(const struct node *n, int64_t rows, int64_t channels, struct error *e)
{
    static const char *const names[FORMATS] = {"plain", "w8a8", "w8a16", "w4a16", "w4a8", "fp8"};
    const struct tensor *w = node_weight(n, "weight"), *s = node_weight(n, "weight_scale");
    int format = (int)node_attr(n, "format"), fits;
    if (format == FORMAT_PLAIN)
        fits = is_float(w->dtype);
    else
        fits = format == FORMAT_FP8 ? w->dtype == DTYPE_F8_E4M3 : w->dtype == DTYPE_I8;
    if (!fits)
        return error_set(e, HASTEN_EFILE, "format %s does not fit tensor '%s' of type %s", names[format],
                         w->name, dtype_name(w->dtype));
    if ((format != FORMAT_PLAIN) != (s != NULL))
        return error_set(e, HASTEN_EFILE, "weight_scale is %s, format is %s", s ? "present" : "missing",
                         names[format]);
    if (s && check_scale(s, rows, e) < 0)
        return -1;
    return node_is_int4(n) ? check_int4(n, rows, channels, e) : 0;
}

static int check_rotation(const struct node *n, int channels, struct error *e)
{
    int rotate = (int)node_attr(n, "rotate");
    if (rotate && ((rotate != 16 && rotate != 64 && rotate != 256) || channels % rotate ||
                   (int)node_attr(n, "format") == FORMAT_PLAIN))
        return error_set(
            e, HASTEN_EFILE,
            "rotate %d: blocks of 16, 64 or 256 that divide %d channels of a quantized layer are "
            "possible",
            rotate, channels);
    return 0;
}

int infer_linear(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    const struct tensor *w = node_weight(n, "weight");
    char expected[64];
    int stored = node_is_int4(n) ? in[0].channels / 2 : in[0].channels;
    snprintf(expected, sizeof expected, "[N,%d]", stored);
    int flat = w->rank == 2 || (w->rank == 4 && w->shape[2] == 1 && w->shape[3] == 1);
    if (!flat || w->shape[1] != stored || w->shape[0] < 1 || w->shape[0] > GRAPH_MAX_SIZE)
        return bad_weight(w, expected, e);
    *out = in[0];
    out->channels = (int)w->shape[0];
    return check_row(n, "bias", w->shape[0], e) < 0 || check_format(n, w->shape[0], in[0].channels, e) < 0 ||
                   check_rotation(n, in[0].channels, e) < 0
               ? -1
               : 0;
}

static int need_image(struct shape s, struct error *e)
{
    char text[64];
    return s.kind == VALUE_IMAGE
               ? 0
               : error_set(e, HASTEN_EFILE, "an image is needed, the input is a %s", describe(s, text));
}

int infer_conv2d(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    const struct tensor *w = node_weight(n, "weight");
    char expected[64];
    if (need_image(in[0], e) < 0)
        return -1;
    snprintf(expected, sizeof expected, "[N,%d,h,w]", in[0].channels);
    if (w->rank != 4 || w->shape[1] != in[0].channels || w->shape[0] < 1 || w->shape[0] > GRAPH_MAX_SIZE ||
        w->shape[2] < 1 || w->shape[3] < 1 || w->shape[2] > 64 || w->shape[3] > 64)
        return bad_weight(w, expected, e);
    int stride = (int)node_attr(n, "stride"), pad = (int)node_attr(n, "pad"),
        end = (int)node_attr(n, "pad_end");
    end = end < 0 ? pad : end;
    int64_t height = (int64_t)in[0].height + pad + end - w->shape[2],
            width = (int64_t)in[0].width + pad + end - w->shape[3];
    if (height < 0 || width < 0)
        return error_set(e, HASTEN_EFILE, "the %dx%d kernel is larger than the padded %dx%d image",
                         (int)w->shape[2], (int)w->shape[3], in[0].height, in[0].width);
    if ((int)node_attr(n, "split") >= in[0].channels)
        return error_set(e, HASTEN_EFILE, "split %d is not inside %d channels", (int)node_attr(n, "split"),
                         in[0].channels);
    *out =
        (struct shape){VALUE_IMAGE, (int)(height / stride) + 1, (int)(width / stride) + 1, (int)w->shape[0]};
    if (node_is_int4(n))
        return error_set(e, HASTEN_EFILE, "convolutions have no format of four bits");
    return check_row(n, "bias", w->shape[0], e) < 0 || check_format(n, w->shape[0], 0, e) < 0 ? -1 : 0;
}

int infer_norm(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    *out = in[0];
    double groups = op_attr_index(n->op, "groups") >= 0 ? node_attr(n, "groups") : 1;
    if (in[0].channels % (int)groups)
        return error_set(e, HASTEN_EFILE, "%d channels do not divide into %d groups", in[0].channels,
                         (int)groups);
    if (check_row(n, "weight", in[0].channels, e) < 0 || check_row(n, "bias", in[0].channels, e) < 0)
        return -1;
    if (node_weight(n, "bias") && !node_weight(n, "weight"))
        return error_set(e, HASTEN_EFILE, "a norm with a bias needs a weight too");
    return 0;
}

int infer_same(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    (void)n, (void)e;
    *out = in[0];
    return 0;
}

int infer_modulate(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    (void)n;
    char a[64], b[64];
    *out = in[0];
    for (int i = 1; i < 3; i++)
        if (!is_vector_of(in[i], in[0].channels))
            return error_set(e, HASTEN_EFILE, "input %d is a %s, a vector of the channels of %s is needed", i,
                             describe(in[i], b), describe(in[0], a));
    return 0;
}

int infer_binary(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    (void)n;
    char a[64], b[64];
    *out = in[0];
    if (!same_shape(in[0], in[1]) && !is_vector_of(in[1], in[0].channels))
        return error_set(e, HASTEN_EFILE, "%s and %s do not go together", describe(in[0], a),
                         describe(in[1], b));
    return 0;
}

int infer_attention(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int heads = (int)node_attr(n, "heads");
    char a[64], b[64], c[64];
    if (in[0].channels != in[1].channels || in[1].channels != in[2].channels ||
        shape_rows(in[1]) != shape_rows(in[2]) || in[0].channels % heads)
        return error_set(e, HASTEN_EFILE, "query %s, key %s and value %s do not fit %d heads",
                         describe(in[0], a), describe(in[1], b), describe(in[2], c), heads);
    if (node_attr(n, "causal") && shape_rows(in[0]) != shape_rows(in[1]))
        return error_set(e, HASTEN_EFILE, "causal attention needs as many queries as keys");
    *out = in[0];
    return 0;
}

int infer_concat(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int tokens = (int)node_attr(n, "axis") == AXIS_TOKENS;
    char a[64], b[64];
    int64_t total = 0;
    for (int i = 0; i < n->inputs; i++) {
        int fits =
            tokens ? in[i].kind == VALUE_TOKENS && in[i].channels == in[0].channels
                   : in[i].kind == in[0].kind && in[i].height == in[0].height && in[i].width == in[0].width;
        if (!fits)
            return error_set(e, HASTEN_EFILE, "%s and %s do not go side by side", describe(in[0], a),
                             describe(in[i], b));
        total += tokens ? in[i].width : in[i].channels;
    }
    *out = in[0];
    if (total > GRAPH_MAX_SIZE)
        return error_set(e, HASTEN_EFILE, "the joined value is too large");
    *(tokens ? &out->width : &out->channels) = (int)total;
    return 0;
}

int infer_slice(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int tokens = (int)node_attr(n, "axis") == AXIS_TOKENS, begin = (int)node_attr(n, "begin");
    int length = (int)node_attr(n, "length"), size = tokens ? in[0].width : in[0].channels;
    if (tokens && in[0].kind != VALUE_TOKENS)
        return error_set(e, HASTEN_EFILE, "only tokens can be sliced along tokens");
    if (begin > size - length)
        return error_set(e, HASTEN_EFILE, "%d from %d on is more than there is (%d)", length, begin, size);
    *out = in[0];
    *(tokens ? &out->width : &out->channels) = length;
    return 0;
}

int infer_upsample(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    for (int i = 0; i < n->inputs; i++)
        if (need_image(in[i], e) < 0)
            return -1;
    *out = in[0];
    out->height = n->inputs > 1 ? in[1].height : 2 * in[0].height;
    out->width = n->inputs > 1 ? in[1].width : 2 * in[0].width;
    return 0;
}

int infer_avg_pool(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int size = (int)node_attr(n, "size");
    if (need_image(in[0], e) < 0)
        return -1;
    *out = in[0];
    out->height /= size;
    out->width /= size;
    return 0;
}

int infer_mean_pool(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    (void)n, (void)e;
    *out = (struct shape){VALUE_VECTOR, 1, 1, in[0].channels};
    return 0;
}

int infer_tokens(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int channels = (int)node_attr(n, "channels");
    channels = channels ? channels : in[0].channels;
    if (shape_size(in[0]) % channels || shape_size(in[0]) / channels > GRAPH_MAX_SIZE)
        return error_set(e, HASTEN_EFILE, "%lld numbers do not make rows of %d", (long long)shape_size(in[0]),
                         channels);
    *out = (struct shape){VALUE_TOKENS, 1, (int)(shape_size(in[0]) / channels), channels};
    return 0;
}

int infer_grid(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int height = n->inputs > 1 ? in[1].height : (int)node_attr(n, "height");
    int width = n->inputs > 1 ? in[1].width : (int)node_attr(n, "width");
    if ((int64_t)height * width != shape_rows(in[0]))
        return error_set(e, HASTEN_EFILE, "%lld rows do not make an image of %dx%d",
                         (long long)shape_rows(in[0]), height, width);
    *out = (struct shape){VALUE_IMAGE, height, width, in[0].channels};
    return 0;
}

int infer_depth_to_space(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int block = (int)node_attr(n, "block");
    if (need_image(in[0], e) < 0)
        return -1;
    if (block > 1024 || in[0].channels % (block * block))
        return error_set(e, HASTEN_EFILE, "%d channels do not make blocks of %dx%d", in[0].channels, block,
                         block);
    if ((int64_t)in[0].height * block > GRAPH_MAX_SIZE || (int64_t)in[0].width * block > GRAPH_MAX_SIZE)
        return error_set(e, HASTEN_EFILE, "the image would be too large");
    *out = (struct shape){VALUE_IMAGE, in[0].height * block, in[0].width * block,
                          in[0].channels / (block * block)};
    return 0;
}

int infer_space_to_depth(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int block = (int)node_attr(n, "block");
    if (need_image(in[0], e) < 0)
        return -1;
    if (block > 1024 || in[0].height % block || in[0].width % block ||
        in[0].channels > GRAPH_MAX_SIZE / (block * block))
        return error_set(e, HASTEN_EFILE, "an image of %dx%d does not divide into blocks of %d", in[0].height,
                         in[0].width, block);
    *out = (struct shape){VALUE_IMAGE, in[0].height / block, in[0].width / block,
                          in[0].channels * block * block};
    return 0;
}

static int need_number(struct shape s, struct error *e)
{
    char text[64];
    return is_vector_of(s, 1)
               ? 0
               : error_set(e, HASTEN_EFILE, "a vector of 1 is needed, the input is a %s", describe(s, text));
}

int infer_timestep_embedding(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    int dim = (int)node_attr(n, "dim");
    if (need_number(in[0], e) < 0 || check_row(n, "frequencies", dim / 2, e) < 0)
        return -1;
    *out = (struct shape){VALUE_VECTOR, 1, 1, dim};
    return 0;
}

int infer_embedding(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    const struct tensor *w = node_weight(n, "weight");
    if (need_number(in[0], e) < 0)
        return -1;
    if (w->rank != 2 || w->shape[0] < 1 || w->shape[0] > 1 << 24 || w->shape[1] < 1 ||
        w->shape[1] > GRAPH_MAX_SIZE || !is_float(w->dtype))
        return bad_weight(w, "[rows,channels] of floats", e);
    *out = (struct shape){VALUE_VECTOR, 1, 1, (int)w->shape[1]};
    return 0;
}

int infer_position_embedding(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    if (need_image(in[0], e) < 0)
        return -1;
    *out = in[0];
    out->channels = (int)node_attr(n, "dim");
    return out->channels % 4 ? error_set(e, HASTEN_EFILE, "dim %d is not a multiple of 4", out->channels) : 0;
}

int infer_parameter(const struct node *n, const struct shape *in, struct shape *out, struct error *e)
{
    const struct tensor *t = node_weight(n, "value");
    (void)in;
    if (t->rank < 1 || t->rank > 3 || !is_float(t->dtype))
        return bad_weight(t, "1 to 3 dimensions of floats", e);
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] < 1 || t->shape[i] > GRAPH_MAX_SIZE)
            return bad_weight(t, "a sensible size", e);
    out->kind = t->rank == 1 ? VALUE_VECTOR : t->rank == 2 ? VALUE_TOKENS : VALUE_IMAGE;
    out->channels = (int)t->shape[t->rank - 1];
    out->width = t->rank > 1 ? (int)t->shape[t->rank - 2] : 1;
    out->height = t->rank > 2 ? (int)t->shape[0] : 1;
    return 0;
}
