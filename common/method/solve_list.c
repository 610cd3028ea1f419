/* The schedule that somebody wrote down: these calls are computed, the others served. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

int schedule_solve_list(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->listed < 1 || p->list[0] != 0)
        return error_set(e, HASTEN_EUSAGE, "a list of computed calls must begin with call 0");
    for (int i = 1; i < p->listed; i++)
        if (p->list[i] <= p->list[i - 1] || p->list[i] >= p->calls)
            return error_set(e, HASTEN_EUSAGE,
                             "call %d in a list of computed calls: they must rise and be below %d",
                             p->list[i], p->calls);
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int first, last, status = action ? 0 : -1;
    struct schedule_choice choice = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++) {
        for (int t = 0, next = 0; t < p->calls; t++) {
            int computed = next < p->listed && p->list[next] == t;
            action[t] = computed ? 0 : serve;
            next += computed;
        }
        status = schedule_offer(&choice, p, action, e);
    }
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    mem_free(action);
    return status;
}
