/* The meaning of every operation in scalar C: loops as in the definition, sums in double. The oracle of the
 * fast kernels, and fast enough for tests only. */
#include "common/graph/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const struct node *node_of(const struct op_call *c) { return c->node; }

static int64_t rows_of(const struct op_call *c, int input)
{
    return c->images * shape_rows(c->in_shape[input]);
}

static float activate(const struct op_call *c, double x)
{
    const struct node *n = node_of(c);
    if (node_is(n, "silu"))
        return (float)(x / (1 + exp(-x)));
    if (node_is(n, "relu"))
        return (float)(x > 0 || isnan(x) ? x : 0);
    if (node_is(n, "tanh"))
        return (float)tanh(x);
    if (node_is(n, "sigmoid"))
        return (float)(1 / (1 + exp(-x)));
    if (node_is(n, "gelu"))
        return (float)((int)node_attr(n, "approximate") == GELU_TANH
                           ? 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)))
                           : 0.5 * x * (1 + erf(x * 0.70710678118654752440)));
    return (float)(x * node_attr(n, "factor") + node_attr(n, "offset"));
}

void ref_unary(const struct op_call *c)
{
    for (int64_t i = 0; i < c->images * shape_size(c->out_shape); i++)
        c->out[i] = activate(c, c->in[0][i]);
}

void ref_copy(const struct op_call *c)
{
    memcpy(c->out, c->in[0], (size_t)(c->images * shape_size(c->out_shape)) * sizeof *c->out);
}

void ref_binary(const struct op_call *c)
{
    int64_t size = shape_size(c->in_shape[0]);
    int channels = c->in_shape[0].channels, vector = shape_size(c->in_shape[1]) != size;
    char kind = c->node->op->name[0];
    for (int64_t i = 0; i < c->images * size; i++) {
        double a = c->in[0][i], b = c->in[1][vector ? i / size * channels + i % channels : i];
        c->out[i] = (float)(kind == 'a' ? a + b : kind == 's' ? a - b : a * b);
    }
}

void ref_modulate(const struct op_call *c)
{
    int64_t size = shape_size(c->in_shape[0]);
    int channels = c->in_shape[0].channels;
    for (int64_t i = 0; i < c->images * size; i++) {
        int64_t v = i / size * channels + i % channels;
        c->out[i] = (float)(c->in[0][i] * (1.0 + c->in[2][v]) + c->in[1][v]);
    }
}

/* ---- products ---- */

/* How numbers are rounded to 256 codes: x is scale * (code - zero). NaN when one is not finite. */
struct rounding {
    float top, low; /* of the numbers and 0 */
    float scale, zero;
};

static void rounding_add(struct rounding *r, float x)
{
    r->top = x > r->top || isnan(x) ? x : r->top;
    r->low = x < r->low ? x : r->low;
}

static void rounding_end(struct rounding *r)
{
    r->scale = isfinite(r->top) && isfinite(r->low) ? r->top / 255 - r->low / 255 : NAN;
    r->zero = r->scale >= FLT_MIN ? nearbyintf(-r->low * (1 / r->scale)) : 0;
}

/* code - zero */
static double round_to(double x, const struct rounding *r)
{
    if (!(r->scale >= FLT_MIN)) /* its inverse could overflow */
        return 0;
    float code = nearbyintf((float)x * (1 / r->scale)) + r->zero;
    return fminf(fmaxf(code, 0), 255) - r->zero;
}

/* Weight k of output n before its scale; four-bit codes come as the floats of signed bytes. */
static double linear_weight(const struct op_call *c, int int4, int n, int k)
{
    int k_count = c->in_shape[0].channels;
    if (!int4)
        return c->weight[0][(int64_t)n * k_count + k];
    int64_t groups = c->weight_shape[3][1];
    int pair = (int)c->weight[0][(int64_t)n * (k_count / 2) + k / 2] & 255;
    double q = nearbyint((double)(c->weight[4][k % 2 ? pair >> 4 : pair & 15] *
                                  c->weight[3][n * groups + k / (k_count / groups)]));
    return q > 127 ? 127 : q < -127 ? -127 : q;
}

/* Channel k of a rotated row: see hadamard.inc. */
static double rotated(const float *x, int k, int rotate)
{
    double sum = 0;
    for (int j = 0; j < rotate; j++) {
        double sign = 1;
        for (int digit = 1; digit < rotate; digit *= 4)
            sign *= k % rotate / digit % 4 + j / digit % 4 == 3 ? -0.5 : 0.5;
        sum += sign * (double)x[k / rotate * rotate + j];
    }
    return sum;
}

enum { COLUMNS = 64 }; /* that share a row's numbers */

void ref_linear(const struct op_call *c)
{
    int k_count = c->in_shape[0].channels, n_count = c->out_shape.channels,
        rotate = (int)node_attr(c->node, "rotate"), rounds = node_rounds_input(c->node),
        int4 = node_is_int4(c->node);
    for (int64_t row = 0; row < rows_of(c, 0); row++) {
        const float *x = c->in[0] + row * k_count;
        struct rounding by = {0};
        for (int k = 0; rounds && k < k_count; k++)
            rounding_add(&by, rotate ? (float)rotated(x, k, rotate) : x[k]);
        rounding_end(&by);
        double scale = rounds ? by.scale : 1;
        for (int first = 0; first < n_count; first += COLUMNS) {
            double sum[COLUMNS] = {0};
            int count = n_count - first < COLUMNS ? n_count - first : COLUMNS;
            for (int k = 0; k < k_count; k++) {
                double v = rotate ? rotated(x, k, rotate) : (double)x[k];
                v = rounds ? round_to(v, &by) : v;
                for (int n = 0; n < count; n++)
                    sum[n] += linear_weight(c, int4, first + n, k) * v;
            }
            for (int n = 0; n < count; n++) {
                double all = c->weight[2] ? sum[n] * (scale * c->weight[2][first + n]) : sum[n];
                c->out[row * n_count + first + n] =
                    (float)(all + (c->weight[1] ? c->weight[1][first + n] : 0));
            }
        }
    }
}

/* Of one image of a quantized convolution: channels below split, and the others. */
static void side_roundings(const struct op_call *c, const float *image, int split, struct rounding by[2])
{
    int channels = c->in_shape[0].channels;
    by[0] = by[1] = (struct rounding){0};
    for (int64_t i = 0; i < shape_size(c->in_shape[0]); i++)
        rounding_add(&by[i % channels >= split], image[i]);
    rounding_end(&by[0]);
    rounding_end(&by[1]);
}

void ref_conv2d(const struct op_call *c)
{
    struct shape in = c->in_shape[0], out = c->out_shape;
    int stride = (int)node_attr(c->node, "stride"), pad = (int)node_attr(c->node, "pad");
    int kh = (int)c->weight_shape[0][2], kw = (int)c->weight_shape[0][3],
        split = (int)node_attr(c->node, "split");
    int rounds = node_rounds_input(c->node);
    for (int image = 0; image < c->images; image++) {
        const float *x = c->in[0] + image * shape_size(in);
        float *y = c->out + image * shape_size(out);
        struct rounding by[2];
        side_roundings(c, x, split, by);
        for (int64_t at = 0; at < shape_size(out); at++) {
            int n = (int)(at % out.channels), column = (int)(at / out.channels % out.width);
            int row = (int)(at / out.channels / out.width);
            double sum[2] = {0, 0};
            for (int tap = 0; tap < kh * kw; tap++) {
                int h = row * stride - pad + tap / kw, w = column * stride - pad + tap % kw;
                if (h < 0 || w < 0 || h >= in.height || w >= in.width)
                    continue;
                for (int k = 0; k < in.channels; k++) {
                    double v = x[((int64_t)h * in.width + w) * in.channels + k];
                    if (rounds)
                        v = round_to(v, &by[k >= split]);
                    sum[k >= split] +=
                        v * c->weight[0][(((int64_t)n * in.channels + k) * kh + tap / kw) * kw + tap % kw];
                }
            }
            double all = rounds ? sum[0] * by[0].scale + sum[1] * by[1].scale : sum[0] + sum[1];
            all *= c->weight[2] ? (double)c->weight[2][n] : 1;
            y[at] = (float)(all + (c->weight[1] ? c->weight[1][n] : 0));
        }
    }
}

/* ---- norms ---- */

/* Normalise `rows` x `width` numbers at distance `stride`, starting with channel `first`. */
static void normalise(const struct op_call *c, const float *x, float *y, int64_t rows, int64_t stride,
                      int width, int first, double eps)
{
    double mean = 0, square = 0, count = (double)rows * width;
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < width; k++)
            mean += x[r * stride + k] / count;
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < width; k++)
            square += (x[r * stride + k] - mean) * (x[r * stride + k] - mean) / count;
    double inverse = 1 / sqrt(square + eps);
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < width; k++) {
            double v = (x[r * stride + k] - mean) * inverse;
            v = c->weight[0] ? v * c->weight[0][first + k] : v;
            y[r * stride + k] = (float)(c->weight[1] ? v + c->weight[1][first + k] : v);
        }
}

void ref_layer_norm(const struct op_call *c)
{
    int channels = c->in_shape[0].channels;
    for (int64_t row = 0; row < rows_of(c, 0); row++)
        normalise(c, c->in[0] + row * channels, c->out + row * channels, 1, channels, channels, 0,
                  node_attr(c->node, "eps"));
}

void ref_group_norm(const struct op_call *c)
{
    struct shape s = c->in_shape[0];
    int groups = (int)node_attr(c->node, "groups"), width = s.channels / groups;
    for (int image = 0; image < c->images; image++)
        for (int g = 0; g < groups; g++) {
            int64_t at = image * shape_size(s) + g * width;
            normalise(c, c->in[0] + at, c->out + at, shape_rows(s), s.channels, width, g * width,
                      node_attr(c->node, "eps"));
        }
}

/* ---- attention ---- */

static void attend(const struct op_call *c, const float *q, const float *k, const float *v, float *out,
                   int64_t keys, int dim, double scale)
{
    int channels = c->in_shape[0].channels;
    double most = -INFINITY, total = 0;
    for (int d = 0; d < dim; d++)
        out[d] = 0;
    for (int64_t j = 0; j < keys; j++) {
        double score = 0;
        for (int d = 0; d < dim; d++)
            score += (double)q[d] * k[j * channels + d];
        most = score * scale > most ? score * scale : most;
    }
    double sum[1024] = {0};
    for (int64_t j = 0; j < keys; j++) {
        double score = 0;
        for (int d = 0; d < dim; d++)
            score += (double)q[d] * k[j * channels + d];
        double p = exp(score * scale - most);
        total += p;
        for (int d = 0; d < dim && d < 1024; d++)
            sum[d] += p * v[j * channels + d];
    }
    for (int d = 0; d < dim && d < 1024; d++)
        out[d] = (float)(sum[d] / total);
}

void ref_attention(const struct op_call *c)
{
    int heads = (int)node_attr(c->node, "heads"), channels = c->in_shape[0].channels, dim = channels / heads;
    int64_t queries = shape_rows(c->in_shape[0]), keys = shape_rows(c->in_shape[1]);
    double scale = node_attr(c->node, "scale");
    scale = scale > 0 ? scale : 1 / sqrt(dim);
    for (int image = 0; image < c->images; image++)
        for (int64_t i = 0; i < queries; i++)
            for (int h = 0; h < heads; h++) {
                int64_t at = (image * queries + i) * channels + h * dim,
                        from = image * keys * channels + h * dim;
                attend(c, c->in[0] + at, c->in[1] + from, c->in[2] + from, c->out + at,
                       node_attr(c->node, "causal") ? i + 1 : keys, dim, scale);
            }
}

/* ---- moving numbers ---- */

void ref_concat(const struct op_call *c)
{
    int tokens = (int)node_attr(c->node, "axis") == AXIS_TOKENS;
    int64_t outer = c->images * (tokens ? 1 : shape_rows(c->out_shape)), at = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int i = 0; i < c->node->inputs; i++) {
            int64_t n = tokens ? shape_size(c->in_shape[i]) : c->in_shape[i].channels;
            memcpy(c->out + at, c->in[i] + o * n, (size_t)n * sizeof *c->out);
            at += n;
        }
}

void ref_slice(const struct op_call *c)
{
    int tokens = (int)node_attr(c->node, "axis") == AXIS_TOKENS;
    int64_t unit = tokens ? c->in_shape[0].channels : 1, begin = (int64_t)node_attr(c->node, "begin") * unit;
    int64_t length = (int64_t)node_attr(c->node, "length") * unit;
    int64_t whole = tokens ? shape_size(c->in_shape[0]) : c->in_shape[0].channels;
    int64_t outer = c->images * (tokens ? 1 : shape_rows(c->in_shape[0]));
    for (int64_t o = 0; o < outer; o++)
        memcpy(c->out + o * length, c->in[0] + o * whole + begin, (size_t)length * sizeof *c->out);
}

void ref_upsample(const struct op_call *c)
{
    struct shape in = c->in_shape[0], out = c->out_shape;
    for (int64_t row = 0; row < c->images * shape_rows(out); row++) {
        int64_t image = row / shape_rows(out), h = row / out.width % out.height * in.height / out.height;
        int64_t w = row % out.width * in.width / out.width;
        memcpy(c->out + row * out.channels, c->in[0] + ((image * in.height + h) * in.width + w) * in.channels,
               (size_t)out.channels * sizeof *c->out);
    }
}

void ref_avg_pool(const struct op_call *c)
{
    struct shape in = c->in_shape[0], out = c->out_shape;
    int size = (int)node_attr(c->node, "size");
    for (int64_t at = 0; at < c->images * shape_size(out); at++) {
        int64_t k = at % out.channels, w = at / out.channels % out.width,
                h = at / out.channels / out.width % out.height;
        int64_t image = at / shape_size(out);
        double sum = 0;
        for (int tap = 0; tap < size * size; tap++)
            sum += c->in[0][((image * in.height + h * size + tap / size) * in.width + w * size + tap % size) *
                                in.channels +
                            k];
        c->out[at] = (float)(sum / (size * size));
    }
}

void ref_mean_pool(const struct op_call *c)
{
    struct shape in = c->in_shape[0];
    for (int64_t at = 0; at < (int64_t)c->images * in.channels; at++) {
        double sum = 0;
        for (int64_t row = 0; row < shape_rows(in); row++)
            sum += c->in[0][at / in.channels * shape_size(in) + row * in.channels + at % in.channels];
        c->out[at] = (float)(sum / (double)shape_rows(in));
    }
}

/* One side is the other with blocks of pixels in the channels; `deep` is the one with more channels. */
static void move_blocks(const struct op_call *c, struct shape deep, int to_space)
{
    int block = (int)node_attr(c->node, "block"), channels = deep.channels / (block * block);
    int64_t wide = (int64_t)deep.width * block;
    for (int64_t i = 0; i < c->images * shape_size(deep); i++) {
        int64_t k = i % channels, q = i / channels % block, p = i / channels / block % block;
        int64_t w = i / deep.channels % deep.width, h = i / deep.channels / deep.width;
        int64_t j = ((h * block + p) * wide + w * block + q) * channels + k;
        c->out[to_space ? j : i] = c->in[0][to_space ? i : j];
    }
}

void ref_depth_to_space(const struct op_call *c) { move_blocks(c, c->in_shape[0], 1); }
void ref_space_to_depth(const struct op_call *c) { move_blocks(c, c->out_shape, 0); }

/* ---- embeddings ---- */

void ref_timestep_embedding(const struct op_call *c)
{
    const struct node *n = c->node;
    int dim = (int)node_attr(n, "dim"), half = dim / 2, flip = (int)node_attr(n, "flip");
    double step = -log(node_attr(n, "max_period")) / (half - node_attr(n, "shift"));
    for (int image = 0; image < c->images; image++) {
        float t = c->in[0][image], *out = c->out + (int64_t)image * dim;
        t = node_attr(n, "log") ? logf(t) : t;
        for (int i = 0; i < half; i++) {
            /* PyTorch makes the exponent, the frequency and the angle in float32. */
            float frequency = c->weight[0] ? c->weight[0][i] : expf((float)((float)step * (float)i));
            float angle = t * frequency * (float)node_attr(n, "scale");
            out[flip ? half + i : i] = (float)sin(angle);
            out[flip ? i : half + i] = (float)cos(angle);
        }
        if (dim % 2)
            out[dim - 1] = 0;
    }
}

void ref_embedding(const struct op_call *c)
{
    int channels = c->out_shape.channels;
    int64_t rows = c->weight_shape[0][0];
    for (int image = 0; image < c->images; image++) {
        double label = c->in[0][image];
        int64_t row = label >= 0 && label < (double)rows ? (int64_t)label : -1;
        for (int k = 0; k < channels; k++)
            c->out[(int64_t)image * channels + k] = row < 0 ? NAN : c->weight[0][row * channels + k];
    }
}

void ref_position_embedding(const struct op_call *c)
{
    struct shape out = c->out_shape;
    int quarter = out.channels / 4;
    double base = node_attr(c->node, "base_size"), interpolation = node_attr(c->node, "interpolation");
    for (int64_t at = 0; at < c->images * shape_size(out); at++) {
        int k = (int)(at % out.channels), axis = k / (2 * quarter), j = k % quarter;
        int64_t w = at / out.channels % out.width, h = at / out.channels / out.width % out.height;
        double position = axis ? (double)h / (out.height / base) : (double)w / (out.width / base);
        double angle = position / interpolation * pow(10000, -(double)j / quarter);
        c->out[at] = (float)(k / quarter % 2 ? cos(angle) : sin(angle));
    }
}

void ref_parameter(const struct op_call *c)
{
    int64_t size = shape_size(c->out_shape);
    for (int64_t i = 0; i < c->images * size; i++)
        c->out[i] = c->weight[0][i % size];
}
