/* Mixed precision: paths and polished choices against all choices of small problems, and limits that hold. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/method/allocate.h"
#include "common/method/prng.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, FORMATS = 3, IMAGES = 4, DIM = 3, CHOICES = 729, ALL = LAYERS * FORMATS };

struct problem {
    float change[ALL * IMAGES * DIM];
    double weight[IMAGES], products[ALL * ALL], kept;
    struct changes c;
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
            for (int k = 0; k < IMAGES * DIM && f > 0; k++)
                p->change[at * IMAGES * DIM + k] =
                    (float)((f == 1 ? 0.1 : 1.0) * size * (sign + 0.6 * (prng_unit(&r) - 0.5)));
        }
    }
    p->c = (struct changes){LAYERS, FORMATS, IMAGES, DIM, p->change, 0};
    changes_weights(&p->c, p->weight);
    p->kept = changes_products(&p->c, p->weight, p->products);
    p->a = (struct allocation){LAYERS, FORMATS, p->products, p->allowed, {p->bytes, p->ms}};
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
        allocation_polish(&p.a, limits, choice);
        ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
        double best = INFINITY, got = allocation_j(&p.a, choice), without = INFINITY;
        double apart[ALL * ALL];
        struct allocation d = p.a;
        p.c.separate = 1;
        ck_assert_double_eq(changes_products(&p.c, p.weight, apart), 0);
        d.products = apart;
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
    int choice[LAYERS];
    make(&p, 5);
    for (int i = 0; i < LAYERS; i++)
        choice[i] = 1;
    double limits[2] = {allocation_cost(&p.a, 0, choice) * 0.95, allocation_cost(&p.a, 1, choice) * 1.05};
    choice[0] = choice[1] = 2;
    ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
    double before = allocation_j(&p.a, choice);
    allocation_polish(&p.a, limits, choice);
    ck_assert_double_le(allocation_j(&p.a, choice), before);
    ck_assert_double_le(allocation_cost(&p.a, 0, choice), limits[0]);
    ck_assert_double_le(allocation_cost(&p.a, 1, choice), limits[1]);
    for (int i = 0; i < LAYERS; i++)
        ck_assert(p.allowed[i * FORMATS + choice[i]]);
}
END_TEST

/* J written out: sums of changes, image by image. */
static double brute_j(const struct problem *p, const int *choice)
{
    double j = 0;
    for (int m = 0; m < IMAGES; m++)
        for (int k = 0; k < DIM; k++) {
            double sum = 0;
            for (int i = 0; i < LAYERS; i++)
                sum += (double)p->change[((i * FORMATS + choice[i]) * IMAGES + m) * DIM + k];
            j += p->weight[m] * sum * sum / IMAGES;
        }
    return j;
}

/* Images that answer alike, one a hundred times as much as another: all terms between layers are kept, and
 * the loud ones count no more than the others. */
START_TEST(what_images_agree_on_is_kept)
{
    struct problem p;
    int choice[LAYERS];
    make(&p, 3);
    for (int at = 0; at < ALL; at++)
        for (int m = 1; m < IMAGES; m++)
            for (int k = 0; k < DIM; k++)
                p.change[(at * IMAGES + m) * DIM + k] = (m == 1 ? 100 : 1) * p.change[at * IMAGES * DIM + k];
    changes_weights(&p.c, p.weight);
    ck_assert_double_eq_tol(p.weight[0] / p.weight[1], 1e4, 1e-2); /* sums of floats' squares */
    ck_assert_double_eq_tol(p.weight[0] + p.weight[1] + p.weight[2] + p.weight[3], IMAGES, 1e-12);
    ck_assert_double_eq_tol(changes_products(&p.c, p.weight, p.products), 1, 1e-9);
    for (int n = 0; n < CHOICES; n++)
        if (decode(&p, n, choice))
            ck_assert_double_eq_tol(allocation_j(&p.a, choice), brute_j(&p, choice),
                                    1e-9 * brute_j(&p, choice) + 1e-12);
}
END_TEST

/* Changes of layers that have nothing to do with each other: terms between them are chance. An image that
 * does not change has no say, and of one image nothing is known. */
START_TEST(chance_is_not_kept)
{
    double kept = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct problem p;
        struct prng r = {seed};
        make(&p, seed);
        for (int at = 0; at < ALL; at++)
            for (int k = 0; k < IMAGES * DIM; k++)
                p.change[at * IMAGES * DIM + k] = at % FORMATS && k >= DIM ? (float)(prng_unit(&r) - 0.5) : 0;
        changes_weights(&p.c, p.weight);
        ck_assert_double_eq(p.weight[0], 0);
        kept += changes_products(&p.c, p.weight, p.products) / 20;
        p.c.images = 1;
        changes_weights(&p.c, p.weight);
        ck_assert_double_eq(changes_products(&p.c, p.weight, p.products), 0);
    }
    ck_assert_double_lt(kept, 0.2); /* never below 0, so chance leaves some: .07 on average */
}
END_TEST

START_TEST(failing_memory_is_an_error)
{
    struct problem p;
    struct error e = {0};
    struct allocation_move path[LAYERS * FORMATS];
    make(&p, 1);
    fault_set("alloc:1");
    ck_assert_int_eq(allocation_path(&p.a, 0, path, &e), -1);
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
    tcase_add_test(t, what_images_agree_on_is_kept);
    tcase_add_test(t, chance_is_not_kept);
    tcase_add_test(t, failing_memory_is_an_error);
    suite_add_tcase(s, t);
    return run_suite(s);
}
