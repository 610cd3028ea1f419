/* Inside the solver front: which labels cannot become part of any schedule of the front.
 *
 *     struct front_bounds b;
 *     if (front_bounds_open(&b, p, ms, e) < 0) return -1;        // ms: actions x calls
 *     for (int t = T - 1; t > 0; t--) {                          // from the last call down
 *         front_bounds_row(&b, t);
 *         struct front_line line[FRONT_RUNS];
 *         int lines = front_bounds_lines(&b, t, s, line);        // of labels of calls t .. T-1, refresh s
 *         if (front_bounds_leads(&b, s, a)) ...                  // those that begin with action a
 *     }
 *     front_bounds_free(&b);
 *
 * For a multiplier l the least (ms + l error) of the calls before t, for every state (t, s), takes one pass
 * over all states and gives a schedule near the convex hull of the front. Between two such neighbours A and B
 * every other schedule of the front has ms < B.ms and error < A.error, so a label with
 * ms + l error + least(t, s) >= B.ms + l A.error leads to none of them. A label that leads to none between
 * any neighbours is dropped. (The second phase of bi-objective shortest paths.) Neighbours need not be on the
 * hull: more of them come from the schedules of the runs, call by call with other actions.
 *
 * Least sums are floats, of 8 multipliers at once; bounds are widened by more than floats can be off
 * (2^-24 of the sum an addition), so what is left of the front is exactly the front. */
#ifndef HASTEN_METHOD_FRONT_BOUNDS_H
#define HASTEN_METHOD_FRONT_BOUNDS_H

#include "common/method/schedule_parts.h"
#include <stdint.h>

enum { FRONT_RUNS = 128, FRONT_LANES = 8 };

struct front_label {
    double ms, error;
    uint32_t link; /* of the label itself: where its action and its tail stand */
    uint32_t action;
};

struct front_point {
    double ms, error;
};

struct front_gap {
    double ms, error; /* of its faster end, A */
    int run;          /* that bounds it; -1: none yet */
    int whole;        /* nothing is on the hull between its ends */
};

/* One call by another action. */
struct front_move {
    double ratio, ms, error;
};

struct front_bounds {
    const struct schedule_problem *p;
    const double *ms;
    double *cost;        /* [action][t][s], with gain; INFINITY: not allowed */
    double most;         /* of them that is finite; floats are shares of it */
    float *share;        /* [action][t][s] */
    float *least;        /* [run / LANES][state][run % LANES]: of the calls before t */
    float *after;        /* [run / LANES][s][run % LANES]: the same of the calls from a row's t on */
    uint8_t *room;       /* [action][s][run / LANES], of a row: a bit for each run whose bound leaves room */
    double *state;       /* room of a run for an end */
    float *lanes;        /* room of LANES runs */
    int *from;           /* [calls + 1][LANES]: the refresh before */
    int runs, most_runs; /* whole LANES */
    double multiplier[FRONT_RUNS], slope[FRONT_RUNS]; /* slope: -1 / multiplier */
    float weight[FRONT_RUNS], corner[FRONT_RUNS]; /* of shares; of the gaps that a run bounds, the largest */
    unsigned char rank[FRONT_RUNS];               /* by rising multipliers */
    unsigned char ranked[FRONT_RUNS];             /* the runs in that order */
    struct front_gap gap[FRONT_RUNS + 2];         /* rising ms; the last one is only an end */
    int gaps;
    struct front_move *move;   /* room: 2 x calls */
    struct front_point *point; /* of schedules */
    int points;
};

int front_bounds_open(struct front_bounds *b, const struct schedule_problem *p, const double *ms,
                      struct error *e) HASTEN_CHECKED;
void front_bounds_free(struct front_bounds *b);
/* The row of call t, 1 .. T-1, after that of t + 1. */
void front_bounds_row(struct front_bounds *b, int t);
/* The most error that a label of a state may have, as a function of its ms: each run's bound is a falling
 * line, and the largest of them counts. */
struct front_line {
    double at_zero, slope, begin; /* begin: from there on it is the largest */
};
/* Their number, rising begins; 0: no label of the state (t, s) leads to the front; -1: nothing is known.
 * line: room for FRONT_RUNS. */
int front_bounds_lines(const struct front_bounds *b, int t, int s, struct front_line *line);
/* Of the same row: can a label of refresh s that begins with action a lead to the front? Not to be asked
 * where nothing is known. */
int front_bounds_leads(const struct front_bounds *b, int s, int a);

#endif
