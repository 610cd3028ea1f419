/* Which network calls of a trajectory are computed and which are served from a cache: problems, prices,
 * solvers.
 *
 *     struct schedule_problem p = {.calls = 50, .actions = 2, .ms = ms, .error = error, .serve = 1,
 *                                  .goal = SCHEDULE_MS, .limit = 0.5 * full_ms};
 *     struct schedule s = {0};
 *     const struct schedule_solver *solver = schedule_solver_find("dp");
 *     if (solver->run(&p, &s, e) < 0) return -1;      // HASTEN_EGATE: not reachable, the text says what is
 *     // s.action[t]: 0 = computed, else the action; s.refresh[t]: the call whose results are used
 *     schedule_free(&s);
 *
 * The model is additive: a served call costs its milliseconds and adds gain[t] * error[action][t][last
 * refresh]. "Exact" means exact for this model. The first call is always computed. Several actions may
 * compute everything, with fewer bits and an error or with more and none (`computes`). Solvers are
 * deterministic; between schedules of equal price the one whose list of actions comes first in the dictionary
 * wins (0, a refresh, comes before 1). */
#ifndef HASTEN_METHOD_SCHEDULE_H
#define HASTEN_METHOD_SCHEDULE_H

#include "common/base/error.h"
#include <stddef.h>

enum { SCHEDULE_CALLS_MAX = 1024, SCHEDULE_ACTIONS_MAX = 64 };

enum schedule_goal {
    SCHEDULE_FIXED,     /* interval says it all (uniform, cachequant) */
    SCHEDULE_REFRESHES, /* exactly `refreshes` computed calls, least error */
    SCHEDULE_MS,        /* least error with ms <= limit */
    SCHEDULE_ERROR,     /* least ms with error <= limit */
};

struct schedule_problem {
    int calls;           /* T, 1 .. SCHEDULE_CALLS_MAX */
    int actions;         /* 1 .. SCHEDULE_ACTIONS_MAX; action 0 computes everything */
    const double *ms;    /* actions x calls, finite, >= 0 */
    const double *error; /* actions x calls x calls: [action][t][s] for s < t, >= 0; INFINITY: not allowed.
                          * Action 0's part is not read (its error is 0); NULL when there is only action 0 */
    const unsigned char *computes; /* actions: 1: it computes everything, so the call is a refresh, and adds
                                    * error[action][t][0], also at the first call; computes[0] is 1. Only
                                    * front chooses among such actions, the other solvers compute by action 0;
                                    * not with pair. NULL: action 0 alone computes, and has no error */
    const double *pair; /* for predictors of two refreshes, with 2 actions: the error of call t out of the
                         * last refresh s and the one before it r, at schedule_pair_index(t, s, r); r = s:
                         * s is the only one so far. When it is given, prices come from it, and only `pair`
                         * searches by it; error may then be NULL for `pair` and for what does not search */
    const double *gain; /* calls, finite, >= 0: what a unit of error at call t does to the picture; NULL: 1 */
    int serve; /* for uniform, cachequant and dp: the one action besides 0; 0: each in turn, the best wins */
    enum schedule_goal goal;
    int refreshes;
    double limit;        /* kept up to a relative 1e-9, so that a sum in another order still fits */
    int interval;        /* N of uniform and cachequant, 1 .. calls; 0: chosen by the goal */
    int max_run;         /* most served calls in a row; 0: any number */
    const size_t *bytes; /* actions: what the caches of an action hold; NULL: no matter. Caches of several
                          * actions are taken to be nested, so that the largest counts */
    size_t max_bytes;    /* actions whose caches hold more are not allowed */
    int labels;          /* front: most labels in a state, at least 2; 0: what fits into about 200 MB */
    double power;        /* power: DeepCache's exponent, above 1; 0: 1.4 */
    int center;          /* power: the call around which computed ones are dense; 0: 0.3 calls */
    const double *ratio; /* magcache: calls; the magnitude of the feature over that at the call before */
    const int *list;     /* list: the computed calls, rising from 0 */
    int listed;
};

/* Where the error of call t out of refreshes r <= s < t stands; schedule_pair_count(calls) numbers in all
 * (250 calls: 21 MB). */
static inline size_t schedule_pair_index(int t, int s, int r)
{
    size_t a = (size_t)t, b = (size_t)s;
    return (a - 1) * a * (a + 1) / 6 + b * (b + 1) / 2 + (size_t)r;
}
static inline size_t schedule_pair_count(int calls) { return schedule_pair_index(calls, 0, 0); }

struct schedule {
    int calls;
    int *action, *refresh; /* calls each, from mem_array */
    int refreshes;
    double error, ms; /* predicted */
    int exact; /* 1: no schedule is better for the goal under the additive model and the actions allowed */
};

void schedule_free(struct schedule *s); /* leaves it empty */

/* The price of any list of actions: fills refreshes, error, ms and refresh (may be NULL). error is
 * INFINITY when a served call is not allowed or a run is too long. HASTEN_EFILE: an action out of range, or
 * the first is not 0. */
int schedule_price(const struct schedule_problem *p, const int *action, int *refresh, int *refreshes,
                   double *error, double *ms, struct error *e) HASTEN_CHECKED;

struct schedule_solver {
    const char *name, *summary;
    /* *out must be empty. HASTEN_EFILE: a bad table; HASTEN_EUSAGE: a goal that the solver does not know
     * or a number out of range; HASTEN_EGATE: the goal cannot be reached; the text says what is nearest. */
    int (*run)(const struct schedule_problem *p, struct schedule *out, struct error *e);
};

/* Ends with an entry whose name is NULL. */
extern const struct schedule_solver schedule_solvers[];
const struct schedule_solver *schedule_solver_find(const char *name); /* NULL: unknown */

/* uniform: calls 0, N, 2N, ... are computed.
 * cachequant: segments of ceil(N/2) .. 2N calls (clipped to T), exactly K = ceil(T/N) of them or as many
 * as asked for, least error by dynamic programming (CacheQuant, arXiv 2503.01323; there error[t][s] =
 * |X_t - X_s|_1 of l1.h, without gain). With a goal but no interval: the best over all N.
 * dp: any segments; the best for every number of refreshes in one program over (call, refreshes left),
 * then the goal. Exact when one action serves and no call's milliseconds differ from another's.
 * power: DeepCache's quadratic schedule (arXiv 2312.00858): ceil(T/N) calls, dense around a center.
 * list: these calls and no others.
 * minimax: the largest error of a segment is as small as can be; of these the least sum.
 * lemica: the errors of the segments, largest first, come first in the dictionary (LeMiCa, arXiv 2511.00090).
 * pair: exact for predictors that use the last two refreshes (state: both of them), any number of computed
 * calls at once; DPCache's recurrence (arXiv 2602.22654) keeps one predecessor only.
 * magcache: MagCache's rule with the smallest threshold that keeps a limit of milliseconds.
 * front: labels (ms, error) per call and last refresh, dominated ones dropped: exact for any actions (bits
 * of computed and served calls: caching.md 4.2) and
 * times, unless there are so many that they must be thinned (then exact = 0). Not for SCHEDULE_REFRESHES. */

/* MagCache's rule for given settings: action[t] is 0 or `serve`. ratio: calls; the first is not read. */
struct magcache {
    double threshold, retention; /* retention: this part of the calls, the first, is computed */
    int most;                    /* served calls in a row */
};
void magcache_replay(const double *ratio, int calls, const struct magcache *m, int serve, int *action);

/* The least error for exactly k computed calls with action `serve` (not 0) for the others, and the
 * milliseconds of that schedule: error[k] and ms[k] for k = 0 .. calls, INFINITY where there is none.
 * Heeds max_run; goal and interval do not matter. */
int schedule_by_refreshes(const struct schedule_problem *p, int serve, double *error, double *ms,
                          struct error *e) HASTEN_CHECKED;

/* The whole front of (ms, error), fastest first (with `pair` and without `error`: of predictors of two
 * refreshes, exact where times are even): *count schedules in an array from mem_array; free each,
 * then the array (or schedule_front_free). A goal SCHEDULE_MS or SCHEDULE_ERROR leaves out what is beyond
 * its limit. */
int schedule_front(const struct schedule_problem *p, struct schedule **out, int *count,
                   struct error *e) HASTEN_CHECKED;
void schedule_front_free(struct schedule *schedules, int count);

#endif
