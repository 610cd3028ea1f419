/* Cuts of a graph, narrower networks and refitted weights: against the graph's reference with zeros in the
 * places of what went, and against straight sums. */
#include "common/base/tests/run_suite.h"
#include "common/graph/ops.h"
#include "common/method/prng.h"
#include "common/graph/branches.h"
#include "common/run/cut_probe.h"
#include "common/run/narrow.h"
#include "common/run/prune_inside.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 8, SIDE = 4, INNER = 12, HEADS = 3, NEURONS = 10, SIZE = SIDE * SIDE * WIDTH };

/* An attention, a feed-forward part and a residual block one after another. */
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

static int add_node(struct net *n, const char *op, const char *name, const int *in, int inputs)
{
    struct error e = {0};
    int at = graph_node(n->g, op, name, in, inputs, &e);
    ck_assert_msg(at >= 0, "%s", e.text);
    return at;
}

static void set_attr(struct net *n, int at, const char *name, double value)
{
    struct error e = {0};
    ck_assert_int_eq(graph_attr(n->g, at, name, value, &e), 0);
}

static int weighted(struct net *n, const char *op, const char *name, int in, int to, int from, int kernel)
{
    struct error e = {0};
    int at = add_node(n, op, name, (int[]){in}, 1), conv = !strcmp(op, "conv2d");
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    put(n, weight, conv ? 4 : from ? 2 : 1, (int64_t[]){to, from, kernel, kernel});
    put(n, bias, 1, (int64_t[]){to});
    ck_assert_int_eq(graph_weight(n->g, at, "weight", weight, &e), 0);
    ck_assert_int_eq(graph_weight(n->g, at, "bias", bias, &e), 0);
    if (conv)
        set_attr(n, at, "pad", kernel / 2);
    return at;
}

static void open_net(struct net *n)
{
    struct error e = {0};
    *n = (struct net){.g = graph_open("denoiser", &e), .r = {3}};
    n->o.model = &n->none;
    int x = graph_input(n->g, "sample", VALUE_IMAGE, WIDTH, SIDE, SIDE, &e);
    int q = weighted(n, "linear", "q", x, INNER, WIDTH, 1),
        k = weighted(n, "linear", "k", x, INNER, WIDTH, 1);
    int v = weighted(n, "linear", "v", x, INNER, WIDTH, 1);
    int a = add_node(n, "attention", "attention", (int[]){q, k, v}, 3);
    set_attr(n, a, "heads", HEADS);
    a = weighted(n, "linear", "out", a, WIDTH, INNER, 1);
    x = add_node(n, "add", "add1", (int[]){x, a}, 2);
    int f = weighted(n, "linear", "fc1", x, NEURONS, WIDTH, 1);
    f = add_node(n, "gelu", "gelu", (int[]){f}, 1);
    f = weighted(n, "linear", "fc2", f, WIDTH, NEURONS, 1);
    x = add_node(n, "add", "add2", (int[]){x, f}, 2);
    int h = weighted(n, "conv2d", "conv1", x, WIDTH, WIDTH, 3);
    h = weighted(n, "group_norm", "norm", h, WIDTH, 0, 0);
    set_attr(n, h, "groups", 2);
    h = add_node(n, "silu", "silu", (int[]){h}, 1);
    h = weighted(n, "conv2d", "conv2", h, WIDTH, WIDTH, 3);
    x = add_node(n, "add", "add3", (int[]){x, h}, 2);
    ck_assert_int_eq(graph_output(n->g, "sample", x, &e), 0);
    ck_assert_msg(graph_infer(n->g, 0, 0, overlay_find, &n->o, &e) == 0, "%s", e.text);
}

static void close_net(struct net *n)
{
    graph_close(n->g);
    overlay_close(&n->o);
}

static void run(const struct graph *g, float *out)
{
    struct error e = {0};
    float x[SIZE];
    struct prng r = {17};
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)(2 * prng_unit(&r) - 1);
    ck_assert_msg(graph_reference(g, 1, (const float *[]){x}, (float *[]){out}, NULL, NULL, &e) == 0, "%s",
                  e.text);
}

static const struct cut *cut_at(const struct net *n, const struct cut_list *l, const char *consumer)
{
    for (int i = 0; i < l->count; i++)
        if (!strcmp(n->g->node[l->cut[i].consumer].name, consumer))
            return &l->cut[i];
    return NULL;
}

START_TEST(test_cuts)
{
    struct net n;
    struct cut_list l;
    unsigned char marks[64];
    open_net(&n);
    ck_assert_int_eq(graph_cuts(n.g, &l, NULL), 0);
    ck_assert_int_eq(l.count, 3);
    const struct cut *heads = cut_at(&n, &l, "out"), *neurons = cut_at(&n, &l, "fc2"),
                     *inner = cut_at(&n, &l, "conv2");
    ck_assert(heads && neurons && inner);
    ck_assert_int_eq(heads->channels, INNER);
    ck_assert_int_eq(heads->block, INNER / HEADS);
    ck_assert_int_eq(heads->edits, 6); /* weights and biases of q, k, v */
    ck_assert_int_eq(neurons->channels, NEURONS);
    ck_assert_int_eq(neurons->block * neurons->groups, 1);
    ck_assert_int_eq(neurons->edits, 2);
    ck_assert_int_eq(inner->groups, 2);
    ck_assert_int_eq(inner->edits, 4); /* of the convolution and of the norm */
    cut_nodes(n.g, neurons, marks);
    for (int i = 0; i < n.g->count; i++) {
        const char *name = n.g->node[i].name;
        ck_assert_int_eq(marks[i], !strcmp(name, "fc1") || !strcmp(name, "gelu") || !strcmp(name, "fc2"));
    }
    cut_list_free(&l);
    close_net(&n);
}
END_TEST

/* Of milliseconds from a profile: layers that make what is cut in whole panels, the others in proportion. */
START_TEST(test_prices)
{
    struct net n;
    struct cut_list l;
    open_net(&n);
    ck_assert_int_eq(graph_cuts(n.g, &l, NULL), 0);
    struct pruner p = {.g = n.g, .panel = 4};
    const struct cut *neurons = cut_at(&n, &l, "fc2"), *heads = cut_at(&n, &l, "out");
    const int fc1 = graph_find(n.g, "fc1"), gelu = graph_find(n.g, "gelu"), q = graph_find(n.g, "q");
    ck_assert_double_eq(prune_left(&p, neurons, fc1, 1), 1); /* 10 and 9 columns are three panels of 4 */
    ck_assert_double_eq_tol(prune_left(&p, neurons, fc1, 2), 2.0 / 3, 1e-12);
    ck_assert_double_eq_tol(prune_left(&p, neurons, gelu, 2), 0.8, 1e-12);
    ck_assert_double_eq_tol(prune_left(&p, neurons, neurons->consumer, 2), 0.8, 1e-12);
    ck_assert_double_eq_tol(prune_left(&p, heads, q, INNER / HEADS), 2.0 / 3, 1e-12);
    cut_list_free(&l);
    close_net(&n);
}
END_TEST

/* The columns of what goes, set to 0, in a network over n. */
static void zero_columns(struct overlay *o, const char *name, const int *kept, int count)
{
    const struct tensor *t = overlay_find(o, name);
    struct tensor copy = *t;
    float *x = mem_array(t->count, sizeof *x, NULL);
    int64_t taps = (int64_t)t->count / (t->shape[0] * t->shape[1]);
    for (int64_t i = 0; i < (int64_t)t->count; i++)
        for (int k = 0; k < count; k++)
            if (i / taps % t->shape[1] == kept[k])
                x[i] = ((const float *)t->data)[i];
    copy.data = x;
    ck_assert_int_eq(overlay_put(o, name, &copy, NULL), 0);
}

static void check_cut(const char *consumer, const char *weight, const int *kept, int count)
{
    struct net n;
    struct cut_list l;
    float want[SIZE], got[SIZE], whole[SIZE];
    struct error e = {0};
    open_net(&n);
    run(n.g, whole);
    ck_assert_int_eq(graph_cuts(n.g, &l, NULL), 0);
    struct overlay zeros = {.below = &n.o}, narrow = {.below = &n.o};
    struct graph *a = graph_copy(n.g, &e), *b = graph_copy(n.g, &e);
    zero_columns(&zeros, weight, kept, count);
    ck_assert_msg(graph_infer(a, 0, 0, overlay_find, &zeros, &e) == 0, "%s", e.text);
    ck_assert_msg(narrow_cut(b, &narrow, cut_at(&n, &l, consumer), kept, count, &e) == 0, "%s", e.text);
    ck_assert_msg(graph_infer(b, 0, 0, overlay_find, &narrow, &e) == 0, "%s", e.text);
    run(a, want);
    run(b, got);
    double moved = 0;
    for (int i = 0; i < SIZE; i++) {
        ck_assert_double_eq_tol(got[i], want[i], 1e-5); /* float sums of a few dozen terms of size 1 */
        moved += fabs((double)want[i] - (double)whole[i]);
    }
    ck_assert_double_gt(moved, 0.1);
    ck_assert_int_eq(overlay_find(&narrow, weight)->shape[1], count);
    ck_assert_int_eq(overlay_find(&n.o, weight)->shape[1], cut_at(&n, &l, consumer)->channels);
    graph_close(a);
    graph_close(b);
    overlay_close(&zeros);
    overlay_close(&narrow);
    cut_list_free(&l);
    close_net(&n);
}

START_TEST(test_narrow)
{
    check_cut("fc2", "fc2.weight", (int[]){0, 1, 4, 7, 8, 9}, 6);
    check_cut("out", "out.weight", (int[]){0, 1, 2, 3, 8, 9, 10, 11}, 8); /* the middle head goes */
}
END_TEST

/* Rows of the convolution and of the norm, columns of the reader, and nothing else. */
START_TEST(test_narrow_groups)
{
    struct net n;
    struct cut_list l;
    struct error e = {0};
    const int kept[6] = {0, 2, 3, 4, 5, 7}; /* three of each group of four */
    open_net(&n);
    ck_assert_int_eq(graph_cuts(n.g, &l, NULL), 0);
    struct overlay o = {.below = &n.o};
    struct graph *g = graph_copy(n.g, &e);
    ck_assert_int_eq(narrow_cut(g, &o, cut_at(&n, &l, "conv2"), kept, 6, &e), 0);
    ck_assert_msg(graph_infer(g, 0, 0, overlay_find, &o, &e) == 0, "%s", e.text);
    static const char *const names[] = {"conv1.weight", "conv1.bias", "norm.weight", "norm.bias"};
    for (int i = 0; i < 4; i++) {
        const struct tensor *t = overlay_find(&o, names[i]), *from = overlay_find(&n.o, names[i]);
        size_t row = from->size / (size_t)from->shape[0];
        ck_assert_int_eq(t->shape[0], 6);
        for (int k = 0; k < 6; k++)
            ck_assert_mem_eq((const char *)t->data + (size_t)k * row,
                             (const char *)from->data + (size_t)kept[k] * row, row);
    }
    ck_assert_int_eq(overlay_find(&o, "conv2.weight")->shape[1], 6);
    ck_assert_int_eq(o.count, 5);
    graph_close(g);
    overlay_close(&o);
    cut_list_free(&l);
    close_net(&n);
}
END_TEST

/* W' = W A and b' = b + W m, tap by tap; rows and products of weights by the definition. */
START_TEST(test_refit)
{
    enum { KEPT = 5, TAPS = 9 };
    struct net n;
    struct error e = {0};
    double a[WIDTH * KEPT], shift[WIDTH], gram[WIDTH * WIDTH] = {0};
    float *rows;
    int count;
    open_net(&n);
    struct team *team = team_open(2, &e);
    const struct tensor *weight = overlay_find(&n.o, "conv2.weight"),
                        *bias = overlay_find(&n.o, "conv2.bias");
    const float *w = weight->data, *b = bias->data;
    for (int i = 0; i < WIDTH * KEPT; i++)
        a[i] = prng_unit(&n.r) - 0.5;
    for (int i = 0; i < WIDTH; i++)
        shift[i] = prng_unit(&n.r) - 0.5;
    struct overlay o = {.below = &n.o};
    ck_assert_int_eq(narrow_refit(n.g, &o, graph_find(n.g, "conv2"), weight, bias, WIDTH, KEPT, a, shift, &e),
                     0);
    const float *w1 = overlay_find(&o, "conv2.weight")->data, *b1 = overlay_find(&o, "conv2.bias")->data;
    ck_assert_int_eq(narrow_rows(weight, WIDTH, &rows, &count, &e), 0);
    ck_assert_int_eq(count, WIDTH * TAPS);
    ck_assert_int_eq(narrow_gram(weight, WIDTH, gram, team, &e), 0);
    for (int out = 0; out < WIDTH; out++) {
        double bias_want = (double)b[out];
        for (int t = 0; t < TAPS; t++) {
            for (int k = 0; k < KEPT; k++) {
                double want = 0;
                for (int c = 0; c < WIDTH; c++)
                    want += (double)w[(out * WIDTH + c) * TAPS + t] * a[c * KEPT + k];
                ck_assert_double_eq_tol(w1[(out * KEPT + k) * TAPS + t], want, 1e-6); /* stored as float */
            }
            for (int c = 0; c < WIDTH; c++) {
                float x = w[(out * WIDTH + c) * TAPS + t];
                bias_want += (double)x * shift[c];
                ck_assert_float_eq(rows[(out * TAPS + t) * WIDTH + c], x);
            }
        }
        ck_assert_double_eq_tol(b1[out], bias_want, 1e-5);
    }
    for (int c = 0; c < WIDTH; c++)
        for (int d = 0; d < WIDTH; d++) {
            double want = 0;
            for (int r = 0; r < count; r++)
                want += (double)rows[r * WIDTH + c] * (double)rows[r * WIDTH + d];
            ck_assert_double_eq_tol(gram[c * WIDTH + d], want, 1e-9);
        }
    mem_free(rows);
    overlay_close(&o);
    team_close(team);
    close_net(&n);
}
END_TEST

/* What was put last is found, what is below stays. */
START_TEST(test_overlay)
{
    struct net n;
    struct error e = {0};
    open_net(&n);
    const struct tensor *before = overlay_find(&n.o, "q.bias");
    struct overlay o = {.below = &n.o};
    ck_assert_ptr_eq(overlay_find(&o, "q.bias"), before);
    ck_assert_ptr_null(overlay_find(&o, "no such tensor"));
    for (int round = 1; round <= 2; round++) {
        struct tensor t = {.dtype = DTYPE_F32, .rank = 1, .shape = {round}};
        t.data = mem_array((size_t)round, sizeof(float), &e);
        ck_assert_int_eq(overlay_put(&o, "q.bias", &t, &e), 0);
        ck_assert_int_eq(overlay_find(&o, "q.bias")->shape[0], round);
        ck_assert_int_eq(o.count, 1);
    }
    ck_assert_ptr_eq(overlay_find(&n.o, "q.bias"), before);
    overlay_close(&o);
    close_net(&n);
}
END_TEST

/* ---- joint damage of pairs ---- */

enum { BLOCKS = 7, CALLS = 2, IMAGES = 3, DIMS = 4096, PAIRS = BLOCKS * (BLOCKS - 1) / 2 };

/* Residual feed-forward blocks of different sizes one after another; each adds little to the stream, as
 * blocks of trained networks do (where each adds as much as there is, what a block does depends on all before
 * it). */
static void open_deep(struct net *n)
{
    struct error e = {0};
    *n = (struct net){.g = graph_open("denoiser", &e), .r = {8}};
    n->o.model = &n->none;
    int x = graph_input(n->g, "sample", VALUE_IMAGE, WIDTH, SIDE, SIDE, &e);
    for (int i = 0; i < BLOCKS; i++) {
        char name[5][32];
        static const char *const part[] = {"fc1", "gelu", "fc2", "add", "scale"};
        for (int k = 0; k < 5; k++)
            snprintf(name[k], sizeof name[k], "blocks.%d.%s", i, part[k]);
        int h = weighted(n, "linear", name[0], x, 4 + 3 * i, WIDTH, 1);
        h = add_node(n, "gelu", name[1], (int[]){h}, 1);
        h = weighted(n, "linear", name[2], h, WIDTH, 4 + 3 * i, 1);
        h = add_node(n, "scale", name[4], (int[]){h}, 1);
        set_attr(n, h, "factor", 0.2);
        x = add_node(n, "add", name[3], (int[]){x, h}, 2);
    }
    ck_assert_int_eq(graph_output(n->g, "sample", x, &e), 0);
    ck_assert_msg(graph_infer(n->g, 0, 0, overlay_find, &n->o, &e) == 0, "%s", e.text);
}

/* The square change of all predictions without these two branches (b < 0: one), by the reference. */
static double removed(const struct net *n, const struct branch_list *l, int a, int b, const float *samples)
{
    struct error e = {0};
    struct graph *g = graph_copy(n->g, &e);
    double sum = 0;
    if (b >= 0)
        ck_assert_int_eq(graph_redirect(g, l->branch[b].add, l->branch[b].skip, &e), 0);
    ck_assert_int_eq(graph_redirect(g, l->branch[a].add, l->branch[a].skip, &e), 0);
    ck_assert_int_eq(graph_sweep(g, &e), 0);
    ck_assert_int_eq(graph_infer(g, 0, 0, overlay_find, &n->o, &e), 0);
    for (int i = 0; i < CALLS * IMAGES; i++) {
        float x[SIZE], y[SIZE];
        const float *in = samples + (size_t)i * SIZE;
        ck_assert_int_eq(graph_reference(n->g, 1, &in, (float *[]){x}, NULL, NULL, &e), 0);
        ck_assert_int_eq(graph_reference(g, 1, &in, (float *[]){y}, NULL, NULL, &e), 0);
        for (int k = 0; k < SIZE; k++)
            sum += ((double)y[k] - (double)x[k]) * ((double)y[k] - (double)x[k]);
    }
    graph_close(g);
    return sum;
}

static double rank_of(const double *x, int n, int at)
{
    double rank = 0;
    for (int i = 0; i < n; i++)
        rank += x[i] < x[at];
    return rank;
}

static double spearman(const double *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += pow(rank_of(x, n, i) - rank_of(y, n, i), 2);
    return 1 - 6 * sum / ((double)n * (n * n - 1.0));
}

/* Sketches of single removals order the removals of all pairs as running the pairs does (.98), better than
 * adding their damages (.80). */
START_TEST(test_pairs)
{
    struct net n;
    struct error e = {0};
    struct branch_list l;
    float samples[CALLS * IMAGES * SIZE], times[CALLS] = {0}, labels[IMAGES] = {0};
    unsigned char guided[CALLS] = {0};
    double joint[PAIRS], added[PAIRS], real[PAIRS], own[BLOCKS];
    open_deep(&n);
    for (int i = 0; i < CALLS * IMAGES * SIZE; i++)
        samples[i] = (float)(2 * prng_unit(&n.r) - 1);
    ck_assert_int_eq(graph_branches(n.g, &l, &e), 0);
    ck_assert_int_eq(l.count, BLOCKS);
    struct team *team = team_open(1, &e);
    struct backend b = backend_cpu(cpu_kernels(CPU_REF), team);
    struct weights *w = weights_open(n.g, &b, NULL, &e);
    struct states s = {.images = IMAGES,
                       .calls = CALLS,
                       .batch = IMAGES,
                       .held = IMAGES,
                       .size = SIZE,
                       .sample = samples,
                       .time = times,
                       .guided = guided,
                       .label = labels,
                       .guidance = 1};
    struct cut_probe p[BLOCKS] = {0};
    for (int i = 0; i < BLOCKS; i++)
        p[i] = (struct cut_probe){.edge = {l.branch[i].value}, .edges = 1};
    ck_assert_msg(cut_probe_run(p, BLOCKS, &s, n.g, w, DIMS, NULL, &e) == 0, "%s", e.text);
    for (int i = 0; i < BLOCKS; i++) {
        own[i] = 0;
        for (int k = 0; k < DIMS; k++)
            own[i] += (double)p[i].change[k] * (double)p[i].change[k];
        double want = removed(&n, &l, i, -1, samples);
        ck_assert_double_eq_tol(own[i], want, 0.1 * want); /* 768 numbers in 4096 places: sd sqrt(2/4096) */
    }
    int count = 0;
    for (int i = 0; i < BLOCKS; i++)
        for (int j = i + 1; j < BLOCKS; j++, count++) {
            joint[count] = 0;
            for (int k = 0; k < DIMS; k++)
                joint[count] += pow((double)p[i].change[k] + (double)p[j].change[k], 2);
            added[count] = own[i] + own[j];
            real[count] = removed(&n, &l, i, j, samples);
        }
    double with = spearman(joint, real, PAIRS), without = spearman(added, real, PAIRS);
    ck_assert_msg(with >= 0.9 && with >= without, "Spearman %.3f with cross terms, %.3f without", with,
                  without);
    cut_probes_free(p, BLOCKS);
    mem_free(l.branch);
    weights_close(w);
    backend_close(&b);
    team_close(team);
    close_net(&n);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("narrow");
    TCase *c = tcase_create("narrow");
    tcase_add_test(c, test_cuts);
    tcase_add_test(c, test_prices);
    tcase_add_test(c, test_narrow);
    tcase_add_test(c, test_narrow_groups);
    tcase_add_test(c, test_refit);
    tcase_add_test(c, test_overlay);
    tcase_add_test(c, test_pairs);
    suite_add_tcase(s, c);
    return run_suite(s);
}
