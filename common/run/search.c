/* See search.h. */
#include "common/file/output.h"
#include "common/run/search_inside.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static void report(const struct search *x, const char *what, int done, int all)
{
    if (x->progress)
        x->progress(x->context, what, done, all);
}

void search_trial_free(struct trial *t)
{
    cache_schedule_free(&t->s);
    mem_free(t->action);
    mem_free(t->alone);
    mem_free(t->each);
    *t = (struct trial){0};
}

/* Final latents with every call computed, by the best action there is. */
static int full_latents(struct search *x, uint64_t seed, int images, float **latents, struct error *e)
{
    struct measure run = x->measure;
    struct cache_schedule all = {0};
    run.count = images;
    run.seed = seed;
    run.batch = 0;
    if (!x->wide && !x->wides)
        return measure_latents(&run, latents, NULL, NULL, e);
    int status = cache_schedule_new(&all, x->calls, e);
    if (status == 0 && cache_schedule_widen(&all, x->calls, e) == 0 &&
        cache_schedule_bind(&all, x->measure.graph, e) == 0) {
        all.steps = x->measure.steps;
        run.schedule = &all;
        status = measure_latents(&run, latents, NULL, NULL, e);
    } else {
        status = -1;
    }
    cache_schedule_free(&all);
    return status;
}

int search_measure(struct search *x, const struct cache_schedule *s, uint64_t seed, int images,
                   struct quality *q, struct error *e)
{
    struct measure run = x->measure;
    float *got = NULL, *fresh = NULL;
    const float *calibrated = x->calibrated_reference ? x->calibrated_reference : x->c.reference;
    const float *reference = seed == CALIBRATION_SEED  ? calibrated
                             : seed == VALIDATION_SEED ? x->reference
                                                       : NULL;
    int64_t size = 0;
    run.count = images;
    run.seed = seed;
    run.batch = 0;
    int status = 0;
    if (!reference) {
        status = full_latents(x, seed, images, &fresh, e);
        reference = fresh;
    }
    run.schedule = s;
    if (status == 0)
        status = measure_latents(&run, &got, NULL, &size, e);
    if (status == 0)
        measure_quality(reference, got, images, size, q);
    mem_free(got);
    mem_free(fresh);
    return status;
}

struct keeping {
    struct search *x;
    const char *path;
    int end;
};

static int after_batch(void *context, int image, struct error *e)
{
    struct keeping *k = context;
    report(k->x, "calibrate", image, k->end);
    return k->path && image < k->end
               ? sums_write(&k->x->c.sums, k->path, CALIBRATION_KIND, k->x->measure.backend->team, e)
               : 0;
}

/* All calibration images, or those that a file does not have. */
static int calibrate(struct search *x, struct error *e)
{
    struct calibration *c = &x->c;
    const struct sum_range all = {0, INT_MAX};
    struct team *team = x->measure.backend->team;
    if (x->calibration &&
        sums_resume(&c->sums, x->calibration, CALIBRATION_KIND, all, 0, x->memory, team, e) < 0)
        return -1;
    int before = (int)sums_next(&c->sums, 0), end = x->measure.count > before ? x->measure.count : before;
    struct keeping k = {x, x->calibration, end};
    c->sums.total = x->measure.count = end;
    report(x, "calibrate", before, end);
    if (calibration_run(c, &x->measure, end, after_batch, &k, e) < 0 ||
        (x->calibration && end > before &&
         sums_write(&c->sums, x->calibration, CALIBRATION_KIND, team, e) < 0))
        return -1;
    return calibration_finish(c, e);
}

static int open_calibration(struct search *x, struct error *e)
{
    return calibration_open(&x->c, &x->measure, x->list, x->count, (size_t)1 << 30, e);
}

int search_measure_part(struct search *x, const struct shard *shard, const char *path,
                        struct sum_range *range, struct error *e)
{
    struct calibration *c = &x->c;
    if (open_calibration(x, e) < 0)
        return -1;
    *range = sums_range(&c->sums, shard);
    struct keeping k = {x, output_is_stdout(path) ? NULL : path, (int)range->end};
    c->begin = (int)range->begin;
    if (sums_resume(&c->sums, path, CALIBRATION_KIND, *range, 1, x->memory, x->measure.backend->team, e) <
            0 ||
        calibration_run(c, &x->measure, k.end, after_batch, &k, e) < 0)
        return -1;
    return sums_write(&c->sums, path, CALIBRATION_KIND, x->measure.backend->team, e);
}

int search_open(struct search *x, struct error *e)
{
    if (open_calibration(x, e) < 0 || calibrate(x, e) < 0)
        return -1;
    x->calls = x->c.calls;
    if (full_latents(x, VALIDATION_SEED, x->validate, &x->reference, e) < 0 ||
        ((x->wide || x->wides) &&
         full_latents(x, CALIBRATION_SEED, x->measure.count, &x->calibrated_reference, e) < 0))
        return -1;
    return search_want_noise(x, 0, e);
}

void search_close(struct search *x)
{
    for (int i = 0; i < x->trials; i++)
        search_trial_free(&x->trial[i]);
    x->trials = 0;
    for (int i = 0; i <= CANDIDATES; i++) {
        mem_free(x->noise[i]);
        x->noise[i] = NULL;
    }
    search_forget_rounds(x);
    search_streams_free(x);
    calibration_free(&x->c);
    mem_free(x->reference);
    mem_free(x->calibrated_reference);
    x->reference = x->calibrated_reference = NULL;
}

size_t search_cache_bytes(const struct search *x, int candidate, enum predictor p)
{
    const struct graph *g = x->measure.graph;
    size_t values = 0, streams = x->measure.guidance != 1 ? 2 : 1;
    for (int i = 0; i < g->count; i++)
        if (x->list[candidate].served[i])
            values += (size_t)shape_size(g->node[i].shape);
    return values * (size_t)predict_anchors(p) * streams * sizeof(float);
}

/* ---- trials ---- */

/* (Re)make a trial's schedule from its actions. */
int search_make_schedule(struct search *x, struct trial *t, struct error *e)
{
    const struct model *m = x->measure.model;
    cache_schedule_free(&t->s);
    if (schedule_of_actions(&t->s, x->c.g, x->list, x->calls, t->action, e) < 0)
        return -1;
    t->ms = 0;
    t->computed = 0;
    for (int i = 0; i < x->calls; i++) {
        t->computed += search_computes(x, t->action[i]);
        t->ms += t->action[i] == 0 && t->computed <= x->wide ? x->wide_ms : x->ms[t->action[i]];
    }
    if (cache_schedule_widen(&t->s, x->wide, e) < 0 || cache_schedule_bind(&t->s, x->c.g, e) < 0)
        return -1;
    t->s.steps = x->measure.steps;
    t->s.guidance = x->measure.guidance;
    t->s.height = m->image.height;
    t->s.width = m->image.width;
    if (calibration_predict(search_round(x, t->round), t->predictor, &t->s, e) < 0)
        return -1;
    if (!t->alone)
        return 0;
    t->ms = search_split_ms(x, t);
    return search_split_schedule(x, t, e);
}

/* A trial of these actions, unless there is the same already or no room. */
int search_add_trial(struct search *x, const char *solver, enum predictor p, const int *action,
                     double predicted, int exact, struct error *e)
{
    return search_add_split(x, solver, p, action, NULL, predicted, exact, e);
}

int search_add_split(struct search *x, const char *solver, enum predictor p, const int *action,
                     const unsigned char *alone, double predicted, int exact, struct error *e)
{
    for (int i = 0; i < x->trials; i++)
        if (x->trial[i].predictor == p && x->trial[i].round == x->rounds && !x->trial[i].alone && !alone &&
            !memcmp(x->trial[i].action, action, (size_t)x->calls * sizeof *action))
            return 0;
    if (x->trials == SEARCH_TRIALS)
        return 0;
    struct trial *t = &x->trial[x->trials];
    *t = (struct trial){
        .solver = solver, .predictor = p, .predicted = predicted, .exact = exact, .round = x->rounds};
    t->action = mem_array((size_t)x->calls, sizeof *t->action, e);
    t->each = mem_array((size_t)x->validate, sizeof *t->each, e);
    t->alone = alone ? mem_array((size_t)x->calls, 1, e) : NULL;
    if (!t->action || !t->each || (alone && !t->alone)) {
        search_trial_free(t);
        return -1;
    }
    memcpy(t->action, action, (size_t)x->calls * sizeof *action);
    if (alone)
        memcpy(t->alone, alone, (size_t)x->calls);
    x->trials++;
    return search_make_schedule(x, t, e);
}

/* ---- solvers ---- */

/* What published methods decide by instead of prices: CacheQuant's distances of features, MagCache's ratios
 * of magnitudes. *own: from mem_array, or NULL. */
static int own_table(const struct search *x, const char *name, const struct priced *w,
                     struct schedule_problem *p, double **own, struct error *e)
{
    size_t n = (size_t)x->calls;
    const struct calibration *c = search_round(x, x->rounds);
    int magcache = !strcmp(name, "magcache");
    *own = NULL;
    if (!magcache && strcmp(name, "cachequant"))
        return 0;
    if (!(*own = mem_array(magcache ? n : 2 * n * n, sizeof **own, e)))
        return -1;
    if (magcache) {
        calibration_ratios(c, w->action, *own);
        p->ratio = *own;
        return 0;
    }
    p->error = *own;
    p->pair = NULL;
    return calibration_l1(c, w->action, *own + n * n)
               ? 0
               : calibration_errors(c, w->action, PREDICT_REUSE, 0, *own + n * n, e);
}

/* Errors of served calls add up as amplitudes or as squares, depending on how alike they are, and gains are
 * measured on few images: other prices than the additive one give other schedules, among which runs choose.
 * "squares": the sum of squares; "flat": gains to the power of one half. *own: from mem_array, or NULL. */
static int vary(const struct search *x, const char *name, const struct priced *w, struct schedule_problem *p,
                double **own, struct error *e)
{
    size_t calls = (size_t)x->calls, n = p->pair ? schedule_pair_count(x->calls) : 2 * calls * calls;
    const double *gain = search_round(x, x->rounds)->gain[w->action][calibration_gain_kind(w->p)];
    int squares = !strcmp(name, "dp-squares");
    if (!squares && (strcmp(name, "dp-flat") || !gain))
        return 0;
    if (!(*own = mem_array(squares ? n : calls, sizeof **own, e)))
        return -1;
    for (size_t t = 0; !squares && t < calls; t++)
        (*own)[t] = gain[t] > 0 ? pow(gain[t], -0.25) : 1;
    if (!squares)
        p->gain = *own;
    for (size_t i = 0; squares && i < n; i++)
        (*own)[i] = w->table[i] * w->table[i];
    if (squares && p->pair)
        p->pair = *own;
    else if (squares)
        p->error = *own;
    return 0;
}

/* One solver on one priced action. A goal out of its reach is no error: others may. "dp" is the exact
 * program for the predictor: with two refreshes it is "pair". */
static int try_solver(struct search *x, const char *name, struct priced *w, struct error *e)
{
    int dp = !strncmp(name, "dp", 2), exact = !strcmp(name, "dp"), refreshes;
    struct schedule_problem p = w->problem;
    struct schedule found = {0};
    struct error why = {0};
    double predicted, ms, *own;
    if (own_table(x, name, w, &p, &own, e) < 0 || vary(x, name, w, &p, &own, e) < 0) {
        mem_free(own);
        return -1;
    }
    if (x->interval && !dp) {
        p.goal = SCHEDULE_FIXED;
        p.interval = x->interval;
    }
    int status = 0;
    if (schedule_solver_find(dp ? p.pair ? "pair" : "dp" : name)->run(&p, &found, &why) < 0) {
        if (why.code != HASTEN_EGATE)
            status = error_set(e, why.code, "%s", why.text);
    } else {
        w->problem.max_run = 0;
        status = schedule_price(&w->problem, found.action, NULL, &refreshes, &predicted, &ms, e);
        for (int t = 0; t < x->calls; t++)
            found.action[t] *= w->action + 1;
        predicted += search_noise(x, found.action);
        if (status == 0)
            status = search_add_trial(x, name, w->p, found.action, predicted, found.exact && exact, e);
    }
    w->problem.max_run = x->max_run;
    schedule_free(&found);
    mem_free(own);
    return status;
}

static int solve_action(struct search *x, int a, enum predictor p, struct error *e)
{
    struct priced w;
    if (search_want_gain(x, a, p, e) < 0 || search_want_noise(x, a + 1, e) < 0 ||
        search_priced_open(x, &w, a, p, e) < 0)
        return -1;
    int status = x->wides ? search_bits(x, a, p, e) : 0;
    for (int s = 0; x->solver[s] && status == 0; s++)
        if (strcmp(x->solver[s], "joint")) /* of all actions at once: below */
            status = try_solver(x, x->solver[s], &w, e);
    search_priced_free(&w);
    return status;
}

int search_predictor_is_possible(const struct search *x, enum predictor p)
{
    return (x->predictors & 1u << p) && (predict_anchors(p) == 1 || x->calls <= CALIBRATION_TWO_MOST);
}

static int too_fast(const struct search *x, struct error *e)
{
    double least = x->ms[0];
    for (int a = 0; a < x->count; a++) /* wide ones take longer */
        if ((x->only < 0 || x->only == a) && x->ms[a + 1] < least &&
            !(x->max_cache_bytes && search_cache_bytes(x, a, PREDICT_REUSE) > x->max_cache_bytes))
            least = x->ms[a + 1];
    return error_set(e, HASTEN_EGATE,
                     "no schedule takes at most %.2f ms; with one computed call the fastest possible takes "
                     "%.2f ms (full: %.2f)",
                     x->limit, x->ms[0] + (x->calls - 1) * least, x->ms[0] * x->calls);
}

int search_solve(struct search *x, struct error *e)
{
    for (int a = 0; a < x->count; a++) {
        for (int p = 0; p < PREDICTORS; p++)
            if (search_predictor_is_possible(x, (enum predictor)p) &&
                search_is_possible(x, a, (enum predictor)p) && solve_action(x, a, (enum predictor)p, e) < 0)
                return -1;
        report(x, "solve", a + 1, x->count);
    }
    for (int s = 0; x->solver[s]; s++)
        for (int p = 0; p < PREDICTORS && !strcmp(x->solver[s], "joint"); p++)
            if (search_predictor_is_possible(x, (enum predictor)p) &&
                predict_anchors((enum predictor)p) == 1 &&
                search_together(x, "joint", (enum predictor)p, -1, e) < 0)
                return -1;
    return x->trials ? 0 : too_fast(x, e);
}
