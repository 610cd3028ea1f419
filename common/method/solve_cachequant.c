/* CacheQuant's schedule (arXiv 2503.01323, DPS): exactly K segments of ceil(N/2) to 2N calls each, least
 * sum of segment errors. Unlike the published code, bounds are clipped to T and an impossible K is an
 * error that says which are possible. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

static int least_of(int a, int b) { return a < b ? a : b; }

/* One N; segments: how many, 0: ceil(T / N). */
static int offer_one(const struct schedule_problem *p, int serve, int n, int segments, int *action,
                     struct schedule_choice *choice, struct error *e)
{
    int low = least_of((n + 1) / 2, p->calls), high = least_of(2 * n, p->calls);
    if (p->max_run)
        high = least_of(high, p->max_run + 1);
    low = least_of(low, high);
    int fewest = (p->calls + high - 1) / high, most = p->calls / low;
    int k = segments ? segments : (p->calls + n - 1) / n;
    if ((k < fewest || k > most) && !p->interval && !segments)
        return 0; /* of all intervals, one that does not do */
    if (k < fewest || k > most)
        return error_set(e, HASTEN_EGATE,
                         "%d calls cannot be cut into %d segments of %d to %d calls (interval %d): the "
                         "nearest number is %d",
                         p->calls, k, low, high, n, k < fewest ? fewest : most);
    struct schedule_segments g;
    if (schedule_segments_open(p, serve, low, high, k, &g, e) < 0)
        return -1;
    int status = schedule_segments_read(&g, k, serve, action) ? schedule_offer(choice, p, action, e) : 0;
    schedule_segments_free(&g);
    return status;
}

int schedule_solve_cachequant(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal == SCHEDULE_FIXED && !p->interval)
        return error_set(e, HASTEN_EUSAGE, "a CacheQuant schedule needs an interval or a goal");
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int first, last, status = action ? 0 : -1;
    int segments = p->goal == SCHEDULE_REFRESHES ? p->refreshes : 0;
    int shortest = 1, longest = p->calls;
    if (p->interval)
        shortest = longest = p->interval;
    else if (segments)
        shortest = longest = (p->calls + segments - 1) / segments;
    struct schedule_choice choice = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++)
        for (int n = shortest; n <= longest && status == 0; n++)
            status = offer_one(p, serve, n, segments, action, &choice, e);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    mem_free(action);
    return status;
}
