/* DeepCache's quadratic schedule (arXiv 2312.00858): points on the chord from (-c)^(1/p) to (T - c)^(1/p) in
 * the complex plane (the first is not real), raised to the power p; the whole parts of what is real, shifted
 * by c, are the computed calls, dense around c. Where calls coincide, p is lowered by 0.02 until enough
 * differ. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

static int by_value(int *call, int n)
{
    int kept = 0;
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && call[k] < call[k - 1]; k--) {
            int other = call[k];
            call[k] = call[k - 1];
            call[k - 1] = other;
        }
    for (int i = 0; i < n; i++)
        if (kept == 0 || call[i] != call[kept - 1])
            call[kept++] = call[i];
    return kept;
}

/* The n + 1 points into call; gives how many differ. */
static int points(int calls, int n, int center, double power, int *call)
{
    double away = pow(center, 1 / power), turn = acos(-1.0) / power;
    double x0 = center ? away * cos(turn) : 0, y0 = center ? away * sin(turn) : 0;
    double x1 = pow(calls - center, 1 / power);
    for (int i = 0; i <= n; i++) {
        double share = (double)i / n, x = x0 + share * (x1 - x0), y = (1 - share) * y0;
        call[i] = (int)(pow(hypot(x, y), power) * cos(power * atan2(y, x)));
    }
    return by_value(call, n + 1);
}

/* Exactly k computed calls: their actions, or 0 when no exponent above 1 gives as many. */
static int read_power(const struct schedule_problem *p, int k, int serve, int *call, int *action)
{
    int center = p->center ? p->center : (int)(0.3 * p->calls);
    int found = 0;
    double power = p->power > 0 ? p->power : 1.4;
    while (power > 1 && (found = points(p->calls, k, center, power, call)) != k + 1)
        power -= 0.02;
    if (found != k + 1)
        return 0;
    for (int t = 0; t < p->calls; t++)
        action[t] = t ? serve : 0;
    for (int i = 1; i < k; i++) { /* the ends stand for 0 and T */
        if (call[i] + center < 1 || call[i] + center >= p->calls)
            return 0;
        action[call[i] + center] = 0;
    }
    return 1;
}

int schedule_solve_power(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal == SCHEDULE_FIXED && !p->interval)
        return error_set(e, HASTEN_EUSAGE, "a quadratic schedule needs an interval or a goal");
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int *call = mem_array((size_t)p->calls + 1, sizeof *call, e);
    int first, last, status = action && call ? 0 : -1;
    int few = p->interval ? (p->calls + p->interval - 1) / p->interval : 1,
        most = p->interval ? few : p->calls;
    struct schedule_choice choice = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++)
        for (int k = few; k <= most && status == 0; k++)
            if (read_power(p, k, serve, call, action))
                status = schedule_offer(&choice, p, action, e);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    mem_free(call);
    mem_free(action);
    return status;
}
