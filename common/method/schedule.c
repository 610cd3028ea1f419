/* See schedule.h: checks, prices, choices. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

#include <string.h>

const struct schedule_solver schedule_solvers[] = {
    {"uniform", "compute every N-th call", schedule_solve_uniform},
    {"cachequant", "CacheQuant's dynamic program: bounded segments, a fixed number of them",
     schedule_solve_cachequant},
    {"power", "DeepCache's quadratic schedule: computed calls dense around a center", schedule_solve_power},
    {"magcache", "MagCache's rule, with the smallest threshold that keeps the limit",
     schedule_solve_magcache},
    {"list", "the calls that are listed", schedule_solve_list},
    {"minimax", "the worst segment as good as can be, then the least sum", schedule_solve_minimax},
    {"lemica", "LeMiCa: segments' errors, worst first, as small as can be", schedule_solve_lemica},
    {"dp", "least error over all segments, for every number of computed calls", schedule_solve_dp},
    {"pair", "exact for predictors that use the last two computed calls", schedule_solve_pair},
    {"front", "exact front of milliseconds and error over all actions", schedule_solve_front},
    {NULL, NULL, NULL},
};

const struct schedule_solver *schedule_solver_find(const char *name)
{
    for (const struct schedule_solver *s = schedule_solvers; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

void schedule_free(struct schedule *s)
{
    mem_free(s->action);
    mem_free(s->refresh);
    *s = (struct schedule){0};
}

static int check_tables(const struct schedule_problem *p, struct error *e)
{
    for (int a = 0; a < p->actions; a++)
        for (int t = 0; t < p->calls; t++) {
            double ms = p->ms[(size_t)a * (size_t)p->calls + (size_t)t];
            if (!isfinite(ms) || ms < 0)
                return error_set(e, HASTEN_EFILE, "action %d at call %d takes %g ms", a, t, ms);
            int errors = !schedule_computes(p, a) ? t : p->computes ? 1 : 0;
            for (int s = 0; p->error && s < errors; s++) {
                double error =
                    p->error[((size_t)a * (size_t)p->calls + (size_t)t) * (size_t)p->calls + (size_t)s];
                if (!(error >= 0))
                    return error_set(e, HASTEN_EFILE, "action %d at call %d with refresh %d has error %g", a,
                                     t, s, error);
            }
        }
    for (size_t i = 0; p->pair && i < schedule_pair_count(p->calls); i++)
        if (!(p->pair[i] >= 0))
            return error_set(e, HASTEN_EFILE, "number %zu of the errors of two refreshes is %g", i,
                             p->pair[i]);
    for (int t = 0; p->gain && t < p->calls; t++)
        if (!isfinite(p->gain[t]) || p->gain[t] < 0)
            return error_set(e, HASTEN_EFILE, "the gain of call %d is %g", t, p->gain[t]);
    return 0;
}

int schedule_check(const struct schedule_problem *p, struct error *e)
{
    if (p->calls < 1 || p->calls > SCHEDULE_CALLS_MAX)
        return error_set(e, HASTEN_EUSAGE, "a schedule for %d calls: 1 to %d are possible", p->calls,
                         SCHEDULE_CALLS_MAX);
    if (p->actions < 1 || p->actions > SCHEDULE_ACTIONS_MAX || p->serve < 0 || p->serve >= p->actions)
        return error_set(e, HASTEN_EUSAGE, "action %d of %d: 1 to %d actions are possible", p->serve,
                         p->actions, SCHEDULE_ACTIONS_MAX);
    if (p->interval < 0 || p->interval > p->calls)
        return error_set(e, HASTEN_EUSAGE, "an interval of %d: 1 to %d are possible for %d calls",
                         p->interval, p->calls, p->calls);
    if (p->goal == SCHEDULE_REFRESHES && (p->refreshes < 1 || p->refreshes > p->calls))
        return error_set(e, HASTEN_EUSAGE, "%d computed calls of %d: 1 to %d are possible", p->refreshes,
                         p->calls, p->calls);
    if ((p->goal == SCHEDULE_MS || p->goal == SCHEDULE_ERROR) && !(p->limit >= 0))
        return error_set(e, HASTEN_EUSAGE, "a limit of %g", p->limit);
    if (p->max_run < 0)
        return error_set(e, HASTEN_EUSAGE, "at most %d served calls in a row", p->max_run);
    if (p->actions > 1 && !p->error && !p->pair)
        return error_set(e, HASTEN_EUSAGE, "there is no table of errors");
    if (p->pair && p->actions != 2)
        return error_set(e, HASTEN_EUSAGE, "errors of two refreshes are for 2 actions, not %d", p->actions);
    if (p->computes && (p->pair || !p->error || !p->computes[0]))
        return error_set(e, HASTEN_EUSAGE,
                         "several actions that compute need errors of one refresh, and "
                         "that action 0 is one of them");
    if (p->labels < 0 || p->labels == 1)
        return error_set(e, HASTEN_EUSAGE, "a front of %d labels: at least 2 are needed", p->labels);
    return check_tables(p, e);
}

int schedule_price(const struct schedule_problem *p, const int *action, int *refresh, int *refreshes,
                   double *error, double *ms, struct error *e)
{
    int last = 0, before = 0;
    *refreshes = 0;
    *error = *ms = 0;
    for (int t = 0; t < p->calls; t++) {
        int known = action[t] >= 0 && action[t] < p->actions;
        int computes = known && schedule_computes(p, action[t]);
        if (!known || (t == 0 && !computes))
            return error_set(e, HASTEN_EFILE, "call %d of the schedule has action %d", t, action[t]);
        if (computes) {
            before = last;
            last = t;
            ++*refreshes;
            *error += schedule_cost(p, action[t], t, 0);
        } else {
            *error += p->max_run && t - last > p->max_run ? INFINITY
                      : p->pair                           ? schedule_pair_cost(p, t, last, before)
                                                          : schedule_cost(p, action[t], t, last);
        }
        *ms += p->ms[(size_t)action[t] * (size_t)p->calls + (size_t)t];
        if (refresh)
            refresh[t] = last;
    }
    return 0;
}

static int within(double value, double limit) { return value <= limit * (1 + 1e-9); }

int schedule_meets(const struct schedule_problem *p, int refreshes, double error, double ms)
{
    switch (p->goal) {
    case SCHEDULE_FIXED:
        return 1;
    case SCHEDULE_REFRESHES:
        return refreshes == p->refreshes;
    case SCHEDULE_MS:
        return within(ms, p->limit);
    case SCHEDULE_ERROR:
        break;
    }
    return within(error, p->limit);
}

int schedule_times_are_even(const struct schedule_problem *p, int serve)
{
    for (int t = 2; t < p->calls; t++)
        for (int k = 0; k < 2; k++) {
            const double *ms = p->ms + (size_t)(k ? serve : 0) * (size_t)p->calls;
            if (ms[t] != ms[1])
                return 0;
        }
    return 1;
}

static int comes_first(const int *a, const int *b, int n)
{
    int i = 0;
    while (i < n && a[i] == b[i])
        i++;
    return i < n && a[i] < b[i];
}

/* Does an offer that meets the goal beat the best so far? */
static int beats(const struct schedule_problem *p, const int *action, double error, double ms,
                 const struct schedule *best)
{
    if (!best->action)
        return 1;
    if (error == best->error && ms == best->ms)
        return comes_first(action, best->action, p->calls);
    if (p->goal == SCHEDULE_ERROR)
        return ms < best->ms || (ms == best->ms && error < best->error);
    return error < best->error || (error == best->error && ms < best->ms);
}

static int is_nearer(const struct schedule_problem *p, int refreshes, double error, double ms,
                     const struct schedule_choice *c)
{
    if (!c->any)
        return 1;
    if (p->goal == SCHEDULE_REFRESHES) {
        int off = refreshes - p->refreshes, old = c->near_refreshes - p->refreshes;
        return (off < 0 ? -off : off) < (old < 0 ? -old : old);
    }
    return p->goal == SCHEDULE_MS ? ms < c->near_ms : error < c->near_error;
}

static int keep(struct schedule *best, const struct schedule_problem *p, const int *action, struct error *e)
{
    size_t calls = (size_t)p->calls;
    if (!best->action) {
        best->action = mem_array(calls, sizeof *best->action, e);
        best->refresh = mem_array(calls, sizeof *best->refresh, e);
        if (!best->action || !best->refresh) {
            schedule_free(best);
            return -1;
        }
    }
    best->calls = p->calls;
    memcpy(best->action, action, calls * sizeof *action);
    return schedule_price(p, action, best->refresh, &best->refreshes, &best->error, &best->ms, e);
}

int schedule_offer(struct schedule_choice *c, const struct schedule_problem *p, const int *action,
                   struct error *e)
{
    int refreshes;
    double error, ms;
    if (schedule_price(p, action, NULL, &refreshes, &error, &ms, e) < 0)
        return -1;
    if (!isfinite(error))
        return 0;
    if (schedule_meets(p, refreshes, error, ms)) {
        c->any = 1;
        return beats(p, action, error, ms, &c->best) ? keep(&c->best, p, action, e) : 0;
    }
    if (is_nearer(p, refreshes, error, ms, c)) {
        c->near_refreshes = refreshes;
        c->near_error = error;
        c->near_ms = ms;
    }
    c->any = 1;
    return 0;
}

int schedule_choose(struct schedule_choice *c, const struct schedule_problem *p, struct schedule *out,
                    struct error *e)
{
    if (c->best.action) {
        *out = c->best;
        c->best = (struct schedule){0};
        return 0;
    }
    if (!c->any)
        return error_set(e, HASTEN_EGATE, "no schedule of this kind is allowed for %d calls", p->calls);
    if (p->goal == SCHEDULE_REFRESHES)
        return error_set(e, HASTEN_EGATE,
                         "no schedule of this kind computes %d of %d calls, the nearest computes %d",
                         p->refreshes, p->calls, c->near_refreshes);
    if (p->goal == SCHEDULE_MS)
        return error_set(e, HASTEN_EGATE, "no schedule takes at most %.6g ms, the fastest takes %.6g ms",
                         p->limit, c->near_ms);
    return error_set(e, HASTEN_EGATE, "no schedule has an error of at most %.6g, the best has %.6g", p->limit,
                     c->near_error);
}

void schedule_drop(struct schedule_choice *c) { schedule_free(&c->best); }

void schedule_serve_range(const struct schedule_problem *p, int *first, int *last)
{
    *first = p->serve ? p->serve : p->actions > 1 ? 1 : 0;
    *last = p->serve ? p->serve : p->actions - 1;
}
