/* See pair_moments.h. */
#include "common/run/pair_moments.h"

#include <string.h>

enum { WAIT_ROWS = 512 };

int pairs_open(struct edge_pair *p, int count, int same, struct error *e)
{
    for (int i = 0; i < count; i++) {
        size_t n = (size_t)p[i].n, n1 = (size_t)p[i].n1;
        p[i].same = same;
        p[i].mean = mem_array(n, sizeof(double), e);
        p[i].mean1 = mem_array(n1, sizeof(double), e);
        p[i].own = mem_array(n1 * n1, sizeof(double), e);
        p[i].cross = same ? p[i].own : mem_array(n * n1, sizeof(double), e);
        p[i].wait1 = mem_array(n1 * WAIT_ROWS, sizeof(float), e);
        p[i].wait = same ? p[i].wait1 : mem_array(n * WAIT_ROWS, sizeof(float), e);
        if (!p[i].mean || !p[i].mean1 || !p[i].own || !p[i].cross || !p[i].wait1 || !p[i].wait)
            return -1;
    }
    return 0;
}

void pairs_free(struct edge_pair *p, int count)
{
    for (int i = 0; i < count; i++) {
        if (!p[i].same) {
            mem_free(p[i].cross);
            mem_free(p[i].wait);
        }
        mem_free(p[i].mean);
        mem_free(p[i].mean1);
        mem_free(p[i].own);
        mem_free(p[i].wait1);
        p[i] = (struct edge_pair){0};
    }
}

/* ---- sums += A B' of channel-first rows ---- */

struct product {
    const struct cpu_kernels *k;
    struct matmul m;
    struct mm_shape shape;
    void *packed;
    const float *b;
    double *sums;
    int64_t count;
};

static void pack(void *context, int part, int parts)
{
    struct product *p = context;
    struct span s = team_span(p->shape.n, p->k->mm_panel, part, parts);
    if (s.begin < s.end)
        p->k->matmul_pack(p->packed, p->b, &p->shape, (int)s.begin, (int)s.end);
}

static void multiply(void *context, int part, int parts)
{
    const struct product *p = context;
    p->k->matmul(&p->m, part, parts);
}

static void accumulate(void *context, int part, int parts)
{
    const struct product *p = context;
    struct span s = team_span(p->count, 1024, part, parts);
    for (int64_t i = s.begin; i < s.end; i++)
        p->sums[i] += (double)p->m.out[i];
}

static int add_product(const struct backend *host, const float *a, int na, const float *b, int nb,
                       double *sums, struct error *e)
{
    struct product p = {.k = host->kernels,
                        .shape = {.n = nb, .kernel_h = 1, .kernel_w = 1, .channels = {WAIT_ROWS, 0}},
                        .b = b,
                        .sums = sums,
                        .count = (int64_t)na * nb};
    float *out = mem_array((size_t)p.count, sizeof *out, e);
    p.packed = mem_array(p.k->matmul_packed_size(&p.shape, 0), 1, e);
    p.m = (struct matmul){
        .images = 1,
        .out_height = 1,
        .out_width = na,
        .n = nb,
        .kernel_h = 1,
        .kernel_w = 1,
        .stride = 1,
        .sources = 1,
        .source =
            {{.data = a, .channels = WAIT_ROWS, .ld = WAIT_ROWS, .height = 1, .width = na, .upsample = 1}},
        .weights = p.packed,
        .out = out,
        .out_ld = nb};
    if (out && p.packed) {
        team_run(host->team, pack, &p);
        team_run(host->team, multiply, &p);
        team_run(host->team, accumulate, &p);
    }
    int status = out && p.packed ? 0 : -1;
    mem_free(out);
    mem_free(p.packed);
    return status;
}

static int flush(struct edge_pair *p, const struct backend *host, struct error *e)
{
    if (!p->waiting)
        return 0;
    if (add_product(host, p->wait1, p->n1, p->wait1, p->n1, p->own, e) < 0 ||
        (!p->same && add_product(host, p->wait, p->n, p->wait1, p->n1, p->cross, e) < 0))
        return -1;
    memset(p->wait1, 0, (size_t)p->n1 * WAIT_ROWS * sizeof(float));
    if (!p->same)
        memset(p->wait, 0, (size_t)p->n * WAIT_ROWS * sizeof(float));
    p->waiting = 0;
    return 0;
}

static void add_row(float *wait, double *sum, int at, const float *x, int n)
{
    for (int i = 0; i < n; i++) {
        wait[(size_t)i * WAIT_ROWS + (size_t)at] = x[i];
        sum[i] += (double)x[i];
    }
}

static int look(struct edge_pair *p, const struct state_engine *x, const struct state_engine *x1, int rows,
                const struct backend *host, struct error *e)
{
    struct shape shape = x1->graph->node[p->node1].shape;
    int64_t tokens = shape_rows(shape), taken = tokens < PAIR_ROWS ? tokens : PAIR_ROWS;
    const float *value = engine_value(x->engine, p->node), *value1 = engine_value(x1->engine, p->node1);
    for (int r = 0; r < rows; r++)
        for (int64_t t = 0; t < taken; t++) {
            /* Another place in every row: edges of the picture would else be seen too often or never. */
            int64_t row = r * tokens + (t * tokens / taken + 7 * r) % tokens;
            add_row(p->wait1, p->mean1, p->waiting, value1 + row * p->n1, p->n1);
            if (p->same)
                memcpy(p->mean, p->mean1, (size_t)p->n * sizeof *p->mean);
            else
                add_row(p->wait, p->mean, p->waiting, value + row * p->n, p->n);
            p->rows++;
            if (++p->waiting == WAIT_ROWS && flush(p, host, e) < 0)
                return -1;
        }
    return 0;
}

static int collect_all(struct edge_pair *p, int count, struct state_engine *x, struct state_engine *x1,
                       const struct backend *host, struct error *e)
{
    const struct states *s = x->s;
    for (int call = 0; call < s->calls; call++)
        for (int first = 0; first < s->images; first += s->batch) {
            int images, rows = states_rows(s, call, first, &images);
            if (!states_takes(s, call, first))
                continue;
            if (states_run(x, call, first, 0, e) < 0 || (x1 != x && states_run(x1, call, first, 0, e) < 0))
                return -1;
            for (int i = 0; i < count; i++)
                if (look(&p[i], x, x1, rows, host, e) < 0)
                    return -1;
        }
    return 0;
}

static void divide(struct edge_pair *p)
{
    double rows = p->rows ? (double)p->rows : 1;
    for (int64_t i = 0; i < (int64_t)p->n1 * p->n1; i++)
        p->own[i] /= rows;
    for (int64_t i = 0; !p->same && i < (int64_t)p->n * p->n1; i++)
        p->cross[i] /= rows;
    for (int i = 0; i < p->n; i++)
        p->mean[i] /= rows;
    for (int i = 0; i < p->n1; i++)
        p->mean1[i] /= rows;
}

static struct state_engine *open_tapped(const struct states *s, const struct graph *g,
                                        const struct weights *w, const struct edge_pair *p, int count,
                                        int other, struct error *e)
{
    unsigned char *want = mem_array((size_t)g->count + 1, 1, e);
    struct state_engine *x = NULL;
    for (int i = 0; want && i < count; i++)
        want[other ? p[i].node1 : p[i].node] = 1;
    if (want && (x = states_open(s, g, w, want, e)) && states_ready(x, e) < 0) {
        states_close(x);
        x = NULL;
    }
    mem_free(want);
    return x;
}

int pairs_collect(struct edge_pair *p, int count, const struct states *s, const struct graph *g,
                  const struct weights *w, const struct graph *g1, const struct weights *w1,
                  struct backend *b, struct error *e)
{
    int one = g == g1 && w == w1, status = -1;
    struct state_engine *x = open_tapped(s, g, w, p, count, 0, e);
    struct state_engine *x1 = !x || one ? x : open_tapped(s, g1, w1, p, count, 1, e);
    if (x && x1)
        status = collect_all(p, count, x, x1, b, e);
    for (int i = 0; status == 0 && i < count; i++)
        status = flush(&p[i], b, e);
    for (int i = 0; status == 0 && i < count; i++)
        divide(&p[i]);
    if (!one)
        states_close(x1);
    states_close(x);
    return status;
}
