/* The solvers beside dp, front, cachequant and uniform: against enumeration, and against numbers that the
 * published code gives. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/tests/schedule_cases.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static void expect_calls(const struct schedule_problem *p, const int *call, int n)
{
    struct schedule s = {0};
    struct error e = {0};
    ck_assert_msg(schedule_solver_find("power")->run(p, &s, &e) == 0, "%s", e.text);
    ck_assert_int_eq(s.refreshes, n);
    for (int t = 0, next = 0; t < p->calls; t++)
        ck_assert_msg((s.action[t] == 0) == (next < n && call[next] == t), "T %d, N %d: call %d", p->calls,
                      p->interval, t),
            next += s.action[t] == 0;
    schedule_free(&s);
}

/* Computed calls of DeepCache's sample_from_quad_center, restated in numpy:
 *   x = np.linspace((-c)**(1/p), (T-c)**(1/p), n+1)
 *   [0] + [int(v)+c for v in np.unique(np.int32(x**p))[1:-1]],   p -= 0.02 until there are n */
START_TEST(test_power_is_deepcaches)
{
    static const int a[] = {0, 5, 9, 13, 17, 21, 26, 31, 37, 43}, b[] = {0, 9, 17, 26, 37},
                     c[] = {0,  2,  4,  6,  7,  9,  11, 12, 14, 15, 17, 18, 20,
                            22, 24, 26, 28, 30, 32, 35, 37, 39, 42, 44, 47},
                     d[] = {0, 3, 5, 7, 10, 13, 16},
                     f[] = {0, 5, 10, 15, 19, 24, 28, 31, 36, 40, 45, 50, 55, 60, 65, 71, 76, 82, 88, 94};
    double *ms = calloc(2 * 100, sizeof *ms), *error = calloc(2 * 100 * 100, sizeof *error);
    struct schedule_problem p = {.calls = 50, .actions = 2, .ms = ms, .error = error, .serve = 1};
    p.interval = 5, p.center = 15;
    expect_calls(&p, a, 10);
    p.interval = 10, p.center = 0; /* 0.3 T */
    expect_calls(&p, b, 5);
    p.interval = 2;
    expect_calls(&p, c, 25);
    p.calls = 20, p.interval = 3;
    expect_calls(&p, d, 7);
    p.calls = 100, p.interval = 5, p.power = 1.2;
    expect_calls(&p, f, 20);
    struct schedule s = {0};
    struct error e = {0};
    p.calls = 50, p.goal = SCHEDULE_REFRESHES, p.refreshes = 49, p.interval = 0, p.power = 0;
    ck_assert_int_eq(schedule_solver_find("power")->run(&p, &s, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EGATE);
    free(ms);
    free(error);
}
END_TEST

START_TEST(test_list)
{
    struct prng r = {21};
    struct tables x;
    struct schedule s = {0};
    struct error e = {0};
    static const int good[] = {0, 3, 4, 9}, bad[][2] = {{1, 2}, {0, 0}, {0, 10}};
    fill(&x, &r, 10, 2, 1, 1);
    for (int i = 0; i < 2 * 10 * 10; i++)
        x.error[i] = 1;
    x.p.list = good, x.p.listed = 4;
    const struct schedule_solver *solver = schedule_solver_find("list");
    ck_assert_int_eq(solver->run(&x.p, &s, &e), 0);
    const int want[10] = {0, 1, 1, 0, 0, 1, 1, 1, 1, 0};
    ck_assert_mem_eq(s.action, want, sizeof want);
    schedule_free(&s);
    for (int i = 0; i < 3; i++) {
        x.p.list = bad[i], x.p.listed = 2;
        ck_assert_int_eq(solver->run(&x.p, &s, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EUSAGE);
        e.code = 0;
    }
}
END_TEST

/* Errors of the segments, largest first; gives how many segments there are. */
static int segments(const struct tables *x, const int *action, double *out)
{
    int n = 0, last = 0;
    for (int t = 0; t < x->p.calls; t++) {
        if (action[t] == 0) {
            out[n++] = 0;
            last = t;
        } else {
            out[n - 1] += x->gain[t] * x->error[(action[t] * x->p.calls + t) * x->p.calls + last];
        }
    }
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && out[k] > out[k - 1]; k--) {
            double other = out[k];
            out[k] = out[k - 1];
            out[k - 1] = other;
        }
    return n;
}

/* The best of k computed calls: by the worst segment and then the sum, or by all segments in turn. */
static int best_by_segments(const struct tables *x, int k, int in_turn, struct priced *best)
{
    struct priced s = {0};
    double least[T_MAX], now[T_MAX];
    int found = 0, longest = x->p.max_run ? x->p.max_run + 1 : x->p.calls;
    do {
        price(x, &s);
        if (s.refreshes != k || !isfinite(s.error) || s.longest > longest)
            continue;
        int n = segments(x, s.action, now), at = 0;
        while (in_turn && found && at < n - 1 && now[at] == least[at])
            at++;
        int better =
            !found || now[at] < least[at] || (!in_turn && now[0] == least[0] && s.error < best->error);
        if (better) {
            memcpy(least, now, sizeof now);
            *best = s;
        }
        found = 1;
    } while (next(s.action, x->p.calls, x->p.actions, 1));
    return found;
}

START_TEST(test_minimax_and_lemica_equal_enumeration)
{
    struct prng r = {22};
    struct tables x;
    int possible = 0, differ = 0;
    for (int calls = 1; calls <= T_MAX; calls++)
        for (int round = 0; round < 6; round++) {
            fill(&x, &r, calls, 2, round & 1, 1);
            x.p.max_run = round < 4 ? 0 : 1 + (int)prng_below(&r, calls);
            x.p.serve = 1;
            x.p.goal = SCHEDULE_REFRESHES;
            for (x.p.refreshes = 1; x.p.refreshes <= calls; x.p.refreshes++)
                for (int in_turn = 0; in_turn < 2; in_turn++) {
                    struct schedule got = {0};
                    struct priced want = {0};
                    struct error e = {0};
                    const char *name = in_turn ? "lemica" : "minimax";
                    int found = best_by_segments(&x, x.p.refreshes, in_turn, &want);
                    int status = schedule_solver_find(name)->run(&x.p, &got, &e);
                    ck_assert_msg(status == (found ? 0 : -1), "%s, T %d: %s", name, calls, e.text);
                    possible += found;
                    for (int t = 0; found && t < calls; t++)
                        ck_assert_msg(got.action[t] == want.action[t], "%s, T %d, K %d: call %d", name, calls,
                                      x.p.refreshes, t);
                    if (found) {
                        struct schedule dp = {0};
                        ck_assert_int_eq(schedule_solver_find("dp")->run(&x.p, &dp, &e), 0);
                        differ += memcmp(dp.action, got.action, sizeof(int) * (size_t)calls) != 0;
                        schedule_free(&dp);
                    }
                    schedule_free(&got);
                }
        }
    ck_assert_int_gt(possible, 400);
    ck_assert_int_gt(differ, 50); /* it is another question than dp's */
}
END_TEST

START_TEST(test_minimax_goals)
{
    struct prng r = {23};
    struct tables x;
    struct schedule s = {0};
    struct error e = {0};
    fill(&x, &r, 10, 2, 1, 1);
    for (int i = 0; i < 100; i++)
        x.error[100 + i] = 1;
    for (int t = 0; t < 10; t++)
        x.ms[t] = 4, x.ms[10 + t] = 1, x.gain[t] = 1;
    x.p.goal = SCHEDULE_MS;
    x.p.limit = 22; /* four computed calls, six served */
    ck_assert_int_eq(schedule_solver_find("minimax")->run(&x.p, &s, &e), 0);
    ck_assert_int_eq(s.refreshes, 4);
    schedule_free(&s);
    x.p.goal = SCHEDULE_ERROR;
    x.p.limit = 3.5; /* at most three served */
    ck_assert_int_eq(schedule_solver_find("lemica")->run(&x.p, &s, &e), 0);
    ck_assert_int_eq(s.refreshes, 7);
    schedule_free(&s);
    x.p.goal = SCHEDULE_MS;
    x.p.limit = 12;
    ck_assert_int_eq(schedule_solver_find("lemica")->run(&x.p, &s, &e), -1);
    ck_assert_str_eq(e.text, "no schedule takes at most 12 ms, the fastest takes 13 ms");
}
END_TEST

START_TEST(test_pair_equals_enumeration)
{
    struct prng r = {25};
    struct tables x;
    int possible = 0, differ = 0;
    for (int calls = 1; calls <= T_MAX; calls++)
        for (int round = 0; round < 8; round++) {
            int whole = round & 1;
            fill(&x, &r, calls, 2, whole, 1);
            for (size_t i = 0; i < schedule_pair_count(calls); i++)
                x.pair[i] = prng_below(&r, 12) == 0 ? INFINITY
                            : whole                 ? (double)prng_below(&r, 4)
                                                    : prng_unit(&r);
            x.p.serve = 1;
            x.p.pair = x.pair;
            x.p.max_run = round < 6 ? 0 : 1 + (int)prng_below(&r, calls);
            struct rules rules = {1, 1, x.p.max_run ? x.p.max_run + 1 : calls};
            x.p.goal = SCHEDULE_REFRESHES;
            for (x.p.refreshes = 1; x.p.refreshes <= calls; x.p.refreshes++)
                possible += compare(&x, "pair", rules);
            for (x.p.goal = SCHEDULE_MS; x.p.goal <= SCHEDULE_ERROR; x.p.goal++) {
                x.p.limit = random_limit(&x, &r, whole);
                possible += compare(&x, "pair", rules);
            }
            struct schedule dp = {0}, pair = {0};
            struct error e = {0};
            x.p.goal = SCHEDULE_REFRESHES, x.p.refreshes = (calls + 1) / 2, x.p.max_run = 0;
            if (schedule_solver_find("dp")->run(&x.p, &dp, &e) == 0 &&
                schedule_solver_find("pair")->run(&x.p, &pair, &e) == 0) {
                ck_assert_double_ge(dp.error, pair.error - 1e-12); /* both priced by the pair table */
                ck_assert_int_eq(dp.exact, 0);
                ck_assert_int_eq(pair.exact, 1);
                differ += dp.error > pair.error + 1e-9;
            }
            schedule_free(&dp);
            schedule_free(&pair);
        }
    ck_assert_int_gt(possible, 400);
    ck_assert_int_gt(differ, 20);
}
END_TEST

/* The best for every number of computed calls, by enumeration: each is on the front or beaten by a point of
 * it, and the front has no others. */
START_TEST(test_pair_front_equals_enumeration)
{
    struct prng r = {26};
    struct tables x;
    int points = 0;
    for (int round = 0; round < 60; round++) {
        int calls = 1 + round % T_MAX, count, hits = 0;
        struct schedule *front;
        struct error e = {0};
        fill(&x, &r, calls, 2, round & 1, 1);
        for (size_t i = 0; i < schedule_pair_count(calls); i++)
            x.pair[i] = round & 1 ? (double)prng_below(&r, 4) : prng_unit(&r);
        x.p.serve = 1, x.p.pair = x.pair, x.p.error = NULL;
        ck_assert_int_eq(schedule_front(&x.p, &front, &count, &e), 0);
        for (int i = 0; i + 1 < count; i++)
            ck_assert(front[i].ms < front[i + 1].ms && front[i].error > front[i + 1].error);
        x.p.goal = SCHEDULE_REFRESHES;
        for (x.p.refreshes = 1; x.p.refreshes <= calls; x.p.refreshes++) {
            struct priced best;
            int beaten = 0, found = enumerate(&x, (struct rules){1, 1, calls}, &best);
            for (int i = 0; found && i < count; i++) {
                beaten |= front[i].ms <= best.ms + 1e-9 && front[i].error <= best.error + 1e-9;
                hits += fabs(front[i].ms - best.ms) < 1e-9 && fabs(front[i].error - best.error) < 1e-9;
            }
            ck_assert_int_eq(beaten, found);
        }
        ck_assert_int_ge(hits, count);
        ck_assert(front[0].exact);
        points += count;
        schedule_front_free(front, count);
    }
    ck_assert_int_gt(points, 200);
}
END_TEST

/* The rule, written down once more: the sum of |1 - product| over the calls since the last computed one. */
static int computed_by_rule(const double *ratio, int calls, int kept, int most, double threshold, int *action)
{
    int last = 0, computed = 0;
    for (int t = 0; t < calls; t++) {
        double sum = 0;
        for (int u = last + 1; u <= t; u++) {
            double product = 1;
            for (int v = last + 1; v <= u; v++)
                product *= ratio[v];
            sum += fabs(1 - product);
        }
        action[t] = t >= kept && t > 0 && sum <= threshold && t - last <= most;
        last = action[t] ? last : t;
        computed += !action[t];
    }
    return computed;
}

/* No smaller threshold keeps the limit, and the schedule is the rule's. */
START_TEST(test_magcache)
{
    struct prng r = {27};
    struct tables x;
    int served = 0;
    for (int round = 0; round < 200; round++) {
        double ratio[T_MAX];
        int rule[T_MAX], most = 1, kept;
        struct schedule s = {0};
        struct error e = {0};
        fill(&x, &r, T_MAX, 2, 0, 1);
        for (int i = 0; i < 2 * T_MAX * T_MAX; i++)
            x.error[i] = isfinite(x.error[i]) ? x.error[i] : 9;
        for (int t = 0; t < T_MAX; t++)
            ratio[t] = 0.8 + 0.3 * prng_unit(&r), x.ms[t] = 2, x.ms[T_MAX + t] = 1;
        int budget = 3 + (int)prng_below(&r, 8); /* computed calls */
        x.p.ratio = ratio, x.p.serve = 1, x.p.goal = SCHEDULE_MS, x.p.limit = T_MAX + budget;
        for (kept = T_MAX / 5; kept >= 0; kept -= T_MAX / 5) {
            for (most = 1; most < T_MAX; most++)
                if (computed_by_rule(ratio, T_MAX, kept, most, 1e300, rule) <= budget)
                    break;
            if (most < T_MAX)
                break;
        }
        ck_assert_msg(schedule_solver_find("magcache")->run(&x.p, &s, &e) == 0, "%s", e.text);
        double low = 1e300;
        for (int from = 0; from < T_MAX; from++) {
            double product = 1, sum = 0;
            for (int t = from + 1; t < T_MAX; t++) {
                product *= ratio[t];
                sum += fabs(1 - product);
                if (sum < low && computed_by_rule(ratio, T_MAX, kept, most + 1, sum, rule) <= budget)
                    low = sum;
            }
        }
        ck_assert_double_lt(low, 1e300);
        computed_by_rule(ratio, T_MAX, kept, most + 1, low, rule);
        ck_assert_int_le(s.refreshes, budget);
        for (int t = 0; t < T_MAX; t++)
            served += s.action[t];
        ck_assert_int_eq(memcmp(rule, s.action, sizeof rule), 0);
        schedule_free(&s);
    }
    ck_assert_int_gt(served, 500);
}
END_TEST

/* Every solver heeds the longest run and the bytes that caches may hold. */
START_TEST(test_constraints)
{
    struct prng r = {24};
    struct tables x;
    static const size_t bytes[] = {0, 100, 50}, pair_bytes[] = {0, 50};
    for (const struct schedule_solver *solver = schedule_solvers; solver->name; solver++)
        for (int round = 0; round < 20; round++) {
            struct schedule s = {0};
            struct error e = {0};
            int pair = strcmp(solver->name, "pair") == 0;
            if (strcmp(solver->name, "magcache") == 0) /* has a rule of its own for runs */
                continue;
            fill(&x, &r, 12, pair ? 2 : 3, 1, 0);
            x.p.pair = pair ? x.pair : NULL;
            for (int i = 0; i < 3 * 12 * 12; i++)
                x.error[i] = isfinite(x.error[i]) ? x.error[i] : 9;
            x.p.max_run = 1 + round % 5;
            x.p.bytes = pair ? pair_bytes : bytes, x.p.max_bytes = 60;
            x.p.goal = SCHEDULE_ERROR, x.p.limit = 1000;
            x.p.list = (int[]){0, 2, 4, 6, 8, 10}, x.p.listed = 6;
            ck_assert_msg(solver->run(&x.p, &s, &e) == 0, "%s: %s", solver->name, e.text);
            int run = 0, served = 0;
            for (int t = 0; t < 12; t++) {
                run = s.action[t] ? run + 1 : 0;
                served += s.action[t] != 0;
                ck_assert(pair || s.action[t] != 1);
                ck_assert_int_le(run, x.p.max_run);
            }
            ck_assert_int_gt(served, 0);
            schedule_free(&s);
            x.p.goal = SCHEDULE_MS, x.p.limit = 0, x.p.max_bytes = 0; /* nothing fits: full or nothing */
            ck_assert_msg(solver->run(&x.p, &s, &e) == -1 && e.code == HASTEN_EGATE, "%s", solver->name);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("solvers");
    TCase *c = tcase_create("solvers");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_power_is_deepcaches);
    tcase_add_test(c, test_list);
    tcase_add_test(c, test_minimax_and_lemica_equal_enumeration);
    tcase_add_test(c, test_minimax_goals);
    tcase_add_test(c, test_pair_equals_enumeration);
    tcase_add_test(c, test_pair_front_equals_enumeration);
    tcase_add_test(c, test_magcache);
    tcase_add_test(c, test_constraints);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
