/* The engine on CUDA against the graph's reference and against the CPU: the models of engine_test.h in every
 * format, schedules' actions, chunks of hoisting, parts of a batch, faults at every call of the driver.
 *
 * The plugin opens the recording driver of bin/tests/cuda, which runs the kernels in the emulator; with
 * HASTEN_TEST_DEVICE=1 it opens the machine's own, which scripts/gpu-check does. */
#include "common/base/tests/run_suite.h"
#include "common/run/tests/cuda_world.h"
#include "common/run/tests/engine_test.h"
#include "kernels/cuda/launch.h"

static void open_cuda(struct world *w, struct error *e)
{
    w->open_status = open_plugin(&w->b, NULL, w->team, e);
}

/* With float values between all kernels. */
static void open_cuda_float(struct world *w, struct error *e)
{
    open_cuda(w, e);
    if (w->open_status == 0)
        open_float(w, e);
}

/* Float products keep 21 bits of each factor and sum in float32: 1e-5, as on the CPU; int8 as there: a value
 * on a rounding border may fall to the other side. */
static double tolerance_of(int mode) { return rounds(mode) ? 4e-3 : 1e-5; }

START_TEST(every_format_equals_the_reference)
{
    int mode = modes[_i / 2];
    struct world w;
    struct error e = {0};
    open_backend = rounds(mode) ? open_cuda_float : open_cuda;
    start(&w, makers[_i % 2], mode, CPU_REF, 2, IMAGES, 0, NULL);
    int64_t n = IMAGES * w.out_size;
    float *want = mem_array((size_t)n, sizeof *want, &e);
    fill(&w, 1, IMAGES);
    float times[IMAGES] = {w.times[1], w.times[1], w.times[1]};
    const float *in[3] = {engine_sample(w.x), times, w.labels};
    ck_assert_int_eq(graph_reference(w.z.g, IMAGES, in, &want, NULL, NULL, &e), 0);
    double d = distance(run(&w, 1, 0, 0, IMAGES), want, n);
    ck_assert_msg(d < tolerance_of(mode), "format %d: relative error %g", mode, d);
    mem_free(want);
    stop(&w);
}
END_TEST

/* Two calls: everything, then with kept values; image by image or at once; with and without chunks. */
static void two_calls(void (*make)(struct zoo *, int), int mode, int cuda, int one_by_one, size_t hoist,
                      float *out)
{
    struct world w;
    struct zoo z;
    make(&z, mode);
    unsigned char *served = calloc((size_t)z.g->count, 1);
    const char *const kept[] = {"b1.to_out", "b0.fc2", "u1.scale", "attn.out"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (graph_find(z.g, kept[i]) >= 0)
            served[graph_find(z.g, kept[i])] = 1;
    release(&z);
    const unsigned char *actions[] = {served, NULL};
    open_backend = cuda ? open_cuda : NULL;
    start(&w, make, mode, CPU_REF, 2, IMAGES, hoist, actions);
    for (int call = 0; call < 2; call++) {
        fill(&w, call, IMAGES);
        for (int first = 0; first < IMAGES; first += one_by_one ? 1 : IMAGES) {
            int count = one_by_one ? 1 : IMAGES;
            memcpy(out + first * w.out_size, run(&w, call, call, first, count),
                   (size_t)(count * w.out_size) * sizeof *out);
        }
    }
    stop(&w);
    free(served);
}

enum { MOST_OUT = 1 << 16 };

START_TEST(actions_parts_and_chunks_equal_the_cpu)
{
    static float cpu[MOST_OUT], cuda[MOST_OUT], other[MOST_OUT];
    int mode = _i / 2 ? FORMAT_W8A8 : FORMAT_PLAIN;
    two_calls(makers[_i % 2], mode, 0, 0, 0, cpu);
    two_calls(makers[_i % 2], mode, 1, 0, 0, cuda);
    int64_t n = 0;
    while (n < MOST_OUT && (cpu[n] != 0 || cuda[n] != 0))
        n++;
    double d = distance(cuda, cpu, n);
    ck_assert_int_gt(n, 100);
    /* Attention behind int8 products reads bfloat16: some values in a hundred fall to the other side. */
    ck_assert_msg(d < (rounds(mode) ? 4e-2 : tolerance_of(mode)), "relative error %g", d);
    two_calls(makers[_i % 2], mode, 1, 1, 1, other);
    ck_assert_msg(!memcmp(cuda, other, sizeof cuda),
                  "an image depends on its batch or on the chunk of hoisting");
}
END_TEST

/* An action whose layers read floats over the same weights is the model whose format says so, to the bit. */
START_TEST(wide_actions)
{
    static const int pairs[][2] = {{FORMAT_W8A8, FORMAT_W8A16}, {FORMAT_W4A8, FORMAT_W4A16}};
    static float want[MOST_OUT];
    struct world w;
    const unsigned char *actions[] = {calloc(1000, 1), NULL};
    open_backend = open_cuda;
    narrow_hoisted = pairs[_i][0];
    start(&w, makers[_i], pairs[_i][1], CPU_REF, 2, IMAGES, 0, NULL);
    narrow_hoisted = 0;
    size_t bytes = (size_t)(IMAGES * w.out_size) * sizeof *want;
    fill(&w, 0, IMAGES);
    memcpy(want, run(&w, 0, 0, 0, IMAGES), bytes);
    stop(&w);
    all_wide = 1;
    start(&w, makers[_i], pairs[_i][0], CPU_REF, 2, IMAGES, 0, actions);
    all_wide = 0;
    fill(&w, 0, IMAGES);
    ck_assert_mem_eq(run(&w, 0, 1, 0, IMAGES), want, bytes);
    stop(&w);
    free((void *)actions[0]);
}
END_TEST

/* Products alone: with scales of 1 the results are the int32 sums themselves. Those at sizes of models are
 * for a device. */
static const int products[][3] = {{64, 64, 64},   {130, 200, 260},  {100, 72, 130},
                                  {1, 256, 1000}, {256, 1152, 288}, {512, 1152, 3456}};
enum { PRODUCTS = sizeof products / sizeof *products, PRODUCTS_EMULATED = 4 };

static float *int8_product(struct backend *b, int rows, int depth, int columns)
{
    struct error e = {0};
    struct zoo z = {.state = 5};
    int64_t ld = (depth + 63) / 64 * 64;
    struct packed p = {.shape = {columns, 1, 1, {depth, 0}}};
    float *host = mem_array((size_t)(rows * columns), sizeof *host, &e),
          *ones = mem_array((size_t)columns, sizeof *ones, &e);
    struct code_scale *scales = mem_array((size_t)rows, sizeof *scales, &e);
    uint8_t *codes = mem_array((size_t)(rows * ld), 1, &e);
    int8_t *weight = mem_array((size_t)(columns * depth), 1, &e);
    for (int64_t i = 0; i < rows * ld; i++)
        codes[i] = (uint8_t)(128 + (int)(127 * noise(&z)));
    for (int64_t i = 0; i < columns * depth; i++)
        weight[i] = (int8_t)(127 * noise(&z));
    for (int i = 0; i < columns; i++)
        ones[i] = 1;
    for (int i = 0; i < rows; i++)
        scales[i] = (struct code_scale){1, i * 37 % 256};
    const struct cpu_kernels *table = b->ops->direct ? b->kernels : cuda_packing(CUDA_F32);
    ck_assert_int_eq(weights_pack_array(table, b->team, &p, weight, 1, &e), 0);
    const void *from[] = {p.product, codes, ones, host, scales};
    size_t bytes[] = {p.product_size, (size_t)(rows * ld), (size_t)columns * 4, (size_t)(rows * columns) * 4,
                      (size_t)rows * sizeof *scales};
    void *at[5];
    for (int i = 0; i < 5; i++) {
        at[i] = b->ops->allocate(b, bytes[i], &e);
        ck_assert_msg(at[i] && b->ops->put(b, at[i], from[i], bytes[i], &e) == 0, "%s", e.text);
    }
    struct kernel_call c = {.kind = KERNEL_MATMUL,
                            .phases = 1,
                            .matmul = {.images = 1,
                                       .out_height = 1,
                                       .out_width = rows,
                                       .n = columns,
                                       .kernel_h = 1,
                                       .kernel_w = 1,
                                       .stride = 1,
                                       .sources = 1,
                                       .source = {{at[1], depth, ld, rows * ld, 1, rows, 1, at[4]}},
                                       .weights = at[0],
                                       .column_scale = at[2],
                                       .int8 = 1,
                                       .scale_per_row = 1,
                                       .out = at[3],
                                       .out_ld = columns}};
    struct plan one = {.call = &c, .calls = 1, .backend = b};
    ck_assert_msg(b->ops->run(b, &one, 0, 1, NULL, &e) == 0, "%s", e.text);
    ck_assert_int_eq(b->ops->get(b, host, at[3], bytes[3], &e), 0);
    for (int i = 0; i < 5; i++)
        b->ops->release(b, at[i]);
    mem_free(p.product), mem_free(codes), mem_free(weight), mem_free(ones);
    mem_free(scales);
    return host;
}

START_TEST(int8_sums_are_the_cpus_to_the_bit)
{
    struct world w;
    struct error e = {0};
    const int *s = products[_i];
    w.team = team_open(2, &e);
    struct backend cpu = backend_cpu(cpu_kernels(CPU_REF), w.team);
    open_cuda(&w, &e);
    ck_assert_msg(w.open_status == 0, "%s", e.text);
    float *want = int8_product(&cpu, s[0], s[1], s[2]), *got = int8_product(&w.b, s[0], s[1], s[2]);
    ck_assert_msg(!memcmp(want, got, (size_t)(s[0] * s[2]) * sizeof *got), "sums differ");
    mem_free(want), mem_free(got);
    backend_close(&w.b);
    team_close(w.team);
}
END_TEST

/* They share the device; the first to go leaves the other its memory and stream. */
START_TEST(two_backends_in_a_process)
{
    struct world w, other;
    struct error e = {0};
    w.team = other.team = team_open(2, &e);
    open_cuda(&w, &e);
    open_cuda(&other, &e);
    ck_assert_msg(w.open_status == 0 && other.open_status == 0, "%s", e.text);
    float *first = int8_product(&w.b, 5, 70, 9);
    backend_close(&w.b);
    float *second = int8_product(&other.b, 5, 70, 9);
    ck_assert_mem_eq(first, second, 5 * 9 * sizeof *first);
    mem_free(first), mem_free(second);
    backend_close(&other.b);
    team_close(w.team);
}
END_TEST

START_TEST(kernels_are_timed_by_events)
{
    struct world w;
    struct error e = {0};
    open_backend = open_cuda;
    start(&w, make_dit, FORMAT_PLAIN, CPU_REF, 2, IMAGES, 0, NULL);
    const struct plan *p = engine_plan(w.x, 0, 0, IMAGES, &e);
    double *ms = calloc((size_t)p->calls, sizeof *ms);
    fill(&w, 0, IMAGES);
    ck_assert_int_eq(engine_run(w.x, 0, 0, 0, IMAGES, ms, &e), 0);
    for (int i = 0; i < p->calls; i++)
        ck_assert_double_gt(ms[i], 0);
    free(ms);
    stop(&w);
}
END_TEST

START_TEST(values_that_are_not_finite_are_named)
{
    struct world w;
    struct error e = {0};
    open_backend = open_cuda;
    start(&w, make_dit, FORMAT_PLAIN, CPU_REF, 2, IMAGES, 0, NULL);
    fill(&w, 0, IMAGES);
    ck_assert_ptr_null(engine_first_nonfinite(w.x, 0, 0, 0, IMAGES, &e));
    engine_sample(w.x)[5] = NAN;
    const char *name = engine_first_nonfinite(w.x, 0, 0, 0, IMAGES, &e);
    ck_assert_msg(name != NULL && e.code == 0, "%s", e.text);
    stop(&w);
}
END_TEST

/* A plugin of another make, or none. */
START_TEST(what_is_no_plugin_is_refused)
{
    struct backend b;
    const char *const paths[] = {"/nonexistent/hasten-cuda.so", "/dev/null", driver};
    struct team *team = team_open(1, NULL);
    for (int i = 0; i < 3; i++) {
        struct error e = {0};
        char path[PATH_MAX + 96];
        snprintf(path, sizeof path, i == 2 ? "%s/libcuda.so.1" : "%s", paths[i]);
        ck_assert_int_eq(backend_cuda_open(&b, path, NULL, 0, cpu_kernels(CPU_REF), team, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFAIL);
        ck_assert_msg(strstr(e.text, "plugin") != NULL, "%s", e.text);
        backend_close(&b);
    }
    team_close(team);
}
END_TEST

int main(int argc, char **argv)
{
    use_driver(argc, argv);
    TCase *t = tcase_create("cuda");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, every_format_equals_the_reference, 0, 2 * MODES);
    tcase_add_loop_test(t, actions_parts_and_chunks_equal_the_cpu, 0, 4);
    tcase_add_loop_test(t, wide_actions, 0, 2);
    tcase_add_loop_test(t, int8_sums_are_the_cpus_to_the_bit, 0, on_device() ? PRODUCTS : PRODUCTS_EMULATED);
    tcase_add_test(t, two_backends_in_a_process);
    tcase_add_test(t, kernels_are_timed_by_events);
    tcase_add_test(t, values_that_are_not_finite_are_named);
    tcase_add_test(t, what_is_no_plugin_is_refused);
    Suite *s = suite_create("cuda");
    suite_add_tcase(s, t);
    return run_suite(s);
}
