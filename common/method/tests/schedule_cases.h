/* Random problems for the schedule solvers, and what the tests' enumerations share. */
#ifndef HASTEN_METHOD_TESTS_SCHEDULE_CASES_H
#define HASTEN_METHOD_TESTS_SCHEDULE_CASES_H

#include "common/method/prng.h"
#include "common/method/schedule.h"

#include <math.h>
#include <string.h>

enum { T_MAX = 12, A_MAX = 4 };

struct tables {
    struct schedule_problem p;
    double ms[A_MAX * T_MAX], error[A_MAX * T_MAX * T_MAX], gain[T_MAX];
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

/* From the end, unlike the library: sums in another order. */
static inline void price(const struct tables *x, struct priced *s)
{
    int calls = x->p.calls, last = calls;
    s->error = s->ms = s->refreshes = s->longest = 0;
    s->shortest = calls;
    for (int t = calls - 1; t >= 0; t--) {
        int a = s->action[t], from = t;
        s->ms += x->ms[a * calls + t];
        if (a == 0) {
            s->refreshes++;
            s->longest = last - t > s->longest ? last - t : s->longest;
            s->shortest = last - t < s->shortest ? last - t : s->shortest;
            last = t;
            continue;
        }
        while (s->action[from])
            from--;
        s->error += x->gain[t] * x->error[(a * calls + t) * calls + from];
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

#endif
