/* Prices of actions for the search: what serving a call costs in error and in milliseconds. */
#include "common/run/search_inside.h"

#include <math.h>
#include <string.h>

double search_wide_ms(const struct search *x) { return x->wide ? x->wide * (x->wide_ms - x->ms[0]) : 0; }

/* Is the action of any use for the limit, and may its caches be so large? */
int search_is_possible(const struct search *x, int a, enum predictor p)
{
    double least = x->ms[0] + (x->calls - 1) * x->ms[a + 1] + search_wide_ms(x);
    if (x->only >= 0 && x->only != a)
        return 0;
    if (x->max_cache_bytes && search_cache_bytes(x, a, p) > x->max_cache_bytes)
        return 0;
    return x->ms[a + 1] < x->ms[0] && (x->interval || least <= x->limit * (1 + 1e-9));
}

int search_want_gain(struct search *x, int a, enum predictor p, struct error *e)
{
    enum gain_kind kind = calibration_gain_kind(p);
    if (!x->gain || x->calls < 3)
        return 0;
    if (!x->c.gain[a][kind] && calibration_gain(&x->c, &x->measure, a, kind, 8, 2, e) < 0)
        return -1;
    for (int i = 0; i < x->rounds; i++)
        x->drifted[i].gain[a][kind] = x->c.gain[a][kind]; /* borrowed */
    return 0;
}

void search_priced_free(struct priced *w)
{
    mem_free(w->ms);
    mem_free(w->table);
}

int search_priced_open(struct search *x, struct priced *w, int a, enum predictor p, struct error *e)
{
    size_t n = (size_t)x->calls, two = predict_anchors(p) == 2;
    *w = (struct priced){.action = a, .p = p};
    w->ms = mem_array(2 * n, sizeof *w->ms, e);
    /* Tables of one refresh have a part for action 0, which is not read. */
    w->table = mem_array(two ? predict_table_size(p, x->calls) + 1 : 2 * n * n, sizeof *w->table, e);
    if (!w->ms || !w->table ||
        calibration_errors(search_round(x, x->rounds), a, p, x->gain, w->table + (two ? 0 : n * n), e) < 0) {
        search_priced_free(w);
        return -1;
    }
    for (size_t t = 0; t < n; t++) {
        w->ms[t] = x->ms[0];
        w->ms[n + t] = x->ms[a + 1];
    }
    w->problem = (struct schedule_problem){.calls = x->calls,
                                           .actions = 2,
                                           .ms = w->ms,
                                           .error = two ? NULL : w->table,
                                           .pair = two ? w->table : NULL,
                                           .serve = 1,
                                           .goal = SCHEDULE_MS,
                                           .limit = x->limit - search_wide_ms(x),
                                           .max_run = x->max_run};
    return 0;
}
