/* See front_bounds.h. */
#include "common/method/front_bounds.h"
#include "common/base/mem.h"

#include <string.h>

struct end {
    double ms, error;
};

static size_t state_index(int t, int s) { return (size_t)t * (size_t)(t - 1) / 2 + (size_t)s; }

static int fill_costs(struct front_bounds *b, struct error *e)
{
    const struct schedule_problem *p = b->p;
    size_t calls = (size_t)p->calls, at = 0;
    b->cost = mem_array((size_t)p->actions * calls, calls * sizeof *b->cost, e);
    for (int a = 0; b->cost && a < p->actions; a++)
        for (int t = 0; t < p->calls; t++, at += calls)
            for (int s = 0; s < (t ? t : 1); s++)
                b->cost[at + (size_t)s] =
                    !schedule_computes(p, a) && (t == 0 || (p->max_run && t - s > p->max_run))
                        ? INFINITY
                        : schedule_cost(p, a, t, s);
    return b->cost ? 0 : -1;
}

/* Serve call t in all states by whichever action is cheapest: adds to ms and error. */
static void serve(const struct front_bounds *b, int t, double alpha, double multiplier, double *ms,
                  double *error)
{
    size_t calls = (size_t)b->p->calls;
    double *least = b->state + 2 * calls, *add_ms = least + calls, *add_error = add_ms + calls;
    for (int s = 0; s < t; s++)
        least[s] = add_ms[s] = add_error[s] = INFINITY;
    for (int a = 1; a < b->p->actions; a++) {
        if (schedule_computes(b->p, a))
            continue;
        const double *cost = b->cost + ((size_t)a * calls + (size_t)t) * calls;
        double time = b->ms[(size_t)a * calls + (size_t)t];
        for (int s = 0; s < t; s++) {
            double price = isfinite(cost[s]) ? alpha * time + multiplier * cost[s] : INFINITY;
            int better = price < least[s] ||
                         (price == least[s] && isfinite(price) && time + cost[s] < add_ms[s] + add_error[s]);
            least[s] = better ? price : least[s];
            add_ms[s] = better ? time : add_ms[s];
            add_error[s] = better ? cost[s] : add_error[s];
        }
    }
    for (int s = 0; s < t; s++) {
        ms[s] += add_ms[s];
        error[s] += add_error[s];
    }
}

/* Compute call t by whichever action is cheapest. */
static struct end compute(const struct front_bounds *b, int t, double alpha, double multiplier)
{
    size_t calls = (size_t)b->p->calls;
    struct end best = {INFINITY, INFINITY};
    for (size_t a = 0; a < (size_t)b->p->actions; a++) {
        struct end c = {b->ms[a * calls + (size_t)t], b->cost[(a * calls + (size_t)t) * calls]};
        double price = alpha * c.ms + multiplier * c.error, least = alpha * best.ms + multiplier * best.error;
        if (schedule_computes(b->p, (int)a) && isfinite(c.error) &&
            (!isfinite(best.ms) || price < least ||
             (price == least && c.ms + c.error < best.ms + best.error)))
            best = c;
    }
    return best;
}

/* The state of least alpha ms + multiplier error; the least sum of both where several are equal. */
static int least_state(int t, double alpha, double multiplier, const double *ms, const double *error)
{
    int best = t - 1;
    for (int s = 0; s < t; s++) {
        double a = alpha * ms[s] + multiplier * error[s], c = alpha * ms[best] + multiplier * error[best];
        int known = isfinite(ms[best] + error[best]);
        if (isfinite(ms[s] + error[s]) &&
            (!known || a < c || (a == c && ms[s] + error[s] < ms[best] + error[best])))
            best = s;
    }
    return best;
}

/* The schedule of least alpha ms + multiplier error; least: of every state, or NULL. */
static struct end run(const struct front_bounds *b, double alpha, double multiplier, double *least)
{
    int calls = b->p->calls;
    double *ms = b->state, *error = ms + calls;
    struct end first = compute(b, 0, alpha, multiplier);
    ms[0] = first.ms;
    error[0] = first.error;
    for (int t = 1; t < calls; t++) {
        int from = least_state(t, alpha, multiplier, ms, error);
        struct end full = compute(b, t, alpha, multiplier);
        full.ms += ms[from];
        full.error += error[from];
        for (int s = 0; least && s < t; s++)
            least[state_index(t, s)] = ms[s] + multiplier * error[s];
        serve(b, t, alpha, multiplier, ms, error);
        ms[t] = full.ms;
        error[t] = full.error;
    }
    int at = least_state(calls, alpha, multiplier, ms, error);
    return (struct end){ms[at], error[at]};
}

/* after: of every state, the least ms + multiplier error of the calls from t on. */
static void run_back(const struct front_bounds *b, double multiplier, double *after)
{
    int calls = b->p->calls;
    double *unused = b->state, *least = unused + 2 * calls;
    for (int t = calls - 1; t > 0; t--) {
        const double *next = t + 1 < calls ? after + state_index(t + 1, 0) : NULL;
        struct end c = compute(b, t, 1, multiplier);
        double full = c.ms + multiplier * c.error + (next ? next[t] : 0);
        serve(b, t, 1, multiplier, unused, unused + calls);
        for (int s = 0; s < t; s++)
            after[state_index(t, s)] = fmin(full, least[s] + (next ? next[s] : 0));
    }
}

static void bound(struct front_gap *g, const struct front_gap *next, double multiplier, int run_index)
{
    g->multiplier = multiplier;
    g->corner = (next->ms + multiplier * g->error) * (1 + 1e-9);
    g->run = run_index;
}

/* A run with the slope of the gap's ends: what it finds between them makes two gaps of one. */
static void refine(struct front_bounds *b, int i)
{
    struct front_gap *g = &b->gap[i];
    double multiplier = (g[1].ms - g->ms) / (g->error - g[1].error);
    size_t states = state_index(b->p->calls, 0);
    struct end c = run(b, 1, multiplier, b->least + (size_t)b->runs * states);
    run_back(b, multiplier, b->after + (size_t)b->runs * states);
    int inside = c.ms > g->ms && c.ms < g[1].ms && c.error < g->error && c.error > g[1].error;
    if (inside) {
        memmove(g + 2, g + 1, (size_t)(b->gaps - i) * sizeof *g);
        b->gaps++;
        g[1] = (struct front_gap){.ms = c.ms, .error = c.error};
        bound(&g[1], &g[2], multiplier, b->runs);
    } else {
        g->whole = 1;
    }
    bound(g, &g[1], multiplier, b->runs++);
}

static int widest_gap(const struct front_bounds *b)
{
    int best = -1;
    double most = 0;
    for (int i = 0; i < b->gaps; i++) {
        const struct front_gap *g = &b->gap[i];
        double area = (g[1].ms - g->ms) * (g->error - g[1].error);
        if (!g->whole && area > most) {
            most = area;
            best = i;
        }
    }
    return best;
}

int front_bounds_open(struct front_bounds *b, const struct schedule_problem *p, const double *ms,
                      struct error *e)
{
    size_t calls = (size_t)p->calls;
    *b = (struct front_bounds){.p = p, .ms = ms};
    if (p->calls < 3 || p->actions < 2)
        return 0;
    b->state = mem_array(5 * calls, sizeof *b->state, e);
    b->least = mem_array(FRONT_RUNS, state_index(p->calls, 0) * sizeof *b->least, e);
    b->after = mem_array(FRONT_RUNS, state_index(p->calls, 0) * sizeof *b->after, e);
    if (!b->state || !b->least || !b->after || fill_costs(b, e) < 0) {
        front_bounds_free(b);
        return -1;
    }
    struct end fast = run(b, 1, 0, NULL), good = run(b, 0, 1, NULL);
    if (!(fast.ms < good.ms && fast.error > good.error))
        return 0; /* one schedule is the whole front */
    b->gap[0] = (struct front_gap){.ms = fast.ms, .error = fast.error, .run = -1};
    b->gap[1] = (struct front_gap){.ms = good.ms, .error = good.error, .run = -1};
    b->gaps = 1;
    for (int i; b->runs < FRONT_RUNS && (i = widest_gap(b)) >= 0;)
        refine(b, i);
    return 0;
}

void front_bounds_free(struct front_bounds *b)
{
    mem_free(b->cost);
    mem_free(b->least);
    mem_free(b->after);
    mem_free(b->state);
    *b = (struct front_bounds){0};
}

int front_bounds_lines(const struct front_bounds *b, int t, int s, int a, struct front_line *line)
{
    int calls = b->p->calls, n = 0;
    size_t states = state_index(calls, 0), here, next = 0;
    double ms = b->ms[(size_t)a * (size_t)calls + (size_t)t], error;
    if (b->gaps == 0 || t == 0)
        return -1;
    error = b->cost[((size_t)a * (size_t)calls + (size_t)t) * (size_t)calls + (size_t)s];
    here = state_index(t, s);
    if (t + 1 < calls)
        next = state_index(t + 1, schedule_computes(b->p, a) ? t : s);
    for (int i = 0; i < b->gaps; i++) { /* multipliers rise, slopes as well */
        const struct front_gap *g = &b->gap[i];
        double left = g->corner - b->least[(size_t)g->run * states + here];
        double after = next ? b->after[(size_t)g->run * states + next] : 0;
        if (!(ms + g->multiplier * error + after < left))
            continue;
        struct front_line l = {left / g->multiplier, -1 / g->multiplier, -INFINITY};
        for (; n; n--) {
            const struct front_line *last = &line[n - 1];
            if (l.slope > last->slope)
                l.begin = (last->at_zero - l.at_zero) / (l.slope - last->slope);
            else
                l.begin = l.at_zero > last->at_zero ? -INFINITY : INFINITY;
            if (l.begin > last->begin)
                break;
        }
        l.begin = n ? l.begin : -INFINITY;
        if (l.begin < INFINITY)
            line[n++] = l;
    }
    return n;
}
