/* The closed set of operations: names, attributes, weights. What each one means is said here, in one or two
 * lines, and frozen by its reference (ops_reference.c) and by golden vectors; hasten-ops(7) says the same to
 * users. A change of meaning needs a new version. Shapes are inferred in ops_infer.c. */
#include "common/graph/ops.h"

#define SIZE(name_, fallback_)                                                              \
    {                                                                                       \
        .name = name_, .fallback = fallback_, .min = 1, .max = GRAPH_MAX_SIZE, .integer = 1 \
    }
#define COUNT(name_, fallback_)                                                             \
    {                                                                                       \
        .name = name_, .fallback = fallback_, .min = 0, .max = GRAPH_MAX_SIZE, .integer = 1 \
    }
#define FLAG(name_)                           \
    {                                         \
        .name = name_, .max = 1, .integer = 1 \
    }
#define NUMBER(name_, fallback_)                                        \
    {                                                                   \
        .name = name_, .fallback = fallback_, .min = -1e30, .max = 1e30 \
    }
#define EPS                                                 \
    {                                                       \
        .name = "eps", .fallback = 1e-5, .min = 0, .max = 1 \
    }
#define CHOICE(name_, words_, last_)                                 \
    {                                                                \
        .name = name_, .choices = words_, .max = last_, .integer = 1 \
    }
#define FORMAT CHOICE("format", "plain w8a8 w8a16 w4a16 w4a8 fp8", 5)
#define AXIS CHOICE("axis", "channels tokens", 1)
#define AFFINE \
    {"weight", 0}, { "bias", 0 }

static const struct op ops[] = {
    /* A value from outside. */
    {"input", 1, 0, 0, {{0}}, {{0}}, NULL, NULL},
    /* y = x weight' + bias on every row. weight [N,K] or [N,K,1,1].
     * w8a8: weight int8 with weight_scale [N,1]; each row of x is rounded to uint8: with top = max(x, 0) and
     * low = min(x, 0), x is scale * (code - zero) with scale = top/255 - low/255 and the code
     * clip(round(x/scale) + zero, 0, 255), zero = round(-low/scale), both half to even, and the sum of (code
     * - zero) * weight is exact. w8a16: the same weights, x as it is. fp8: weight e4m3 with weight_scale.
     * w4a8, w4a16: weight [N,K/2] of two codes a byte, the low nibble first, weight_s_rel [N,K/g] e4m3,
     * weight_codebook [16], weight_scale [N]: the code's number in the codebook times its group's s_rel,
     * rounded half to even and clipped to +-127, is the int8 weight of w8a8 or w8a16.
     * rotate: x's blocks of so many channels are turned by the regular Hadamard matrix first (hadamard.inc);
     * the stored weight's rows are turned already. */
    {"linear",
     1,
     1,
     1,
     {FORMAT, {.name = "rotate", .max = 256, .integer = 1}},
     {{"weight", 1}, {"bias", 0}, {"weight_scale", 0}, {"weight_s_rel", 0}, {"weight_codebook", 0}},
     infer_linear,
     ref_linear},
    /* Cross-correlation as in PyTorch; pad: zeros above and left, pad_end below and right (-1: the same).
     * w8a8: one activation scale and zero for each image, and one for each side of `split` (channels before
     * it and from it). w8a16, fp8 as in linear; w4a8 and w4a16 do not exist here. */
    {"conv2d",
     1,
     1,
     1,
     {SIZE("stride", 1),
      COUNT("pad", 0),
      {.name = "pad_end", .fallback = -1, .min = -1, .max = GRAPH_MAX_SIZE, .integer = 1},
      FORMAT,
      COUNT("split", 0)},
     {{"weight", 1}, {"bias", 0}, {"weight_scale", 0}},
     infer_conv2d,
     ref_conv2d},
    {"group_norm", 1, 1, 1, {SIZE("groups", 32), EPS}, {AFFINE}, infer_norm, ref_group_norm},
    {"layer_norm", 1, 1, 1, {EPS}, {AFFINE}, infer_norm, ref_layer_norm},
    /* x, shift, scale: x * (1 + scale) + shift, with vectors of x's channels. */
    {"modulate", 1, 3, 3, {{0}}, {{0}}, infer_modulate, ref_modulate},
    /* a op b: b has a's shape, or is a vector of a's channels. */
    {"add", 1, 2, 2, {{0}}, {{0}}, infer_binary, ref_binary},
    {"sub", 1, 2, 2, {{0}}, {{0}}, infer_binary, ref_binary},
    {"mul", 1, 2, 2, {{0}}, {{0}}, infer_binary, ref_binary},
    /* x * factor + offset */
    {"scale", 1, 1, 1, {NUMBER("factor", 1), NUMBER("offset", 0)}, {{0}}, infer_same, ref_unary},
    {"silu", 1, 1, 1, {{0}}, {{0}}, infer_same, ref_unary},
    {"relu", 1, 1, 1, {{0}}, {{0}}, infer_same, ref_unary},
    {"tanh", 1, 1, 1, {{0}}, {{0}}, infer_same, ref_unary},
    {"sigmoid", 1, 1, 1, {{0}}, {{0}}, infer_same, ref_unary},
    {"gelu", 1, 1, 1, {CHOICE("approximate", "none tanh", 1)}, {{0}}, infer_same, ref_unary},
    /* q, k, v: softmax(q k' scale) v in each head; rows are tokens; scale 0 means 1/sqrt(head size).
     * int8_scores: q k' may be of int8 codes where q, k and v are read rounded anyway. */
    {"attention",
     1,
     3,
     3,
     {SIZE("heads", 1),
      FLAG("causal"),
      {.name = "scale", .fallback = 0, .min = 0, .max = 1e6},
      FLAG("int8_scores")},
     {{0}},
     infer_attention,
     ref_attention},
    {"concat", 1, 2, GRAPH_MAX_INPUTS, {AXIS}, {{0}}, infer_concat, ref_concat},
    {"slice", 1, 1, 1, {AXIS, COUNT("begin", 0), SIZE("length", 1)}, {{0}}, infer_slice, ref_slice},
    /* Nearest: twice the size, or the size of the second input: source = floor(i * small / large). */
    {"upsample", 1, 1, 2, {{0}}, {{0}}, infer_upsample, ref_upsample},
    {"avg_pool", 1, 1, 1, {SIZE("size", 2)}, {{0}}, infer_avg_pool, ref_avg_pool},
    /* Mean over all rows: a vector. */
    {"mean_pool", 1, 1, 1, {{0}}, {{0}}, infer_mean_pool, ref_mean_pool},
    /* The same numbers as rows of `channels` (0: unchanged). */
    {"tokens", 1, 1, 1, {COUNT("channels", 0)}, {{0}}, infer_tokens, ref_copy},
    /* Tokens as an image of the second input's height and width, or of the given ones. */
    {"grid", 1, 1, 2, {COUNT("height", 0), COUNT("width", 0)}, {{0}}, infer_grid, ref_copy},
    /* Channels ordered (p, q, c) become the pixel (h * block + p, w * block + q), channel c; and back. */
    {"depth_to_space", 1, 1, 1, {SIZE("block", 2)}, {{0}}, infer_depth_to_space, ref_depth_to_space},
    {"space_to_depth", 1, 1, 1, {SIZE("block", 2)}, {{0}}, infer_space_to_depth, ref_space_to_depth},
    /* Sinusoids of t * frequency * scale (log: of ln(t) * ...): sines first, cosines first with flip.
     * Frequencies are exp(-ln(max_period) i / (half - shift)), or the given ones. An odd dim ends with a
     * zero. */
    {"timestep_embedding",
     1,
     1,
     1,
     {SIZE("dim", 256),
      FLAG("flip"),
      NUMBER("shift", 0),
      {.name = "max_period", .fallback = 10000, .min = 1, .max = 1e30},
      NUMBER("scale", 1),
      FLAG("log")},
     {{"frequencies", 0}},
     infer_timestep_embedding,
     ref_timestep_embedding},
    /* The weight's row of that number. */
    {"embedding", 1, 1, 1, {{0}}, {{"weight", 1}}, infer_embedding, ref_embedding},
    /* The 2-D sine-cosine table of diffusers for the input's height and width: first half of the channels
     * from the column, second from the row; position = index / (size / base_size) / interpolation. */
    {"position_embedding",
     1,
     1,
     1,
     {SIZE("dim", 4),
      SIZE("base_size", 16),
      {.name = "interpolation", .fallback = 1, .min = 1e-6, .max = 1e6}},
     {{0}},
     infer_position_embedding,
     ref_position_embedding},
    /* A stored value: [C] a vector, [T,C] tokens, [H,W,C] an image. */
    {"parameter", 1, 0, 0, {{0}}, {{"value", 1}}, infer_parameter, ref_parameter},
};

const struct op *op_at(int index)
{
    return index >= 0 && index < (int)(sizeof ops / sizeof *ops) ? &ops[index] : NULL;
}

static int format_of(const struct node *n)
{
    return node_is(n, "linear") || node_is(n, "conv2d") ? (int)node_attr(n, "format") : FORMAT_PLAIN;
}

int node_is_int4(const struct node *n) { return format_of(n) == FORMAT_W4A8 || format_of(n) == FORMAT_W4A16; }
int node_rounds_input(const struct node *n)
{
    return format_of(n) == FORMAT_W8A8 || format_of(n) == FORMAT_W4A8;
}
