/* The closed loop of the search: matrices once more, of the full network at the latents that a schedule goes
 * through, so that fits and prices know what drifted (specs/caching.md 4.3). */
#include "common/run/search_inside.h"

#include <string.h>

const struct calibration *search_round(const struct search *x, int round)
{
    return round ? &x->drifted[round - 1] : &x->c;
}

void search_forget_rounds(struct search *x)
{
    while (x->rounds > 0) {
        struct calibration *c = &x->drifted[--x->rounds];
        memset(c->gain, 0, sizeof c->gain); /* the full run's */
        calibration_free(c);
    }
}

int search_measure_again(struct search *x, const struct cache_schedule *s, struct error *e)
{
    struct calibration *c = &x->drifted[x->rounds];
    struct measure run = x->measure;
    if (x->rounds == SEARCH_ROUNDS)
        return error_set(e, HASTEN_EUSAGE, "a closed loop of more than %d rounds", SEARCH_ROUNDS);
    if (x->progress)
        x->progress(x->context, "measure again", 0, 1);
    if (calibration_open(c, &x->measure, x->list, x->count, (size_t)1 << 30, e) < 0)
        return -1;
    run.schedule = s;
    if (calibration_run(c, &run, run.count, NULL, NULL, e) < 0 || calibration_finish(c, e) < 0) {
        calibration_free(c);
        return -1;
    }
    memcpy(c->gain, x->c.gain, sizeof c->gain);
    x->rounds++;
    return 0;
}

int search_close_loop(struct search *x, const struct trial *t, struct error *e)
{
    if (search_measure_again(x, &t->s, e) < 0)
        return -1;
    search_keep(x, x->finalists); /* others have lost, and made room */
    return search_solve(x, e);
}
