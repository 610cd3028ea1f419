/* See schedule_blocks.h. */
#include "common/method/schedule_blocks.h"
#include "common/base/mem.h"
#include "common/method/schedule.h"

#include <math.h>
#include <string.h>

static const double *table(const struct blocks_problem *p, int block)
{
    return p->error + (size_t)block * (size_t)p->calls * (size_t)p->calls;
}

/* Least sum of errors[t][s] with p->refreshes computed calls; two: room for 2 x calls x calls, its second
 * half holds the errors. */
static int solve(const struct blocks_problem *p, const double *two, unsigned char *compute, struct error *e)
{
    double *ms = mem_array(2 * (size_t)p->calls, sizeof *ms, e);
    struct schedule_problem one = {.calls = p->calls,
                                   .actions = 2,
                                   .ms = ms,
                                   .error = two,
                                   .serve = 1,
                                   .goal = SCHEDULE_REFRESHES,
                                   .refreshes = p->refreshes};
    struct schedule s = {0};
    int status = ms ? schedule_solver_find("dp")->run(&one, &s, e) : -1;
    for (int t = 0; status == 0 && t < p->calls; t++)
        compute[t] = s.action[t] == 0;
    schedule_free(&s);
    mem_free(ms);
    return status;
}

static double *open_tables(const struct blocks_problem *p, struct error *e)
{
    if (p->calls < 1 || p->calls > SCHEDULE_CALLS_MAX || p->blocks < 1) {
        (void)error_set(e, HASTEN_EUSAGE, "%d calls of %d blocks", p->calls, p->blocks);
        return NULL;
    }
    return mem_array(2 * (size_t)p->calls, (size_t)p->calls * sizeof(double), e);
}

int blocks_each(const struct blocks_problem *p, unsigned char *compute, struct error *e)
{
    double *two = open_tables(p, e);
    size_t n = (size_t)p->calls * (size_t)p->calls;
    int status = two ? 0 : -1;
    for (int u = 0; u < p->blocks && status == 0; u++) {
        memcpy(two + n, table(p, u), n * sizeof *two);
        status = solve(p, two, compute + (size_t)u * (size_t)p->calls, e);
        if (status < 0)
            error_under(e, "block %d", u);
    }
    mem_free(two);
    return status;
}

int blocks_together(const struct blocks_problem *p, unsigned char *compute, struct error *e)
{
    double *two = open_tables(p, e);
    size_t n = (size_t)p->calls * (size_t)p->calls;
    if (!two)
        return -1;
    for (int u = 0; u < p->blocks; u++)
        for (size_t i = 0; i < n; i++)
            two[n + i] += table(p, u)[i];
    int status = solve(p, two, compute, e);
    for (int u = 1; status == 0 && u < p->blocks; u++)
        memcpy(compute + (size_t)u * (size_t)p->calls, compute, (size_t)p->calls);
    mem_free(two);
    return status;
}

static double mean_error(const struct blocks_problem *p, int block)
{
    double sum = 0;
    for (int t = 0; t < p->calls; t++)
        for (int s = 0; s < t; s++)
            sum += table(p, block)[(size_t)t * (size_t)p->calls + (size_t)s];
    return p->calls > 1 ? sum * 2 / ((double)p->calls * (p->calls - 1)) : 0;
}

int blocks_bubble(const struct blocks_problem *p, const int *layer, const unsigned char *feed_forward,
                  int most, unsigned char *compute, struct error *e)
{
    size_t calls = (size_t)p->calls, blocks = (size_t)p->blocks;
    double *noise = mem_array(blocks, sizeof *noise, e);
    unsigned char *own = mem_array(blocks, calls, e);
    if (!noise || !own) {
        mem_free(noise);
        mem_free(own);
        return -1;
    }
    memcpy(own, compute, blocks * calls);
    for (int u = 0; u < p->blocks; u++)
        noise[u] = feed_forward[u] ? mean_error(p, u) : -1;
    for (int k = 0; k < most; k++) {
        int worst = 0;
        for (int u = 1; u < p->blocks; u++)
            if (noise[u] > noise[worst])
                worst = u;
        if (noise[worst] < 0)
            break;
        noise[worst] = -1;
        for (size_t u = 0; u < blocks; u++)
            for (size_t t = 0; feed_forward[u] && layer[u] >= layer[worst] && t < calls; t++)
                compute[u * calls + t] |= own[(size_t)worst * calls + t];
    }
    mem_free(noise);
    mem_free(own);
    return 0;
}

/* ---- few masks ---- */

struct sets {
    const struct blocks_problem *p;
    const double *cost;
    unsigned char *compute;
    int *of;    /* calls: the call that stands for this call's set */
    int *calls; /* calls: how many it stands for */
};

static int computes(const struct sets *x, int call, int block)
{
    return x->compute[(size_t)block * (size_t)x->p->calls + (size_t)call];
}

/* What uniting the sets of calls a and b adds. */
static double union_cost(const struct sets *x, int a, int b)
{
    double sum = 0;
    for (int u = 0; u < x->p->blocks; u++) {
        int in_a = computes(x, a, u), in_b = computes(x, b, u);
        sum += x->cost[u] * (in_a < in_b ? x->calls[a] : in_b < in_a ? x->calls[b] : 0);
    }
    return sum;
}

static void unite(struct sets *x, int a, int b)
{
    for (int u = 0; u < x->p->blocks; u++)
        if (computes(x, b, u))
            x->compute[(size_t)u * (size_t)x->p->calls + (size_t)a] = 1;
    for (int t = 0; t < x->p->calls; t++)
        if (x->of[t] == b)
            x->of[t] = a;
    x->calls[a] += x->calls[b];
    x->calls[b] = 0;
}

/* The cheapest pair a < b of sets; 0 when there is but one set. */
static int cheapest_pair(const struct sets *x, int *a, int *b)
{
    double least = INFINITY;
    int found = 0;
    for (int i = 0; i < x->p->calls; i++)
        for (int k = i + 1; x->calls[i] && k < x->p->calls; k++) {
            double cost = x->calls[k] ? union_cost(x, i, k) : INFINITY;
            if (cost < least) {
                least = cost;
                *a = i;
                *b = k;
                found = 1;
            }
        }
    return found;
}

int blocks_merge(const struct blocks_problem *p, const double *cost, int most, unsigned char *compute,
                 int *mask_of, int *masks, struct error *e)
{
    struct sets x = {.p = p, .cost = cost, .compute = compute, .of = mask_of};
    if (!(x.calls = mem_array((size_t)p->calls, sizeof *x.calls, e)))
        return -1;
    int left = 0, a, b;
    for (int t = 0; t < p->calls; t++) {
        x.of[t] = t;
        for (int s = 0; s < t && x.of[t] == t; s++) {
            int same = 1;
            for (int u = 0; u < p->blocks && same; u++)
                same = computes(&x, s, u) == computes(&x, t, u);
            if (same)
                x.of[t] = x.of[s];
        }
        left += x.of[t] == t;
        x.calls[x.of[t]]++;
    }
    for (; left > most && cheapest_pair(&x, &a, &b); left--)
        unite(&x, a, b);
    /* Unions may have made two sets the same: numbers go by content. */
    *masks = 0;
    for (int t = 0; t < p->calls; t++)
        for (int u = 0; u < p->blocks; u++)
            compute[(size_t)u * (size_t)p->calls + (size_t)t] =
                compute[(size_t)u * (size_t)p->calls + (size_t)x.of[t]];
    for (int t = 0; t < p->calls; t++) {
        int s = 0, same = 0;
        for (; s < t && !same; s += !same) {
            same = 1;
            for (int u = 0; u < p->blocks && same; u++)
                same = computes(&x, s, u) == computes(&x, t, u);
        }
        mask_of[t] = same ? mask_of[s] : (*masks)++;
    }
    mem_free(x.calls);
    return 0;
}
