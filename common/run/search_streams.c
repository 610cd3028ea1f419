/* Two streams: with guidance a call may compute its conditional pass alone and predict the unconditional
 * output as the conditional one plus what the two differed by at the last calls that computed both (as
 * FasterCache, arXiv 2410.19355, and the linear estimates of Adaptive Guidance, arXiv 2312.12487; here the
 * coefficients are fitted and the calls solved for). The difference changes less from call to call than
 * either output, and guidance w multiplies its error by w - 1.
 *
 * Of n calls that are served in both streams, k compute one stream and m both: for every m the best places of
 * these by the difference's own prices, then of all computed calls by the action's, with those m among them.
 * Each program is exact, the two in turn are not; validation images choose. */
#include "common/run/search_inside.h"

#include <math.h>
#include <string.h>

struct differences {
    struct search *x;
    int output, images;
    int64_t size;
    float *features; /* [images][calls][size] */
};

/* Rows of the second half are unconditional, whether they run with the others or after them. */
static int collect(void *context, const struct engine *g, int call, int first, int rows, struct error *e)
{
    struct differences *d = context;
    const float *out = engine_value(g, d->output);
    (void)e;
    for (int r = first; r < first + rows; r++, out += d->size) {
        int is_second = r >= d->images;
        float *to = d->features + ((int64_t)(r % d->images) * d->x->calls + call) * d->size;
        d->x->guided[call] |= (unsigned char)is_second;
        for (int64_t i = 0; i < d->size; i++)
            to[i] = is_second ? out[i] - to[i] : out[i];
    }
    return 0;
}

void search_streams_free(struct search *x)
{
    mem_free(x->difference.cross);
    mem_free(x->difference.sum);
    mem_free(x->difference.rows);
    mem_free(x->difference.room);
    mem_free(x->guided);
    x->difference = (struct gram){0};
    x->guided = NULL;
}

static int gram_open(struct gram *g, int calls, int channels, struct error *e)
{
    size_t n = (size_t)calls, groups = (size_t)(channels < GRAM_GROUPS ? channels : GRAM_GROUPS);
    *g = (struct gram){.calls = calls, .channels = channels, .groups = (int)groups};
    g->cross = mem_array(groups * n, n * sizeof *g->cross, e);
    g->sum = mem_array(groups * n, sizeof *g->sum, e);
    g->rows = mem_array(n, sizeof *g->rows, e);
    g->room = mem_array(groups * (n + 1), sizeof *g->room, e);
    return g->cross && g->sum && g->rows && g->room ? 0 : -1;
}

/* The differences of the calibration images at the latents of the full run. */
static int measure(struct search *x, struct error *e)
{
    struct measure run = x->measure;
    struct differences d = {.x = x, .output = graph_find_output(x->measure.graph, "sample")};
    struct trajectory_watch watch = {.context = &d, .network = collect};
    struct shape shape = x->measure.graph->node[d.output].shape;
    unsigned char *want = mem_array((size_t)run.graph->count + 1, 1, e);
    float *latents = NULL;
    d.size = shape_size(shape);
    d.images = run.count = run.batch = run.count < SEARCH_SPLIT_IMAGES ? run.count : SEARCH_SPLIT_IMAGES;
    d.features = mem_array((size_t)d.images * (size_t)x->calls, (size_t)d.size * sizeof *d.features, e);
    x->guided = mem_array((size_t)x->calls, 1, e);
    int status =
        want && d.features && x->guided ? gram_open(&x->difference, x->calls, shape.channels, e) : -1;
    if (status == 0) {
        want[d.output] = 1;
        run.want = want;
        run.watch = &watch;
        run.schedule = NULL;
        status = measure_latents(&run, &latents, NULL, NULL, e);
    }
    for (int i = 0; i < d.images && status == 0; i++)
        status = gram_add(&x->difference, d.features + (int64_t)i * x->calls * d.size, shape_rows(shape),
                          x->measure.backend->team, e);
    mem_free(want);
    mem_free(d.features);
    mem_free(latents);
    return status;
}

/* ---- prices ---- */

static int output_candidate(const struct search *x)
{
    int a = x->count - 1;
    while (a >= 0 && strcmp(x->list[a].name, "output"))
        a--;
    return a;
}

/* Calls without guidance need no difference and give none: those that are served cost nothing, and what was
 * kept at one of them serves no other. */
static void heed_interval(const struct search *x, double *table)
{
    for (int t = 1; t < x->calls; t++)
        for (int s = 0; s < t; s++)
            for (int r = 0; r <= s; r++) {
                double *here = &table[schedule_pair_index(t, s, r)];
                if (!x->guided[t])
                    *here = 0;
                else if (!x->guided[s])
                    *here = INFINITY;
                else if (!x->guided[r])
                    *here = table[schedule_pair_index(t, s, s)];
            }
}

/* The pair solver's table for the difference, in the unit of the action's. */
static double *price_differences(struct search *x, struct error *e)
{
    int out = output_candidate(x), at = 0;
    const struct calibration *c = search_round(x, x->rounds);
    double *table = mem_array(predict_table_size(PREDICT_TWO, x->calls) + 1, sizeof *table, e);
    double scale = fabs(x->measure.guidance - 1);
    if (!table || search_want_gain(x, out, PREDICT_TWO, e) < 0 ||
        predict_table(&x->difference, PREDICT_TWO, table, e) < 0) {
        mem_free(table);
        return NULL;
    }
    while (at + 1 < c->nodes && c->node[at] != graph_find_output(c->g, "sample"))
        at++;
    const double *gain = x->c.gain[out][calibration_gain_kind(PREDICT_TWO)];
    for (int t = 1; t < x->calls; t++) {
        double power = gram_power(&c->gram[at], t), by = (gain ? gain[t] : 1) / (power > 0 ? power : 1);
        for (size_t k = schedule_pair_index(t, 0, 0); k < schedule_pair_index(t + 1, 0, 0); k++)
            table[k] = scale * sqrt(table[k] * by);
    }
    heed_interval(x, table);
    return table;
}

/* A call without guidance is priced as in schedules of both streams alike. */
double search_split_ms(const struct search *x, const struct trial *t)
{
    double ms = 0, one = x->one_ms / x->ms[0];
    for (int i = 0; i < x->calls; i++)
        ms += x->ms[t->action[i]] * (t->alone[i] && x->guided[i] ? one : 1);
    return ms;
}

/* ---- schedules ---- */

/* The second stream's action: the output as a difference, out of the calls that compute both. */
int search_split_schedule(struct search *x, struct trial *t, struct error *e)
{
    const struct graph *g = x->measure.graph;
    const struct gram *d = &x->difference;
    const char *output = g->node[graph_find_output(g, "sample")].name;
    int a = cache_schedule_add(&t->s, "difference", &output, 1, e), last = x->guided[0] - 1, before = -1;
    size_t channels = (size_t)d->channels;
    float *table = a < 0 ? NULL : mem_array((size_t)x->calls * 3, channels * sizeof *table, e);
    struct predict_fit fit[GRAM_GROUPS];
    if (!table)
        return -1;
    t->s.action[a].difference = 1;
    t->s.action[a].correct[0] = table;
    t->s.action[a].channels[0] = d->channels;
    t->s.action[a].anchors[0] = 2;
    for (int i = 1; i < x->calls; i++) {
        float *row = table + (size_t)i * 3 * channels;
        if (!t->alone[i] && x->guided[i]) {
            before = last;
            last = i;
        }
        if (!t->alone[i] || !x->guided[i] || last < 0)
            continue;
        t->s.choice[1][i] = a;
        predict_fit(d, PREDICT_TWO, i, last, before, fit);
        for (int c = 0; c < d->channels; c++) {
            const struct predict_fit *f = &fit[gram_group(d, c)];
            row[c] = (float)f->a[0];
            row[channels + (size_t)c] = (float)f->a[1];
            row[2 * channels + (size_t)c] = (float)f->b;
        }
    }
    return cache_schedule_bind(&t->s, g, e);
}

/* The best places of exactly `computed` calls; 0: there are none. */
static int solve(const struct schedule_problem *of, int computed, struct schedule *s, struct error *e)
{
    struct schedule_problem p = *of;
    struct error why = {0};
    p.goal = SCHEDULE_REFRESHES;
    p.refreshes = computed;
    if (schedule_solver_find(p.pair ? "pair" : "dp")->run(&p, s, &why) == 0)
        return 1;
    return why.code == HASTEN_EGATE ? 0 : error_set(e, why.code, "%s", why.text);
}

/* These calls must be computed: serving them is not allowed. */
static void demand(const struct priced *w, const struct schedule *both, double *table)
{
    size_t n = (size_t)both->calls;
    for (int t = 1; t < both->calls; t++) {
        size_t first = w->problem.pair ? schedule_pair_index(t, 0, 0) : (n + (size_t)t) * n;
        size_t end = w->problem.pair ? schedule_pair_index(t + 1, 0, 0) : first + n;
        for (size_t k = first; k < end && both->action[t] == 0; k++)
            table[k] = INFINITY;
    }
}

/* Room for one trial: the actions of both streams, and the action's table with what must be computed. */
struct split {
    double *table;
    unsigned char *alone;
    int *action;
};

/* The computed calls of the first stream, with those of both among them; 0: there are none, or too slow. */
static int solve_outer(struct search *x, const struct priced *w, struct split *a, int computed, double *error,
                       struct error *e)
{
    struct schedule_problem p = w->problem;
    struct schedule outer = {0};
    struct trial t = {.action = a->action, .alone = a->alone};
    *(p.pair ? &p.pair : &p.error) = a->table;
    int status = solve(&p, computed, &outer, e);
    for (int i = 0; status > 0 && i < x->calls; i++)
        a->action[i] = outer.action[i] ? w->action + 1 : 0;
    *error = outer.error;
    schedule_free(&outer);
    return status > 0 ? search_split_ms(x, &t) <= p.limit * (1 + 1e-9) : status;
}

/* A trial with `both` calls that compute both streams, and as many of one stream as there is room for. */
static int add_split(struct search *x, struct priced *w, struct schedule_problem *second, int both,
                     struct error *e)
{
    size_t n = (size_t)x->calls, size = w->problem.pair ? schedule_pair_count(x->calls) : 2 * n * n;
    double one = x->one_ms, served = x->ms[w->action + 1] * one / x->ms[0], error = 0;
    int computed =
        (int)((w->problem.limit * (1 + 1e-9) - both * (x->ms[0] - one) - x->calls * served) / (one - served));
    struct schedule inner = {0};
    struct split a = {mem_array(size, sizeof *a.table, e), mem_array(n, 1, e),
                      mem_array(n, sizeof *a.action, e)};
    int status = a.table && a.alone && a.action ? solve(second, both, &inner, e) : -1, found = 0;
    if (status > 0) {
        for (size_t t = 0; t < n; t++)
            a.alone[t] = inner.action[t] != 0;
        memcpy(a.table, w->table, size * sizeof *a.table);
        demand(w, &inner, a.table);
    }
    for (computed = computed < x->calls ? computed : x->calls; status > 0 && !found && computed > both;
         computed--)
        status = (found = solve_outer(x, w, &a, computed, &error, e)) < 0 ? -1 : 1;
    if (found > 0)
        status = search_add_split(x, "split", w->p, a.action, a.alone, inner.error + error, 0, e);
    schedule_free(&inner);
    mem_free(a.table);
    mem_free(a.alone);
    mem_free(a.action);
    return status < 0 ? -1 : 0;
}

/* One action and its predictor, for every number of calls that compute both streams, or every few. */
static int split_action(struct search *x, int a, enum predictor p, const double *differences, struct error *e)
{
    struct priced w;
    if (search_want_gain(x, a, p, e) < 0 || search_priced_open(x, &w, a, p, e) < 0)
        return -1;
    struct schedule_problem second = w.problem;
    second.pair = differences;
    second.error = NULL;
    int most = (int)(w.problem.limit / x->ms[0]), status = 0;
    for (int both = 1; both <= most && status == 0; both += most / SEARCH_SPLIT_TRIALS + 1)
        status = add_split(x, &w, &second, both, e);
    search_priced_free(&w);
    return status;
}

int search_split(struct search *x, const struct trial *best, struct error *e)
{
    int action = 0, several = 0;
    enum predictor p = best->predictor;
    for (int t = 0; t < x->calls; t++) {
        several |= action && best->action[t] && best->action[t] != action;
        action = best->action[t] ? best->action[t] : action;
    }
    int out = output_candidate(x) + 1;
    if (!x->calls || x->calls > CALIBRATION_TWO_MOST || !out ||
        (x->difference.calls == 0 && measure(x, e) < 0))
        return e->code ? -1 : 0;
    double *differences = price_differences(x, e);
    search_keep(x, x->finalists);
    int status = differences ? 0 : -1;
    if (status == 0 && action && !several)
        status = split_action(x, action - 1, p, differences, e);
    if (status == 0 && (several || action != out))
        status = split_action(x, out - 1, PREDICT_TWO, differences, e);
    mem_free(differences);
    return status;
}
