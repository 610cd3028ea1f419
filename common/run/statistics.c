/* See statistics.h. */
#include "common/run/statistics.h"
#include "common/base/json.h"
#include "common/method/rotate.h"

#include <math.h>
#include <string.h>

enum { FLUSH_ROWS = 512 }; /* rows of one product; their channel-first copy is padded to that */

int statistics_edges(const struct graph *g, unsigned char *edges, struct error *e)
{
    int sample = graph_find(g, "sample");
    unsigned char *depends = mem_array((size_t)g->count + 1, 1, e);
    if (!depends)
        return -1;
    memset(edges, 0, (size_t)g->count);
    if (sample >= 0)
        graph_depends(g, sample, depends);
    for (int i = 0; i < g->count; i++) {
        const struct node *n = &g->node[i];
        if ((!node_is(n, "linear") && !node_is(n, "conv2d")) || !depends[i])
            continue;
        /* A slice is a view with gaps; nothing is rounded by it. */
        if (depends[n->in[0]] && !node_is(&g->node[n->in[0]], "slice") && n->in[0] != sample)
            edges[n->in[0]] = 1;
    }
    mem_free(depends);
    return 0;
}

double statistics_bytes(const struct graph *g, const unsigned char *edges)
{
    double bytes = 0, most = 0;
    for (int i = 0; i < g->count; i++) {
        double k = g->node[i].shape.channels;
        if (!edges[i])
            continue;
        bytes += 4 * k * k + 12 * k + 4.0 * FLUSH_ROWS * k;
        most = k > most ? k : most;
    }
    return bytes + 4 * most * most + 12.0 * FLUSH_ROWS * most + 4 * most;
}

/* ---- the sums behind them ---- */

enum { ROWS, SUM, LARGEST, MOMENT, RANGES, LAGS, PARTS };

static int steps_of(const struct measure *m) { return m->steps ? m->steps : m->model->sampler.steps; }

static cJSON *head_of(const struct measure *m, struct error *e)
{
    const char *id = model_id(m->model);
    cJSON *head = json_new_object(e);
    json_add_string(head, "model", id ? id : "", e);
    if (json_add_int(head, "steps", steps_of(m), e) == 0 && !e->code)
        return head;
    cJSON_Delete(head);
    return NULL;
}

/* The arrays of all edges, names of the arena. */
static struct sum_array *arrays_of(const struct statistics *s, struct arena *names, struct error *e)
{
    static const char *const suffix[PARTS] = {"rows", "sum", "max", "moment", "ranges", "lags"};
    struct sum_array *list = mem_array((size_t)s->edges * PARTS + 1, sizeof *list, e);
    for (int i = 0; list && i < s->edges; i++) {
        int64_t k = s->edge[i].channels;
        struct sum_array *a = list + (size_t)i * PARTS;
        a[ROWS] = (struct sum_array){.dtype = DTYPE_I64, .rank = 1, .shape = {1}};
        a[SUM] = (struct sum_array){.dtype = DTYPE_F64, .rank = 1, .shape = {k}};
        a[LARGEST] = (struct sum_array){.rule = SUM_LARGEST, .dtype = DTYPE_F32, .rank = 1, .shape = {k}};
        a[MOMENT] = (struct sum_array){.dtype = DTYPE_F32, .rank = 2, .shape = {k, k}};
        a[RANGES] = (struct sum_array){.dtype = DTYPE_F64, .rank = 1, .shape = {2}};
        a[LAGS] = (struct sum_array){.dtype = DTYPE_F64, .rank = 1, .shape = {NEIGHBOUR_LAGS}};
        for (int p = 0; p < PARTS; p++)
            if (!(a[p].name = arena_printf(names, e, "%s.%s", s->edge[i].edge, suffix[p]))) {
                mem_free(list);
                return NULL;
            }
    }
    return list;
}

int statistics_open(struct statistics *s, const struct measure *m, const unsigned char *edges, int images,
                    struct error *e)
{
    const struct graph *g = m->graph;
    struct sum_array *arrays = NULL;
    struct arena names = {0};
    *s = (struct statistics){0};
    s->edge = mem_array((size_t)g->count + 1, sizeof *s->edge, e);
    for (int i = 0; s->edge && i < g->count; i++) {
        if (!edges[i])
            continue;
        struct edge_statistics *x = &s->edge[s->edges];
        *x = (struct edge_statistics){.channels = g->node[i].shape.channels};
        if (!(x->edge = mem_strdup(g->node[i].name, e)))
            goto fail;
        s->edges++;
    }
    arrays = s->edge ? arrays_of(s, &names, e) : NULL;
    if (!arrays ||
        sums_open(&s->sums, head_of(m, e), images, STATISTICS_UNIT, arrays, PARTS * s->edges, e) < 0)
        goto fail;
    mem_free(arrays);
    arena_free(&names);
    return 0;
fail:
    mem_free(arrays);
    arena_free(&names);
    statistics_free(s);
    return -1;
}

void statistics_free(struct statistics *s)
{
    for (int i = 0; i < s->edges; i++)
        mem_free((void *)s->edge[i].edge);
    mem_free(s->edge);
    sums_free(&s->sums);
    *s = (struct statistics){0};
}

/* The edges' numbers are those of this record. */
static void bind(struct statistics *s, const struct sum_record *r)
{
    for (int i = 0; i < s->edges; i++) {
        void **data = r->data + (size_t)i * PARTS;
        struct edge_statistics *x = &s->edge[i];
        x->rows = *(const int64_t *)data[ROWS];
        x->sum = data[SUM];
        x->largest = data[LARGEST];
        x->moment = data[MOMENT];
        x->ranges = data[RANGES];
        x->lags = data[LAGS];
    }
}

static int check_signs(const struct statistics *s, struct error *e)
{
    for (int i = 0; i < s->edges; i++) {
        const struct edge_statistics *x = &s->edge[i];
        for (int k = 0; k < x->channels; k++)
            if (x->rows < 0 || x->rows > INT64_C(1) << 50 || x->largest[k] < 0 ||
                x->moment[(size_t)k * ((size_t)x->channels + 1)] < 0)
                return error_set(e, HASTEN_EFILE,
                                 "edge '%s': channel %d has a negative square, maximum or number of rows",
                                 x->edge, k);
    }
    return 0;
}

int statistics_resume(struct statistics *s, const char *path, struct sum_range range, int total,
                      size_t memory, struct team *team, struct error *e)
{
    if (sums_resume(&s->sums, path, STATISTICS_KIND, range, total, memory, team, e) < 0)
        return -1;
    s->images = (int)sums_next(&s->sums, range.begin);
    for (int i = 0; i < s->sums.records; i++) {
        bind(s, &s->sums.record[i]);
        if (check_signs(s, e) < 0)
            return error_in(e, path);
    }
    return 0;
}

int statistics_write(const struct statistics *s, const char *path, struct team *team, struct error *e)
{
    return sums_write(&s->sums, path, STATISTICS_KIND, team, e);
}

int statistics_finish(struct statistics *s, struct error *e)
{
    if (sums_fold(&s->sums, e) < 0)
        return -1;
    bind(s, &s->sums.record[0]);
    return 0;
}

const struct edge_statistics *statistics_find(const struct statistics *s, const char *edge)
{
    for (int i = 0; i < s->edges; i++)
        if (!strcmp(s->edge[i].edge, edge))
            return &s->edge[i];
    return NULL;
}

void edge_moment(const struct edge_statistics *x, int centre, double damp, double *out)
{
    int k = x->channels;
    double rows = (double)x->rows, diagonal = 0;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            double mean = centre && rows > 0 ? x->sum[i] / rows * (x->sum[j] / rows) : 0;
            out[(size_t)i * (size_t)k + (size_t)j] =
                rows > 0 ? x->moment[(size_t)i * (size_t)k + (size_t)j] / rows - mean : i == j;
        }
    for (int i = 0; i < k; i++)
        diagonal += out[(size_t)i * (size_t)k + (size_t)i] / k;
    for (int i = 0; i < k; i++)
        out[(size_t)i * (size_t)k + (size_t)i] += damp * (diagonal > 0 ? diagonal : 1);
}

/* ---- collecting ---- */

struct collector {
    struct statistics *s;
    const struct measure *m;
    int *node;               /* of each edge */
    float **rows;            /* of each edge: channel-first [channels][FLUSH_ROWS] */
    int *filled;             /* rows in it */
    void *packed;            /* the product's weights, and its result */
    float *product, *turned; /* turned: a row, rotated */
};

struct product {
    const struct cpu_kernels *k;
    struct matmul m;
    struct mm_shape shape;
    void *packed;
    const float *rows;
    float *moment;
};

static void pack(void *context, int part, int parts)
{
    struct product *p = context;
    struct span s = team_span(p->shape.n, p->k->mm_panel, part, parts);
    if (s.begin < s.end)
        p->k->matmul_pack(p->packed, p->rows, &p->shape, (int)s.begin, (int)s.end);
}

static void multiply(void *context, int part, int parts)
{
    const struct product *p = context;
    p->k->matmul(&p->m, part, parts);
}

static void accumulate(void *context, int part, int parts)
{
    const struct product *p = context;
    int64_t n = (int64_t)p->shape.n * p->shape.n;
    struct span s = team_span(n, 1024, part, parts);
    for (int64_t i = s.begin; i < s.end; i++)
        p->moment[i] += p->m.out[i];
}

/* moment += X' X of the rows that wait. */
static void flush(struct collector *c, int edge)
{
    struct edge_statistics *x = &c->s->edge[edge];
    int k = x->channels;
    if (!c->filled[edge])
        return;
    struct product p = {.k = c->m->backend->kernels,
                        .shape = {.n = k, .kernel_h = 1, .kernel_w = 1, .channels = {FLUSH_ROWS, 0}},
                        .packed = c->packed,
                        .rows = c->rows[edge],
                        .moment = x->moment};
    p.m = (struct matmul){.images = 1,
                          .out_height = 1,
                          .out_width = k,
                          .n = k,
                          .kernel_h = 1,
                          .kernel_w = 1,
                          .stride = 1,
                          .sources = 1,
                          .source = {{.data = c->rows[edge],
                                      .channels = FLUSH_ROWS,
                                      .ld = FLUSH_ROWS,
                                      .height = 1,
                                      .width = k,
                                      .upsample = 1}},
                          .weights = c->packed,
                          .out = c->product,
                          .out_ld = k};
    team_run(c->m->backend->team, pack, &p);
    team_run(c->m->backend->team, multiply, &p);
    team_run(c->m->backend->team, accumulate, &p);
    memset(c->rows[edge], 0, (size_t)k * FLUSH_ROWS * sizeof(float));
    c->filled[edge] = 0;
}

static double square_range(const float *x, int n)
{
    float top = 0, low = 0;
    for (int i = 0; i < n; i++) {
        top = fmaxf(top, x[i]);
        low = fminf(low, x[i]);
    }
    return ((double)top - (double)low) * ((double)top - (double)low);
}

static void add_row(struct collector *c, int edge, const float *x)
{
    struct edge_statistics *s = &c->s->edge[edge];
    float *rows = c->rows[edge] + c->filled[edge];
    for (int i = 0; i < s->channels; i++) {
        s->sum[i] += (double)x[i];
        rows[(size_t)i * FLUSH_ROWS] = x[i];
    }
    memcpy(c->turned, x, (size_t)s->channels * sizeof *x);
    rotate_rows(c->turned, 1, s->channels, rotate_size(s->channels), NULL);
    s->ranges[0] += square_range(x, s->channels);
    s->ranges[1] += square_range(c->turned, s->channels);
    s->rows++;
    if (++c->filled[edge] == FLUSH_ROWS)
        flush(c, edge);
}

/* trajectory.h's network: all edges' values of `images` images of the engine. */
static int look(void *context, const struct engine *g, int call, int first, int images, struct error *e)
{
    struct collector *c = context;
    (void)call, (void)first;
    for (int i = 0; i < c->s->edges; i++) {
        struct edge_statistics *s = &c->s->edge[i];
        struct shape shape = c->m->graph->node[c->node[i]].shape;
        int64_t rows = shape_rows(shape), taken = rows < STATISTICS_ROWS ? rows : STATISTICS_ROWS;
        const float *value = engine_value(g, c->node[i]);
        for (int64_t row = 0; row < images * rows; row++)
            for (int k = 0; k < s->channels; k++)
                s->largest[k] = fmaxf(s->largest[k], fabsf(value[row * s->channels + k]));
        for (int image = 0; image < images; image++) {
            const float *x = value + image * rows * s->channels;
            for (int64_t r = 0; r < taken; r++)
                add_row(c, i, x + r * rows / taken * s->channels);
            if (shape.kind == VALUE_IMAGE && neighbour_products(x, shape.height, shape.width, s->channels,
                                                                c->m->backend->team, s->lags, e) < 0)
                return -1;
        }
    }
    return 0;
}

static int prepare(struct collector *c, unsigned char *want, struct error *e)
{
    size_t most = 1;
    const struct cpu_kernels *k = c->m->backend->kernels;
    for (int i = 0; i < c->s->edges; i++) {
        const struct edge_statistics *x = &c->s->edge[i];
        c->node[i] = graph_find(c->m->graph, x->edge);
        if (c->node[i] < 0 || c->m->graph->node[c->node[i]].shape.channels != x->channels)
            return error_set(e, HASTEN_EFILE,
                             "the statistics have edge '%s' of %d channels, the model does not", x->edge,
                             x->channels);
        want[c->node[i]] = 1;
        c->rows[i] = mem_array((size_t)x->channels * FLUSH_ROWS, sizeof(float), e);
        if (!c->rows[i])
            return -1;
        most = (size_t)x->channels > most ? (size_t)x->channels : most;
    }
    struct mm_shape shape = {.n = (int)most, .kernel_h = 1, .kernel_w = 1, .channels = {FLUSH_ROWS, 0}};
    c->packed = mem_array(k->matmul_packed_size(&shape, 0), 1, e);
    c->product = mem_array(most * most, sizeof *c->product, e);
    c->turned = mem_array(most, sizeof *c->turned, e);
    return c->packed && c->product && c->turned ? 0 : -1;
}

static int collect_images(struct collector *c, const struct measure *m, int images,
                          int (*done)(void *context, int image, struct error *e), void *context,
                          struct error *e)
{
    int classes = m->model->sampler.classes;
    while (c->s->images < images) {
        struct measure one = *m;
        float *latents = NULL;
        struct sum_record *r = sums_begin(&c->s->sums, c->s->images, e);
        if (!r)
            return -1;
        bind(c->s, r);
        one.count = one.batch = 1;
        one.seed = CALIBRATION_SEED + (uint64_t)c->s->images;
        one.label = classes ? c->s->images % classes : 0;
        if (measure_latents(&one, &latents, NULL, NULL, e) < 0)
            return -1;
        mem_free(latents);
        for (int i = 0; i < c->s->edges; i++) {
            flush(c, i);
            *(int64_t *)r->data[i * PARTS + ROWS] = c->s->edge[i].rows;
        }
        if (sums_end(&c->s->sums, e) < 0)
            return -1;
        c->s->images++;
        if (done && done(context, c->s->images, e) < 0)
            return -1;
    }
    return 0;
}

int statistics_collect(struct statistics *s, const struct measure *m, int end,
                       int (*done)(void *context, int image, struct error *e), void *context, struct error *e)
{
    size_t n = (size_t)s->edges + 1;
    struct collector c = {.s = s, .m = m};
    unsigned char *want = mem_array((size_t)m->graph->count + 1, 1, e);
    struct trajectory_watch watch = {.context = &c, .network = look};
    struct measure run = *m;
    int status = -1;
    c.node = mem_array(n, sizeof *c.node, e);
    c.rows = mem_array(n, sizeof *c.rows, e);
    c.filled = mem_array(n, sizeof *c.filled, e);
    run.want = want;
    run.watch = &watch;
    if (want && c.node && c.rows && c.filled && prepare(&c, want, e) == 0)
        status = collect_images(&c, &run, end, done, context, e);
    for (int i = 0; c.rows && i < s->edges; i++)
        mem_free(c.rows[i]);
    mem_free(c.node);
    mem_free(c.rows);
    mem_free(c.filled);
    mem_free(c.packed);
    mem_free(c.product);
    mem_free(c.turned);
    mem_free(want);
    return status;
}
