/* See calibrate.h. */
#include "common/run/calibrate.h"
#include "common/base/json.h"

#include <math.h>
#include <string.h>

enum { BATCH = 8 };

struct collector {
    struct calibration *c;
    float *features[CALIBRATION_NODES]; /* [images][calls][rows][channels] */
    int images;
    float *states; /* [calls][images][size]: where a schedule has led to, or NULL */
    int replay;    /* the network is run there */
};

static int64_t node_size(const struct graph *g, int node) { return shape_size(g->node[node].shape); }

/* Keep the conditional rows: the first of each run. */
static int collect(void *context, const struct engine *x, int call, int first, int rows, struct error *e)
{
    struct collector *k = context;
    (void)rows, (void)e;
    if (first > 0)
        return 0;
    for (int i = 0; i < k->c->nodes; i++) {
        int64_t n = node_size(k->c->g, k->c->node[i]);
        const float *from = engine_value(x, k->c->node[i]);
        const float *base = k->c->base[i] >= 0 ? engine_value(x, k->c->base[i]) : NULL;
        for (int image = 0; image < k->images; image++) {
            float *to = k->features[i] + ((int64_t)image * k->c->calls + call) * n;
            memcpy(to, from + image * n, (size_t)n * sizeof *to);
            for (int64_t j = 0; base && j < n; j++)
                to[j] -= base[image * n + j];
        }
    }
    return 0;
}

/* Latents before a call, kept or put back. */
static int visit(void *context, int call, float *x, int count, struct error *e)
{
    struct collector *k = context;
    size_t bytes = (size_t)count * (size_t)k->c->size * sizeof *x;
    float *kept = k->states + (int64_t)call * count * k->c->size;
    (void)e;
    if (k->replay)
        memcpy(x, kept, bytes);
    else
        memcpy(kept, x, bytes);
    return 0;
}

/* A run of the schedule, to know the latents that it goes through. */
static int drift(struct collector *k, const struct measure *m, struct error *e)
{
    struct trajectory_watch watch = {.context = k, .state = visit};
    struct measure run = *m;
    float *latents;
    if (!m->schedule)
        return 0;
    if (!k->states && !(k->states = mem_array((size_t)k->c->calls * (size_t)k->images,
                                              (size_t)k->c->size * sizeof(float), e)))
        return -1;
    run.watch = &watch;
    run.want = NULL;
    k->replay = 0;
    int status = measure_latents(&run, &latents, NULL, NULL, e);
    mem_free(latents);
    k->replay = 1;
    return status;
}

static int find_node(const struct calibration *c, int node, int base)
{
    int i = 0;
    while (i < c->nodes && (c->node[i] != node || c->base[i] != base))
        i++;
    return i < c->nodes ? i : -1;
}

/* The served nodes of all candidates, as many as fit, evenly. */
static void choose_nodes(struct calibration *c, size_t budget, int calls)
{
    enum { MOST = 1024 };
    int node[MOST], base[MOST], n = 0;
    size_t bytes = 0;
    for (int i = 0; i < c->g->count; i++)
        for (int a = 0; a < c->count && n < MOST; a++) {
            if (!c->list[a].served[i])
                continue;
            int known = 0;
            for (int k = 0; k < n; k++)
                known |= node[k] == i && base[k] == c->list[a].base;
            if (known)
                continue;
            node[n] = i;
            base[n++] = c->list[a].base;
            bytes += (size_t)calls * (size_t)node_size(c->g, i) * sizeof(float);
        }
    size_t fit = bytes > budget && bytes ? (size_t)n * (budget / 1024) / (bytes / 1024 + 1) : (size_t)n;
    int most = fit < CALIBRATION_NODES ? (int)fit : CALIBRATION_NODES;
    most = most < 1 ? 1 : most < n ? most : n;
    for (int i = 0; i < most && n; i++) { /* the last, the output, is always among them */
        int at = n <= most ? i : (int)((int64_t)(i + 1) * n / most - 1);
        c->node[c->nodes] = node[at];
        c->base[c->nodes++] = base[at];
    }
}

/* ---- sums ---- */

enum { CROSS, SUM, ROWS, L1, PARTS };

static cJSON *head_of(const struct measure *m, struct error *e)
{
    struct sampler_config own = {0};
    const struct sampler_config *sampler = m->sampler ? m->sampler : &own;
    const struct model_sampler *s = &m->model->sampler;
    const char *id = model_id(m->model);
    if (!m->sampler && sampler_config_read(&own, s->config, NULL, e) < 0)
        return NULL;
    cJSON *head = json_new_object(e);
    json_add_string(head, "model", id ? id : "", e);
    json_add_string(head, "sampler", sampler_short_name(sampler->kind), e);
    json_add_int(head, "steps", m->steps ? m->steps : s->steps, e);
    json_add_double(head, "guidance",
                    m->guidance != 0     ? m->guidance
                    : s->null_class >= 0 ? s->guidance
                                         : 1,
                    e);
    json_add_int(head, "height", m->model->image.height, e);
    int status = json_add_int(head, "width", m->model->image.width, e);
    sampler_config_free(&own);
    if (status == 0 && !e->code)
        return head;
    cJSON_Delete(head);
    return NULL;
}

/* Does the node alone stand for some action? */
static int is_probe(const struct calibration *c, int i)
{
    for (int a = 0; a < c->count; a++)
        if (c->list[a].probe == c->node[i])
            return 1;
    return 0;
}

static int groups_of(int channels) { return channels < GRAM_GROUPS ? channels : GRAM_GROUPS; }

/* PARTS arrays for each node, then the latents. */
static struct sum_array *arrays_of(const struct calibration *c, const struct shape *latent,
                                   struct arena *names, struct error *e)
{
    static const char *const suffix[PARTS] = {"cross", "sum", "rows", "l1"};
    struct sum_array *list = mem_array((size_t)c->nodes * PARTS + 1, sizeof *list, e);
    for (int i = 0; list && i < c->nodes; i++) {
        struct sum_array *a = list + (size_t)i * PARTS;
        const struct node *n = &c->g->node[c->node[i]];
        int64_t calls = c->calls, groups = groups_of(n->shape.channels);
        a[CROSS] = (struct sum_array){.dtype = DTYPE_F64, .rank = 3, .shape = {groups, calls, calls}};
        a[SUM] = (struct sum_array){.dtype = DTYPE_F64, .rank = 2, .shape = {groups, calls}};
        a[ROWS] = (struct sum_array){.dtype = DTYPE_I64, .rank = 1, .shape = {calls}};
        a[L1] = (struct sum_array){.dtype = DTYPE_F64, .rank = 2, .shape = {calls, calls}};
        if (!is_probe(c, i))
            a[L1] = (struct sum_array){.dtype = DTYPE_F64, .rank = 1, .shape = {1}};
        for (int p = 0; p < PARTS; p++)
            if (!(a[p].name = c->base[i] < 0 ? arena_printf(names, e, "%s.%s", n->name, suffix[p])
                                             : arena_printf(names, e, "%s-%s.%s", n->name,
                                                            c->g->node[c->base[i]].name, suffix[p])))
                goto fail;
    }
    if (list)
        list[c->nodes * PARTS] =
            (struct sum_array){.name = "latents",
                               .rule = SUM_JOIN,
                               .dtype = DTYPE_F32,
                               .rank = 3,
                               .shape = {latent->channels, latent->height, latent->width}};
    return list;
fail:
    mem_free(list);
    return NULL;
}

/* Matrices and distances are those of this record. */
static void bind(struct calibration *c, const struct sum_record *r)
{
    for (int i = 0; i < c->nodes; i++) {
        void **data = r->data + (size_t)i * PARTS;
        int channels = c->g->node[c->node[i]].shape.channels;
        c->gram[i] = (struct gram){.calls = c->calls,
                                   .channels = channels,
                                   .groups = groups_of(channels),
                                   .cross = data[CROSS],
                                   .sum = data[SUM],
                                   .rows = data[ROWS],
                                   .room = c->gram_room};
        c->l1[i] = (struct l1_pairs){0};
        if (is_probe(c, i))
            c->l1[i] = (struct l1_pairs){c->calls, c->calls, data[L1], c->l1_room};
    }
    c->reference = r->data[c->nodes * PARTS];
}

int calibration_open(struct calibration *c, const struct measure *m, const struct candidate *list, int count,
                     size_t budget, struct error *e)
{
    struct arena names = {0};
    struct sum_array *arrays = NULL;
    int sample = graph_find(m->graph, "sample"), status = -1;
    *c = (struct calibration){.g = m->graph, .list = list, .count = count, .images = m->count};
    if (sample < 0)
        return error_set(e, HASTEN_EFILE, "the denoiser has no input 'sample'");
    if (measure_calls(m, &c->calls, e) < 0)
        return -1;
    choose_nodes(c, budget, c->calls);
    c->size = node_size(m->graph, sample);
    c->gram_room = mem_array(GRAM_GROUPS * ((size_t)c->calls + 1), sizeof *c->gram_room, e);
    c->l1_room = mem_array((size_t)c->calls, sizeof *c->l1_room, e);
    if (c->calls > GRAM_CALLS_MAX)
        error_set(e, HASTEN_EFILE, "a trajectory of %d calls, at most %d are possible", c->calls,
                  GRAM_CALLS_MAX);
    else if (c->gram_room && c->l1_room)
        arrays = arrays_of(c, &m->graph->node[sample].shape, &names, e);
    if (arrays)
        status = sums_open(&c->sums, head_of(m, e), m->count, 1, arrays, c->nodes * PARTS + 1, e);
    mem_free(arrays);
    arena_free(&names);
    if (status < 0)
        calibration_free(c);
    return status;
}

static int add_node(struct calibration *c, struct team *team, int i, const float *features, struct error *e)
{
    const struct node *n = &c->g->node[c->node[i]];
    const float **calls = mem_array((size_t)c->calls, sizeof *calls, e);
    int status = calls ? gram_add(&c->gram[i], features, shape_rows(n->shape), team, e) : -1;
    for (int t = 0; status == 0 && c->l1[i].calls && t < c->calls; t++) {
        calls[t] = features + t * shape_size(n->shape);
        status = l1_add_call(&c->l1[i], t, calls, shape_size(n->shape), team, e);
    }
    mem_free(calls);
    return status < 0 ? error_under(e, "'%s'", n->name) : 0;
}

/* One image's features and latent. */
static int add_image(struct calibration *c, const struct measure *m, const struct collector *k, int image,
                     int at, const float *latent, struct error *e)
{
    struct sum_record *r = sums_begin(&c->sums, image, e);
    if (!r)
        return -1;
    bind(c, r);
    for (int i = 0; i < c->nodes; i++) {
        int64_t n = node_size(c->g, c->node[i]) * c->calls;
        if (add_node(c, m->backend->team, i, k->features[i] + at * n, e) < 0)
            return -1;
    }
    memcpy(r->data[c->nodes * PARTS], latent, (size_t)c->size * sizeof *latent);
    return sums_end(&c->sums, e);
}

/* As many images at once as fit in the bytes that the features of one may take. */
static int batch_of(const struct calibration *c, int left)
{
    size_t one = 1, most = (size_t)1 << 30;
    for (int i = 0; i < c->nodes; i++)
        one += (size_t)c->calls * (size_t)node_size(c->g, c->node[i]) * sizeof(float);
    size_t fit = most / one < 1 ? 1 : most / one;
    int batch = fit < BATCH ? (int)fit : BATCH;
    return batch < left ? batch : left;
}

int calibration_run(struct calibration *c, const struct measure *m, int end,
                    int (*done)(void *context, int image, struct error *e), void *context, struct error *e)
{
    struct collector k = {.c = c};
    unsigned char *want = mem_array((size_t)m->graph->count + 1, 1, e);
    struct trajectory_watch watch = {.context = &k, .network = collect};
    struct measure run = *m;
    int next = (int)sums_next(&c->sums, c->begin), batch = batch_of(c, end - next), status = want ? 0 : -1;
    for (int i = 0; i < c->nodes && status == 0 && next < end; i++) {
        want[c->node[i]] = 1;
        if (c->base[i] >= 0)
            want[c->base[i]] = 1;
        k.features[i] = mem_array((size_t)c->calls * (size_t)batch * (size_t)node_size(c->g, c->node[i]),
                                  sizeof(float), e);
        status = k.features[i] ? 0 : -1;
    }
    run.want = want;
    run.watch = &watch;
    while (status == 0 && next < end) {
        float *latents = NULL;
        run.count = run.batch = k.images = end - next < batch ? end - next : batch;
        run.seed = CALIBRATION_SEED + (uint64_t)next;
        run.label = m->label + next;
        run.schedule = m->schedule;
        status = drift(&k, &run, e);
        run.schedule = NULL;
        watch.state = k.states ? visit : NULL;
        if (status == 0)
            status = measure_latents(&run, &latents, NULL, NULL, e);
        for (int i = 0; status == 0 && i < k.images; i++)
            status = add_image(c, m, &k, next + i, i, latents + i * c->size, e);
        next += k.images;
        mem_free(latents);
        if (status == 0 && done)
            status = done(context, next, e);
    }
    mem_free(want);
    mem_free(k.states);
    for (int i = 0; i < c->nodes; i++)
        mem_free(k.features[i]);
    return status;
}

static int check_rows(const struct calibration *c, struct error *e)
{
    for (int i = 0; i < c->nodes; i++)
        for (int t = 0; t < c->calls; t++)
            if (c->gram[i].rows[t] != c->images * shape_rows(c->g->node[c->node[i]].shape))
                return error_set(e, HASTEN_EFILE,
                                 "'%s' has %lld rows at call %d, which %d images do not have",
                                 c->g->node[c->node[i]].name, (long long)c->gram[i].rows[t], t, c->images);
    return 0;
}

int calibration_finish(struct calibration *c, struct error *e)
{
    if (sums_fold(&c->sums, e) < 0)
        return -1;
    c->images = (int)c->sums.total;
    bind(c, &c->sums.record[0]);
    return check_rows(c, e);
}

void calibration_free(struct calibration *c)
{
    sums_free(&c->sums);
    mem_free(c->gram_room);
    mem_free(c->l1_room);
    for (int i = 0; i < CANDIDATES; i++)
        for (int kind = 0; kind < GAINS; kind++)
            mem_free(c->gain[i][kind]);
    *c = (struct calibration){0};
}

/* ---- prices ---- */

static int belongs(const struct calibration *c, int action, int i)
{
    return c->list[action].served[c->node[i]] && c->list[action].base == c->base[i];
}

enum gain_kind calibration_gain_kind(enum predictor p)
{
    return p == PREDICT_REUSE || p == PREDICT_MAGNITUDE ? GAIN_STALE : GAIN_RESIDUAL;
}

/* Numbers of a table that belong to call t. */
static size_t row_begin(enum predictor p, int calls, int t)
{
    return predict_anchors(p) == 1 ? (size_t)t * (size_t)calls : t ? schedule_pair_index(t, 0, 0) : 0;
}

int calibration_errors(const struct calibration *c, int action, enum predictor p, int weigh, double *error,
                       struct error *e)
{
    size_t n = predict_table_size(p, c->calls);
    const double *gain = weigh ? c->gain[action][calibration_gain_kind(p)] : NULL;
    double *one = mem_array(n, sizeof *one, e);
    int used = 0, status = one ? 0 : -1;
    memset(error, 0, n * sizeof *error);
    for (int i = 0; status == 0 && i < c->nodes; i++) {
        if (!belongs(c, action, i))
            continue;
        status = predict_table(&c->gram[i], p, one, e);
        used++;
        for (int t = 0; status == 0 && t < c->calls; t++) {
            double power = gram_power(&c->gram[i], t);
            for (size_t k = row_begin(p, c->calls, t); k < row_begin(p, c->calls, t + 1); k++)
                error[k] += one[k] / (power > 0 ? power : 1);
        }
    }
    for (int t = 0; used && t < c->calls; t++)
        for (size_t k = row_begin(p, c->calls, t); k < row_begin(p, c->calls, t + 1); k++)
            error[k] = gain ? sqrt(error[k] / used * gain[t]) : error[k] / used;
    mem_free(one);
    if (status == 0 && !used)
        status = error_set(e, HASTEN_EFAIL, "no edge of action '%s' was measured", c->list[action].name);
    return status;
}

void calibration_ratios(const struct calibration *c, int action, double *ratio)
{
    for (int t = 0; t < c->calls; t++) {
        double here = 0, before = 0;
        for (int i = 0; i < c->nodes; i++)
            if (belongs(c, action, i) && t) {
                here += gram_power(&c->gram[i], t);
                before += gram_power(&c->gram[i], t - 1);
            }
        ratio[t] = before > 0 ? sqrt(here / before) : 1;
    }
}

int calibration_l1(const struct calibration *c, int action, double *error)
{
    int i = c->list[action].probe < 0 ? -1 : find_node(c, c->list[action].probe, c->list[action].base);
    if (i < 0 || !c->l1[i].calls)
        return 0;
    l1_errors(&c->l1[i], error);
    return 1;
}

/* ---- schedules ---- */

static int add_action(struct cache_schedule *s, const struct graph *g, const struct candidate *a,
                      struct error *e)
{
    const char *names[1024] = {NULL};
    int n = 0;
    for (int i = 0; i < g->count && n < 1024; i++)
        if (a->served[i])
            names[n++] = g->node[i].name;
    int index = cache_schedule_add(s, a->name, names, n, e);
    for (int i = 0; index > 0 && a->base >= 0 && i < n; i++)
        if (cache_schedule_base(s, index, i, g->node[a->base].name, e) < 0)
            return -1;
    if (index > 0)
        s->action[index].wide = a->wide;
    return index;
}

int schedule_of_actions(struct cache_schedule *s, const struct graph *g, const struct candidate *list,
                        int calls, const int *action, struct error *e)
{
    int index[CANDIDATES + 1] = {0}, status = cache_schedule_new(s, calls, e);
    for (int t = 0; t < calls && status == 0; t++) {
        int a = action[t];
        if (a && !index[a] && (index[a] = add_action(s, g, &list[a - 1], e)) < 0)
            status = -1;
        s->choice[0][t] = s->choice[1][t] = a ? index[a] : 0;
    }
    if (status == 0)
        status = cache_schedule_bind(s, g, e);
    if (status < 0)
        cache_schedule_free(s);
    return status;
}

/* computes[action * count + node]: an action's call computes the node. A served difference needs its base. */
static unsigned char *what_is_computed(const struct graph *g, const struct cache_schedule *s, struct error *e)
{
    size_t n = (size_t)g->count;
    unsigned char *all = mem_array((size_t)s->actions * n + 1, 1, e);
    for (int a = 0; all && a < s->actions; a++) {
        unsigned char *live = all + (size_t)a * n;
        const struct cache_action *x = &s->action[a];
        for (int i = 0; i < g->outputs; i++)
            live[g->output[i].node] = 1;
        for (int i = g->count - 1; i >= 0; i--) {
            if (live[i] && x->served[i] && x->predictor[i].base >= 0)
                live[x->predictor[i].base] = 1;
            for (int j = 0; live[i] && !x->served[i] && j < g->node[i].inputs; j++)
                if (node_reads(&g->node[i], j))
                    live[g->node[i].in[j]] = 1;
        }
        for (size_t i = 0; i < n; i++)
            live[i] = live[i] && !x->served[i];
    }
    return all;
}

static float *table_of(const struct calibration *c, enum predictor p, const struct cache_schedule *s,
                       int gram, const unsigned char *computes, struct error *e)
{
    const struct gram *g = &c->gram[gram];
    int rows = predict_anchors(p) + 1, last = 0, before = -1;
    size_t channels = (size_t)g->channels;
    float *table = mem_array((size_t)c->calls * (size_t)rows * channels, sizeof *table, e);
    struct predict_fit *fit = mem_array((size_t)g->groups, sizeof *fit, e);
    for (int t = 0; table && fit && t < c->calls; t++) {
        float *row = table + (size_t)t * (size_t)rows * channels;
        int computed = computes[(size_t)s->choice[0][t] * (size_t)c->g->count + (size_t)c->node[gram]];
        if (computed) {
            before = t ? last : -1;
            last = t;
        } else {
            predict_fit(g, p, t, last, before, fit);
        }
        for (size_t ch = 0; ch < channels; ch++) {
            const struct predict_fit *f = computed ? NULL : &fit[gram_group(g, (int)ch)];
            row[ch] = f ? (float)f->a[0] : 1;
            if (rows == 3)
                row[channels + ch] = f ? (float)f->a[1] : 0;
            row[(size_t)(rows - 1) * channels + ch] = f ? (float)f->b : 0;
        }
    }
    mem_free(fit);
    if (!fit) {
        mem_free(table);
        return NULL;
    }
    return table;
}

int calibration_predict(const struct calibration *c, enum predictor p, struct cache_schedule *s,
                        struct error *e)
{
    unsigned char *computes = what_is_computed(c->g, s, e);
    int status = computes ? 0 : -1;
    for (int a = 1; a < s->actions && p != PREDICT_REUSE; a++)
        for (int i = 0; i < s->action[a].serves && status == 0; i++) {
            struct cache_action *x = &s->action[a];
            int base = x->base[i] ? graph_find(c->g, x->base[i]) : -1;
            int gram = find_node(c, graph_find(c->g, x->serve[i]), base);
            if (gram < 0)
                continue;
            mem_free(x->correct[i]);
            x->correct[i] = table_of(c, p, s, gram, computes, e);
            x->channels[i] = c->gram[gram].channels;
            x->anchors[i] = predict_anchors(p);
            status = x->correct[i] ? 0 : -1;
        }
    mem_free(computes);
    return status < 0 ? -1 : cache_schedule_bind(s, c->g, e);
}

/* ---- gain ---- */

/* Mean square of the final difference when call t alone is served, over the relative error of its edges. */
static int gain_at(struct calibration *c, const struct measure *m, int action, enum predictor p, int t,
                   double *gain, struct error *e)
{
    struct cache_schedule s = {0};
    struct measure run = *m;
    struct predict_fit fit[GRAM_GROUPS];
    int *choice = mem_array((size_t)c->calls, sizeof *choice, e), status = -1, used = 0;
    float *got = NULL;
    if (!choice)
        return -1;
    choice[t] = action + 1;
    if (schedule_of_actions(&s, c->g, c->list, c->calls, choice, e) == 0 &&
        calibration_predict(c, p, &s, e) == 0) {
        s.steps = m->steps ? m->steps : m->model->sampler.steps;
        run.schedule = &s;
        status = measure_latents(&run, &got, NULL, NULL, e);
    }
    double sum = 0, relative = 0, n = (double)m->count * (double)c->size;
    for (int64_t i = 0; status == 0 && i < m->count * c->size; i++)
        sum += ((double)got[i] - c->reference[i]) * ((double)got[i] - c->reference[i]) / n;
    for (int i = 0; status == 0 && i < c->nodes; i++) {
        double power = gram_power(&c->gram[i], t);
        if (!belongs(c, action, i))
            continue;
        used++;
        relative += predict_error(&c->gram[i], p, t, t - 1, t - 2, fit) / (power > 0 ? power : 1);
    }
    *gain = relative > 0 ? sum * used / relative : 0;
    mem_free(got);
    mem_free(choice);
    cache_schedule_free(&s);
    return status;
}

int calibration_gain(struct calibration *c, const struct measure *m, int action, enum gain_kind kind,
                     int points, int images, struct error *e)
{
    size_t n = (size_t)c->calls;
    double *gain = mem_array(n, sizeof *gain, e), before_gain = 0;
    struct measure run = *m;
    int status = gain ? 0 : -1, before = 0;
    run.count = images < c->images ? images : c->images;
    run.batch = run.count;
    points = points < 2 ? 2 : points > c->calls - 1 ? c->calls - 1 : points;
    for (int p = 0; status == 0 && c->calls > 1 && p < points; p++) {
        int t = points > 1 ? 1 + p * (c->calls - 2) / (points - 1) : 1;
        double here = 0;
        status = gain_at(c, &run, action, kind == GAIN_STALE ? PREDICT_REUSE : PREDICT_TWO, t, &here, e);
        here = here > 1e-30 ? here : 1e-30;
        for (int i = before + 1; i <= t; i++) {
            double share = before ? (double)(i - before) / (t - before) : 1;
            gain[i] = before ? exp((1 - share) * log(before_gain) + share * log(here)) : here;
        }
        before = t;
        before_gain = here;
    }
    if (status < 0) {
        mem_free(gain);
        return -1;
    }
    mem_free(c->gain[action][kind]);
    c->gain[action][kind] = gain;
    return 0;
}
