/* Inside common/run: the search. search.c has trials and solvers, search_validate.c the choice,
 * search_polish.c its last step, search_price.c prices, search_front.c the front. */
#ifndef HASTEN_RUN_SEARCH_INSIDE_H
#define HASTEN_RUN_SEARCH_INSIDE_H

#include "common/run/search.h"

/* search_validate.c: trials that are run at all, on so many images at first, and those that see all images.
 */
enum { SEARCH_FIRST_IMAGES = 4, SEARCH_FIRST_TRIALS = 24, SEARCH_LAST_TRIALS = 3 };

/* One action with one predictor as a schedule problem of two actions, with x->limit for its goal. */
struct priced {
    int action; /* candidate */
    enum predictor p;
    struct schedule_problem problem;
    double *ms, *table;
};
int search_priced_open(struct search *x, struct priced *w, int a, enum predictor p, struct error *e);
void search_priced_free(struct priced *w);

/* Is the action of any use for the limit, and may its caches be so large? */
int search_is_possible(const struct search *x, int a, enum predictor p);
/* What the wide calls at the start take on top. */
double search_wide_ms(const struct search *x);
/* Whose matrices price: the last round's, or of another (0: of the full run). */
void search_forget_rounds(struct search *x);
const struct calibration *search_round(const struct search *x, int round);
int search_predictor_is_possible(const struct search *x, enum predictor p);
int search_want_gain(struct search *x, int a, enum predictor p, struct error *e);

/* The exact program over all actions in one schedule (or over one candidate's alone), for a predictor that
 * reads one refresh: a trial, unless the limit is out of reach. */
int search_together(struct search *x, const char *solver, enum predictor p, int only, struct error *e);

/* Does a trial's action compute everything? */
static inline int search_computes(const struct search *x, int action)
{
    return action == 0 || x->list[action - 1].serves == 0;
}

/* ---- search_bits.c; actions as of trials ---- */

int search_wide_of(const struct search *x, int action); /* -1: there is none */
/* Measure what rounding adds, once; action 0: the full network, which comes first. */
int search_want_noise(struct search *x, int action, struct error *e);
/* What it adds to a schedule of these actions. */
double search_noise(const struct search *x, const int *action);
/* For every number of computed calls the best schedule of one action, with all choices of bits that no other
 * beats: code[s->action[t]] is what call t takes. */
int search_each_width(struct search *x, int a, enum predictor p,
                      int (*each)(void *context, const struct schedule *s, const int *code, struct error *e),
                      void *context, struct error *e);
/* A trial of one action with bits chosen for the limit. */
int search_bits(struct search *x, int a, enum predictor p, struct error *e);

/* A trial of these actions, unless there is the same already or no room. */
int search_add_trial(struct search *x, const char *solver, enum predictor p, const int *action,
                     double predicted, int exact, struct error *e);
/* The same with calls that compute one stream alone. */
int search_add_split(struct search *x, const char *solver, enum predictor p, const int *action,
                     const unsigned char *alone, double predicted, int exact, struct error *e);
void search_trial_free(struct trial *t);

/* search_streams.c: trials of one action that compute one stream alone, at most, and the calibration images
 * that their differences are from; milliseconds and the second stream's part of the schedule of such a trial.
 */
enum { SEARCH_SPLIT_TRIALS = 12, SEARCH_SPLIT_IMAGES = 8 };
double search_split_ms(const struct search *x, const struct trial *t);
int search_split_schedule(struct search *x, struct trial *t, struct error *e);
void search_streams_free(struct search *x);
/* Validation images up to this many; those that the trial has seen are not run again. */
int search_look(struct search *x, struct trial *t, int images, struct error *e);
/* Make a trial's schedule again, from its actions. */
int search_make_schedule(struct search *x, struct trial *t, struct error *e);

#endif
