/* The dynamic program over segments that cachequant and dp share (Bellman, from the last call backwards,
 * so that the first of several best schedules is found: segment ends are tried in rising order and only a
 * smaller sum wins). */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

/* cost[i * (calls + 1) + j]: the error of calls i + 1 .. j - 1 served from i. */
static double *segment_costs(const struct schedule_problem *p, int serve, int high, struct error *e)
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
                               int k, int i)
{
    size_t stride = (size_t)g->calls + 1;
    const double *shorter = g->least + (size_t)(k - 1) * stride;
    double least = INFINITY;
    int next = -1;
    for (int j = i + low; j <= g->calls && j <= i + high; j++) {
        double sum = cost[(size_t)i * stride + (size_t)j] + shorter[j];
        if (sum < least) {
            least = sum;
            next = j;
        }
    }
    g->least[(size_t)k * stride + (size_t)i] = least;
    g->next[(size_t)k * stride + (size_t)i] = next;
}

int schedule_segments_open(const struct schedule_problem *p, int serve, int low, int high, int most,
                           struct schedule_segments *g, struct error *e)
{
    size_t stride = (size_t)p->calls + 1, states = ((size_t)most + 1) * stride;
    *g = (struct schedule_segments){.calls = p->calls, .most = most};
    double *cost = segment_costs(p, serve, high, e);
    g->least = mem_array(states, sizeof *g->least, e);
    g->next = mem_array(states, sizeof *g->next, e);
    if (!cost || !g->least || !g->next) {
        mem_free(cost);
        schedule_segments_free(g);
        return -1;
    }
    for (int i = 0; i < p->calls; i++) /* no segment covers nothing, and nothing else */
        g->least[i] = INFINITY;
    for (int k = 1; k <= most; k++) {
        g->least[(size_t)k * stride + (size_t)p->calls] = INFINITY;
        for (int i = p->calls - 1; i >= 0; i--)
            best_first_segment(g, cost, low, high, k, i);
    }
    mem_free(cost);
    return 0;
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
