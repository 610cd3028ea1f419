/* Least worst segment first. minimax: the largest error of a segment is as small as it can be for that number
 * of segments (bottleneck path by dynamic programming), and of all such schedules the one with the least sum
 * is taken (the program of `dp` without the longer edges). lemica: of all schedules the one whose segment
 * errors, sorted from the largest on, come first in the dictionary (LeMiCa, arXiv 2511.00090): putting one
 * more edge on two paths of as many edges does not change which comes first, so prefixes can be compared. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

#include <string.h>

static int longest_segment(const struct schedule_problem *p, int serve)
{
    if (serve == 0)
        return 1;
    return p->max_run && p->max_run < p->calls ? p->max_run + 1 : p->calls;
}

static int check_goal(const struct schedule_problem *p, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal == SCHEDULE_FIXED)
        return error_set(e, HASTEN_EUSAGE,
                         "the solver needs a goal: computed calls, milliseconds or an error");
    return 0;
}

/* worst[k * (calls + 1) + i]: the smallest possible largest edge of k segments over calls i .. T - 1. */
static double *bottlenecks(const double *cost, int calls, int high, struct error *e)
{
    size_t stride = (size_t)calls + 1;
    double *worst = mem_array(stride, stride * sizeof *worst, e);
    for (int i = 0; worst && i < calls; i++)
        worst[i] = INFINITY;
    for (int k = 1; worst && k <= calls; k++) {
        double *now = worst + (size_t)k * stride;
        const double *shorter = now - stride;
        now[calls] = INFINITY;
        for (int i = calls - 1; i >= 0; i--) {
            now[i] = INFINITY;
            for (int j = i + 1; j <= calls && j - i <= high; j++)
                now[i] = fmin(now[i], fmax(cost[(size_t)i * stride + (size_t)j], shorter[j]));
        }
    }
    return worst;
}

/* Between numbers of computed calls the goal decides: most calls under a limit of milliseconds, fewest under
 * a limit of error. So of one serving action only the first schedule that meets the goal competes with
 * others. */
struct turn {
    struct schedule_choice *all;
    int met;
};

static int offer_in_turn(const struct schedule_problem *p, const int *action, struct turn *turn,
                         struct error *e)
{
    int refreshes;
    double error, ms;
    if (schedule_price(p, action, NULL, &refreshes, &error, &ms, e) < 0)
        return -1;
    turn->met = isfinite(error) && schedule_meets(p, refreshes, error, ms);
    return schedule_offer(turn->all, p, action, e);
}

/* The order in which numbers of computed calls are tried: *k from *k on by *by, *n of them. */
static void turns(const struct schedule_problem *p, int *k, int *by, int *n)
{
    *n = p->goal == SCHEDULE_REFRESHES ? 1 : p->calls;
    *k = p->goal == SCHEDULE_REFRESHES ? p->refreshes : p->goal == SCHEDULE_MS ? p->calls : 1;
    *by = p->goal == SCHEDULE_MS ? -1 : 1;
}

/* Can k computed calls meet the goal at all? Milliseconds follow from k where they are even, and no schedule
 * has less error than dp's. */
static int is_worth_it(const struct schedule_problem *p, int serve, int k, double least_error)
{
    size_t last = (size_t)p->calls - 1, served = (size_t)serve * (size_t)p->calls + last;
    double ms = p->ms[0] + (k - 1) * p->ms[last] + (p->calls - k) * p->ms[served];
    if (p->goal == SCHEDULE_MS)
        return !schedule_times_are_even(p, serve) || schedule_meets(p, k, 0, ms * (1 - 1e-9));
    return p->goal != SCHEDULE_ERROR || schedule_meets(p, k, least_error * (1 - 1e-9), 0);
}

static int offer_k(const struct schedule_problem *p, const double *cost, int high, int k, double worst,
                   int serve, int *action, struct turn *turn, struct error *e)
{
    struct schedule_segments g;
    int status = schedule_segments_run(cost, p->calls, 1, high, k, worst, &g, e);
    if (status == 0 && schedule_segments_read(&g, k, serve, action))
        status = offer_in_turn(p, action, turn, e);
    schedule_segments_free(&g);
    return status;
}

static int offer_minimax(const struct schedule_problem *p, int serve, int *action, struct turn *turn,
                         struct error *e)
{
    int high = longest_segment(p, serve), k, by, n, status = 0, skipped = 0;
    size_t stride = (size_t)p->calls + 1;
    struct schedule_segments all = {0};
    double *cost = schedule_segment_costs(p, serve, high, e);
    double *worst = cost ? bottlenecks(cost, p->calls, high, e) : NULL;
    if (!worst || schedule_segments_run(cost, p->calls, 1, high, p->calls, INFINITY, &all, e) < 0)
        status = -1;
    turns(p, &k, &by, &n);
    for (; n > 0 && status == 0 && !turn->met; n--, k += by) {
        if (!isfinite(worst[(size_t)k * stride]))
            continue;
        skipped = is_worth_it(p, serve, k, all.least[(size_t)k * stride]) ? 0 : k;
        if (!skipped)
            status = offer_k(p, cost, high, k, worst[(size_t)k * stride], serve, action, turn, e);
    }
    if (status == 0 && skipped && !turn->met) /* so that the error can say what is nearest */
        status = offer_k(p, cost, high, skipped, worst[(size_t)skipped * stride], serve, action, turn, e);
    schedule_segments_free(&all);
    mem_free(worst);
    mem_free(cost);
    return status;
}

/* ---- the dictionary of sorted errors ---- */

struct paths {
    int calls;
    double *now, *before; /* (calls + 1) rows of calls numbers: sorted errors of k segments from call i on */
    unsigned char *has_now, *has_before;
    int *next; /* [k][i]: where the first segment ends; 0: there is none */
};

/* Does `edge` with the k sorted numbers of `tail` come before the k + 1 of `best`? */
static int comes_first(double edge, const double *tail, int k, const double *best)
{
    int used = 0, at = 0;
    for (int i = 0; i <= k; i++) {
        double value = !used && (at == k || edge >= tail[at]) ? edge : tail[at];
        if (value == edge && !used && (at == k || edge >= tail[at]))
            used = 1;
        else
            at++;
        if (value != best[i])
            return value < best[i];
    }
    return 0;
}

static void insert(double edge, const double *tail, int k, double *out)
{
    int i = 0;
    while (i < k && tail[i] > edge) {
        out[i] = tail[i];
        i++;
    }
    out[i] = edge;
    memcpy(out + i + 1, tail + i, (size_t)(k - i) * sizeof *tail);
}

static void swap(struct paths *x)
{
    double *numbers = x->now;
    unsigned char *has = x->has_now;
    x->now = x->before;
    x->has_now = x->has_before;
    x->before = numbers;
    x->has_before = has;
}

/* Row k: from each call i, the first segment that gives the best k errors. */
static void fill_row(struct paths *x, const double *cost, int high, int k)
{
    size_t stride = (size_t)x->calls + 1;
    memset(x->has_now, 0, stride);
    for (int i = x->calls - 1; i >= 0; i--) {
        double *best = x->now + (size_t)i * stride;
        for (int j = i + 1; j <= x->calls && j - i <= high; j++) {
            double edge = cost[(size_t)i * stride + (size_t)j];
            const double *tail = x->before + (size_t)j * stride;
            if (!isfinite(edge) || !x->has_before[j] ||
                (x->has_now[i] && !comes_first(edge, tail, k - 1, best)))
                continue;
            insert(edge, tail, k - 1, best);
            x->has_now[i] = 1;
            x->next[(size_t)k * stride + (size_t)i] = j;
        }
    }
}

static void paths_free(struct paths *x)
{
    mem_free(x->now);
    mem_free(x->before);
    mem_free(x->has_now);
    mem_free(x->has_before);
    mem_free(x->next);
}

static int paths_open(struct paths *x, const double *cost, int calls, int high, struct error *e)
{
    size_t stride = (size_t)calls + 1;
    *x = (struct paths){.calls = calls};
    x->now = mem_array(stride, stride * sizeof *x->now, e);
    x->before = mem_array(stride, stride * sizeof *x->before, e);
    x->has_now = mem_array(stride, 1, e);
    x->has_before = mem_array(stride, 1, e);
    x->next = mem_array(stride, stride * sizeof *x->next, e);
    if (!x->now || !x->before || !x->has_now || !x->has_before || !x->next)
        return -1;
    x->has_before[calls] = 1; /* no segment covers nothing */
    for (int k = 1; k <= calls; k++, swap(x))
        fill_row(x, cost, high, k);
    return 0;
}

static int offer_lemica(const struct schedule_problem *p, int serve, int *action, struct turn *turn,
                        struct error *e)
{
    int high = longest_segment(p, serve), k, by, n;
    double *cost = schedule_segment_costs(p, serve, high, e);
    struct paths x = {0};
    int status = cost ? paths_open(&x, cost, p->calls, high, e) : -1;
    turns(p, &k, &by, &n);
    for (; n > 0 && status == 0 && !turn->met; n--, k += by) {
        if (!x.next[(size_t)k * ((size_t)p->calls + 1)])
            continue;
        for (int t = 0, left = k; t < p->calls; left--) {
            int end = x.next[(size_t)left * ((size_t)p->calls + 1) + (size_t)t];
            action[t++] = 0;
            while (t < end)
                action[t++] = serve;
        }
        status = offer_in_turn(p, action, turn, e);
    }
    paths_free(&x);
    mem_free(cost);
    return status;
}

/* Each serving action in turn; of several the one with the least sum wins, as everywhere. */
static int solve(const struct schedule_problem *p, struct schedule *out, struct error *e,
                 int (*offer)(const struct schedule_problem *, int, int *, struct turn *, struct error *))
{
    if (check_goal(p, e) < 0)
        return -1;
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int first, last, status = action ? 0 : -1;
    struct schedule_choice all = {0};
    schedule_serve_range(p, &first, &last);
    for (int serve = first; serve <= last && status == 0; serve++) {
        struct turn turn = {.all = &all};
        status = offer(p, serve, action, &turn, e);
    }
    if (status == 0)
        status = schedule_choose(&all, p, out, e);
    schedule_drop(&all);
    mem_free(action);
    return status;
}

int schedule_solve_minimax(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    return solve(p, out, e, offer_minimax);
}

int schedule_solve_lemica(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    return solve(p, out, e, offer_lemica);
}
