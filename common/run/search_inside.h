/* Inside common/run: the search. search.c has trials, solvers and validation, search_price.c prices,
 * search_front.c the front. */
#ifndef HASTEN_RUN_SEARCH_INSIDE_H
#define HASTEN_RUN_SEARCH_INSIDE_H

#include "common/run/search.h"

/* One action with one predictor as a schedule problem of two actions. */
struct priced {
    int action; /* candidate */
    enum predictor p;
    double *ms;    /* [2 * calls] */
    double *table; /* [2 * calls * calls] */
    double *cube;  /* [calls^3] for a predictor that reads two refreshes, or NULL: predict_table's */
};
int search_priced_open(struct search *x, struct priced *w, int a, enum predictor p, struct error *e);
void search_priced_free(struct priced *w);
/* The error of these calls (0: computed), with both refreshes where the predictor reads them. */
double search_price_of(const struct search *x, const struct priced *w, const int *action);
/* Move single computed calls (0; others 1) as long as that falls. */
void search_improve(const struct search *x, const struct priced *w, int *action, double *best);

/* Is the action of any use for the limit, and may its caches be so large? */
int search_is_possible(const struct search *x, int a, enum predictor p);
int search_predictor_is_possible(const struct search *x, enum predictor p);
int search_want_gain(struct search *x, int a, enum predictor p, struct error *e);

/* A trial of these actions, unless there is the same already or no room. */
int search_add_trial(struct search *x, const char *solver, enum predictor p, const int *action,
                     double predicted, int exact, struct error *e);
/* Make a trial's schedule again, from its actions. */
int search_make_schedule(struct search *x, struct trial *t, struct error *e);

#endif
