/* See narrow.h. */
#include "common/run/narrow.h"

#include <string.h>

/* ---- rows and columns ---- */

void narrow_mark_rows(const struct cut *c, int node, int slot, const int *kept, int count,
                      unsigned char *stays)
{
    for (int i = 0; i < c->edits; i++) {
        const struct cut_edit *x = &c->edit[i];
        if (x->node != node || x->slot != slot)
            continue;
        memset(stays + x->offset, 0, (size_t)c->channels);
        for (int k = 0; k < count; k++)
            stays[x->offset + kept[k]] = 1;
    }
}

int narrow_keep_rows(const struct tensor *t, const unsigned char *stays, struct tensor *smaller,
                     struct error *e)
{
    size_t row = t->size / (size_t)t->shape[0], to = 0;
    *smaller = *t;
    smaller->data = NULL;
    smaller->shape[0] = 0;
    for (int64_t i = 0; i < t->shape[0]; i++)
        smaller->shape[0] += stays[i];
    if (tensor_measure(smaller, e) < 0 || !(smaller->data = mem_array(smaller->size, 1, e)))
        return -1;
    for (int64_t i = 0; i < t->shape[0]; i++)
        if (stays[i]) {
            memcpy((char *)smaller->data + to, (const char *)t->data + (size_t)i * row, row);
            to += row;
        }
    return 0;
}

static int keep_rows(struct overlay *o, const char *name, const unsigned char *stays, struct error *e)
{
    struct tensor smaller;
    return narrow_keep_rows(overlay_find(o, name), stays, &smaller, e) < 0
               ? -1
               : overlay_put(o, name, &smaller, e);
}

static int keep_columns(struct overlay *o, const char *name, const int *kept, int count, struct error *e)
{
    const struct tensor *t = overlay_find(o, name);
    struct tensor smaller = *t;
    size_t cell = t->size / (size_t)(t->shape[0] * t->shape[1]);
    smaller.shape[1] = count;
    if (tensor_measure(&smaller, e) < 0 || !(smaller.data = mem_array(smaller.size, 1, e)))
        return -1;
    for (int64_t i = 0; i < t->shape[0]; i++)
        for (int k = 0; k < count; k++)
            memcpy((char *)smaller.data + (size_t)(i * count + k) * cell,
                   (const char *)t->data + (size_t)(i * t->shape[1] + kept[k]) * cell, cell);
    return overlay_put(o, name, &smaller, e);
}

/* All slices of what this layer makes. */
static int move_slices(struct graph *g, int layer, const unsigned char *stays, struct error *e)
{
    for (int i = 0; i < g->count; i++) {
        const struct node *n = &g->node[i];
        if (!node_is(n, "slice") || n->in[0] != layer)
            continue;
        int begin = (int)node_attr(n, "begin"), length = (int)node_attr(n, "length"), first = 0, inside = 0;
        for (int k = 0; k < begin + length; k++)
            *(k < begin ? &first : &inside) += stays[k];
        if (graph_attr(g, i, "begin", first, e) < 0 || graph_attr(g, i, "length", inside, e) < 0)
            return -1;
    }
    return 0;
}

static int is_first_edit(const struct cut *c, int at)
{
    for (int i = 0; i < at; i++)
        if (c->edit[i].node == c->edit[at].node && c->edit[i].slot == c->edit[at].slot)
            return 0;
    return 1;
}

int narrow_cut(struct graph *g, struct overlay *o, const struct cut *c, const int *kept, int count,
               struct error *e)
{
    int weight = op_weight_index(g->node[c->consumer].op, "weight"), status = 0;
    for (int i = 0; status == 0 && i < c->edits; i++) {
        const struct cut_edit *x = &c->edit[i];
        const char *name = g->node[x->node].weight[x->slot];
        int64_t rows = overlay_find(o, name)->shape[0];
        if (!is_first_edit(c, i))
            continue;
        unsigned char *stays = mem_array((size_t)rows, 1, e);
        if (!stays)
            return -1;
        memset(stays, 1, (size_t)rows);
        narrow_mark_rows(c, x->node, x->slot, kept, count, stays);
        status = keep_rows(o, name, stays, e);
        if (status == 0 && x->slot == op_weight_index(g->node[x->node].op, "weight") &&
            node_is(&g->node[x->node], "linear"))
            status = move_slices(g, x->node, stays, e);
        mem_free(stays);
    }
    if (status == 0)
        status = keep_columns(o, g->node[c->consumer].weight[weight], kept, count, e);
    if (status == 0 && c->attention >= 0)
        status = graph_attr(g, c->attention, "heads", count / c->block, e);
    return status;
}

/* ---- refits ---- */

static float *floats_of(const struct tensor *t, struct error *e)
{
    float *x = mem_array(t->count, sizeof *x, e);
    if (x)
        tensor_to_f32(t->dtype, t->data, x, t->count);
    return x;
}

static int put_floats(struct overlay *o, const char *name, const struct tensor *like, const double *x,
                      struct error *e)
{
    struct tensor t = *like;
    if (tensor_measure(&t, e) < 0)
        return -1;
    float *narrow = mem_array(t.count, sizeof *narrow, e);
    t.data = narrow ? mem_array(t.size, 1, e) : NULL;
    if (!t.data) {
        mem_free(narrow);
        return -1;
    }
    for (size_t i = 0; i < t.count; i++)
        narrow[i] = (float)x[i];
    tensor_from_f32(t.dtype, narrow, t.data, t.count);
    mem_free(narrow);
    return overlay_put(o, name, &t, e);
}

static int refit_bias(struct overlay *o, const char *name, const struct tensor *bias, const float *w, int n,
                      size_t taps, const double *shift, struct error *e)
{
    float *b = floats_of(bias, e);
    double *x = b ? mem_array(bias->count, sizeof *x, e) : NULL;
    for (size_t i = 0; x && i < bias->count; i++) {
        x[i] = (double)b[i];
        for (size_t c = 0; c < (size_t)n; c++)
            for (size_t t = 0; t < taps; t++)
                x[i] += (double)w[(i * (size_t)n + c) * taps + t] * shift[c];
    }
    int status = x ? put_floats(o, name, bias, x, e) : -1;
    mem_free(b);
    mem_free(x);
    return status;
}

int narrow_refit(struct graph *g, struct overlay *o, int consumer, const struct tensor *weight,
                 const struct tensor *bias, int n, int count, const double *a, const double *shift,
                 struct error *e)
{
    const struct node *node = &g->node[consumer];
    int ws = op_weight_index(node->op, "weight"), bs = op_weight_index(node->op, "bias");
    size_t outs = (size_t)weight->shape[0], taps = weight->count / (outs * (size_t)n), k = (size_t)count;
    struct tensor like = *weight;
    float *w = floats_of(weight, e);
    double *x = w ? mem_array(outs * k * taps, sizeof *x, e) : NULL;
    like.shape[1] = count;
    for (size_t i = 0; x && i < outs; i++)
        for (size_t c = 0; c < (size_t)n; c++)
            for (size_t t = 0; t < taps; t++) {
                double v = (double)w[(i * (size_t)n + c) * taps + t];
                for (size_t s = 0; s < k; s++)
                    x[(i * k + s) * taps + t] += v * a[c * k + s];
            }
    int status = x ? put_floats(o, node->weight[ws], &like, x, e) : -1;
    if (status == 0 && bias)
        status = refit_bias(o, node->weight[bs], bias, w, n, taps, shift, e);
    mem_free(w);
    mem_free(x);
    return status;
}

/* ---- figures ---- */

int narrow_rows(const struct tensor *weight, int n, float **w, int *rows, struct error *e)
{
    size_t outs = (size_t)weight->shape[0], inputs = (size_t)n, taps = weight->count / (outs * inputs);
    float *from = floats_of(weight, e);
    *w = from ? mem_array(weight->count, sizeof **w, e) : NULL;
    for (size_t i = 0; *w && i < weight->count; i++)
        (*w)[(i / (inputs * taps) * taps + i % taps) * inputs + i / taps % inputs] = from[i];
    *rows = (int)(outs * taps);
    mem_free(from);
    return *w ? 0 : -1;
}

struct gram_job {
    const float *w;
    size_t outs, n, taps;
    double *gram;
};

static void gram_part(void *context, int part, int parts)
{
    const struct gram_job *j = context;
    struct span span = team_span((int64_t)j->n, 1, part, parts);
    for (size_t c = (size_t)span.begin; c < (size_t)span.end; c++)
        for (size_t i = 0; i < j->outs; i++) {
            const float *row = j->w + i * j->n * j->taps, *own = row + c * j->taps;
            for (size_t d = 0; d < j->n; d++)
                for (size_t t = 0; t < j->taps; t++)
                    j->gram[c * j->n + d] += (double)own[t] * (double)row[d * j->taps + t];
        }
}

int narrow_gram(const struct tensor *weight, int n, double *gram, struct team *team, struct error *e)
{
    float *w = floats_of(weight, e);
    if (!w)
        return -1;
    size_t outs = (size_t)weight->shape[0];
    struct gram_job j = {w, outs, (size_t)n, weight->count / (outs * (size_t)n), gram};
    team_run(team, gram_part, &j);
    mem_free(w);
    return 0;
}

int narrow_squares(const struct graph *g, const struct cut *c, double *squares, struct error *e)
{
    const struct tensor *t = node_weight(&g->node[c->consumer], "weight");
    size_t n = (size_t)c->channels, taps = t->count / ((size_t)t->shape[0] * n);
    float *w = floats_of(t, e);
    if (!w)
        return -1;
    for (size_t i = 0; i < t->count; i++)
        squares[i / taps % n] += (double)w[i] * (double)w[i];
    mem_free(w);
    for (int k = 0; k < c->edits; k++) {
        const struct tensor *p = g->node[c->edit[k].node].tensor[c->edit[k].slot];
        size_t row = p->count / (size_t)p->shape[0];
        if (p->rank < 2)
            continue;
        if (!(w = floats_of(p, e)))
            return -1;
        for (size_t i = 0; i < n * row; i++) {
            double v = (double)w[(size_t)c->edit[k].offset * row + i];
            squares[i / row] += v * v;
        }
        mem_free(w);
    }
    return 0;
}

double narrow_bytes(const struct graph *g, const struct cut *c)
{
    const struct tensor *t = node_weight(&g->node[c->consumer], "weight");
    double bytes = (double)t->size / c->channels;
    for (int i = 0; i < c->edits; i++) {
        const struct tensor *p = g->node[c->edit[i].node].tensor[c->edit[i].slot];
        bytes += (double)p->size / (double)p->shape[0];
    }
    return bytes;
}
