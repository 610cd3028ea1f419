/* MagCache (arXiv 2506.09045): the ratios of magnitudes multiply up since the last computed call, what the
 * product is off 1 adds up, and a call is served while the sum is at most a threshold and no more than so
 * many calls were served in a row; the first calls are computed. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

#include <stdlib.h>

void magcache_replay(const double *ratio, int calls, const struct magcache *m, int serve, int *action)
{
    double product = 1, sum = 0;
    int steps = 0, kept = (int)(calls * m->retention);
    for (int t = 0; t < calls; t++) {
        action[t] = 0;
        if (t < kept || t == 0)
            continue;
        product *= ratio[t];
        sum += fabs(1 - product);
        steps++;
        if (sum <= m->threshold && steps <= m->most) {
            action[t] = serve;
        } else {
            product = 1;
            sum = steps = 0;
        }
    }
}

static int is_met(const struct schedule_problem *p, const struct magcache *m, int *action, int *met,
                  struct error *e)
{
    int refreshes;
    double error, ms;
    magcache_replay(p->ratio, p->calls, m, p->serve, action);
    if (schedule_price(p, action, NULL, &refreshes, &error, &ms, e) < 0)
        return -1;
    *met = schedule_meets(p, refreshes, error, ms);
    return 0;
}

/* The fewest calls in a row that meet the limit without a threshold: first with a fifth of the calls computed
 * at the start as published, else with one. */
static int find_run(const struct schedule_problem *p, struct magcache *m, int *action, struct error *e)
{
    for (int k = 0; k < 2; k++)
        for (m->most = 1, m->retention = k ? 0 : 0.2; m->most < p->calls; m->most++) {
            int met;
            if (is_met(p, m, action, &met, e) < 0)
                return -1;
            if (met)
                return 1;
        }
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Only the sums behind each call decide: all that there can be, rising. *count of them; from mem_array. */
static double *thresholds(const struct schedule_problem *p, int *count, struct error *e)
{
    size_t calls = (size_t)p->calls;
    double *all = mem_array(calls * (calls - 1) / 2 + 1, sizeof *all, e);
    *count = all ? 1 : 0; /* and 0 */
    for (int s = 0; all && s < p->calls; s++) {
        double product = 1, sum = 0;
        for (int t = s + 1; t < p->calls; t++) {
            product *= p->ratio[t];
            sum += fabs(1 - product);
            all[(*count)++] = sum;
        }
    }
    if (all)
        qsort(all, (size_t)*count, sizeof *all, by_value);
    return all;
}

int schedule_solve_magcache(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    struct schedule_choice choice = {0};
    struct magcache m = {.threshold = INFINITY};
    if (schedule_check(p, e) < 0)
        return -1;
    if (!p->ratio || !p->serve || p->goal != SCHEDULE_MS)
        return error_set(e, HASTEN_EUSAGE,
                         "the solver magcache needs ratios of magnitudes, an action and a "
                         "limit of milliseconds");
    int count, met = 0, *action = mem_array((size_t)p->calls, sizeof *action, e);
    double *all = thresholds(p, &count, e);
    int status = action && all ? find_run(p, &m, action, e) : -1;
    m.most += status > 0 ? 1 : 0; /* room for the threshold to decide */
    for (int i = 0; i < count && status > 0 && !met; i++) {
        m.threshold = all[i];
        status = is_met(p, &m, action, &met, e) < 0 ? -1 : 1;
    }
    if (status >= 0) /* what was tried last */
        status = schedule_offer(&choice, p, action, e);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    mem_free(action);
    mem_free(all);
    return status;
}
