/* See quantizer.h. */
#include "common/run/quantizer.h"
#include "common/method/descend.h"
#include "common/method/gptq.h"
#include "common/method/output_error.h"
#include "common/method/quantize_fp8.h"
#include "common/method/quantize_w4.h"
#include "common/method/rotate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[FORMATS] = {"plain", "w8a8", "w8a16", "w4a16", "w4a8", "fp8"};

const char *format_name(int format) { return names[format]; }

/* Shares of the mean diagonal that are added to moments before they are inverted. */
static const double DAMP = 0.01, TAP_DAMP = 0.01;

int format_find(const char *name)
{
    for (int i = 0; i < FORMATS; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

int quantizer_format(const struct graph *g, int node, int format)
{
    const struct node *n = &g->node[node];
    int fits = node_is(n, "linear") && g->node[n->in[0]].shape.channels % 16 == 0;
    if (format == FORMAT_W4A8 && !fits)
        return FORMAT_W8A8;
    return format == FORMAT_W4A16 && !fits ? FORMAT_W8A16 : format;
}

/* Where the input of a convolution is a concatenation, seen through norm, modulation and activation: its
 * first part. */
static int split_of(const struct graph *g, const struct node *n)
{
    int at = n->in[0];
    for (;;) {
        const struct node *p = &g->node[at];
        if (node_is(p, "concat") && p->inputs == 2 && (int)node_attr(p, "axis") == AXIS_CHANNELS)
            return g->node[p->in[0]].shape.channels;
        if (!node_is(p, "silu") && !node_is(p, "gelu") && !node_is(p, "relu") && !node_is(p, "modulate") &&
            !node_is(p, "group_norm"))
            return 0;
        at = p->in[0];
    }
}

/* ---- one layer at work ---- */

struct work {
    const struct quantizer *q;
    struct stored_layer *out;
    const struct tensor *tensor; /* the weight */
    int conv, taps;              /* columns = channels * taps */
    int64_t rows, columns, channels;
    float *wide, *made; /* what is stored, rotated: wanted and got */
    float *importance;  /* or NULL */
    float *mean; /* of the input's channels, rotated, if the bias can make up for errors of it; or NULL */
    double
        *moment; /* of the input's channels (about the mean, if there is one), rotated, not damped; or NULL */
    double tap_moment[GPTQ_TAPS * GPTQ_TAPS];
};

static int add_part(struct work *w, int part, enum dtype dtype, int rank, const int64_t *shape,
                    struct error *e)
{
    struct tensor *t = &w->out->part[part];
    *t = (struct tensor){.dtype = dtype, .rank = rank};
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    if (tensor_measure(t, e) < 0 || !(t->data = mem_room(t->size, 1, e)))
        return -1;
    w->out->bytes += t->size;
    return 0;
}

static void measure(struct work *w, const struct node *n)
{
    const struct tensor *t = w->tensor = node_weight(n, "weight");
    w->rows = t->shape[0];
    w->columns = (int64_t)t->count / w->rows;
    w->channels = t->shape[1];
    w->taps = (int)(w->columns / w->channels);
}

/* weight_rows.get: what is stored, rotated. */
static void get_rows(void *context, int64_t row, int64_t rows, float *out)
{
    const struct work *w = context;
    const struct tensor *t = w->tensor;
    const char *from = (const char *)t->data + (size_t)(row * w->columns) * dtype_size(t->dtype);
    tensor_to_f32(t->dtype, from, out, (size_t)(rows * w->columns));
    rotate_rows(out, rows, w->columns, w->out->rotate, NULL);
}

static int load(struct work *w, struct error *e)
{
    const struct tensor *t = w->tensor;
    w->wide = mem_array(t->count, sizeof *w->wide, e);
    w->made = mem_array(t->count, sizeof *w->made, e);
    if (!w->wide || !w->made)
        return -1;
    tensor_to_f32(t->dtype, t->data, w->wide, t->count);
    rotate_rows(w->wide, w->rows, w->columns, w->out->rotate, w->q->team);
    return 0;
}

/* Does this layer have a bias of its own, beside weights of its own? Then that can change. */
static int has_own_bias(const struct graph *g, const struct node *n)
{
    const struct tensor *weight = node_weight(n, "weight"), *bias = node_weight(n, "bias");
    for (int i = 0; bias && i < g->count; i++) {
        const struct node *other = &g->node[i];
        for (int k = 0; other != n && k < GRAPH_MAX_WEIGHTS; k++)
            if (other->tensor[k] && (other->tensor[k] == weight || other->tensor[k] == bias))
                return 0;
    }
    return bias != NULL;
}

static int use_mean(struct work *w, const struct node *n, const struct edge_statistics *x, struct error *e)
{
    if (w->conv || !w->q->correct || !has_own_bias(w->q->graph, n))
        return 0;
    if (!(w->mean = mem_array((size_t)w->channels, sizeof *w->mean, e)))
        return -1;
    for (int64_t i = 0; i < w->channels; i++)
        w->mean[i] = (float)(x->sum[i] / (double)x->rows);
    rotate_rows(w->mean, 1, w->channels, w->out->rotate, NULL);
    return 0;
}

/* Of the layer's input, or NULL. */
static const struct edge_statistics *statistics_of(const struct work *w, const struct node *n)
{
    return w->q->statistics ? statistics_find(w->q->statistics, w->q->graph->node[n->in[0]].name) : NULL;
}

/* Kernels above 3 x 3 have no moment of taps: their weights are rounded to nearest. */
static int use_statistics(struct work *w, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "weight");
    const struct edge_statistics *x = statistics_of(w, n);
    if (w->conv && w->taps <= GPTQ_TAPS)
        neighbour_prior((int)t->shape[2], (int)t->shape[3], TAP_DAMP, w->tap_moment);
    if (!x || x->rows < 1 || w->taps > GPTQ_TAPS || (w->taps > 1 && x->lags[0] <= 0))
        return 0;
    int64_t k = w->channels;
    w->moment = mem_array((size_t)k * (size_t)k, sizeof *w->moment, e);
    w->importance = mem_array((size_t)w->columns, sizeof *w->importance, e);
    if (!w->moment || !w->importance || use_mean(w, n, x, e) < 0)
        return -1;
    edge_moment(x, w->mean != NULL, 0, w->moment);
    rotate_moment(w->moment, k, w->out->rotate);
    if (w->conv)
        neighbour_moment(x->lags, (int)t->shape[2], (int)t->shape[3], TAP_DAMP, w->tap_moment);
    double mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += w->moment[i * (k + 1)] / (double)k;
    for (int64_t i = 0; i < w->columns; i++)
        w->importance[i] = (float)(mean > 0 ? w->moment[i / w->taps * (k + 1)] / mean + 1e-6 : 1);
    return 0;
}

/* Something that GPTQ can use: moments, or the prior of a convolution's neighbours. */
static int likeness_known(const struct work *w) { return w->moment || (w->taps > 1 && w->taps <= GPTQ_TAPS); }

/* Eight bits by themselves look at a row at a time. */
static int needs_floats(const struct work *w)
{
    int four = w->out->format == FORMAT_W4A8 || w->out->format == FORMAT_W4A16;
    return four || w->moment || (w->out->format != FORMAT_FP8 && w->q->gptq && likeness_known(w));
}

static const double *tap_moment(const struct work *w) { return w->taps > 1 ? w->tap_moment : NULL; }

/* h = the moment of channels with its damping; NULL without data, when channels are taken to be alike. */
static int damped_moment(const struct work *w, double **h, struct error *e)
{
    size_t k = (size_t)w->channels;
    double mean = 0;
    *h = NULL;
    if (!w->moment)
        return 0;
    if (!(*h = mem_array(k * k, sizeof **h, e)))
        return -1;
    memcpy(*h, w->moment, k * k * sizeof **h);
    for (size_t i = 0; i < k; i++)
        mean += (*h)[i * (k + 1)] / (double)k;
    for (size_t i = 0; i < k; i++)
        (*h)[i * (k + 1)] += mean > 0 ? DAMP * mean : 1;
    return 0;
}

/* made = wide, rounded column after column by `round`, to four bits (matrices all) then together. */
static int round_by_gptq(struct work *w, gptq_round *round, void *context, struct error *e)
{
    double *h;
    struct gptq g = {0};
    if (damped_moment(w, &h, e) < 0)
        return -1;
    memcpy(w->made, w->wide, (size_t)(w->rows * w->columns) * sizeof *w->made);
    int status = gptq_open(&g, h, w->channels, tap_moment(w), w->taps, w->q->team, e) < 0
                     ? -1
                     : gptq_rows(&g, w->made, w->rows, round, context, w->q->team, e);
    gptq_close(&g);
    mem_free(h);
    int four = w->out->format == FORMAT_W4A8 || w->out->format == FORMAT_W4A16;
    if (status < 0 || !w->moment || !four) /* eight bits have nothing to gain */
        return status;
    status = damped_moment(w, &h, e) < 0
                 ? -1
                 : descend_rows(h, w->wide, w->made, w->rows, w->columns, round, context, w->q->team, e);
    mem_free(h);
    return status;
}

static int to_int4(struct work *w, struct error *e)
{
    int group = w->out->format == FORMAT_W4A16 && w->columns % 64 == 0 ? 64 : 16;
    struct quantize_w4 q = {.rows = w->rows, .columns = w->columns, .group = group};
    int64_t codes[2] = {w->rows, w->columns / 2}, groups[2] = {w->rows, w->columns / group}, levels = 16;
    int status = -1;
    if (quantize_w4_open(&q, e) < 0)
        return -1;
    if (quantize_w4_fit(&q, w->wide, w->importance, w->q->linear_levels, w->q->team, e) < 0 ||
        (w->moment && w->q->gptq && round_by_gptq(w, quantize_w4_round, &q, e) < 0) ||
        add_part(w, STORED_WEIGHT, DTYPE_I8, 2, codes, e) < 0 ||
        add_part(w, STORED_SCALE, DTYPE_F32, 1, &w->rows, e) < 0 ||
        add_part(w, STORED_S_REL, DTYPE_F8_E4M3, 2, groups, e) < 0 ||
        add_part(w, STORED_CODEBOOK, DTYPE_F32, 1, &levels, e) < 0)
        goto out;
    quantize_w4_pack(&q, w->out->part[STORED_WEIGHT].data);
    memcpy(w->out->part[STORED_SCALE].data, q.scale, (size_t)w->rows * sizeof *q.scale);
    memcpy(w->out->part[STORED_S_REL].data, q.s_rel, w->out->part[STORED_S_REL].size);
    memcpy(w->out->part[STORED_CODEBOOK].data, q.codebook, sizeof q.codebook);
    quantize_w4_report(&q, w->wide, &w->out->weights);
    quantize_w4_restore(&q, w->q->team, w->made);
    status = 0;
out:
    quantize_w4_close(&q);
    return status;
}

static int to_bytes(struct work *w, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "weight");
    int64_t one[4] = {w->rows, 1, 1, 1};
    int fp8 = w->out->format == FORMAT_FP8;
    if (add_part(w, STORED_WEIGHT, fp8 ? DTYPE_F8_E4M3 : DTYPE_I8, t->rank, t->shape, e) < 0 ||
        add_part(w, STORED_SCALE, DTYPE_F32, w->conv ? 4 : 2, one, e) < 0)
        return -1;
    void *codes = w->out->part[STORED_WEIGHT].data;
    float *scale = w->out->part[STORED_SCALE].data;
    struct weight_rows rows = {get_rows, w, w->rows, w->columns};
    if (fp8) {
        if (quantize_fp8_rows(&rows, w->q->team, codes, scale, &w->out->weights, e) < 0)
            return -1;
        if (w->moment)
            quantize_fp8_restore(codes, scale, w->rows, w->columns, w->made);
        return 0;
    }
    struct quantize_w8 q = {codes, scale, w->columns};
    if (quantize_w8_rows(&rows, w->q->team, codes, scale, &w->out->weights, e) < 0 ||
        (likeness_known(w) && w->q->gptq && round_by_gptq(w, quantize_w8_round, &q, e) < 0))
        return -1;
    if (w->moment)
        quantize_w8_restore(codes, scale, w->rows, w->columns, w->made);
    return 0;
}

/* The bias makes up for what the weights' error does to the mean input. */
static int correct_bias(struct work *w, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "bias");
    size_t bytes = w->out->bytes;
    if (!w->mean)
        return 0;
    if (add_part(w, STORED_BIAS, DTYPE_F32, 1, &w->rows, e) < 0)
        return -1;
    float *bias = w->out->part[STORED_BIAS].data;
    tensor_to_f32(t->dtype, t->data, bias, t->count);
    for (int64_t row = 0; row < w->rows; row++) {
        const float *want = w->wide + row * w->columns, *got = w->made + row * w->columns;
        double sum = 0;
        for (int64_t k = 0; k < w->columns; k++)
            sum += ((double)want[k] - (double)got[k]) * (double)w->mean[k];
        bias[row] = (float)(bias[row] + sum);
    }
    w->out->bytes = bytes + (size_t)w->rows * sizeof *bias - t->size; /* it takes the place of another */
    return 0;
}

/* ---- the whole ---- */

/* The variance of the rounding of an input to 256 codes, which is uniform: a twelfth of a step's square. */
static double rounding_noise(const struct work *w, const struct edge_statistics *x)
{
    int rounds = w->out->format == FORMAT_W8A8 || w->out->format == FORMAT_W4A8;
    return x && rounds && !w->conv ? x->ranges[w->out->rotate != 0] / (double)x->rows / (255.0 * 255 * 12)
                                   : 0;
}

static int make_layer(const struct quantizer *q, int node, int format, int rotate, struct stored_layer *out,
                      struct error *e)
{
    const struct node *n = &q->graph->node[node];
    const struct tensor *t = node_weight(n, "weight");
    struct work w = {.q = q, .out = out, .conv = node_is(n, "conv2d")};
    *out = (struct stored_layer){.format = format, .output_error = -1, .rotate = rotate};
    out->split = w.conv ? split_of(q->graph, n) : 0;
    int four = format == FORMAT_W4A8 || format == FORMAT_W4A16;
    measure(&w, n);
    int status = use_statistics(&w, n, e) < 0 || (needs_floats(&w) && load(&w, e) < 0) ||
                         (four ? to_int4(&w, e) : to_bytes(&w, n, e)) < 0 || correct_bias(&w, n, e) < 0 ||
                         (w.moment && output_error(w.wide, w.made, w.rows, w.channels, w.mean, w.moment,
                                                   rounding_noise(&w, statistics_of(&w, n)), tap_moment(&w),
                                                   w.taps, q->team, &out->output_error, e) < 0)
                     ? -1
                     : 0;
    mem_free(w.wide);
    mem_free(w.made);
    mem_free(w.importance);
    mem_free(w.mean);
    mem_free(w.moment);
    if (status == 0)
        return 0;
    stored_free(out);
    return error_under(e, "tensor '%s'", t->name);
}

/* Both ways, of which the better one stays; without data that is not known, and the rotation guards against
 * outliers. */
static int choose_rotation(const struct quantizer *q, int node, int format, int rotate,
                           struct stored_layer *out, struct error *e)
{
    struct stored_layer plain;
    if (make_layer(q, node, format, rotate, out, e) < 0)
        return -1;
    if (out->output_error < 0)
        return 0;
    if (make_layer(q, node, format, 0, &plain, e) < 0) {
        stored_free(out);
        return -1;
    }
    int better = plain.output_error < out->output_error;
    stored_free(better ? out : &plain);
    if (better)
        *out = plain;
    return 0;
}

int quantizer_make(const struct quantizer *q, int node, int format, struct stored_layer *out, struct error *e)
{
    const struct node *n = &q->graph->node[node];
    int rounds = format == FORMAT_W8A8 || format == FORMAT_W4A8,
        size = rounds && node_is(n, "linear") ? rotate_size(q->graph->node[n->in[0]].shape.channels) : 0;
    if (q->rotate != ROTATE_AUTO || !size)
        return make_layer(q, node, format, q->rotate == ROTATE_OFF ? 0 : size, out, e);
    signed char *known = q->rotated ? &q->rotated[n->in[0]] : NULL;
    if (known && *known)
        return make_layer(q, node, format, *known > 0 ? size : 0, out, e);
    if (choose_rotation(q, node, format, size, out, e) < 0)
        return -1;
    if (known)
        *known = out->rotate ? 1 : -1;
    return 0;
}

int quantizer_scores(struct graph *g, struct error *e)
{
    int count = 0;
    for (int i = 0; i < g->count; i++)
        if (node_is(&g->node[i], "attention")) {
            if (graph_attr(g, i, "int8_scores", 1, e) < 0)
                return -1;
            count++;
        }
    return count;
}

void stored_free(struct stored_layer *s)
{
    for (int i = 0; i < STORED_PARTS; i++) {
        mem_free(s->part[i].data);
        s->part[i] = (struct tensor){0};
    }
}

/* Here or in the spill. */
static int is_made(const struct tensor *t) { return t->data || t->origin; }

/* ---- into a graph ---- */

static const char *const slots[STORED_PARTS] = {"weight", "weight_scale", "weight_s_rel", "weight_codebook",
                                                "bias"};

static void set_attributes(const struct stored_layer *s, struct node *n)
{
    n->attr[op_attr_index(n->op, "format")] = s->format;
    if (node_is(n, "conv2d"))
        n->attr[op_attr_index(n->op, "split")] = s->split;
    else
        n->attr[op_attr_index(n->op, "rotate")] = s->rotate;
}

void stored_apply(const struct stored_layer *s, struct graph *g, int node)
{
    struct node *n = &g->node[node];
    set_attributes(s, n);
    for (int i = 0; i < STORED_PARTS; i++)
        if (is_made(&s->part[i]))
            n->tensor[op_weight_index(n->op, slots[i])] = &s->part[i];
}

int stored_install(struct stored_layer *s, struct model *m, struct graph *g, int node, struct error *e)
{
    struct node *n = &g->node[node];
    char name[1200];
    if (s->format == FORMAT_PLAIN)
        return 0;
    int four = node_is(n, "linear") && (s->format == FORMAT_W4A8 || s->format == FORMAT_W4A16);
    char *weight = mem_strdup(n->weight[op_weight_index(n->op, "weight")], e);
    int status = weight ? 0 : -1;
    set_attributes(s, n);
    for (int i = 0; status == 0 && i < STORED_PARTS; i++) {
        static const char *const suffix[STORED_PARTS] = {"", "_scale", "_s_rel", "_codebook"};
        if (i == STORED_BIAS ? !is_made(&s->part[i]) : i >= STORED_S_REL && !four)
            continue;
        if (i == STORED_BIAS)
            snprintf(name, sizeof name, "%s", n->weight[op_weight_index(n->op, slots[i])]);
        else
            snprintf(name, sizeof name, "%s%s", weight, i == STORED_SCALE && four ? "_s_channel" : suffix[i]);
        if (graph_weight(g, node, slots[i], name, e) < 0)
            status = -1;
        else if (is_made(&s->part[i])) /* absent: a layer before has installed the same ones */
            status = model_replace_tensor(m, name, &s->part[i], 1, e);
        if (status == 0)
            s->part[i] = (struct tensor){0}; /* the model's now */
    }
    mem_free(weight);
    return status;
}
