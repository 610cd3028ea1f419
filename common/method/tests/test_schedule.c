/* The schedule solvers against enumeration of every schedule, with tables of random reals (no ties) and
 * of small integers (many ties, exact sums). */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/l1.h"
#include "common/method/tests/gram_cases.h"
#include "common/method/tests/schedule_cases.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(test_dp_equals_enumeration)
{
    struct prng r = {1};
    struct tables x;
    int possible = 0, runs = 0;
    for (int calls = 1; calls <= T_MAX; calls++)
        for (int round = 0; round < 8; round++) {
            int whole = round & 1;
            fill(&x, &r, calls, 3, whole, 1);
            x.p.serve = 1 + (round >> 1 & 1);
            x.p.max_run = round < 4 ? 0 : 1 + (int)prng_below(&r, calls);
            struct rules rules = {x.p.serve, 1, x.p.max_run ? x.p.max_run + 1 : calls};
            x.p.goal = SCHEDULE_REFRESHES;
            for (x.p.refreshes = 1; x.p.refreshes <= calls; x.p.refreshes++, runs++)
                possible += compare(&x, "dp", rules);
            for (x.p.goal = SCHEDULE_MS; x.p.goal <= SCHEDULE_ERROR; x.p.goal++, runs++) {
                x.p.limit = random_limit(&x, &r, whole);
                possible += compare(&x, "dp", rules);
            }
        }
    ck_assert_int_gt(possible, runs / 2);
    ck_assert_int_lt(possible, runs); /* the impossible was met as well */
}
END_TEST

START_TEST(test_front_equals_enumeration)
{
    struct prng r = {2};
    struct tables x;
    int possible = 0, runs = 0;
    for (int actions = 1; actions <= 4; actions++)
        for (int calls = 1; calls <= (actions == 4 ? 9 : T_MAX); calls++)
            for (int round = 0; round < 12; round++) {
                int whole = round & 1;
                fill(&x, &r, calls, actions, whole, round & 2);
                x.p.max_run = round < 8 ? 0 : 1 + (int)prng_below(&r, calls);
                struct rules rules = {0, 1, x.p.max_run ? x.p.max_run + 1 : calls};
                for (x.p.goal = SCHEDULE_MS; x.p.goal <= SCHEDULE_ERROR; x.p.goal++, runs++) {
                    x.p.limit = random_limit(&x, &r, whole);
                    possible += compare(&x, "front", rules);
                }
            }
    ck_assert_int_gt(possible, runs / 2);
    ck_assert_int_lt(possible, runs);
}
END_TEST

/* Actions at two bit-widths: some compute everything, with and without errors of their own. */
static void fill_widths(struct tables *x, struct prng *r, int calls, int whole, int even)
{
    static const unsigned char widths[] = {1, 0, 1, 0};
    fill(x, r, calls, 4, whole, even);
    x->p.computes = widths;
    for (int t = 0; t < calls; t++) {
        for (int a = 0; a < 4; a += 2)
            x->error[(a * calls + t) * calls] = a ? 0 : whole ? (double)prng_below(r, 3) : prng_unit(r);
        if (prng_below(r, 4) == 0)
            x->error[t * calls] = INFINITY; /* this call needs all bits */
        for (int a = 2; a < 4 && even; a++)
            x->ms[a * calls + t] = x->ms[(a - 2) * calls + t] + 1;
    }
}

START_TEST(test_widths_equal_enumeration)
{
    struct prng r = {31};
    struct tables x;
    int possible = 0, runs = 0, wide = 0;
    for (int calls = 1; calls <= 7; calls++)
        for (int round = 0; round < 16; round++) {
            int whole = round & 1;
            fill_widths(&x, &r, calls, whole, round & 2);
            x.p.max_run = round < 12 ? 0 : 1 + (int)prng_below(&r, calls);
            struct rules rules = {0, 1, x.p.max_run ? x.p.max_run + 1 : calls};
            for (x.p.goal = SCHEDULE_MS; x.p.goal <= SCHEDULE_ERROR; x.p.goal++, runs++) {
                struct schedule s = {0};
                struct error e = {0};
                x.p.limit = random_limit(&x, &r, whole);
                possible += compare(&x, "front", rules);
                if (schedule_solver_find("front")->run(&x.p, &s, &e) == 0)
                    for (int t = 0; t < calls; t++)
                        wide += s.action[t] >= 2;
                schedule_free(&s);
            }
        }
    ck_assert_int_gt(possible, runs / 2);
    ck_assert_int_gt(wide, 200);
}
END_TEST

/* No schedule is better than the front. */
static void covered(const struct schedule *front, int count, const struct priced *s)
{
    int found = !isfinite(s->error);
    for (int i = 0; i < count && !found; i++)
        found = front[i].ms <= s->ms + 1e-12 && front[i].error <= s->error + 1e-12;
    ck_assert_msg(found, "(%g ms, %g) is better than the front", s->ms, s->error);
}

/* The whole front, against all schedules: with widths it is never behind the front without, and here in
 * front of it. */
START_TEST(test_front_of_widths)
{
    struct prng r = {32};
    struct tables x;
    int better = 0, points = 0;
    for (int round = 0; round < 24; round++) {
        struct schedule *front, *narrow;
        struct priced s = {0};
        int count, narrows, calls = 2 + round % 6;
        fill_widths(&x, &r, calls, round & 1, round & 2);
        ck_assert_int_eq(schedule_front(&x.p, &front, &count, NULL), 0);
        do {
            price(&x, &s);
            covered(front, count, &s);
        } while (next(s.action, calls, 4, 0) || next_first(&x, s.action));
        for (int i = 0; i < count; i++) {
            memcpy(s.action, front[i].action, (size_t)calls * sizeof *s.action);
            price(&x, &s);
            ck_assert_double_eq_tol(s.error, front[i].error, 1e-12 * (1 + s.error));
            ck_assert(i == 0 || (front[i].ms > front[i - 1].ms && front[i].error < front[i - 1].error));
            ck_assert_int_eq(front[i].exact, 1);
        }
        x.p.actions = 2;
        ck_assert_int_eq(schedule_front(&x.p, &narrow, &narrows, NULL), 0);
        for (int i = 0; i < narrows; i++)
            for (int k = 0; k < count; k++)
                better += front[k].ms <= narrow[i].ms && front[k].error < narrow[i].error;
        points += narrows;
        schedule_front_free(front, count);
        schedule_front_free(narrow, narrows);
    }
    ck_assert_int_gt(better, points / 4);
}
END_TEST

/* Long trajectories, on whose fronts nearly every label is dropped by bounds: against the least error for
 * every whole number of milliseconds, by a table over (last refresh, milliseconds). */
START_TEST(test_long_front_equals_a_table)
{
    enum { T = 48, A = 4, MOST = T * 9 + 1 };
    static const unsigned char widths[A] = {1, 0, 1, 0};
    static double ms[A * T], error[A * T * T], gain[T], table[2][T][MOST];
    struct prng r = {33};
    int points = 0;
    for (int round = 0; round < 6; round++) {
        int count, n = 0;
        struct schedule *front;
        for (int t = 0; t < T; t++) {
            gain[t] = exp(-4.0 * t / T);
            for (int a = 0; a < A; a++) {
                ms[a * T + t] = (double[]){5, 2, 8, 3}[a] + (round & 1 ? (double)prng_below(&r, 2) : 0);
                for (int s = 0; s < (t ? t : 1); s++)
                    error[(a * T + t) * T + s] = widths[a]
                                                     ? (a ? 0 : 0.02 * prng_unit(&r))
                                                     : (0.5 + prng_unit(&r)) * (t - s) + (a == 1) * 0.02;
            }
        }
        for (int i = 0; i < 2 * T * MOST; i++)
            (&table[0][0][0])[i] = INFINITY;
        for (int t = 0; t < T; t++) {
            double(*now)[MOST] = table[t & 1], (*next)[MOST] = table[1 - (t & 1)];
            for (int i = 0; i < T * MOST; i++)
                (&next[0][0])[i] = INFINITY;
            for (int a = 0; a < A; a++)
                for (int s = 0; s < (t ? t : 1); s++)
                    for (int m = 0; m < (t || widths[a] ? MOST : 0); m++) {
                        double before = t ? now[s][m] : m ? INFINITY : 0;
                        int at = m + (int)ms[a * T + t], to = widths[a] ? t : s;
                        double sum = before + gain[t] * error[(a * T + t) * T + (widths[a] ? 0 : s)];
                        if (at < MOST && sum < next[to][at])
                            next[to][at] = sum;
                    }
        }
        struct schedule_problem p = {
            .calls = T, .actions = A, .ms = ms, .error = error, .gain = gain, .computes = widths};
        ck_assert_int_eq(schedule_front(&p, &front, &count, NULL), 0);
        double least = INFINITY;
        for (int m = 0; m < MOST; m++) {
            double here = INFINITY;
            for (int s = 0; s < T; s++)
                here = fmin(here, table[T & 1][s][m]);
            if (!(here < least - 1e-12)) /* sums in another order */
                continue;
            least = here;
            ck_assert_msg(n < count, "%d points, more are on the front", count);
            ck_assert_double_eq_tol(front[n].ms, m, 1e-9);
            ck_assert_double_eq_tol(front[n].error, here, 1e-12 * (1 + here));
            n++;
        }
        ck_assert_int_eq(n, count);
        points += count;
        schedule_front_free(front, count);
    }
    ck_assert_int_gt(points, 600);
}
END_TEST

/* Every point of the front is the best for its own milliseconds, and no schedule is missing. */
START_TEST(test_whole_front)
{
    struct prng r = {3};
    struct tables x;
    for (int round = 0; round < 20; round++) {
        int whole = round & 1, count;
        fill(&x, &r, 7, 3, whole, 0);
        struct schedule *front;
        ck_assert_int_eq(schedule_front(&x.p, &front, &count, NULL), 0);
        struct priced s = {0};
        int on_front = 0;
        do {
            price(&x, &s);
            covered(front, count, &s);
            for (int i = 0; i < count; i++)
                on_front += memcmp(front[i].action, s.action, 7 * sizeof *s.action) == 0;
        } while (next(s.action, 7, 3, 0));
        ck_assert_int_eq(on_front, count); /* each is a schedule, none is there twice */
        for (int i = 1; i < count; i++) {
            ck_assert_double_gt(front[i].ms, front[i - 1].ms);
            ck_assert_double_lt(front[i].error, front[i - 1].error);
            ck_assert_int_eq(front[i].exact, 1);
        }
        schedule_front_free(front, count);
    }
}
END_TEST

START_TEST(test_cachequant_equals_enumeration)
{
    struct prng r = {4};
    struct tables x;
    int possible = 0;
    for (int calls = 1; calls <= T_MAX; calls++)
        for (int n = 1; n <= calls; n++)
            for (int round = 0; round < 4; round++) {
                fill(&x, &r, calls, 2, round & 1, 1);
                int low = (n + 1) / 2, high = 2 * n < calls ? 2 * n : calls;
                x.p.interval = n;
                /* K = ceil(T / N); the enumeration gets the same as a number of refreshes. */
                struct tables y = x;
                y.p.ms = y.ms, y.p.error = y.error, y.p.gain = y.gain;
                y.p.goal = SCHEDULE_REFRESHES;
                y.p.refreshes = (calls + n - 1) / n;
                struct priced want = {0};
                struct schedule got = {0};
                struct error e = {0};
                int there = enumerate(&y, (struct rules){1, low, high}, &want);
                ck_assert_int_eq(schedule_solver_find("cachequant")->run(&x.p, &got, &e), there ? 0 : -1);
                if (there)
                    check_same(&x, &got, &want, "cachequant");
                possible += there;
                schedule_free(&got);
                /* Any other number of segments, with the same bounds. */
                y.p.refreshes = 1 + (int)prng_below(&r, calls);
                y.p.interval = n;
                there = enumerate(&y, (struct rules){1, low, high}, &want);
                e.code = 0;
                ck_assert_int_eq(schedule_solver_find("cachequant")->run(&y.p, &got, &e), there ? 0 : -1);
                if (there)
                    check_same(&y, &got, &want, "cachequant");
                else
                    ck_assert_int_eq(e.code, HASTEN_EGATE);
                schedule_free(&got);
            }
    ck_assert_int_gt(possible, 200);
}
END_TEST

START_TEST(test_cachequant_says_what_is_possible)
{
    struct prng r = {5};
    struct tables x;
    struct schedule got = {0};
    struct error e = {0};
    fill(&x, &r, 12, 2, 1, 1);
    x.p.goal = SCHEDULE_REFRESHES;
    x.p.interval = 5; /* segments of 3 to 10 */
    x.p.refreshes = 5;
    ck_assert_int_eq(schedule_solver_find("cachequant")->run(&x.p, &got, &e), -1);
    ck_assert_str_eq(
        e.text,
        "12 calls cannot be cut into 5 segments of 3 to 10 calls (interval 5): the nearest number is 4");
    e.code = 0;
    x.p.refreshes = 1;
    ck_assert_int_eq(schedule_solver_find("cachequant")->run(&x.p, &got, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "nearest number is 2"));
    ck_assert_ptr_null(got.action);
}
END_TEST

/* The published procedure, restated: forward table L[n][k] with D(i, j) summed from absolute differences
 * of features. */
static double published_cost(const float *x, int width, int calls, int n)
{
    int k_all = (calls + n - 1) / n, low = n / 2 + n % 2, high = 2 * n;
    double table[T_MAX + 1][T_MAX + 1];
    for (int m = 0; m <= calls; m++)
        for (int k = 1; k <= k_all; k++) {
            table[m][k] = INFINITY;
            for (int j = k == 1 ? 0 : 1; j < m; j++) {
                if (m - j < low || m - j > high || (k == 1 && j > 0))
                    continue;
                double d = k == 1 ? 0 : table[j][k - 1];
                for (int t = j; t < m; t++)
                    for (int i = 0; i < width; i++)
                        d += fabs((double)x[t * width + i] - (double)x[j * width + i]);
                table[m][k] = d < table[m][k] ? d : table[m][k];
            }
        }
    return table[calls][k_all];
}

START_TEST(test_cachequant_on_features)
{
    enum { CALLS = 12, WIDTH = 20 };
    struct prng r = {6};
    float x[CALLS * WIDTH];
    const float *features[CALLS];
    double ms[2 * CALLS], error[2 * CALLS * CALLS] = {0};
    for (int t = 0; t < CALLS; t++) {
        features[t] = x + t * WIDTH;
        ms[t] = 2;
        ms[CALLS + t] = 1;
        for (int i = 0; i < WIDTH; i++)
            x[t * WIDTH + i] = (t ? x[(t - 1) * WIDTH + i] : 0) + (float)prng_unit(&r) * (float)((t * 5) % 7);
    }
    for (int n = 1; n <= 4; n++) {
        struct l1_pairs pairs = {0};
        pairs = own_pairs(CALLS, 2 * n);
        for (int t = 0; t < CALLS; t++)
            ck_assert_int_eq(l1_add_call(&pairs, t, features, WIDTH, NULL, NULL), 0);
        l1_errors(&pairs, error + CALLS * CALLS);
        drop_pairs(&pairs);
        struct schedule_problem p = {
            .calls = CALLS, .actions = 2, .ms = ms, .error = error, .serve = 1, .interval = n};
        struct schedule s = {0};
        struct error e = {0};
        ck_assert_msg(schedule_solver_find("cachequant")->run(&p, &s, &e) == 0, "%s", e.text);
        double want = published_cost(x, WIDTH, CALLS, n);
        ck_assert_double_eq_tol(s.error, want, 1e-12 * (1 + want));
        ck_assert_int_eq(s.refreshes, CALLS / n);
        ck_assert_double_eq(s.ms, CALLS + CALLS / n);
        schedule_free(&s);
    }
}
END_TEST

START_TEST(test_uniform)
{
    struct prng r = {7};
    struct tables x;
    struct schedule s = {0};
    struct error e = {0};
    fill(&x, &r, 10, 2, 1, 1);
    for (int i = 0; i < 2 * 10 * 10; i++)
        x.error[i] = 1;
    x.ms[10] = 1; /* at call 0, never used */
    for (int t = 0; t < 10; t++) {
        x.ms[t] = 4;
        x.ms[10 + t] = 1;
        x.gain[t] = t;
    }
    const struct schedule_solver *solver = schedule_solver_find("uniform");
    x.p.interval = 4;
    ck_assert_int_eq(solver->run(&x.p, &s, &e), 0);
    const int want[10] = {0, 1, 1, 1, 0, 1, 1, 1, 0, 1}, refresh[10] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8};
    ck_assert_mem_eq(s.action, want, sizeof want);
    ck_assert_mem_eq(s.refresh, refresh, sizeof refresh);
    ck_assert_double_eq(s.ms, 3 * 4 + 7);
    ck_assert_double_eq(s.error, 45 - 12);
    ck_assert_int_eq(s.exact, 0);
    schedule_free(&s);
    /* 25 ms: five computed calls, so every second. */
    x.p.interval = 0;
    x.p.goal = SCHEDULE_MS;
    x.p.limit = 25;
    ck_assert_int_eq(solver->run(&x.p, &s, &e), 0);
    ck_assert_int_eq(s.refreshes, 5);
    ck_assert_double_eq(s.ms, 25);
    schedule_free(&s);
    x.p.limit = 12;
    ck_assert_int_eq(solver->run(&x.p, &s, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EGATE);
    ck_assert_str_eq(e.text, "no schedule takes at most 12 ms, the fastest takes 13 ms");
    e.code = 0;
    x.p.goal = SCHEDULE_REFRESHES;
    x.p.refreshes = 6; /* intervals give 10, 5, 4, 3, 2 and 1 */
    ck_assert_int_eq(solver->run(&x.p, &s, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "the nearest computes 5"));
    e.code = 0;
    x.p.goal = SCHEDULE_FIXED;
    ck_assert_int_eq(solver->run(&x.p, &s, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EUSAGE);
}
END_TEST

START_TEST(test_all_numbers_of_refreshes)
{
    struct prng r = {8};
    struct tables x;
    fill(&x, &r, 10, 3, 0, 0);
    double error[11], ms[11];
    ck_assert_int_eq(schedule_by_refreshes(&x.p, 2, error, ms, NULL), 0);
    ck_assert(isinf(error[0]) && isinf(ms[0]));
    x.p.goal = SCHEDULE_REFRESHES;
    for (int k = 1; k <= 10; k++) {
        struct priced want = {0};
        x.p.refreshes = k;
        if (enumerate(&x, (struct rules){2, 1, 10}, &want)) {
            ck_assert_double_eq_tol(error[k], want.error, 1e-12 * (1 + want.error));
            ck_assert_double_eq_tol(ms[k], want.ms, 1e-12 * want.ms);
        } else {
            ck_assert(isinf(error[k]));
        }
    }
    ck_assert_double_eq(error[10], 0);
}
END_TEST

START_TEST(test_long_trajectories)
{
    /* 100 calls: dp and front agree where both are exact; nothing takes long. */
    enum { CALLS = 100 };
    struct prng r = {9};
    double *error = calloc(2 * CALLS * CALLS, sizeof *error), ms[2 * CALLS], gain[CALLS];
    for (int t = 0; t < CALLS; t++) {
        ms[t] = 10;
        ms[CALLS + t] = 3;
        gain[t] = exp(-t / 20.0);
        for (int s = 0; s < t; s++)
            error[(CALLS + t) * CALLS + s] = (t - s) * (1 + prng_unit(&r));
    }
    struct schedule_problem p = {.calls = CALLS,
                                 .actions = 2,
                                 .ms = ms,
                                 .error = error,
                                 .gain = gain,
                                 .goal = SCHEDULE_MS,
                                 .limit = 500};
    struct schedule a = {0}, b = {0};
    ck_assert_int_eq(schedule_solver_find("dp")->run(&p, &a, NULL), 0);
    ck_assert_int_eq(schedule_solver_find("front")->run(&p, &b, NULL), 0);
    ck_assert_int_eq(a.exact, 1);
    ck_assert_int_eq(b.exact, 1);
    ck_assert_mem_eq(a.action, b.action, CALLS * sizeof *a.action);
    ck_assert_int_eq(a.refreshes, 28);
    schedule_free(&a);
    schedule_free(&b);
    /* Random times: dp is no longer exact, front is; with few labels it says that it is not. */
    for (int t = 0; t < 2 * CALLS; t++)
        ms[t] += prng_unit(&r);
    ck_assert_int_eq(schedule_solver_find("dp")->run(&p, &a, NULL), 0);
    ck_assert_int_eq(schedule_solver_find("front")->run(&p, &b, NULL), 0);
    ck_assert_int_eq(a.exact, 0);
    ck_assert_int_eq(b.exact, 1);
    ck_assert_double_le(b.ms, 500);
    ck_assert_double_lt(b.error, a.error);
    double best = b.error;
    schedule_free(&b);
    p.labels = 40;
    ck_assert_int_eq(schedule_solver_find("front")->run(&p, &b, NULL), 0);
    ck_assert_int_eq(b.exact, 0);
    ck_assert_double_le(b.ms, 500);
    ck_assert_double_ge(b.error, best);
    ck_assert_double_le(b.error, best * 1.1);
    schedule_free(&a);
    schedule_free(&b);
    free(error);
}
END_TEST

START_TEST(test_bad_problems)
{
    struct prng r = {10};
    struct tables good, x;
    fill(&good, &r, 5, 2, 1, 1);
    good.p.goal = SCHEDULE_MS;
    good.p.limit = 10;
    const struct schedule_solver *solver = schedule_solver_find("dp");
    for (int k = 0; k < 9; k++) {
        x = good;
        x.p.ms = x.ms, x.p.error = x.error, x.p.gain = x.gain;
        switch (k) {
        case 0:
            x.p.calls = 0;
            break;
        case 1:
            x.p.calls = SCHEDULE_CALLS_MAX + 1;
            break;
        case 2:
            x.p.actions = 0;
            break;
        case 3:
            x.p.serve = 2;
            break;
        case 4:
            x.ms[3] = NAN;
            break;
        case 5:
            x.error[25 + 10] = -1;
            break;
        case 6:
            x.error[25 + 10] = NAN;
            break;
        case 7:
            x.gain[2] = INFINITY;
            break;
        case 8:
            x.p.limit = NAN;
            break;
        }
        struct schedule s = {0};
        struct error e = {0};
        ck_assert_msg(solver->run(&x.p, &s, &e) == -1, "case %d", k);
        ck_assert_int_eq(e.code, k < 4 || k == 8 ? HASTEN_EUSAGE : HASTEN_EFILE);
        ck_assert_ptr_null(s.action);
    }
    int refreshes, wrong[5] = {0, 1, 2, 0, 0}, served[5] = {1, 0, 0, 0, 0};
    double error, ms;
    ck_assert_int_eq(schedule_price(&good.p, wrong, NULL, &refreshes, &error, &ms, NULL), -1);
    ck_assert_int_eq(schedule_price(&good.p, served, NULL, &refreshes, &error, &ms, NULL), -1);
    ck_assert_ptr_null(schedule_solver_find("magic"));
}
END_TEST

START_TEST(test_allocations_fail)
{
    struct prng r = {11};
    struct tables x;
    fill(&x, &r, 8, 3, 0, 1);
    size_t live = mem_live_blocks();
    for (const struct schedule_solver *solver = schedule_solvers; solver->name; solver++)
        for (int k = 1, done = 0; !done; k++) {
            char setting[32];
            struct schedule s = {0};
            struct error e = {0};
            snprintf(setting, sizeof setting, "alloc:%d", k);
            x.p.goal = SCHEDULE_MS;
            x.p.limit = 100;
            x.p.list = (const int[]){0, 3};
            x.p.listed = 2;
            x.p.actions = strcmp(solver->name, "pair") ? 3 : 2;
            x.p.pair = x.p.actions == 2 ? x.pair : NULL;
            x.p.ratio = x.gain;
            x.p.serve = strcmp(solver->name, "magcache") == 0;
            fault_set(setting);
            done = solver->run(&x.p, &s, &e) == 0;
            fault_set(NULL);
            ck_assert_msg(done || e.code == HASTEN_ENOMEM, "%s: %s", solver->name, e.text);
            ck_assert_msg(!done || k > 3, "%s hides that allocation %d failed", solver->name, k);
            schedule_free(&s);
            ck_assert_uint_eq(mem_live_blocks(), live);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *c = tcase_create("schedule");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_dp_equals_enumeration);
    tcase_add_test(c, test_front_equals_enumeration);
    tcase_add_test(c, test_widths_equal_enumeration);
    tcase_add_test(c, test_front_of_widths);
    tcase_add_test(c, test_long_front_equals_a_table);
    tcase_add_test(c, test_whole_front);
    tcase_add_test(c, test_cachequant_equals_enumeration);
    tcase_add_test(c, test_cachequant_says_what_is_possible);
    tcase_add_test(c, test_cachequant_on_features);
    tcase_add_test(c, test_uniform);
    tcase_add_test(c, test_all_numbers_of_refreshes);
    tcase_add_test(c, test_long_trajectories);
    tcase_add_test(c, test_bad_problems);
    tcase_add_test(c, test_allocations_fail);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
