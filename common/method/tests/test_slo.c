/* The controller against an oracle that knows the load, and under changing load. */
#include "common/base/tests/run_suite.h"
#include "common/method/slo.h"

#include <check.h>

/* Quality is not ordered by time, and two branches are dominated. */
static const double ms[] = {400, 200, 260, 100, 50, 60};
static const double quality[] = {40, 35, 30, 32, 25, 20};
enum { BRANCHES = 6 };

static int oracle(double limit, double load)
{
    int best = -1;
    for (int b = 0; b < BRANCHES; b++)
        if (ms[b] * load <= 0.9 * limit && (best < 0 || quality[b] > quality[best]))
            best = b;
    return best;
}

static double noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / 16777216.0; /* 0 .. 1 */
}

/* Without contention: the oracle's branch from the first image on. */
START_TEST(quiet)
{
    for (double limit = 20; limit < 600; limit += 7) {
        struct slo s;
        slo_start(&s, limit, ms, quality, BRANCHES);
        for (int i = 0; i < 50; i++) {
            int b = slo_choose(&s);
            ck_assert_int_eq(b, oracle(limit, 1));
            slo_feed(&s, b < 0 ? slo_fastest(&s) : b, ms[b < 0 ? slo_fastest(&s) : b]);
        }
    }
}
END_TEST

/* Load comes and goes in blocks of 40 images, with 5 % noise: at least 90 % keep to the limit, and in the
 * second half of each block at least 90 % take the oracle's branch. */
START_TEST(contention)
{
    static const double loads[] = {1, 2, 1, 3.5, 1.5, 1};
    unsigned state = 1;
    int kept = 0, images = 0, right = 0, settled = 0;
    struct slo s;
    slo_start(&s, 250, ms, quality, BRANCHES);
    for (int round = 0; round < 20; round++)
        for (int l = 0; l < 6; l++)
            for (int i = 0; i < 40; i++) {
                int b = slo_choose(&s);
                if (b < 0)
                    b = slo_fastest(&s);
                double took = ms[b] * loads[l] * (0.975 + 0.05 * noise(&state));
                slo_feed(&s, b, took);
                kept += took <= 250;
                images++;
                right += i >= 20 && b == oracle(250, loads[l]);
                settled += i >= 20;
            }
    ck_assert_msg(kept >= 0.9 * images, "%d of %d within the limit", kept, images);
    ck_assert_msg(right >= 0.9 * settled, "%d of %d like the oracle", right, settled);
}
END_TEST

/* One slow image does not make it swing back at once. */
START_TEST(hysteresis)
{
    struct slo s;
    int changes = 0, last = -1;
    slo_start(&s, 250, ms, quality, BRANCHES);
    for (int i = 0; i < 300; i++) {
        int b = slo_choose(&s);
        changes += b != last;
        last = b;
        slo_feed(&s, b, i % 100 == 50 ? 600 : ms[b]);
    }
    ck_assert_int_le(changes, 13);
    slo_start(&s, 40, ms, quality, BRANCHES); /* out of reach */
    ck_assert_int_eq(slo_choose(&s), -1);
    ck_assert_int_eq(slo_fastest(&s), 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slo");
    TCase *c = tcase_create("all");
    tcase_add_test(c, quiet);
    tcase_add_test(c, contention);
    tcase_add_test(c, hysteresis);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
