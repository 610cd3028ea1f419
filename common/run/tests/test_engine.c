/* The engine against the scalar reference of the graph: a small transformer and a small U-Net with every
 * fusion in them, float and int8; same bits for threads, batch, chunks of hoisting, kept values and parts of
 * a batch. */
#include "common/base/tests/run_suite.h"
#include "common/run/tests/engine_test.h"

static void compare_levels(int first, int quantized, void (*make)(struct zoo *, int), double limit)
{
    for (int level = first; level <= (int)cpu_best_level(); level++) {
        struct world w;
        struct error e = {0};
        start(&w, make, quantized, level, 2, IMAGES, 0, NULL);
        for (int call = 0; call < CALLS; call += 3) {
            fill(&w, call, IMAGES);
            float times[IMAGES] = {w.times[call], w.times[call], w.times[call]},
                  *want = mem_array((size_t)(IMAGES * w.out_size), 4, &e);
            const float *in[3] = {engine_sample(w.x), times, w.labels};
            ck_assert_int_eq(graph_reference(w.z.g, IMAGES, in, &want, NULL, NULL, &e), 0);
            const float *got = run(&w, call, 0, 0, IMAGES);
            double error = 0, size = 0;
            for (int64_t i = 0; i < IMAGES * w.out_size; i++) {
                error += (got[i] - want[i]) * (double)(got[i] - want[i]);
                size += want[i] * (double)want[i];
            }
            ck_assert_msg(sqrt(error / size) < limit, "%s: relative error %g",
                          cpu_level_name(w.b.kernels->level), sqrt(error / size));
            mem_free(want);
        }
        stop(&w);
    }
}

/* float32 against double sums: 1e-5; int8: a value on a rounding border may fall to the other side, which
 * moves it by 1/255 of its row's range; a few in a thousand do, and the largest where zero does. Where
 * attention reads bfloat16, some in a hundred do. */
START_TEST(every_level_equals_the_reference)
{
    int quantized = modes[_i / 2];
    open_backend = rounds(quantized) ? open_float : NULL;
    compare_levels(CPU_REF, quantized, makers[_i % 2], rounds(quantized) ? 6e-3 : 1e-5);
    open_backend = NULL;
    if (rounds(quantized))
        compare_levels(CPU_AVX2, quantized, makers[_i % 2], 4e-2);
}
END_TEST

static float *outputs(void (*make)(struct zoo *, int), int quantized, int level, int threads, size_t hoist,
                      int one_by_one, const unsigned char *const *actions, int64_t *size)
{
    struct world w;
    struct error e = {0};
    start(&w, make, quantized, level, threads, IMAGES, hoist, actions);
    *size = CALLS * IMAGES * w.out_size;
    float *all = mem_array((size_t)*size, sizeof *all, &e), *at = all;
    for (int call = 0; call < CALLS; call++) {
        fill(&w, call, IMAGES);
        for (int first = 0; first < IMAGES; first += one_by_one ? 1 : IMAGES) {
            int count = one_by_one ? 1 : IMAGES;
            memcpy(at, run(&w, call, 0, first, count), (size_t)(count * w.out_size) * sizeof *at);
            at += count * w.out_size;
        }
    }
    stop(&w);
    return all;
}

START_TEST(threads_batch_chunks_and_kept_values_change_no_bit)
{
    void (*make)(struct zoo *, int) = makers[_i % 2];
    struct zoo z;
    make(&z, modes[_i / 2]);
    unsigned char *served = calloc((size_t)z.g->count, 1);
    const char *const kept[] = {"b1.to_out", "b0.fc2", "b0.add2", "u1.scale", "attn.out", "conv_out", "out"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (graph_find(z.g, kept[i]) >= 0)
            served[graph_find(z.g, kept[i])] = 1;
    release(&z);
    const unsigned char *actions[] = {served, NULL};
    /* The plain reference is slow; that its rows do not meet is seen from two modes. */
    for (int level = _i < 4 ? CPU_REF : CPU_AVX2; level <= (int)cpu_best_level(); level++) {
        int64_t size, other;
        float *base = outputs(make, modes[_i / 2], level, 1, 0, 0, NULL, &size);
        for (int variant = 0; variant < 5; variant++) {
            float *got = outputs(make, modes[_i / 2], level,
                                 variant == 0   ? 2
                                 : variant == 1 ? 3
                                                : 1,
                                 variant == 2 ? 1 : 0, variant == 3, variant == 4 ? actions : NULL, &other);
            ck_assert_int_eq(size, other);
            ck_assert_msg(!memcmp(base, got, (size_t)size * sizeof *got), "level %d, variant %d differs",
                          level, variant);
            mem_free(got);
        }
        mem_free(base);
    }
    free(served);
}
END_TEST

/* Nothing that the latent does not reach is computed, quantized or copied inside a call: found by following
 * the latent through the graph. Node 0 is the latent. */
START_TEST(a_call_computes_only_what_the_latent_reaches)
{
    for (int count = 1; count <= IMAGES; count++) {
        struct world w;
        struct error e = {0};
        start(&w, makers[_i % 2], modes[_i / 2], (int)cpu_best_level(), 2, IMAGES, 0, NULL);
        const struct graph *g = w.z.g;
        unsigned char *reached = calloc((size_t)g->count, 1);
        reached[0] = 1;
        for (int i = 1; i < g->count; i++)
            for (int j = 0; j < g->node[i].inputs; j++)
                reached[i] |= node_reads(&g->node[i], j) && reached[g->node[i].in[j]];
        const struct plan *p = engine_plan(w.x, 0, 0, count, &e);
        ck_assert_msg(p != NULL, "%s", e.text);
        int left = 0;
        for (int i = 0; i < g->count; i++)
            left += !reached[i] && (node_is(&g->node[i], "linear") || node_is(&g->node[i], "silu"));
        ck_assert_int_gt(left, 2); /* there is something to hoist */
        for (int i = 0; i < p->calls; i++) {
            ck_assert_msg(reached[p->call[i].node], "a call of '%s'", g->node[p->call[i].node].name);
            for (int k = 0; k < p->call[i].covered; k++)
                ck_assert_msg(reached[p->cover[p->call[i].covers + k]], "'%s' is computed in a call",
                              g->node[p->cover[p->call[i].covers + k]].name);
        }
        free(reached);
        stop(&w);
    }
}
END_TEST

/* ---- activation bits of an action ---- */

/* An action whose layers read floats over the same int8 weights is the model whose format says so. */
START_TEST(a_wide_action_is_the_format_with_float_activations)
{
    static const int pairs[][2] = {{FORMAT_W8A8, FORMAT_W8A16},
                                   {FORMAT_W4A8, FORMAT_W4A16},
                                   {FORMAT_W8A8 | ROTATED, FORMAT_W8A16 | ROTATED}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct world w, wide;
        struct error e = {0};
        const unsigned char *actions[] = {calloc(1000, 1), NULL};
        narrow_hoisted = pairs[i][0] % ROTATED;
        start(&wide, makers[_i], pairs[i][1], (int)cpu_best_level(), 2, IMAGES, 0, NULL);
        narrow_hoisted = 0;
        all_wide = 1;
        start(&w, makers[_i], pairs[i][0], (int)cpu_best_level(), 2, IMAGES, 0, actions);
        all_wide = 0;
        float *want = mem_array((size_t)(IMAGES * w.out_size), sizeof *want, &e);
        fill(&w, 0, IMAGES);
        fill(&wide, 0, IMAGES);
        memcpy(want, run(&wide, 0, 0, 0, IMAGES), (size_t)(IMAGES * w.out_size) * sizeof *want);
        ck_assert(memcmp(run(&w, 0, 0, 0, IMAGES), want, (size_t)(IMAGES * w.out_size) * sizeof *want));
        ck_assert_mem_eq(run(&w, 0, 1, 0, IMAGES), want, (size_t)(IMAGES * w.out_size) * sizeof *want);
        mem_free(want);
        free((void *)actions[0]);
        stop(&w);
        stop(&wide);
    }
}
END_TEST

/* Serving a value that has not changed gives the output that computing it gives. */
START_TEST(a_served_value_stands_for_its_producers)
{
    static const char *const served_names[] = {"b1.to_out", "b0.fc2",   "b0.gate1", "out", "up",
                                               "mid",       "u1.scale", "attn.out", "cat0"};
    for (size_t s = 0; s < sizeof served_names / sizeof *served_names; s++) {
        struct zoo z;
        makers[_i % 2](&z, modes[_i / 2]);
        int target = graph_find(z.g, served_names[s]);
        unsigned char *served = calloc((size_t)z.g->count, 1);
        if (target >= 0)
            served[target] = 1;
        release(&z);
        if (target >= 0) {
            const unsigned char *actions[] = {served, NULL};
            struct world w;
            struct error e = {0};
            start(&w, makers[_i % 2], modes[_i / 2], (int)cpu_best_level(), 2, IMAGES, 0, actions);
            fill(&w, 0, IMAGES);
            float *full = mem_array((size_t)(IMAGES * w.out_size), sizeof *full, &e);
            memcpy(full, run(&w, 0, 0, 0, IMAGES), (size_t)(IMAGES * w.out_size) * sizeof *full);
            const float *again = run(&w, 0, 1, 0, IMAGES);
            for (int64_t i = 0; i < IMAGES * w.out_size; i++)
                ck_assert_msg(fabsf(again[i] - full[i]) <= 1e-5f * fmaxf(1, fabsf(full[i])),
                              "%s: %g, expected %g", served_names[s], again[i], full[i]);
            /* And with another latent it differs from the full answer, since part of it is old. */
            fill(&w, 1, IMAGES);
            memcpy(full, run(&w, 0, 1, 1, 1), (size_t)w.out_size * sizeof *full);
            const float *fresh = run(&w, 0, 0, 1, 1);
            ck_assert(memcmp(full, fresh, (size_t)w.out_size * sizeof *full));
            mem_free(full);
            stop(&w);
        }
        free(served);
    }
}
END_TEST

struct served_case {
    const char *node, *base;
    int anchors; /* 0: no table */
};

static float *copy_value(struct world *w, int node, int64_t n)
{
    struct error e = {0};
    float *copy = mem_array((size_t)n, sizeof *copy, &e);
    memcpy(copy, engine_value(w->x, node), (size_t)n * sizeof *copy);
    return copy;
}

/* Calls 0, 1 and 2 store what they compute, call 3 is served: from the newest and the one before, in one
 * group or image by image. With a base, differences are stored. */
static void check_case(void (*make)(struct zoo *, int), int quantized, const struct served_case *c)
{
    struct world w;
    struct zoo z;
    make(&z, quantized);
    int node = graph_find(z.g, c->node), base = c->base ? graph_find(z.g, c->base) : -1, count = z.g->count;
    int channels = node >= 0 ? z.g->node[node].shape.channels : 0, rows = c->anchors + 1;
    int64_t n = node >= 0 ? IMAGES * shape_size(z.g->node[node].shape) : 0;
    release(&z);
    if (node < 0)
        return;
    unsigned char *served = calloc((size_t)count, 1), *want = calloc((size_t)count, 1);
    struct engine_predictor *p = calloc((size_t)count, sizeof *p);
    float *table = calloc((size_t)(CALLS * rows * channels), sizeof *table), *h[CALLS], *b[CALLS] = {NULL};
    for (int i = 0; i < CALLS * rows * channels; i++)
        table[i] = 0.3f + 0.01f * (float)(i % 37);
    served[node] = want[node] = 1;
    if (base >= 0)
        want[base] = 1;
    p[node] = (struct engine_predictor){c->anchors ? table : NULL, c->anchors, base};
    const unsigned char *actions[] = {served, NULL};
    wanted = want;
    predictors = p;
    start(&w, make, quantized, (int)cpu_best_level(), 2, IMAGES, 0, actions);
    for (int round = 0; round < 2; round++) {
        engine_restart(w.x);
        for (int call = 0; call < CALLS; call++) {
            fill(&w, call, IMAGES);
            float *out = NULL;
            run(&w, call, call == 3, 0, IMAGES);
            h[call] = copy_value(&w, node, n);
            b[call] = base >= 0 ? copy_value(&w, base, n) : NULL;
            if (call == 3) { /* image by image it is the same */
                for (int i = 0; i < IMAGES; i++) {
                    run(&w, call, 1, i, 1);
                    ck_assert(!memcmp(engine_value(w.x, node), h[3] + i * (n / IMAGES),
                                      (size_t)(n / IMAGES) * sizeof *out));
                }
            }
        }
        const float *a = table + 3 * rows * channels;
        for (int64_t i = 0; i < n; i++) {
            int ch = (int)(i % channels);
            double newest = h[2][i] - (base >= 0 ? (double)b[2][i] : 0);
            double older = h[1][i] - (base >= 0 ? (double)b[1][i] : 0), expected = newest;
            if (c->anchors)
                expected = a[ch] * newest + a[(rows - 1) * channels + ch];
            if (c->anchors == 2)
                expected += a[channels + ch] * older;
            expected += base >= 0 ? b[3][i] : 0;
            /* A few roundings of float32. */
            ck_assert_msg(fabs(h[3][i] - expected) <= 1e-6 * fmax(4, fabs(expected)),
                          "%s: %g, expected %g at %lld", c->node, h[3][i], expected, (long long)i);
        }
        for (int call = 0; call < CALLS; call++)
            mem_free(h[call]), mem_free(b[call]);
    }
    stop(&w);
    wanted = NULL;
    predictors = NULL;
    free(served), free(want), free(p), free(table);
}

START_TEST(a_predicted_value_is_what_its_table_says)
{
    static const struct served_case cases[] = {
        {"b1.to_out", NULL, 1},
        {"b1.to_out", NULL, 2},
        {"b1.add2", "b0.add1", 0},
        {"b1.add2", "b0.add2", 2},
        {"b0.fc2", NULL, 2},
        {"up", NULL, 2},
        {"cat0", NULL, 1},
        {"u1.scale", NULL, 2},
        {"attn.add", "attn.out", 2},
        {"attn.out", "attn.norm", 1},
        {"attn.add", "attn.norm", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(makers[_i % 2], _i / 2, &cases[i]);
}
END_TEST

/* Images that have stored a value unequally often must not share a run. */
START_TEST(groups_out_of_phase_are_refused)
{
    struct world w;
    struct error e = {0};
    struct zoo z;
    make_dit(&z, 0);
    int node = graph_find(z.g, "b1.to_out"), count = z.g->count;
    release(&z);
    unsigned char *served = calloc((size_t)count, 1);
    struct engine_predictor *p = calloc((size_t)count, sizeof *p);
    float *table = calloc(CALLS * 3 * WIDTH, sizeof *table);
    served[node] = 1;
    p[node] = (struct engine_predictor){table, 2, -1};
    const unsigned char *actions[] = {served, NULL};
    predictors = p;
    start(&w, make_dit, 0, (int)cpu_best_level(), 1, IMAGES, 0, actions);
    fill(&w, 0, IMAGES);
    run(&w, 0, 0, 0, IMAGES);
    ck_assert(engine_in_phase(w.x, 0, 1));
    run(&w, 1, 0, 0, 1);
    ck_assert(!engine_in_phase(w.x, 0, 1));
    ck_assert_int_eq(engine_run(w.x, 1, 0, 0, IMAGES, NULL, &e), -1);
    engine_restart(w.x);
    ck_assert(engine_in_phase(w.x, 0, 1));
    stop(&w);
    predictors = NULL;
    free(served), free(p), free(table);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_level_equals_the_reference, 0, 2 * MODES);
    tcase_add_loop_test(t, threads_batch_chunks_and_kept_values_change_no_bit, 0, 2 * MODES);
    tcase_add_loop_test(t, a_call_computes_only_what_the_latent_reaches, 0, 2 * MODES);
    tcase_add_loop_test(t, a_wide_action_is_the_format_with_float_activations, 0, 2);
    tcase_add_loop_test(t, a_served_value_stands_for_its_producers, 0, 4);
    tcase_add_loop_test(t, a_predicted_value_is_what_its_table_says, 0, 4);
    tcase_add_test(t, groups_out_of_phase_are_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
