/* Times of the schedule solvers on random tables: `bench-solvers [CALLS [SOLVER]]`, 250 calls and all of them
 * without operands. One line a solver: the least and the median of nine runs, and the least of the
 * processor's time, which what else runs here matters less to. */
#include "common/base/mem.h"
#include "common/method/prng.h"
#include "common/method/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 9, ACTIONS = 4 };

struct tables {
    int calls;
    double *ms, *error, *pair, *gain;
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Errors grow with the distance to the refresh and fall with the call, as on real networks. */
static int fill(struct tables *x, int calls, struct error *e)
{
    struct prng r = {1};
    size_t n = (size_t)calls;
    x->calls = calls;
    x->ms = mem_array(ACTIONS * n, sizeof(double), e);
    x->error = mem_array(ACTIONS * n, n * sizeof(double), e);
    x->pair = mem_array(schedule_pair_count(calls), sizeof(double), e);
    x->gain = mem_array(n, sizeof(double), e);
    if (!x->ms || !x->error || !x->pair || !x->gain)
        return -1;
    for (size_t t = 0; t < n; t++) {
        x->gain[t] = exp(-4 * (double)t / (double)calls);
        for (size_t a = 0; a < ACTIONS; a++) {
            x->ms[a * n + t] = a ? 7.1234 / (double)a : 10.321;
            for (size_t s = 0; s < t; s++)
                x->error[(a * n + t) * n + s] = (0.5 + prng_unit(&r)) * (double)a * sqrt((double)(t - s));
        }
    }
    for (int t = 1; t < calls; t++)
        for (int s = 0; s < t; s++)
            for (int q = 0; q <= s; q++)
                x->pair[schedule_pair_index(t, s, q)] = (0.5 + prng_unit(&r)) * (t - s) / (1 + 0.1 * (s - q));
    return 0;
}

static int run_named(const struct tables *x, const char *name, struct error *e)
{
    struct schedule s = {0};
    struct schedule_problem p = {.calls = x->calls,
                                 .actions = 2,
                                 .ms = x->ms,
                                 .error = x->error,
                                 .gain = x->gain,
                                 .serve = 1,
                                 .goal = SCHEDULE_MS,
                                 .limit = 8.5 * x->calls};
    if (strcmp(name, "pair") == 0)
        p.pair = x->pair;
    int status = schedule_solver_find(name)->run(&p, &s, e);
    schedule_free(&s);
    return status;
}

/* actions 1: of two refreshes. */
static int run_front(const struct tables *x, int actions, struct error *e)
{
    struct schedule *front;
    int count;
    struct schedule_problem p = {.calls = x->calls, .actions = actions, .ms = x->ms, .gain = x->gain};
    p.error = actions > 1 ? x->error : NULL;
    if (actions == 1) {
        p.actions = 2;
        p.pair = x->pair;
    }
    if (schedule_front(&p, &front, &count, e) < 0)
        return -1;
    printf("%24s %d points, exact %d\n", "", count, front[0].exact);
    schedule_front_free(front, count);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "uniform",        "power",          "cachequant",       "dp", "minimax", "lemica", "pair", "front",
        "whole front, 2", "whole front, 3", "whole front, pair"};
    struct tables x = {0};
    struct error e = {0};
    int calls = argc > 1 ? atoi(argv[1]) : 250;
    if (calls < 2 || calls > SCHEDULE_CALLS_MAX || fill(&x, calls, &e) < 0)
        return 2;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double ms[RUNS], cpu = INFINITY;
        if (argc > 2 && strcmp(argv[2], names[i]) != 0)
            continue;
        for (int k = 0; k < RUNS; k++) {
            double start = now(CLOCK_MONOTONIC), begin = now(CLOCK_PROCESS_CPUTIME_ID);
            int status = i < 8    ? run_named(&x, names[i], &e)
                         : i < 10 ? run_front(&x, (int)i - 6, &e)
                                  : run_front(&x, 1, &e);
            ms[k] = now(CLOCK_MONOTONIC) - start;
            cpu = fmin(cpu, now(CLOCK_PROCESS_CPUTIME_ID) - begin);
            if (status < 0) {
                printf("%s: %s\n", names[i], e.text);
                return 1;
            }
        }
        qsort(ms, RUNS, sizeof *ms, by_value);
        printf("%-17s least %8.2f ms, median %8.2f, of the processor %8.2f\n", names[i], ms[0], ms[RUNS / 2],
               cpu);
    }
    return 0;
}
