/* Random problems for the schedule solvers, and what the tests' enumerations share. */
#ifndef HASTEN_METHOD_TESTS_SCHEDULE_CASES_H
#define HASTEN_METHOD_TESTS_SCHEDULE_CASES_H

#include "common/method/prng.h"
#include "common/method/schedule.h"

#include <check.h>
#include <math.h>
#include <string.h>

enum { T_MAX = 12, A_MAX = 4 };

struct tables {
    struct schedule_problem p;
    double ms[A_MAX * T_MAX], error[A_MAX * T_MAX * T_MAX], gain[T_MAX],
        pair[T_MAX * T_MAX * T_MAX / 6 + T_MAX];
};

/* whole: small integers; even: the same time at every call. Times are binary fractions: the sum of as
 * many equal ones is the same in any order. */
static inline void fill(struct tables *x, struct prng *r, int calls, int actions, int whole, int even)
{
    memset(x, 0, sizeof *x);
    x->p = (struct schedule_problem){
        .calls = calls, .actions = actions, .ms = x->ms, .error = x->error, .gain = x->gain};
    for (int a = 0; a < actions; a++)
        for (int t = 0; t < calls; t++) {
            double ms = whole ? (double)prng_below(r, 4) + (a ? 0 : 3)
                              : (double)(1 + prng_below(r, 999) + (a ? 0 : 500)) / 256;
            x->ms[a * calls + t] = even && t ? x->ms[a * calls] : ms;
        }
    for (int a = 0; a < actions; a++)
        for (int t = 0; t < calls; t++)
            for (int s = 0; s < t; s++) {
                double *e = &x->error[(a * calls + t) * calls + s];
                *e = whole ? (double)prng_below(r, 4) : prng_unit(r) * (t - s);
                if (prng_below(r, 12) == 0)
                    *e = INFINITY;
            }
    for (int t = 0; t < calls; t++)
        x->gain[t] = whole ? 1 + (double)prng_below(r, 2) : 0.1 + prng_unit(r);
}

struct priced {
    int action[T_MAX], refreshes, longest, shortest; /* segments */
    double error, ms;
};

static inline int computes(const struct tables *x, int action)
{
    return x->p.computes ? x->p.computes[action] : action == 0;
}

/* From the end, unlike the library: sums in another order. */
static inline void price(const struct tables *x, struct priced *s)
{
    int calls = x->p.calls, last = calls;
    s->error = s->ms = s->refreshes = s->longest = 0;
    s->shortest = calls;
    for (int t = calls - 1; t >= 0; t--) {
        int a = s->action[t], from = t;
        s->ms += x->ms[a * calls + t];
        if (computes(x, a)) {
            s->error += x->p.computes ? x->gain[t] * x->error[(a * calls + t) * calls] : 0;
            s->refreshes++;
            s->longest = last - t > s->longest ? last - t : s->longest;
            s->shortest = last - t < s->shortest ? last - t : s->shortest;
            last = t;
            continue;
        }
        while (!computes(x, s->action[from]))
            from--;
        int before = from - (from > 0);
        while (!computes(x, s->action[before]))
            before--;
        s->error += x->gain[t] * (x->p.pair ? x->pair[schedule_pair_index(t, from, before)]
                                            : x->error[(a * calls + t) * calls + from]);
    }
}

/* The next list of actions in the order of the dictionary; 0 after the last. only: the one action besides
 * 0, or 0: any. */
static inline int next(int *action, int calls, int actions, int only)
{
    for (int t = calls - 1; t > 0; t--) {
        if (only ? action[t] == 0 : action[t] + 1 < actions) {
            action[t] = only ? only : action[t] + 1;
            return 1;
        }
        action[t] = 0;
    }
    return 0;
}

/* Then the same with the first call computed in the next way. */
static inline int next_first(const struct tables *x, int *action)
{
    for (int a = action[0] + 1; a < x->p.actions; a++)
        if (computes(x, a)) {
            memset(action, 0, (size_t)x->p.calls * sizeof *action);
            action[0] = a;
            return 1;
        }
    return 0;
}

struct rules {
    int only, low, high; /* segment lengths */
};

/* The best by the goal, found by looking at all; 0 when none meets it. */
static inline int enumerate(const struct tables *x, struct rules rules, struct priced *best)
{
    const struct schedule_problem *p = &x->p;
    struct priced s = {0};
    int found = 0;
    do {
        price(x, &s);
        if (!isfinite(s.error) || s.longest > rules.high || s.shortest < rules.low)
            continue;
        double limit = p->limit * (1 + 1e-9);
        if ((p->goal == SCHEDULE_REFRESHES && s.refreshes != p->refreshes) ||
            (p->goal == SCHEDULE_MS && s.ms > limit) || (p->goal == SCHEDULE_ERROR && s.error > limit))
            continue;
        int better = p->goal == SCHEDULE_ERROR
                         ? s.ms < best->ms || (s.ms == best->ms && s.error < best->error)
                         : s.error < best->error || (s.error == best->error && s.ms < best->ms);
        if (!found || better)
            *best = s;
        found = 1;
    } while (next(s.action, p->calls, p->actions, rules.only) || next_first(x, s.action));
    return found;
}

static inline void check_same(const struct tables *x, const struct schedule *got, const struct priced *want,
                              const char *name)
{
    const struct schedule_problem *p = &x->p;
    for (int t = 0; t < p->calls; t++)
        ck_assert_msg(got->action[t] == want->action[t], "%s, T %d, call %d: action %d, by enumeration %d",
                      name, p->calls, t, got->action[t], want->action[t]);
    for (int t = 0, last = 0; t < p->calls; t++) {
        last = computes(x, want->action[t]) ? t : last;
        ck_assert_int_eq(got->refresh[t], last);
    }
    ck_assert_int_eq(got->refreshes, want->refreshes);
    ck_assert_double_eq_tol(got->error, want->error, 1e-12 * (1 + want->error));
    ck_assert_double_eq_tol(got->ms, want->ms, 1e-12 * (1 + want->ms));
}

/* Run one solver and the enumeration; both must agree, also that nothing is possible. */
static inline int compare(struct tables *x, const char *name, struct rules rules)
{
    struct schedule got = {0};
    struct priced want = {0};
    struct error e = {0};
    int possible = enumerate(x, rules, &want);
    int status = schedule_solver_find(name)->run(&x->p, &got, &e);
    ck_assert_msg(status == (possible ? 0 : -1), "%s, T %d: status %d, possible %d: %s", name, x->p.calls,
                  status, possible, e.text);
    if (possible)
        check_same(x, &got, &want, name);
    else
        ck_assert_int_eq(e.code, HASTEN_EGATE);
    schedule_free(&got);
    return possible;
}

static inline double random_limit(const struct tables *x, struct prng *r, int whole)
{
    double full = 0;
    for (int t = 0; t < x->p.calls; t++)
        full += x->p.goal == SCHEDULE_MS ? x->ms[t] : 0.4;
    double limit = full * prng_unit(r);
    return whole ? floor(limit) : limit;
}

#endif
