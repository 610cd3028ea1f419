/* Every N-th call is computed (DeepCache's and FORA's schedule). */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

int schedule_solve_uniform(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal == SCHEDULE_FIXED && !p->interval)
        return error_set(e, HASTEN_EUSAGE, "a uniform schedule needs an interval or a goal");
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int first, last, status = action ? 0 : -1;
    int shortest = p->interval ? p->interval : 1, longest = p->interval ? p->interval : p->calls;
    struct schedule_choice choice = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++)
        for (int n = shortest; n <= longest && status == 0; n++) {
            for (int t = 0; t < p->calls; t++)
                action[t] = t % n ? serve : 0;
            status = schedule_offer(&choice, p, action, e);
        }
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    mem_free(action);
    return status;
}
