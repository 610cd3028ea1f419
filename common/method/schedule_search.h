/* Schedules searched with the model itself as judge: the caller's function runs a schedule and gives a loss,
 * the search only sees numbers. What is searched is one bit per (call, unit): computed or served (HarmoniCa's
 * router, arXiv 2410.01723, without gradients).
 *
 *     struct search_problem p = {.calls = 20, .units = 1, .ms = ms, .base_ms = 20 * served, .limit_ms = 90,
 *                                .evaluate = run_model, .context = &run, .evaluations = 60, .seed = 1};
 *     unsigned char compute[20] = {...};     // the start, call 0 computed
 *     double loss;
 *     search_moves(&p, compute, &loss, &used, e);
 *
 * Both searches keep the milliseconds within the limit, never give back anything worse than the start, do not
 * ask for the same schedule twice, and are deterministic in seed and answers. Use a loss that averages
 * logarithms over at least 40 pictures: with ten, what is won on them is lost on others. */
#ifndef HASTEN_METHOD_SCHEDULE_SEARCH_H
#define HASTEN_METHOD_SCHEDULE_SEARCH_H

#include "common/base/error.h"
#include <stdint.h>

struct search_problem {
    int calls, units;
    const double *ms;         /* calls x units: what computing one instead of serving it adds */
    double base_ms, limit_ms; /* base_ms (everything served) + ms of what is computed <= limit_ms */
    /* compute: calls x units. A negative status ends the search with it; loss: finite. */
    int (*evaluate)(void *context, const unsigned char *compute, double *loss, struct error *e);
    void *context;
    int evaluations; /* at most as many calls of evaluate */
    uint64_t seed;   /* spsa: of the directions */
    double rate;     /* spsa: the first step per unit of loss; 0: 0.3 */
    double reach;    /* spsa: how far logits are moved to see what happens; 0: 0.5 */
};

/* Coordinate moves from `compute` on: a computed entry moves by one call, or to any other place of its unit;
 * an entry more is computed where the limit allows. The first move that helps is taken. */
int search_moves(const struct search_problem *p, unsigned char *compute, double *loss, int *used,
                 struct error *e) HASTEN_CHECKED;

/* Simultaneous perturbation (Spall 1992) of one logit per entry; a schedule computes the entries with the
 * largest logits as far as the limit goes. logits: calls x units, the start (NULL: 2 where compute is set,
 * else -2). */
int search_spsa(const struct search_problem *p, const double *logits, unsigned char *compute, double *loss,
                int *used, struct error *e) HASTEN_CHECKED;

#endif
