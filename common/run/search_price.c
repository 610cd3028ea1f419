/* Prices of actions for the search: what serving a call costs in error and in milliseconds. */
#include "common/run/search_inside.h"

#include <math.h>
#include <string.h>

/* Is the action of any use for the limit, and may its caches be so large? */
int search_is_possible(const struct search *x, int a, enum predictor p)
{
    double least = x->ms[0] + (x->calls - 1) * x->ms[a + 1];
    if (x->only >= 0 && x->only != a)
        return 0;
    if (x->max_cache_bytes && search_cache_bytes(x, a, p) > x->max_cache_bytes)
        return 0;
    return x->ms[a + 1] < x->ms[0] && (x->interval || least <= x->limit * (1 + 1e-9));
}

int search_want_gain(struct search *x, int a, enum predictor p, struct error *e)
{
    enum gain_kind kind = calibration_gain_kind(p);
    if (!x->gain || x->c.gain[a][kind] || x->calls < 3)
        return 0;
    return calibration_gain(&x->c, &x->measure, a, kind, 8, 2, e);
}

/* The price of action a with predictor p as a table of one refresh: [calls * calls]. Where the predictor
 * reads two, the one before is taken to be two calls older; price_two has the true ones. cube: NULL or room
 * for calls^3. */
static int price(struct search *x, int a, enum predictor p, double *error, double *cube, struct error *e)
{
    int n = x->calls;
    if (predict_anchors(p) == 1)
        return calibration_errors(&x->c, a, p, x->gain, error, e);
    if (calibration_errors(&x->c, a, p, x->gain, cube, e) < 0)
        return -1;
    for (int t = 0; t < n; t++)
        for (int s = 0; s < n; s++)
            error[t * n + s] =
                s > t    ? INFINITY
                : s == t ? 0
                         : cube[((size_t)t * (size_t)n + (size_t)s) * (size_t)n + (size_t)(s >= 2 ? s - 2
                                                                                           : s    ? 0
                                                                                                  : s)];
    return 0;
}

void search_priced_free(struct priced *w)
{
    mem_free(w->table);
    mem_free(w->cube);
    mem_free(w->ms);
}

int search_priced_open(struct search *x, struct priced *w, int a, enum predictor p, struct error *e)
{
    size_t n = (size_t)x->calls;
    *w = (struct priced){.action = a, .p = p};
    w->table = mem_array(2 * n * n, sizeof *w->table, e);
    w->ms = mem_array(2 * n, sizeof *w->ms, e);
    w->cube = predict_anchors(p) == 2 ? mem_array(n * n * n, sizeof *w->cube, e) : NULL;
    if (!w->table || !w->ms || (predict_anchors(p) == 2 && !w->cube) ||
        price(x, a, p, w->table + n * n, w->cube, e) < 0) {
        search_priced_free(w);
        return -1;
    }
    for (size_t t = 0; t < n; t++) {
        w->ms[t] = x->ms[0];
        w->ms[n + t] = x->ms[a + 1];
    }
    return 0;
}

double search_price_of(const struct search *x, const struct priced *w, const int *action)
{
    int last = 0, before = 0;
    size_t n = (size_t)x->calls;
    double sum = 0;
    for (int t = 0; t < x->calls; t++) {
        size_t at = (size_t)t * n + (size_t)last;
        if (action[t] == 0) {
            before = t ? last : 0;
            last = t;
        } else {
            sum += w->cube ? w->cube[at * n + (size_t)before] : w->table[n * n + at];
        }
    }
    return sum;
}

/* Move single computed calls as long as the true price falls. */
void search_improve(const struct search *x, const struct priced *w, int *action, double *best)
{
    for (int moved = 1; moved;) {
        moved = 0;
        for (int t = 1; t < x->calls; t++)
            for (int to = 1; action[t] == 0 && to < x->calls; to++) {
                if (action[to] == 0)
                    continue;
                action[t] = 1, action[to] = 0;
                double here = search_price_of(x, w, action);
                if (here < *best * (1 - 1e-9)) {
                    *best = here;
                    moved = 1;
                    break;
                }
                action[t] = 0, action[to] = 1;
            }
    }
}
