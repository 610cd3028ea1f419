/* Mixed precision: paths and polished choices against all choices of small problems, and limits that hold. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/allocate.h"
#include "common/method/prng.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, FORMATS = 3, DIM = 12, CHOICES = 729 };

struct problem {
    float sketch[LAYERS * FORMATS * DIM];
    unsigned char allowed[LAYERS * FORMATS];
    double bytes[LAYERS * FORMATS], ms[LAYERS * FORMATS];
    struct allocation a;
};

/* Layers whose changes partly cancel: with a common direction of either sign. */
static void make(struct problem *p, uint64_t seed)
{
    struct prng r = {seed};
    memset(p, 0, sizeof *p);
    for (int i = 0; i < LAYERS; i++) {
        double sign = prng_unit(&r) < 0.5 ? -1 : 1, size = 0.5 + prng_unit(&r);
        for (int f = 0; f < FORMATS; f++) {
            int at = i * FORMATS + f;
            p->allowed[at] = f < 2 || i != 2;
            p->bytes[at] = (100 + 20 * i) * (f == 0 ? 4 : f == 1 ? 1 : 0.55);
            p->ms[at] = (1 + 0.1 * i) * (f == 0 ? 2 : f == 1 ? 1 : 1.05);
            for (int k = 0; k < DIM && f > 0; k++)
                p->sketch[at * DIM + k] =
                    (float)((f == 1 ? 0.1 : 1.0) * size * (sign + 0.6 * (prng_unit(&r) - 0.5)));
        }
    }
    p->a = (struct allocation){LAYERS, FORMATS, DIM, p->sketch, p->allowed, {p->bytes, p->ms}, 0};
}

static int decode(const struct problem *p, int number, int *choice)
{
    for (int i = 0; i < LAYERS; i++, number /= FORMATS) {
        choice[i] = number % FORMATS;
        if (!p->allowed[i * FORMATS + choice[i]])
            return 0;
    }
    return 1;
}

START_TEST(polished_choices_are_nearly_the_best)
{
    double worst = 1, all = 0, all_best = 0, all_diagonal = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct problem p;
        struct error e = {0};
        struct allocation_move path[LAYERS * FORMATS];
        int choice[LAYERS], other[LAYERS], diagonal[LAYERS];
        make(&p, seed);
        int moves = allocation_path(&p.a, 0, path, &e);
        ck_assert_int_gt(moves, 0);
        allocation_at(&p.a, path, moves, choice);
        double least = allocation_cost(&p.a, 0, choice);
        allocation_at(&p.a, path, 0, choice);
        double limits[2] = {0.5 * (least + 0.35 * allocation_cost(&p.a, 0, choice)), 0};
        for (int k = 0; k <= moves; k++) { /* each move is cheaper; the first that fits */
            allocation_at(&p.a, path, k, choice);
            if (allocation_cost(&p.a, 0, choice) <= limits[0])
                break;
        }
        ck_assert_int_eq(allocation_polish(&p.a, limits, choice, &e), 0);
        ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
        double best = INFINITY, got = allocation_j(&p.a, choice), without = INFINITY;
        struct allocation d = p.a;
        d.diagonal = 1;
        for (int n = 0; n < CHOICES; n++) {
            if (!decode(&p, n, other) || allocation_cost(&p.a, 0, other) > limits[0])
                continue;
            best = fmin(best, allocation_j(&p.a, other));
            if (allocation_j(&d, other) < without) {
                without = allocation_j(&d, other);
                memcpy(diagonal, other, sizeof diagonal);
            }
        }
        ck_assert_double_ge(got, best * (1 - 1e-9) - 1e-12);
        worst = fmax(worst, (got + 1e-3) / (best + 1e-3));
        all += got;
        all_best += best;
        all_diagonal += allocation_j(&p.a, diagonal);
    }
    /* Local search is no proof, but on sixty small problems it misses little; leaving out the terms between
     * layers misses much. */
    ck_assert_double_lt(all, 1.15 * all_best);
    ck_assert_double_lt(all, 0.8 * all_diagonal);
}
END_TEST

START_TEST(two_limits_hold)
{
    struct problem p;
    struct error e = {0};
    int choice[LAYERS];
    make(&p, 5);
    for (int i = 0; i < LAYERS; i++)
        choice[i] = 1;
    double limits[2] = {allocation_cost(&p.a, 0, choice) * 0.95, allocation_cost(&p.a, 1, choice) * 1.05};
    choice[0] = choice[1] = 2;
    ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
    double before = allocation_j(&p.a, choice);
    ck_assert_int_eq(allocation_polish(&p.a, limits, choice, &e), 0);
    ck_assert_double_le(allocation_j(&p.a, choice), before);
    ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
    ck_assert_double_le(allocation_cost(&p.a, 1, choice), limits[1]);
    for (int i = 0; i < LAYERS; i++)
        ck_assert(p.allowed[i * FORMATS + choice[i]]);
}
END_TEST

START_TEST(failing_memory_is_an_error)
{
    struct problem p;
    struct error e = {0};
    struct allocation_move path[LAYERS * FORMATS];
    int choice[LAYERS] = {0};
    double limits[2] = {0, 0};
    make(&p, 1);
    fault_set("alloc:1");
    ck_assert_int_eq(allocation_path(&p.a, 0, path, &e), -1);
    fault_set("alloc:1");
    e = (struct error){0};
    ck_assert_int_eq(allocation_polish(&p.a, limits, choice, &e), -1);
    fault_set(NULL);
    ck_assert_int_eq(e.code, HASTEN_ENOMEM);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("allocate");
    TCase *t = tcase_create("all");
    tcase_add_test(t, polished_choices_are_nearly_the_best);
    tcase_add_test(t, two_limits_hold);
    tcase_add_test(t, failing_memory_is_an_error);
    suite_add_tcase(s, t);
    return run_suite(s);
}
