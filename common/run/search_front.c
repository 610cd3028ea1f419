/* The front of milliseconds and error. */
#include "common/run/search_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct points {
    struct front_point *point;
    int count, room;
};

void search_front_free(struct front_point *points, int count)
{
    for (int i = 0; points && i < count; i++)
        mem_free(points[i].action);
    mem_free(points);
}

/* candidate[k]: what action k of the problem is, as of trials. */
static int add_point(struct search *x, struct points *all, const struct schedule *s, const int *candidate,
                     double error, enum predictor p, int exact, struct error *e)
{
    if (all->count == all->room) {
        int room = all->room ? 2 * all->room : 64;
        struct front_point *more = mem_resize(all->point, (size_t)room, sizeof *more, e);
        if (!more)
            return -1;
        all->point = more;
        all->room = room;
    }
    int *action = mem_array((size_t)x->calls, sizeof *action, e);
    if (!action)
        return -1;
    for (int t = 0; t < x->calls; t++)
        action[t] = candidate[s->action[t]];
    all->point[all->count++] = (struct front_point){s->ms, error, action, p, exact};
    return 0;
}

static int front_of_one(struct search *x, int a, enum predictor p, struct points *all, struct error *e)
{
    struct priced w;
    struct schedule *found = NULL;
    int count = 0, candidate[] = {0, a + 1}, status;
    if (search_want_gain(x, a, p, e) < 0 || search_priced_open(x, &w, a, p, e) < 0)
        return -1;
    status = schedule_front(&w.problem, &found, &count, e);
    for (int i = 0; i < count && status == 0; i++)
        status = add_point(x, all, &found[i], candidate, found[i].error, p, found[i].exact, e);
    schedule_front_free(found, count);
    search_priced_free(&w);
    return status;
}

struct width_points {
    struct search *x;
    struct points *all;
    enum predictor p;
};

static int add_width(void *context, const struct schedule *s, const int *code, struct error *e)
{
    struct width_points *w = context;
    return add_point(w->x, w->all, s, code, s->error, w->p, 0, e);
}

/* All actions in one schedule, for a predictor that reads one refresh: action k of the problem is
 * candidate[k], as of trials. */
struct together {
    double *table, *ms;
    int candidate[CANDIDATES + 1];
    unsigned char computes[CANDIDATES + 1];
    struct schedule_problem problem;
};

static void together_free(struct together *w)
{
    mem_free(w->table);
    mem_free(w->ms);
}

/* One more action: its times, and its errors with what rounding adds. */
static int together_add(struct search *x, enum predictor p, struct together *w, int action, struct error *e)
{
    size_t n = (size_t)x->calls;
    int k = w->problem.actions++, wide = action > x->count, status = 0;
    int a = wide ? x->list[action - 1].twin : action - 1;
    double *table = w->table + (size_t)k * n * n;
    const double *noise = x->wides && !wide ? x->noise[action] : NULL;
    w->candidate[k] = action;
    w->computes[k] = (unsigned char)search_computes(x, action);
    if (!w->computes[k])
        status = calibration_errors(search_round(x, x->rounds), a, p, x->gain, table, e);
    for (size_t t = 0; t < n; t++) {
        w->ms[(size_t)k * n + t] = x->ms[action];
        for (size_t s = 0; noise && s < n; s++)
            table[t * n + s] += noise[t];
    }
    return status;
}

static int together_open(struct search *x, enum predictor p, int only, struct together *w, struct error *e)
{
    size_t n = (size_t)x->calls;
    int status = 0;
    *w = (struct together){.table = mem_array((CANDIDATES + 1) * n * n, sizeof *w->table, e),
                           .ms = mem_array((CANDIDATES + 1) * n, sizeof *w->ms, e)};
    w->problem = (struct schedule_problem){.calls = x->calls,
                                           .ms = w->ms,
                                           .error = w->table,
                                           .computes = x->wides ? w->computes : NULL,
                                           .goal = SCHEDULE_MS,
                                           .limit = x->limit - search_wide_ms(x)};
    for (int k = 0; k <= x->count && w->table && w->ms && status == 0; k++) {
        int wide = search_wide_of(x, k), a = k - 1;
        if (k && ((only >= 0 && only != a) || !search_is_possible(x, a, p)))
            continue;
        if ((k && search_want_gain(x, a, p, e) < 0) || search_want_noise(x, k, e) < 0 ||
            together_add(x, p, w, k, e) < 0 || (wide >= 0 && together_add(x, p, w, wide, e) < 0))
            status = -1;
    }
    if (status < 0 || !w->table || !w->ms) {
        together_free(w);
        return -1;
    }
    return 0;
}

static int front_of_all(struct search *x, enum predictor p, struct points *all, struct error *e)
{
    struct schedule *found = NULL;
    struct together w;
    int count = 0, status;
    if (together_open(x, p, -1, &w, e) < 0)
        return -1;
    status = w.problem.actions > 2 ? schedule_front(&w.problem, &found, &count, e) : 0;
    for (int i = 0; i < count && status == 0; i++)
        status = add_point(x, all, &found[i], w.candidate, found[i].error, p, found[i].exact, e);
    schedule_front_free(found, count);
    together_free(&w);
    return status;
}

int search_together(struct search *x, const char *solver, enum predictor p, int only, struct error *e)
{
    struct schedule found = {0};
    struct error why = {0};
    struct together w;
    int status = 0;
    if (together_open(x, p, only, &w, e) < 0)
        return -1;
    if (w.problem.actions > 1 && schedule_solver_find("front")->run(&w.problem, &found, &why) == 0) {
        for (int t = 0; t < x->calls; t++)
            found.action[t] = w.candidate[found.action[t]];
        status = search_add_trial(x, solver, p, found.action, found.error, found.exact, e);
    } else if (why.code && why.code != HASTEN_EGATE) {
        status = error_set(e, why.code, "%s", why.text);
    }
    schedule_free(&found);
    together_free(&w);
    return status;
}

static int by_price(const void *a, const void *b)
{
    const struct front_point *p = a, *q = b;
    if (p->ms != q->ms)
        return p->ms < q->ms ? -1 : 1;
    return (p->error > q->error) - (p->error < q->error);
}

int search_front(struct search *x, struct front_point **points, int *count, struct error *e)
{
    struct points all = {0};
    int status = 0;
    for (int p = 0; p < PREDICTORS && status == 0; p++) {
        if (!search_predictor_is_possible(x, (enum predictor)p))
            continue;
        for (int a = 0; a < x->count && status == 0; a++) {
            struct width_points widths = {x, &all, (enum predictor)p};
            if (!search_is_possible(x, a, (enum predictor)p))
                continue;
            if (!x->wides)
                status = front_of_one(x, a, (enum predictor)p, &all, e);
            else if (predict_anchors((enum predictor)p) == 2) /* of one refresh: all actions at once, below */
                status = search_each_width(x, a, (enum predictor)p, add_width, &widths, e);
            if (x->progress)
                x->progress(x->context, "solve", a + 1, x->count);
        }
        if (status == 0 && predict_anchors((enum predictor)p) == 1)
            status = front_of_all(x, (enum predictor)p, &all, e);
    }
    if (status < 0) {
        search_front_free(all.point, all.count);
        return -1;
    }
    if (all.count)
        qsort(all.point, (size_t)all.count, sizeof *all.point, by_price);
    int kept = 0;
    for (int i = 0; i < all.count; i++) {
        if (kept == 0 || all.point[i].error < all.point[kept - 1].error)
            all.point[kept++] = all.point[i];
        else
            mem_free(all.point[i].action);
    }
    *points = all.point;
    *count = kept;
    return kept ? 0 : error_set(e, HASTEN_EGATE, "no schedule is faster than computing every call");
}

struct trial *search_trial_of(struct search *x, const struct front_point *p, struct error *e)
{
    int before = x->trials;
    if (search_add_trial(x, "front", p->predictor, p->action, p->error, p->exact, e) < 0)
        return NULL;
    for (int i = 0; i < x->trials; i++)
        if (x->trial[i].predictor == p->predictor && x->trial[i].round == x->rounds &&
            !memcmp(x->trial[i].action, p->action, (size_t)x->calls * sizeof *p->action))
            return &x->trial[i];
    error_set(e, HASTEN_EFAIL, "internal: there is no room for more than %d trials", before);
    return NULL;
}

/* By halving over the front as it is priced now: *best becomes the fastest that is good, if there is one that
 * is faster; least: the least error that was measured. */
static int find_error(struct search *x, double most, struct trial **best, double *least, struct error *e)
{
    struct front_point *points;
    int count, low = 0, high, status = 0;
    if (search_front(x, &points, &count, e) < 0)
        return -1;
    for (high = count; low < high && status == 0;) { /* points from `high` on are known or taken to be good */
        int at = (low + high) / 2;
        struct trial *t = search_trial_of(x, &points[at], e);
        if (!t || search_measure(x, &t->s, VALIDATION_SEED, x->validate, &t->quality, e) < 0) {
            status = -1;
            break;
        }
        *least = t->computed < x->calls ? fmin(*least, t->quality.rel_l2) : *least;
        if (t->quality.rel_l2 <= most) {
            if (!*best || t->ms < (*best)->ms)
                *best = t;
            high = at;
        } else {
            low = at + 1;
        }
        if (x->progress)
            x->progress(x->context, "validate", count - (high - low), count);
    }
    search_front_free(points, count);
    return status;
}

struct trial *search_error(struct search *x, double most, int rounds, struct error *e)
{
    struct trial *best = NULL;
    double least = INFINITY;
    x->limit = x->ms[0] * x->calls;
    for (int round = 0;; round++) {
        if (find_error(x, most, &best, &least, e) < 0)
            return NULL;
        if (round == rounds || !best || best->computed == x->calls)
            break;
        x->limit = best->ms;
        if (search_measure_again(x, &best->s, e) < 0)
            return NULL;
    }
    if (best && best->computed < x->calls)
        return best;
    error_set(e, HASTEN_EGATE,
              "no schedule that is faster than computing every call keeps the relative L2 below %g; the "
              "least that was measured is %.4g",
              most, least);
    return NULL;
}
