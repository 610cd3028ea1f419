/* Least additive error over all segmentations, for every number of computed calls at once. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

static int open_all(const struct schedule_problem *p, int serve, struct schedule_segments *g, struct error *e)
{
    int longest = p->max_run && p->max_run < p->calls ? p->max_run + 1 : p->calls;
    if (serve == 0)
        longest = 1; /* nothing serves: every call is a segment */
    int most = p->goal == SCHEDULE_REFRESHES ? p->refreshes : p->calls;
    return schedule_segments_open(p, serve, 1, longest, most, g, e);
}

int schedule_by_refreshes(const struct schedule_problem *p, int serve, double *error, double *ms,
                          struct error *e)
{
    struct schedule_problem all = *p;
    all.goal = SCHEDULE_FIXED;
    all.serve = serve;
    if (schedule_check(&all, e) < 0)
        return -1;
    struct schedule_segments g;
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    if (!action || open_all(&all, serve, &g, e) < 0) {
        mem_free(action);
        return -1;
    }
    int status = 0;
    for (int k = 0; k <= p->calls && status == 0; k++) {
        int refreshes;
        error[k] = ms[k] = INFINITY;
        if (k && schedule_segments_read(&g, k, serve, action))
            status = schedule_price(&all, action, NULL, &refreshes, &error[k], &ms[k], e);
    }
    schedule_segments_free(&g);
    mem_free(action);
    return status;
}

static int offer_all(const struct schedule_problem *p, int serve, int *action, struct schedule_choice *choice,
                     struct error *e)
{
    struct schedule_segments g;
    if (open_all(p, serve, &g, e) < 0)
        return -1;
    int status = 0;
    for (int k = p->goal == SCHEDULE_REFRESHES ? p->refreshes : 1; k <= g.most && status == 0; k++)
        if (schedule_segments_read(&g, k, serve, action))
            status = schedule_offer(choice, p, action, e);
    schedule_segments_free(&g);
    return status;
}

int schedule_solve_dp(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal == SCHEDULE_FIXED)
        return error_set(e, HASTEN_EUSAGE,
                         "the solver dp needs a goal: computed calls, milliseconds or an error");
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int first, last, status = action ? 0 : -1;
    struct schedule_choice choice = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++)
        status = offer_all(p, serve, action, &choice, e);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    if (status == 0)
        out->exact = !p->pair && !p->computes && first == last &&
                     (p->goal == SCHEDULE_REFRESHES || schedule_times_are_even(p, first));
    schedule_drop(&choice);
    mem_free(action);
    return status;
}
