/* The dynamic program over segments that cachequant and dp share (Bellman, from the last call backwards,
 * so that the first of several best schedules is found: segment ends are tried in rising order and only a
 * smaller sum wins). */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

double *schedule_segment_costs(const struct schedule_problem *p, int serve, int high, struct error *e)
{
    size_t stride = (size_t)p->calls + 1;
    double *cost = mem_array(stride, stride * sizeof *cost, e);
    for (int i = 0; cost && i < p->calls; i++) {
        double sum = 0;
        for (int j = i + 1; j <= p->calls && j - i <= high; j++) {
            cost[(size_t)i * stride + (size_t)j] = sum;
            if (j < p->calls && j - i < high)
                sum += schedule_cost(p, serve, j, i);
        }
    }
    return cost;
}

static void best_first_segment(const struct schedule_segments *g, const double *cost, int low, int high,
                               double worst, int k, int i)
{
    size_t stride = (size_t)g->calls + 1;
    const double *shorter = g->least + (size_t)(k - 1) * stride;
    double least = INFINITY;
    int next = -1;
    for (int j = i + low; j <= g->calls && j <= i + high; j++) {
        double one = cost[(size_t)i * stride + (size_t)j], sum = one + shorter[j];
        if (one >= least || one > worst) /* and longer ones cost no less */
            break;
        if (sum < least) {
            least = sum;
            next = j;
        }
    }
    g->least[(size_t)k * stride + (size_t)i] = least;
    g->next[(size_t)k * stride + (size_t)i] = next;
}

int schedule_segments_run(const double *cost, int calls, int low, int high, int most, double worst,
                          struct schedule_segments *g, struct error *e)
{
    size_t stride = (size_t)calls + 1, states = ((size_t)most + 1) * stride;
    *g = (struct schedule_segments){.calls = calls, .most = most};
    g->least = mem_array(states, sizeof *g->least, e);
    g->next = mem_array(states, sizeof *g->next, e);
    if (!g->least || !g->next) {
        schedule_segments_free(g);
        return -1;
    }
    for (int i = 0; i < calls; i++) /* no segment covers nothing, and nothing else */
        g->least[i] = INFINITY;
    for (int k = 1; k <= most; k++) {
        g->least[(size_t)k * stride + (size_t)calls] = INFINITY;
        for (int i = calls - 1; i >= 0; i--)
            best_first_segment(g, cost, low, high, worst, k, i);
    }
    return 0;
}

int schedule_segments_open(const struct schedule_problem *p, int serve, int low, int high, int most,
                           struct schedule_segments *g, struct error *e)
{
    *g = (struct schedule_segments){0};
    double *cost = schedule_segment_costs(p, serve, high, e);
    int status = cost ? schedule_segments_run(cost, p->calls, low, high, most, INFINITY, g, e) : -1;
    mem_free(cost);
    return status;
}

void schedule_segments_free(struct schedule_segments *g)
{
    mem_free(g->least);
    mem_free(g->next);
    *g = (struct schedule_segments){0};
}

int schedule_segments_read(const struct schedule_segments *g, int k, int serve, int *action)
{
    size_t stride = (size_t)g->calls + 1;
    if (!isfinite(g->least[(size_t)k * stride]))
        return 0;
    for (int t = 0; t < g->calls; k--) {
        int end = g->next[(size_t)k * stride + (size_t)t];
        action[t++] = 0;
        while (t < end)
            action[t++] = serve;
    }
    return 1;
}
