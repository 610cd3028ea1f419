/* The repair of a pruned network: where a product can take over all of what a branch did, it does. */
#include "common/base/tests/run_suite.h"
#include "common/method/prng.h"
#include "common/run/prune_inside.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 6, SIDE = 4, SIZE = SIDE * SIDE * WIDTH, CALLS = 4, IMAGES = 16 };

struct net {
    struct graph *g;
    struct overlay o; /* holds all tensors; there is no model below */
    struct model none;
    struct prng r;
};

static void put(struct net *n, const char *name, int rank, const int64_t *shape)
{
    struct error e = {0};
    struct tensor t = {.dtype = DTYPE_F32, .rank = rank};
    memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    ck_assert_int_eq(tensor_measure(&t, &e), 0);
    float *x = mem_array(t.count, sizeof *x, &e);
    for (size_t i = 0; i < t.count; i++)
        x[i] = (float)(prng_unit(&n->r) - 0.5);
    t.data = x;
    ck_assert_int_eq(overlay_put(&n->o, name, &t, &e), 0);
}

/* x + product(x) */
static int residual(struct net *n, const char *op, const char *name, int x)
{
    struct error e = {0};
    char weight[64], bias[64], sum[64];
    int conv = !strcmp(op, "conv2d"), at = graph_node(n->g, op, name, (int[]){x}, 1, &e);
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    snprintf(sum, sizeof sum, "%s.add", name);
    put(n, weight, conv ? 4 : 2, (int64_t[]){WIDTH, WIDTH, 3, 3});
    put(n, bias, 1, (int64_t[]){WIDTH});
    ck_assert_int_eq(graph_weight(n->g, at, "weight", weight, &e), 0);
    ck_assert_int_eq(graph_weight(n->g, at, "bias", bias, &e), 0);
    if (conv)
        ck_assert_int_eq(graph_attr(n->g, at, "pad", 1, &e), 0);
    at = graph_node(n->g, "add", sum, (int[]){x, at}, 2, &e);
    ck_assert_msg(at >= 0, "%s", e.text);
    return at;
}

/* The square difference of the predictions of two networks, by the reference. */
static double difference(const struct graph *a, const struct graph *b, const float *samples)
{
    struct error e = {0};
    double sum = 0;
    for (int i = 0; i < CALLS * IMAGES; i++) {
        float x[SIZE], y[SIZE];
        const float *in = samples + (size_t)i * SIZE;
        ck_assert_int_eq(graph_reference(a, 1, &in, (float *[]){x}, NULL, NULL, &e), 0);
        ck_assert_int_eq(graph_reference(b, 1, &in, (float *[]){y}, NULL, NULL, &e), 0);
        for (int k = 0; k < SIZE; k++)
            sum += ((double)y[k] - (double)x[k]) * ((double)y[k] - (double)x[k]);
    }
    return sum;
}

/* The first of two linear branches is left out. The second reads what the first added to, and adds to it as
 * well: with C (I + B) + B for C nothing is lost. Of a convolution the middle tap takes B; only beside the
 * border, where it reads zeros instead of what the first branch's bias made, something stays. */
static void check_takes_over(const char *second, double left)
{
    struct net n = {.g = graph_open("denoiser", NULL), .r = {5}};
    struct error e = {0};
    struct branch_list l;
    float samples[CALLS * IMAGES * SIZE], times[CALLS] = {0}, labels[IMAGES] = {0};
    unsigned char guided[CALLS] = {0};
    n.o.model = &n.none;
    int x = graph_input(n.g, "sample", VALUE_IMAGE, WIDTH, SIDE, SIDE, &e);
    x = residual(&n, second, "blocks.1.c", residual(&n, "linear", "blocks.0.b", x));
    ck_assert_int_eq(graph_output(n.g, "sample", x, &e), 0);
    ck_assert_msg(graph_infer(n.g, 0, 0, overlay_find, &n.o, &e) == 0, "%s", e.text);
    for (int i = 0; i < CALLS * IMAGES * SIZE; i++)
        samples[i] = (float)(2 * prng_unit(&n.r) - 1);
    struct team *team = team_open(1, &e);
    struct backend b = backend_cpu(cpu_kernels(CPU_REF), team);
    struct prune_settings o = {.compensate = 1};
    struct pruner p = {.o = &o, .b = &b, .original = n.g, .g = graph_copy(n.g, &e), .over = {.below = &n.o}};
    p.states = (struct states){.images = IMAGES,
                               .calls = CALLS,
                               .batch = 8,
                               .held = IMAGES,
                               .size = SIZE,
                               .sample = samples,
                               .time = times,
                               .guided = guided,
                               .label = labels,
                               .guidance = 1};
    ck_assert_int_eq(graph_branches(p.g, &l, &e), 0);
    ck_assert_int_eq(graph_redirect(p.g, l.branch[0].add, l.branch[0].skip, &e), 0);
    ck_assert_int_eq(graph_sweep(p.g, &e), 0);
    ck_assert_int_eq(graph_infer(p.g, 0, 0, overlay_find, &p.over, &e), 0);
    ck_assert_int_eq(graph_cuts(p.original, &p.cuts, &e), 0);
    p.original_weights = weights_open(p.original, &b, NULL, &e);
    p.weights = weights_open(p.g, &b, NULL, &e);
    double before = difference(n.g, p.g, samples);
    ck_assert_msg(prune_refit(&p, 8, &e) == 0, "%s", e.text);
    double after = difference(n.g, p.g, samples);
    ck_assert_msg(before > 100 && after < left * before, "%g before, %g after", before, after);
    mem_free(l.branch);
    cut_list_free(&p.cuts);
    weights_close(p.weights);
    weights_close(p.original_weights);
    graph_close(p.g);
    overlay_close(&p.over);
    backend_close(&b);
    team_close(team);
    graph_close(n.g);
    overlay_close(&n.o);
}

START_TEST(test_linear) { check_takes_over("linear", 1e-4); }
END_TEST

START_TEST(test_convolution) { check_takes_over("conv2d", 0.1); }
END_TEST

int main(void)
{
    Suite *s = suite_create("prune_refit");
    TCase *c = tcase_create("prune_refit");
    tcase_add_test(c, test_linear);
    tcase_add_test(c, test_convolution);
    suite_add_tcase(s, c);
    return run_suite(s);
}
