/* Triggers: decisions against the papers' formulas, written down once more over whole histories. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/prng.h"
#include "common/run/trigger.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 24, SIZE = 7, OUT = 5 };

struct history {
    float in[CALLS][SIZE], out[CALLS][OUT];
    int may[CALLS];
};

static void fill(struct history *h, struct prng *r)
{
    for (int t = 0; t < CALLS; t++) {
        double step = 0.02 + 0.3 * prng_unit(r) * (prng_below(r, 4) == 0);
        for (int i = 0; i < SIZE; i++)
            h->in[t][i] =
                (float)((t ? (double)h->in[t - 1][i] : 1 + prng_unit(r)) + step * (prng_unit(r) - 0.4));
        for (int i = 0; i < OUT; i++)
            h->out[t][i] = (float)((t ? (double)h->out[t - 1][i] : 1) + step * (prng_unit(r) - 0.5));
        h->may[t] = t > 0 && prng_below(r, 10) > 0;
    }
}

static double l1(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs((double)a[i] - (b ? (double)b[i] : 0));
    return sum / n;
}

static double polynomial(const struct trigger_rule *r, double d)
{
    double sum = 0;
    for (int i = 0; i < r->terms; i++)
        sum += r->polynomial[i] * pow(d, r->terms - 1 - i);
    return r->terms ? sum : d;
}

/* serve[t] by the definition: every sum anew from the last computed call on. */
static void expected(const struct trigger_rule *r, const struct history *h, int *serve)
{
    for (int t = 0; t < CALLS; t++) {
        int last = -1, before = -1;
        for (int s = t - 1; s >= 0; s--)
            if (!serve[s]) {
                last = last < 0 ? s : last;
                before = s < last && before < 0 ? s : before;
            }
        double sum = 0;
        for (int s = r->sum ? last + 1 : t; s <= t && last >= 0; s++) {
            const float *from = h->in[r->computed ? last : s - 1];
            double change = l1(h->in[s], from, SIZE);
            if (r->signal == TRIGGER_RATIO && before < 0)
                sum = INFINITY;
            else if (r->signal == TRIGGER_RATIO)
                sum += l1(h->out[last], h->out[before], OUT) / l1(h->in[last], h->in[before], SIZE) * change /
                       l1(h->out[last], NULL, OUT);
            else
                sum += polynomial(r, change / l1(from, NULL, SIZE));
        }
        serve[t] = h->may[t] && last >= 0 && sum < r->threshold && (!r->max_run || t - last <= r->max_run);
    }
}

START_TEST(test_decisions)
{
    struct prng r = {41};
    int served = 0, computed = 0;
    for (int round = 0; round < 300; round++) {
        struct trigger_rule rule = {.signal = round % 3 == 2 ? TRIGGER_RATIO : TRIGGER_INPUT,
                                    .computed = round % 3 == 1,
                                    .sum = round % 3 != 1,
                                    .max_run = round % 5 == 0 ? 2 : 0,
                                    .threshold = 0.02 + 0.1 * prng_unit(&r)};
        if (round % 2 && rule.signal == TRIGGER_INPUT) {
            rule.terms = 3;
            rule.polynomial[0] = 4 * prng_unit(&r);
            rule.polynomial[1] = 1;
            rule.polynomial[2] = 0.001;
        }
        /* Two images in one trigger, against each by itself. */
        struct history h[2];
        int want[2][CALLS] = {{0}};
        struct trigger *t = trigger_open(&rule, 2, SIZE, OUT, NULL);
        ck_assert_ptr_nonnull(t);
        for (int again = 0; again < 2; again++) {
            trigger_restart(t);
            for (int i = 0; i < 2; i++) {
                fill(&h[i], &r);
                expected(&rule, &h[i], want[i]);
            }
            for (int call = 0; call < CALLS; call++)
                for (int i = 0; i < 2; i++) {
                    int serve = trigger_decide(t, i, h[i].may[call], h[i].in[call]);
                    ck_assert_msg(serve == want[i][call], "round %d, call %d, image %d: %d", round, call, i,
                                  serve);
                    served += serve;
                    computed += !serve;
                    if (!serve)
                        trigger_computed(t, i, h[i].in[call], h[i].out[call]);
                }
        }
        trigger_close(t);
    }
    ck_assert_int_gt(served, 5000);
    ck_assert_int_gt(computed, 5000);
    ck_assert_uint_eq(mem_live_blocks(), 0);
}
END_TEST

/* Nothing to compare with, zeros and infinities are never a reason to serve; equal signals are. */
START_TEST(test_ends)
{
    struct trigger_rule rule = {.signal = TRIGGER_INPUT, .sum = 1, .threshold = 0.5};
    const float zero[SIZE] = {0}, one[SIZE] = {1}, bad[SIZE] = {INFINITY};
    struct trigger *t = trigger_open(&rule, 1, SIZE, OUT, NULL);
    trigger_restart(t);
    ck_assert_int_eq(trigger_decide(t, 0, 1, zero), 0);
    trigger_computed(t, 0, zero, zero);
    ck_assert_int_eq(trigger_decide(t, 0, 1, zero), 1);
    ck_assert_int_eq(trigger_decide(t, 0, 1, one), 0);
    trigger_computed(t, 0, one, zero);
    ck_assert_int_eq(trigger_decide(t, 0, 1, bad), 0);
    trigger_computed(t, 0, bad, zero);
    ck_assert_int_eq(trigger_decide(t, 0, 1, bad), 0);
    trigger_close(t);
    rule.signal = TRIGGER_RATIO;
    t = trigger_open(&rule, 1, SIZE, OUT, NULL);
    for (int call = 0; call < 6; call++) { /* an output of zero */
        ck_assert_int_eq(trigger_decide(t, 0, 1, call % 2 ? one : zero), 0);
        trigger_computed(t, 0, call % 2 ? one : zero, zero);
    }
    trigger_close(t);
}
END_TEST

START_TEST(test_file)
{
    static const char *const bad[] = {
        "{\"signal\":\"magic\",\"threshold\":1}",
        "{\"signal\":\"input\"}",
        "{\"signal\":\"node\",\"threshold\":1}",
        "{\"signal\":\"input\",\"node\":\"x\",\"threshold\":1}",
        "{\"signal\":\"input\",\"threshold\":-1}",
        "{\"signal\":\"input\",\"threshold\":1,\"polynomial\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
        "{\"signal\":\"input\",\"threshold\":1,\"polynomial\":\"x\"}",
        "{\"signal\":\"input\",\"threshold\":1,\"max_run\":-1}",
    };
    struct trigger_rule a = {.signal = TRIGGER_NODE,
                             .node = "transformer_blocks.0.norm1",
                             .index = -1,
                             .sum = 1,
                             .max_run = 3,
                             .terms = 2,
                             .polynomial = {498.65, -283.78},
                             .threshold = 0.25},
                        b;
    struct error e = {0};
    cJSON *j = trigger_write(&a, &e);
    ck_assert_ptr_nonnull(j);
    ck_assert_int_eq(trigger_read(j, &b, &e), 0);
    ck_assert_str_eq(a.node, b.node);
    ck_assert(a.signal == b.signal && a.sum == b.sum && a.computed == b.computed && a.max_run == b.max_run);
    ck_assert_int_eq(b.terms, 2);
    ck_assert_double_eq(b.polynomial[1], -283.78);
    ck_assert_double_eq(b.threshold, 0.25);
    cJSON_Delete(j);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        j = json_parse(bad[i], strlen(bad[i]), &e);
        ck_assert_ptr_nonnull(j);
        ck_assert_msg(trigger_read(j, &b, &e) == -1 && e.code == HASTEN_EFILE, "%s", bad[i]);
        e.code = 0;
        cJSON_Delete(j);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trigger");
    TCase *c = tcase_create("trigger");
    tcase_add_test(c, test_decisions);
    tcase_add_test(c, test_ends);
    tcase_add_test(c, test_file);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
