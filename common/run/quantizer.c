/* See quantizer.h. */
#include "common/run/quantizer.h"
#include "common/method/gptq.h"
#include "common/method/quantize_fp8.h"
#include "common/method/quantize_w4.h"
#include "common/method/rotate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[FORMATS] = {"plain", "w8a8", "w8a16", "w4a16", "w4a8", "fp8"};

enum { ERROR_ROWS = 64, MOST_WORK = 1 << 30 };

const char *format_name(int format) { return names[format]; }

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
    int conv;
    int64_t rows, columns;
    float *wide, *made; /* what is stored, rotated: wanted and got */
    float *importance;  /* or NULL */
    double *moment;     /* of a linear layer, rotated, not damped; or NULL */
};

static int add_part(struct work *w, int part, enum dtype dtype, int rank, const int64_t *shape,
                    struct error *e)
{
    struct tensor *t = &w->out->part[part];
    *t = (struct tensor){.dtype = dtype, .rank = rank};
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
    if (tensor_measure(t, e) < 0 || !(t->data = mem_array(t->size, 1, e)))
        return -1;
    w->out->bytes += t->size;
    return 0;
}

static int load(struct work *w, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "weight");
    w->rows = t->shape[0];
    w->columns = (int64_t)t->count / w->rows;
    w->wide = mem_array(t->count, sizeof *w->wide, e);
    w->made = mem_array(t->count, sizeof *w->made, e);
    if (!w->wide || !w->made)
        return -1;
    tensor_to_f32(t->dtype, t->data, w->wide, t->count);
    rotate_rows(w->wide, w->rows, w->columns, w->out->rotate, w->q->team);
    return 0;
}

static int use_statistics(struct work *w, const struct node *n, struct error *e)
{
    const struct graph *g = w->q->graph;
    const struct edge_statistics *x =
        w->q->statistics ? statistics_find(w->q->statistics, g->node[n->in[0]].name) : NULL;
    if (!x || x->rows < 1)
        return 0;
    int64_t k = x->channels, taps = w->columns / k;
    w->moment = mem_array((size_t)k * (size_t)k, sizeof *w->moment, e);
    w->importance = mem_array((size_t)w->columns, sizeof *w->importance, e);
    if (!w->moment || !w->importance)
        return -1;
    edge_moment(x, 0, 0, w->moment);
    rotate_moment(w->moment, k, w->out->rotate);
    double mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += w->moment[i * (k + 1)] / (double)k;
    for (int64_t i = 0; i < w->columns; i++)
        w->importance[i] = (float)(mean > 0 ? w->moment[i / taps * (k + 1)] / mean + 1e-6 : 1);
    if (w->conv) {
        mem_free(w->moment);
        w->moment = NULL;
    }
    return 0;
}

static int round_by_gptq(struct work *w, struct quantize_w4 *q, struct error *e)
{
    size_t n = (size_t)w->columns * (size_t)w->columns;
    double *h = mem_array(n, sizeof *h, e), mean = 0;
    struct gptq g = {0};
    if (!h)
        return -1;
    memcpy(h, w->moment, n * sizeof *h);
    for (int64_t i = 0; i < w->columns; i++)
        mean += h[i * (w->columns + 1)] / (double)w->columns;
    for (int64_t i = 0; i < w->columns; i++)
        h[i * (w->columns + 1)] += mean > 0 ? 0.01 * mean : 1;
    memcpy(w->made, w->wide, (size_t)(w->rows * w->columns) * sizeof *w->made);
    int status = gptq_open(&g, h, w->columns, w->q->team, e) < 0
                     ? -1
                     : gptq_rows(&g, w->made, w->rows, quantize_w4_round, q, w->q->team, e);
    gptq_close(&g);
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
        (w->moment && w->q->gptq && round_by_gptq(w, &q, e) < 0) ||
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
    if (fp8) {
        if (quantize_fp8(w->wide, w->rows, w->columns, w->q->team, codes, scale, &w->out->weights, e) < 0)
            return -1;
        if (w->moment)
            quantize_fp8_restore(codes, scale, w->rows, w->columns, w->made);
        return 0;
    }
    if (quantize_w8(w->wide, w->rows, w->columns, w->importance, w->importance != NULL, w->q->team, codes,
                    scale, &w->out->weights, e) < 0)
        return -1;
    if (w->moment)
        quantize_w8_restore(codes, scale, w->rows, w->columns, w->made);
    return 0;
}

/* ---- the error of the output ---- */

struct output_error {
    const struct work *w;
    int64_t stride; /* every so many rows */
    double *above, *below;
};

static double quadratic(const double *h, const double *x, int64_t n)
{
    double all = 0;
    for (int64_t i = 0; i < n; i++) {
        double sum[4] = {0, 0, 0, 0};
        const double *row = h + i * n;
        int64_t j = 0;
        for (; j + 4 <= n; j += 4)
            for (int k = 0; k < 4; k++)
                sum[k] += row[j + k] * x[j + k];
        for (; j < n; j++)
            sum[0] += row[j] * x[j];
        all += x[i] * (sum[0] + sum[1] + sum[2] + sum[3]);
    }
    return all;
}

static void error_rows(void *data, int part, int parts)
{
    struct output_error *o = data;
    const struct work *w = o->w;
    struct span span = team_span((w->rows + o->stride - 1) / o->stride, 1, part, parts);
    for (int64_t i = span.begin; i < span.end; i++) {
        int64_t n = w->columns, row = i * o->stride * n;
        double *x = o->above + (w->rows + i) * n; /* room behind the sums */
        for (int64_t k = 0; k < n; k++)
            x[k] = (double)w->wide[row + k] - (double)w->made[row + k];
        o->above[i] = quadratic(w->moment, x, n);
        for (int64_t k = 0; k < n; k++)
            x[k] = (double)w->wide[row + k];
        o->below[i] = quadratic(w->moment, x, n);
    }
}

/* sqrt(tr(D H D') / tr(W H W')), over 64 rows where all would take long. */
static int measure_output(const struct work *w, struct error *e)
{
    double above = 0, below = 0, work = (double)w->rows * (double)w->columns * (double)w->columns;
    struct output_error o = {w, 1, NULL, NULL};
    if (work > MOST_WORK)
        o.stride = (w->rows + ERROR_ROWS - 1) / ERROR_ROWS;
    int64_t rows = (w->rows + o.stride - 1) / o.stride;
    o.above = mem_array((size_t)(w->rows + rows) * (size_t)w->columns, sizeof *o.above, e);
    o.below = mem_array((size_t)rows, sizeof *o.below, e);
    if (o.above && o.below) {
        if (w->q->team)
            team_run(w->q->team, error_rows, &o);
        else
            error_rows(&o, 0, 1);
        for (int64_t i = 0; i < rows; i++) {
            above += o.above[i];
            below += o.below[i];
        }
        w->out->output_error = below > 0 && above > 0 ? sqrt(above / below) : 0;
    }
    int status = o.above && o.below ? 0 : -1;
    mem_free(o.above);
    mem_free(o.below);
    return status;
}

int quantizer_layer(const struct quantizer *q, int node, int format, struct stored_layer *out,
                    struct error *e)
{
    const struct node *n = &q->graph->node[node];
    const struct tensor *t = node_weight(n, "weight");
    struct work w = {.q = q, .out = out, .conv = node_is(n, "conv2d")};
    int rounds = format == FORMAT_W8A8 || format == FORMAT_W4A8;
    *out = (struct stored_layer){.format = format, .output_error = -1};
    if (format == FORMAT_PLAIN) {
        out->bytes = t->size;
        out->output_error = 0;
        return 0;
    }
    out->rotate = q->rotate && rounds && !w.conv ? rotate_size(q->graph->node[n->in[0]].shape.channels) : 0;
    out->split = w.conv ? split_of(q->graph, n) : 0;
    int four = format == FORMAT_W4A8 || format == FORMAT_W4A16;
    int status = load(&w, n, e) < 0 || use_statistics(&w, n, e) < 0 ||
                         (four ? to_int4(&w, e) : to_bytes(&w, n, e)) < 0 ||
                         (w.moment && measure_output(&w, e) < 0)
                     ? -1
                     : 0;
    mem_free(w.wide);
    mem_free(w.made);
    mem_free(w.importance);
    mem_free(w.moment);
    if (status == 0)
        return 0;
    stored_free(out);
    return error_under(e, "tensor '%s'", t->name);
}

void stored_free(struct stored_layer *s)
{
    for (int i = 0; i < STORED_PARTS; i++) {
        mem_free(s->part[i].data);
        s->part[i].data = NULL;
    }
}

/* ---- into a graph ---- */

static const char *const slots[STORED_PARTS] = {"weight", "weight_scale", "weight_s_rel", "weight_codebook"};

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
        if (s->part[i].data)
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
        if (i >= STORED_S_REL && !four)
            continue;
        snprintf(name, sizeof name, "%s%s", weight, i == STORED_SCALE && four ? "_s_channel" : suffix[i]);
        if (graph_weight(g, node, slots[i], name, e) < 0)
            status = -1;
        else if (s->part[i].data) /* absent: a layer before has installed the same ones */
            status = model_replace_tensor(m, name, &s->part[i], 1, e);
        if (status == 0)
            s->part[i].data = NULL; /* the model's now */
    }
    mem_free(weight);
    return status;
}
