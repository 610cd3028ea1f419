/* What the schedule solvers share; see schedule.h. */
#ifndef HASTEN_METHOD_SCHEDULE_PARTS_H
#define HASTEN_METHOD_SCHEDULE_PARTS_H

#include "common/method/schedule.h"
#include <math.h>
#include <stddef.h>

int schedule_solve_uniform(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_cachequant(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_dp(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_power(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_list(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_minimax(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_lemica(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_pair(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_magcache(const struct schedule_problem *p, struct schedule *out, struct error *e);
int schedule_solve_front(const struct schedule_problem *p, struct schedule *out, struct error *e);

/* schedule_front for predictors that use the last two refreshes, of a checked problem: for every number of
 * computed calls the best, from one run of the program. */
int schedule_pair_front(const struct schedule_problem *p, struct schedule **out, int *count,
                        struct error *e) HASTEN_CHECKED;

/* Every number of the problem; interval and serve too. */
int schedule_check(const struct schedule_problem *p, struct error *e) HASTEN_CHECKED;

/* Is a call of this action a refresh? */
static inline int schedule_computes(const struct schedule_problem *p, int action)
{
    return p->computes ? p->computes[action] : action == 0;
}

/* The weighted error of call t by an action, served out of refresh s or computed. */
static inline double schedule_cost(const struct schedule_problem *p, int action, int t, int s)
{
    size_t calls = (size_t)p->calls;
    if (action == 0 && !p->computes)
        return 0;
    if (!p->error || (p->bytes && p->bytes[action] > p->max_bytes))
        return INFINITY;
    size_t from = schedule_computes(p, action) ? 0 : (size_t)s;
    double error = p->error[((size_t)action * calls + (size_t)t) * calls + from];
    return p->gain && isfinite(error) ? p->gain[t] * error : error;
}

/* The same out of the last two refreshes. */
static inline double schedule_pair_cost(const struct schedule_problem *p, int t, int s, int r)
{
    double error = p->pair[schedule_pair_index(t, s, r)];
    return p->gain && isfinite(error) ? p->gain[t] * error : error;
}

/* With one time for all computed and one for all served calls, milliseconds follow from the number of
 * refreshes. */
int schedule_times_are_even(const struct schedule_problem *p, int serve);

/* Is this within the goal's limit? */
int schedule_meets(const struct schedule_problem *p, int refreshes, double error, double ms);

/* Solvers offer schedules; the best that meets the goal is kept, and beside it the nearest that does not.
 * Of equal ones the first in the dictionary is kept. */
struct schedule_choice {
    struct schedule best; /* best.action NULL: none yet */
    int any;              /* something that is allowed was offered */
    int near_refreshes;
    double near_error, near_ms;
};

int schedule_offer(struct schedule_choice *c, const struct schedule_problem *p, const int *action,
                   struct error *e) HASTEN_CHECKED;
/* Hand the best over, or say what is nearest. The choice is empty afterwards. */
int schedule_choose(struct schedule_choice *c, const struct schedule_problem *p, struct schedule *out,
                    struct error *e);
void schedule_drop(struct schedule_choice *c);

/* The range of actions to try for a solver that serves with one: first <= action <= last. */
void schedule_serve_range(const struct schedule_problem *p, int *first, int *last);

/* cost[i * (calls + 1) + j]: the error of calls i + 1 .. j - 1 served from i, for j - i <= high; from
 * mem_array. */
double *schedule_segment_costs(const struct schedule_problem *p, int serve, int high, struct error *e);

/* Least total error of covering calls i .. T-1 with exactly k segments that begin at i, by segments of
 * low .. high calls. */
struct schedule_segments {
    int calls, most; /* k goes from 1 to most */
    double *least;   /* (most + 1) x (calls + 1): [k][i]; INFINITY: impossible */
    int *next;       /* where the first of them ends */
};
int schedule_segments_open(const struct schedule_problem *p, int serve, int low, int high, int most,
                           struct schedule_segments *g, struct error *e) HASTEN_CHECKED;
void schedule_segments_free(struct schedule_segments *g);
/* The same from costs: most is the largest number of segments, segments that cost more than `worst` are left
 * out. */
int schedule_segments_run(const double *cost, int calls, int low, int high, int most, double worst,
                          struct schedule_segments *g, struct error *e) HASTEN_CHECKED;
/* The actions of the best with k segments; 0 when there is none, else 1. */
int schedule_segments_read(const struct schedule_segments *g, int k, int serve, int *action);

#endif
