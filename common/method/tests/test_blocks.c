/* Schedules of many blocks, and searches with a judge: against enumeration. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/prng.h"
#include "common/method/schedule_blocks.h"
#include "common/method/schedule_search.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- blocks ---- */

/* Error of one block's updates. */
static double block_error(const double *error, int calls, const unsigned char *compute)
{
    double sum = 0;
    for (int t = 0, last = 0; t < calls; t++) {
        last = compute[t] ? t : last;
        sum += last == t ? 0 : error[t * calls + last];
    }
    return sum;
}

/* 60 random instances, T = 9, M of 2, 3 and 5 (the published check of the idea). */
START_TEST(test_blocks_equal_enumeration)
{
    enum { T = 9, U = 4 };
    struct prng r = {34};
    static const int updates[] = {2, 3, 5};
    for (int round = 0; round < 60; round++) {
        double error[U * T * T];
        unsigned char compute[U * T], together[U * T];
        for (int i = 0; i < U * T * T; i++)
            error[i] = 1 - prng_unit(&r); /* 1 - cosine */
        struct blocks_problem p = {.calls = T, .blocks = U, .error = error, .refreshes = updates[round % 3]};
        ck_assert_int_eq(blocks_each(&p, compute, NULL), 0);
        ck_assert_int_eq(blocks_together(&p, together, NULL), 0);
        double least[U] = {INFINITY, INFINITY, INFINITY, INFINITY}, least_sum = INFINITY, got = 0;
        for (int bits = 0; bits < 1 << (T - 1); bits++) {
            unsigned char one[T] = {1};
            double sum = 0;
            int n = 1;
            for (int t = 1; t < T; t++)
                n += one[t] = bits >> (t - 1) & 1;
            for (int u = 0; u < U && n == p.refreshes; u++) {
                double here = block_error(error + u * T * T, T, one);
                least[u] = fmin(least[u], here);
                sum += here;
            }
            least_sum = n == p.refreshes ? fmin(least_sum, sum) : least_sum;
        }
        for (int u = 0; u < U; u++) {
            ck_assert_double_eq_tol(block_error(error + u * T * T, T, compute + u * T), least[u], 1e-12);
            got += block_error(error + u * T * T, T, together + u * T);
            ck_assert_mem_eq(together + u * T, together, T);
        }
        ck_assert_double_eq_tol(got, least_sum, 1e-12);
    }
}
END_TEST

START_TEST(test_bubbling_union)
{
    enum { T = 4, U = 6 };
    /* Blocks: layers 0 0 1 1 2 2, every second a feed-forward one; block 3 is the noisiest, then 1. */
    static const int layer[U] = {0, 0, 1, 1, 2, 2};
    static const unsigned char feed_forward[U] = {0, 1, 0, 1, 0, 1};
    unsigned char compute[U * T] = {1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0};
    double error[U * T * T];
    for (int u = 0; u < U; u++)
        for (int i = 0; i < T * T; i++)
            error[u * T * T + i] = u == 3 ? 5 : u == 1 ? 4 : u == 2 ? 9 : 1;
    struct blocks_problem p = {.calls = T, .blocks = U, .error = error, .refreshes = 1};
    unsigned char one[U * T], two[U * T];
    memcpy(one, compute, sizeof one);
    memcpy(two, compute, sizeof two);
    ck_assert_int_eq(blocks_bubble(&p, layer, feed_forward, 1, one, NULL), 0);
    ck_assert_int_eq(blocks_bubble(&p, layer, feed_forward, 2, two, NULL), 0);
    /* The noisiest feed-forward block alone reaches block 5; block 2 is none, whatever its error. */
    static const unsigned char last_one[T] = {1, 0, 0, 1}, last_two[T] = {1, 0, 1, 1};
    ck_assert_mem_eq(one + 5 * T, last_one, T);
    ck_assert_mem_eq(one, compute, 5 * T);
    ck_assert_mem_eq(two + 5 * T, last_two, T);
    ck_assert_mem_eq(two + 3 * T, last_two, T);
    ck_assert_mem_eq(two + 4 * T, compute + 4 * T, T);
    ck_assert_int_eq(blocks_bubble(&p, layer, feed_forward, 99, two, NULL), 0); /* there are only three */
}
END_TEST

START_TEST(test_merge)
{
    enum { T = 12, U = 5 };
    struct prng r = {35};
    for (int round = 0; round < 40; round++) {
        unsigned char before[U * T], after[U * T];
        double cost[U];
        int of[T], masks, most = 1 + (int)prng_below(&r, 6);
        for (int i = 0; i < U * T; i++)
            before[i] = i % T == 0 || prng_below(&r, 3) == 0;
        for (int u = 0; u < U; u++)
            cost[u] = 0.1 + prng_unit(&r);
        memcpy(after, before, sizeof after);
        struct blocks_problem p = {.calls = T, .blocks = U};
        ck_assert_int_eq(blocks_merge(&p, cost, most, after, of, &masks, NULL), 0);
        ck_assert_int_le(masks, most);
        int seen = 0;
        for (int t = 0; t < T; t++) {
            ck_assert_int_le(of[t], seen); /* numbered in order of first use */
            seen += of[t] == seen;
            for (int s = 0; s < t; s++) {
                int same = 1;
                for (int u = 0; u < U; u++)
                    same &= after[u * T + s] == after[u * T + t];
                ck_assert_int_eq(same, of[s] == of[t]);
            }
            for (int u = 0; u < U; u++)
                ck_assert_int_ge(after[u * T + t], before[u * T + t]); /* nothing is lost */
        }
        ck_assert_int_eq(seen, masks);
        memcpy(after, before, sizeof after);
        ck_assert_int_eq(blocks_merge(&p, cost, T, after, of, &masks, NULL), 0);
        ck_assert_mem_eq(after, before, sizeof after);
    }
}
END_TEST

/* ---- searches ---- */

enum { S_CALLS = 10 };

struct judge {
    double error[S_CALLS * S_CALLS];
    int asked;
};

/* Not additive: errors grow with those before. */
static double loss_of(const struct judge *j, const unsigned char *compute)
{
    double sum = 0.01;
    for (int t = 0, last = 0; t < S_CALLS; t++) {
        last = compute[t] ? t : last;
        sum += last == t ? 0 : (1 + sum) * j->error[t * S_CALLS + last];
    }
    return log(sum);
}

static int ask_judge(void *context, const unsigned char *compute, double *loss, struct error *e)
{
    struct judge *j = context;
    (void)e;
    j->asked++;
    *loss = loss_of(j, compute);
    return 0;
}

static double best_of_all(const struct judge *j, int most)
{
    double best = INFINITY;
    for (int bits = 0; bits < 1 << (S_CALLS - 1); bits++) {
        unsigned char compute[S_CALLS] = {1};
        int n = 1;
        for (int t = 1; t < S_CALLS; t++)
            n += compute[t] = bits >> (t - 1) & 1;
        if (n <= most)
            best = fmin(best, loss_of(j, compute));
    }
    return best;
}

START_TEST(test_searches)
{
    struct prng r = {36};
    int found[2] = {0}, better[2] = {0};
    for (int round = 0; round < 40; round++) {
        struct judge j = {{0}, 0};
        double ms[S_CALLS], slope = 0;
        for (int t = 0; t < S_CALLS; t++)
            ms[t] = 1;
        for (int t = 1; t < S_CALLS; t++) {
            slope = 0.1 * (0.2 + prng_unit(&r));
            for (int s = 0; s < t; s++)
                j.error[t * S_CALLS + s] = slope * (t - s);
        }
        struct search_problem p = {.calls = S_CALLS,
                                   .units = 1,
                                   .ms = ms,
                                   .base_ms = 5,
                                   .limit_ms = 9,
                                   .evaluate = ask_judge,
                                   .context = &j,
                                   .evaluations = 120,
                                   .seed = (uint64_t)round};
        double best = best_of_all(&j, 4);
        for (int which = 0; which < 2; which++) {
            unsigned char compute[S_CALLS] = {1, 0, 0, 1, 0, 0, 1, 0, 0, 1};
            double start = loss_of(&j, compute), loss;
            int used, status;
            j.asked = 0;
            status = which ? search_spsa(&p, NULL, compute, &loss, &used, NULL)
                           : search_moves(&p, compute, &loss, &used, NULL);
            ck_assert_int_eq(status, 0);
            ck_assert_int_eq(used, j.asked);
            ck_assert_int_le(used, 120);
            ck_assert_double_eq(loss, loss_of(&j, compute));
            ck_assert_double_le(loss, start);
            int n = 0;
            for (int t = 0; t < S_CALLS; t++)
                n += compute[t];
            ck_assert_int_le(n, 4);
            ck_assert_int_eq(compute[0], 1);
            found[which] += loss <= best + 1e-12;
            better[which] += loss < start;
        }
    }
    /* What these seeds give; a search that stops early or forgets its best falls below. */
    ck_assert_int_ge(found[0], 30);
    ck_assert_int_ge(better[0], 34);
    ck_assert_int_ge(found[1], 10);
    ck_assert_int_ge(better[1], 30);
}
END_TEST

static int refuse(void *context, const unsigned char *compute, double *loss, struct error *e)
{
    int *left = context;
    (void)compute;
    *loss = *left == -5 ? NAN : *left;
    return (*left)-- == 0 ? error_set(e, HASTEN_EFAIL, "stopped") : 0;
}

START_TEST(test_searches_stop)
{
    double ms[S_CALLS] = {0}, loss;
    int left = 3, used;
    struct error e = {0};
    struct search_problem p = {.calls = S_CALLS,
                               .units = 1,
                               .ms = ms,
                               .limit_ms = 1,
                               .evaluate = refuse,
                               .context = &left,
                               .evaluations = 50};
    unsigned char compute[S_CALLS] = {1}, none[S_CALLS] = {0};
    ck_assert_int_eq(search_moves(&p, compute, &loss, &used, &e), -1);
    ck_assert_str_eq(e.text, "stopped");
    e.code = 0, left = -5;
    ck_assert_int_eq(search_spsa(&p, NULL, compute, &loss, &used, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFAIL);
    e.code = 0;
    ck_assert_int_eq(search_moves(&p, none, &loss, &used, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EUSAGE);
    e.code = 0, p.base_ms = 2;
    ck_assert_int_eq(search_moves(&p, compute, &loss, &used, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EGATE);
    ck_assert_uint_eq(mem_live_blocks(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blocks");
    TCase *c = tcase_create("blocks");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_blocks_equal_enumeration);
    tcase_add_test(c, test_bubbling_union);
    tcase_add_test(c, test_merge);
    tcase_add_test(c, test_searches);
    tcase_add_test(c, test_searches_stop);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
