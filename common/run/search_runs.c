/* The black-box searches of schedule_search.h with runs of the model as judge: which calls are computed, the
 * others served by the trial's action. */
#include "common/run/search_inside.h"

#include "common/method/schedule_search.h"

#include <string.h>

struct judge {
    struct search *x;
    struct trial *t;
    int serve, asked, runs;
};

/* The trial's schedule becomes this one; loss: minus the mean decibels of the calibration images. */
static int evaluate(void *context, const unsigned char *compute, double *loss, struct error *e)
{
    struct judge *j = context;
    struct quality q;
    for (int i = 0; i < j->x->calls; i++)
        j->t->action[i] = compute[i] ? 0 : j->serve;
    if (search_make_schedule(j->x, j->t, e) < 0 ||
        search_measure(j->x, &j->t->s, CALIBRATION_SEED, j->x->measure.count, &q, e) < 0)
        return -1;
    *loss = -q.psnr;
    if (j->x->progress)
        j->x->progress(j->x->context, "search", ++j->asked, j->runs);
    return 0;
}

/* The better of what was found and of `before` on the validation images. */
static int choose(struct judge *j, const unsigned char *found, const int *before, struct error *e)
{
    struct trial *t = j->t;
    struct quality q;
    for (int i = 0; i < j->x->calls; i++)
        t->action[i] = found[i] ? 0 : j->serve;
    if (search_make_schedule(j->x, t, e) < 0 ||
        search_measure(j->x, &t->s, VALIDATION_SEED, j->x->validate, &q, e) < 0)
        return -1;
    if (q.psnr > t->quality.psnr) {
        t->quality = q;
        t->exact = 0;
        return 0;
    }
    memcpy(t->action, before, (size_t)j->x->calls * sizeof *before);
    return search_make_schedule(j->x, t, e);
}

int search_runs(struct search *x, struct trial *t, int runs, int spsa, struct error *e)
{
    size_t n = (size_t)x->calls;
    struct judge j = {x, t, 0, 0, runs};
    for (int i = 0; i < x->calls; i++)
        j.serve = t->action[i] ? t->action[i] : j.serve;
    if (!j.serve || !runs) /* everything is computed: nothing to move */
        return 0;
    unsigned char *compute = mem_array(n, 1, e);
    double *ms = mem_array(n, sizeof *ms, e), loss;
    int *before = mem_array(n, sizeof *before, e), used, status = compute && ms && before ? 0 : -1;
    for (size_t i = 0; status == 0 && i < n; i++) {
        compute[i] = t->action[i] == 0;
        ms[i] = x->ms[0] - x->ms[j.serve];
        before[i] = t->action[i];
    }
    struct search_problem p = {.calls = x->calls,
                               .units = 1,
                               .ms = ms,
                               .base_ms = x->calls * x->ms[j.serve] + search_wide_ms(x),
                               .limit_ms = x->limit > t->ms ? x->limit : t->ms,
                               .evaluate = evaluate,
                               .context = &j,
                               .evaluations = runs,
                               .seed = CALIBRATION_SEED + x->seed};
    if (status == 0)
        status = spsa ? search_spsa(&p, NULL, compute, &loss, &used, e)
                      : search_moves(&p, compute, &loss, &used, e);
    if (status == 0)
        status = choose(&j, compute, before, e);
    if (x->progress)
        x->progress(x->context, "search", runs, runs);
    mem_free(before);
    mem_free(ms);
    mem_free(compute);
    return status;
}
