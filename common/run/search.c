/* See search.h. */
#include "common/file/output.h"
#include "common/run/search_inside.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void report(const struct search *x, const char *what, int done, int all)
{
    if (x->progress)
        x->progress(x->context, what, done, all);
}

static void trial_free(struct trial *t)
{
    cache_schedule_free(&t->s);
    mem_free(t->action);
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
    if (!x->wide)
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
    const float *reference = seed == CALIBRATION_SEED  ? x->wide ? x->calibrated_reference : x->c.reference
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
    x->streams = x->measure.guidance != 1 ? 2 : 1;
    if (open_calibration(x, e) < 0 || calibrate(x, e) < 0)
        return -1;
    x->calls = x->c.calls;
    return full_latents(x, VALIDATION_SEED, x->validate, &x->reference, e) < 0 ||
                   (x->wide &&
                    full_latents(x, CALIBRATION_SEED, x->measure.count, &x->calibrated_reference, e) < 0)
               ? -1
               : 0;
}

void search_close(struct search *x)
{
    for (int i = 0; i < x->trials; i++)
        trial_free(&x->trial[i]);
    x->trials = 0;
    search_forget_rounds(x);
    calibration_free(&x->c);
    mem_free(x->reference);
    mem_free(x->calibrated_reference);
    x->reference = x->calibrated_reference = NULL;
}

size_t search_cache_bytes(const struct search *x, int candidate, enum predictor p)
{
    size_t values = 0;
    for (int i = 0; i < x->c.g->count; i++)
        if (x->list[candidate].served[i])
            values += (size_t)shape_size(x->c.g->node[i].shape);
    return values * (size_t)predict_anchors(p) * (size_t)x->streams * sizeof(float);
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
        t->computed += t->action[i] == 0;
        t->ms += t->action[i] == 0 && t->computed <= x->wide ? x->wide_ms : x->ms[t->action[i]];
    }
    if (cache_schedule_widen(&t->s, x->wide, e) < 0 || cache_schedule_bind(&t->s, x->c.g, e) < 0)
        return -1;
    t->s.steps = x->measure.steps;
    t->s.guidance = x->measure.guidance;
    t->s.height = m->image.height;
    t->s.width = m->image.width;
    return calibration_predict(search_round(x, t->round), t->predictor, &t->s, e);
}

/* A trial of these actions, unless there is the same already or no room. */
int search_add_trial(struct search *x, const char *solver, enum predictor p, const int *action,
                     double predicted, int exact, struct error *e)
{
    for (int i = 0; i < x->trials; i++)
        if (x->trial[i].predictor == p && x->trial[i].round == x->rounds &&
            !memcmp(x->trial[i].action, action, (size_t)x->calls * sizeof *action))
            return 0;
    if (x->trials == SEARCH_TRIALS)
        return 0;
    struct trial *t = &x->trial[x->trials];
    *t = (struct trial){
        .solver = solver, .predictor = p, .predicted = predicted, .exact = exact, .round = x->rounds};
    t->action = mem_array((size_t)x->calls, sizeof *t->action, e);
    if (!t->action)
        return -1;
    memcpy(t->action, action, (size_t)x->calls * sizeof *action);
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

/* One solver on one priced action. A goal out of its reach is no error: others may. "dp" is the exact
 * program for the predictor: with two refreshes it is "pair". */
static int try_solver(struct search *x, const char *name, struct priced *w, struct error *e)
{
    int dp = !strcmp(name, "dp"), refreshes;
    struct schedule_problem p = w->problem;
    struct schedule found = {0};
    struct error why = {0};
    double predicted, ms, *own;
    if (own_table(x, name, w, &p, &own, e) < 0) {
        mem_free(own);
        return -1;
    }
    if (x->interval && !dp) {
        p.goal = SCHEDULE_FIXED;
        p.interval = x->interval;
    }
    int status = 0;
    if (schedule_solver_find(dp && p.pair ? "pair" : name)->run(&p, &found, &why) < 0) {
        if (why.code != HASTEN_EGATE)
            status = error_set(e, why.code, "%s", why.text);
    } else {
        w->problem.max_run = 0;
        status = schedule_price(&w->problem, found.action, NULL, &refreshes, &predicted, &ms, e);
        for (int t = 0; t < x->calls; t++)
            found.action[t] *= w->action + 1;
        if (status == 0)
            status = search_add_trial(x, name, w->p, found.action, predicted, found.exact && dp, e);
    }
    w->problem.max_run = x->max_run;
    schedule_free(&found);
    mem_free(own);
    return status;
}

static int solve_action(struct search *x, int a, enum predictor p, struct error *e)
{
    struct priced w;
    if (search_want_gain(x, a, p, e) < 0 || search_priced_open(x, &w, a, p, e) < 0)
        return -1;
    int status = 0;
    for (int s = 0; x->solver[s] && status == 0; s++)
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
    for (int a = 0; a < x->count; a++)
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
    return x->trials ? 0 : too_fast(x, e);
}

/* ---- validation ---- */

/* The mean of decibels: one odd image does not decide, as it would in a mean of errors. */
static int by_error(const void *a, const void *b)
{
    const struct trial *p = a, *q = b;
    return (p->quality.psnr < q->quality.psnr) - (p->quality.psnr > q->quality.psnr);
}

struct trial *search_validate(struct search *x, struct error *e)
{
    enum { FINALISTS = 6 };
    int few = x->validate < 2 ? x->validate : 2, finalists = x->trials < FINALISTS ? x->trials : FINALISTS;
    if (x->trials <= FINALISTS)
        few = x->validate;
    for (int i = 0; i < x->trials; i++) {
        x->trial[i].images = few;
        if (search_measure(x, &x->trial[i].s, VALIDATION_SEED, few, &x->trial[i].quality, e) < 0)
            return NULL;
        report(x, "validate", i + 1, x->trials + finalists);
    }
    qsort(x->trial, (size_t)x->trials, sizeof x->trial[0], by_error);
    for (int i = 0; i < finalists && few < x->validate; i++) {
        x->trial[i].images = x->validate;
        if (search_measure(x, &x->trial[i].s, VALIDATION_SEED, x->validate, &x->trial[i].quality, e) < 0)
            return NULL;
        report(x, "validate", x->trials + i + 1, x->trials + finalists);
    }
    qsort(x->trial, (size_t)finalists, sizeof x->trial[0], by_error);
    return x->trials ? &x->trial[0] : NULL;
}

/* ---- polish ---- */

static void copy_trial_actions(const struct search *x, int *to, const struct trial *t)
{
    memcpy(to, t->action, (size_t)x->calls * sizeof *to);
}

/* Is the trial with these actions better on the calibration and on the validation images? Else it is as
 * before. */
static int try_move(struct search *x, struct trial *t, const int *action, double *calibrated, struct error *e)
{
    struct quality there, here;
    int *old = mem_array((size_t)x->calls, sizeof *old, e), better = 0;
    if (!old)
        return -1;
    copy_trial_actions(x, old, t);
    memcpy(t->action, action, (size_t)x->calls * sizeof *action);
    int status = search_make_schedule(x, t, e);
    if (status == 0)
        status = search_measure(x, &t->s, CALIBRATION_SEED, x->measure.count, &there, e);
    if (status == 0 && there.psnr > *calibrated) {
        status = search_measure(x, &t->s, VALIDATION_SEED, x->validate, &here, e);
        better = status == 0 && here.psnr > t->quality.psnr && here.rel_l2 < t->quality.rel_l2;
    }
    if (better) {
        *calibrated = there.psnr;
        t->quality = here;
        t->exact = 0;
    } else {
        memcpy(t->action, old, (size_t)x->calls * sizeof *old);
        if (status == 0)
            status = search_make_schedule(x, t, e);
    }
    mem_free(old);
    return status < 0 ? -1 : better;
}

/* The n-th neighbour: computed call number n / 4 moved by 1, -1, 2 or -2. 0: there is none. */
static int neighbour(const struct search *x, const struct trial *t, int n, int *action)
{
    static const int by[] = {1, -1, 2, -2};
    int at = 0, seen = 0;
    for (; at < x->calls; at++)
        if (t->action[at] == 0 && at > 0 && seen++ == n / 4)
            break;
    int to = at + by[n % 4];
    if (at >= x->calls || to < 1 || to >= x->calls || t->action[to] == 0)
        return 0;
    copy_trial_actions(x, action, t);
    action[at] = action[to];
    action[to] = 0;
    return 1;
}

int search_polish(struct search *x, struct trial *t, int runs, struct error *e)
{
    int *action = mem_array((size_t)x->calls, sizeof *action, e), status = action ? 0 : -1,
        all = 4 * x->calls;
    struct quality q;
    if (status == 0)
        status = search_measure(x, &t->s, CALIBRATION_SEED, x->measure.count, &q, e);
    double calibrated = q.psnr;
    for (int n = 0, since = 0, used = 0; status == 0 && used < runs && since < all;
         n = (n + 1) % all, since++) {
        if (!neighbour(x, t, n, action))
            continue;
        int better = try_move(x, t, action, &calibrated, e);
        status = better < 0 ? -1 : 0;
        since = better > 0 ? 0 : since;
        used++;
        report(x, "polish", used, runs);
    }
    mem_free(action);
    return status;
}
