/* Convolutions and attention of bfloat16 on CUDA, call by call, against the CPU: by cuDNN (of the recording
 * driver its stand-in), with epilogues inside or behind, and by own kernels where it has none. Products of
 * e4m3 by cuBLASLt against their description; those of bfloat16 are in cuda_library of tools/tests. */
#include "common/base/mem.h"
#include "common/run/plan.h"
#include "common/run/tests/cuda_world.h"
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/launch.h"

struct convolution {
    int images, height, width, up, channels, n, kernel, stride, pad;
    int image_bias, residual, gate, half; /* half: bfloat16 comes out */
    enum activation act;
};
static const struct convolution convolutions[] = {
    {2, 6, 5, 1, 8, 16, 3, 1, 1, 0, 0, 0, 0, ACT_NONE},  {3, 6, 6, 1, 40, 8, 3, 2, 1, 1, 0, 0, 1, ACT_SILU},
    {2, 6, 6, 1, 32, 24, 3, 2, 0, 2, 1, 0, 0, ACT_NONE}, {3, 4, 3, 2, 16, 8, 3, 1, 1, 0, 1, 0, 1, ACT_SILU},
    {2, 4, 4, 2, 8, 8, 3, 1, 1, 1, 1, 1, 0, ACT_RELU},   {2, 6, 5, 1, 12, 16, 3, 1, 1, 1, 1, 0, 0, ACT_NONE}};
enum { CONVOLUTIONS = sizeof convolutions / sizeof *convolutions, CONVOLUTIONS_FIT = CONVOLUTIONS - 1 };
enum { CONVOLUTION_BLOCKS = 8, MOST_PIXELS = 192 };

/* In and out, weights and what is behind them, as a backend's memory. */
static struct kernel_call convolution_call(const struct convolution *c, void *const at[CONVOLUTION_BLOCKS])
{
    int64_t pixels = (int64_t)c->height * c->width;
    int up = c->up, behind = c->pad ? 0 : c->stride - 1; /* zeros behind alone where there are none before */
    struct kernel_call k = {.kind = KERNEL_MATMUL, .phases = 1, .format = 1 /* bfloat16 */};
    k.matmul = (struct matmul){
        .images = c->images,
        .out_height = (c->height * up + 2 * c->pad + behind - c->kernel) / c->stride + 1,
        .out_width = (c->width * up + 2 * c->pad + behind - c->kernel) / c->stride + 1,
        .n = c->n,
        .kernel_h = c->kernel,
        .kernel_w = c->kernel,
        .stride = c->stride,
        .pad_top = c->pad,
        .pad_left = c->pad,
        .sources = 1,
        .source = {{at[0], c->channels, c->channels, pixels * c->channels, c->height, c->width, up, NULL}},
        .weights = at[1],
        .bf16 = 1,
        .out = c->half ? NULL : at[2],
        .out_bf16 = c->half ? at[2] : NULL,
        .out_ld = c->n,
        .out_bf16_ld = c->n,
        .epilogue = {.bias = at[3],
                     .image_bias = c->image_bias ? at[4] : NULL,
                     .image_bias_ld = c->image_bias == 2 ? 0 : c->n,
                     .residual = c->residual ? at[5] : NULL,
                     .residual_ld = c->n,
                     .gate = c->gate ? at[6] : NULL,
                     .gate_ld = c->n,
                     .act = c->act,
                     .scale = 1}};
    return k;
}

/* The results as floats; *scratch: its bytes. */
static float *convolve(struct backend *b, const struct convolution *c, size_t *scratch)
{
    struct error e = {0};
    unsigned state = 3;
    struct mm_shape s = {c->n, c->kernel, c->kernel, {c->channels, 0}};
    size_t in = MOST_PIXELS * (size_t)c->channels,
           weights = (size_t)(c->n * c->channels * c->kernel * c->kernel);
    size_t out = MOST_PIXELS * (size_t)c->n;
    const struct cpu_kernels *table = b->ops->direct ? b->kernels : cuda_packing(CUDA_BF16);
    size_t bytes[CONVOLUTION_BLOCKS] = {
        in * 2, table->matmul_bf16_size(&s), out * 4, (size_t)c->n * 4, out * 4, out * 4, out * 4};
    float *values = mem_array(in + weights + out, sizeof *values, &e);
    uint16_t *halves = mem_array(in + weights + out, sizeof *halves, &e);
    void *at[CONVOLUTION_BLOCKS], *packed = mem_array(bytes[1], 1, &e);
    for (int i = 0; i < 7; i++) {
        for (size_t j = 0; j < in + weights + out; j++)
            values[j] = noise(&state);
        tensor_from_f32(DTYPE_BF16, values, halves, i == 0 ? in : weights);
        if (i == 1)
            table->matmul_pack_bf16(packed, halves, &s, 0, c->n);
        at[i] = b->ops->allocate(b, bytes[i], &e);
        const void *from = i == 0 ? (void *)halves : i == 1 ? packed : values;
        ck_assert_msg(at[i] && b->ops->put(b, at[i], from, bytes[i], &e) == 0, "%s", e.text);
    }
    struct kernel_call k = convolution_call(c, at);
    k.matmul.scratch_ld = *scratch = b->ops->scratch(b, &k);
    k.matmul.scratch = at[7] = *scratch ? b->ops->allocate(b, (size_t)backend_parts(b) * *scratch, &e) : NULL;
    struct plan one = {.call = &k, .calls = 1, .backend = b};
    ck_assert_msg(b->ops->run(b, &one, 0, 1, NULL, &e) == 0, "%s", e.text);
    size_t count = (size_t)(c->images * k.matmul.out_height * k.matmul.out_width * c->n);
    ck_assert_uint_le(count, out);
    ck_assert_int_eq(b->ops->get(b, c->half ? (void *)halves : values, at[2], count * (c->half ? 2 : 4), &e),
                     0);
    if (c->half)
        tensor_to_f32(DTYPE_BF16, halves, values, count);
    for (int i = 0; i < CONVOLUTION_BLOCKS; i++)
        b->ops->release(b, at[i]);
    mem_free(halves), mem_free(packed);
    return mem_resize(values, count, sizeof *values, &e);
}

/* The same factors, float32 sums in another order; a result in bfloat16 may fall to the neighbour. */
START_TEST(convolutions_are_the_cpus)
{
    struct backend b;
    struct error e = {0};
    struct convolution c = convolutions[_i % CONVOLUTIONS];
    size_t scratch, unused;
    setenv("HASTEN_DNN", _i < CONVOLUTIONS ? "" : "refuse-whole", 1);
    struct team *team = team_open(2, &e);
    struct backend cpu = backend_cpu(cpu_kernels(CPU_REF), team);
    ck_assert_msg(open_plugin(&b, NULL, team, &e) == 0, "%s", e.text);
    float *want = convolve(&cpu, &c, &unused), *got = convolve(&b, &c, &scratch);
    int64_t n = (int64_t)c.images * c.n * (c.height * c.up / c.stride) * (c.width * c.up / c.stride);
    double d = distance(got, want, n);
    ck_assert_msg(d < (c.half ? 4e-3 : 1e-6), "relative error %g", d);
    ck_assert(on_device() || (scratch > 0) == (_i % CONVOLUTIONS < CONVOLUTIONS_FIT));
    c.images = 1;
    float *first = convolve(&b, &c, &scratch);
    ck_assert_msg(!memcmp(first, got, (size_t)(n / convolutions[_i % CONVOLUTIONS].images) * sizeof *got),
                  "an image depends on its batch");
    mem_free(want), mem_free(got), mem_free(first);
    backend_close(&b);
    team_close(team);
}
END_TEST

/* ---- attention ---- */

struct heads {
    int images, heads, dim, queries, keys;
};
static const struct heads attentions[] = {
    {3, 2, 8, 5, 5}, {2, 2, 72, 20, 20}, {2, 1, 40, 9, 77}, {2, 1, 12, 9, 9}};
enum { ATTENTIONS = sizeof attentions / sizeof *attentions, ATTENTIONS_FIT = ATTENTIONS - 1 };

/* q beside nothing, k and v of one buffer, as a merged projection gives them. */
static float *attend(struct backend *b, const struct heads *h, size_t *scratch)
{
    struct error e = {0};
    unsigned state = 4;
    int64_t width = h->heads * h->dim, ld = 2 * width + 8;
    size_t rows[] = {(size_t)(h->images * h->queries), (size_t)(h->images * h->keys)},
           most = rows[0] + rows[1];
    float *values = mem_array(most * (size_t)ld, sizeof *values, &e);
    uint16_t *halves = mem_array(most * (size_t)ld, sizeof *halves, &e);
    void *at[4];
    for (size_t i = 0; i < most * (size_t)ld; i++)
        values[i] = noise(&state) * 3;
    tensor_from_f32(DTYPE_BF16, values, halves, most * (size_t)ld);
    for (int i = 0; i < 3; i++) {
        size_t bytes = rows[i == 1] * (size_t)ld * sizeof *halves;
        at[i] = b->ops->allocate(b, bytes, &e);
        ck_assert_int_eq(b->ops->put(b, at[i], halves, bytes, &e), 0);
    }
    struct kernel_call k = {.kind = KERNEL_ATTENTION, .phases = 1, .format = 1};
    k.attention = (struct attention){.q_bf16 = at[0],
                                     .k_bf16 = at[1],
                                     .v_bf16 = (uint16_t *)at[1] + width,
                                     .q_ld = ld,
                                     .k_ld = ld,
                                     .v_ld = ld,
                                     .q_image_ld = h->queries * ld,
                                     .k_image_ld = h->keys * ld,
                                     .v_image_ld = h->keys * ld,
                                     .images = h->images,
                                     .heads = h->heads,
                                     .head_dim = h->dim,
                                     .queries = h->queries,
                                     .keys = h->keys,
                                     .scale = 1 / sqrtf((float)h->dim),
                                     .out_bf16 = at[2],
                                     .out_ld = width,
                                     .out_image_ld = h->queries * width};
    *scratch = b->ops->scratch(b, &k);
    k.attention.scratch = at[3] =
        *scratch ? b->ops->allocate(b, (size_t)backend_parts(b) * *scratch, &e) : NULL;
    k.attention.scratch_ld = *scratch / sizeof(float);
    struct plan one = {.call = &k, .calls = 1, .backend = b};
    ck_assert_msg(b->ops->run(b, &one, 0, 1, NULL, &e) == 0, "%s", e.text);
    ck_assert_int_eq(b->ops->get(b, halves, at[2], rows[0] * (size_t)width * sizeof *halves, &e), 0);
    tensor_to_f32(DTYPE_BF16, halves, values, rows[0] * (size_t)width);
    for (int i = 0; i < 4; i++)
        b->ops->release(b, at[i]);
    mem_free(halves);
    return values;
}

/* Two roundings to bfloat16: of the weights (the CPU's) and of the result. */
START_TEST(attention_is_the_cpus)
{
    struct backend b;
    struct error e = {0};
    struct heads h = attentions[_i];
    size_t scratch, unused;
    struct team *team = team_open(2, &e);
    struct backend cpu = backend_cpu(cpu_kernels(CPU_REF), team);
    ck_assert_msg(open_plugin(&b, "cudnn,sdpa", team, &e) == 0, "%s", e.text);
    float *want = attend(&cpu, &h, &unused), *got = attend(&b, &h, &scratch);
    int64_t n = (int64_t)h.images * h.queries * h.heads * h.dim;
    double d = distance(got, want, n);
    ck_assert_msg(d < 4e-3, "relative error %g", d);
    ck_assert(on_device() || (scratch > 0) == (_i < ATTENTIONS_FIT));
    h.images = 1;
    float *first = attend(&b, &h, &scratch);
    ck_assert_msg(!memcmp(first, got, (size_t)(n / attentions[_i].images) * sizeof *got),
                  "an image depends on its batch");
    mem_free(want), mem_free(got), mem_free(first);
    backend_close(&b);
    team_close(team);
}
END_TEST

/* ---- products of e4m3 ---- */

enum { IMAGES = 3, ROWS = 7, DEPTH = 40, WIDTH = 32, LAYER_BLOCKS = 7 };

struct layer {
    float x[IMAGES * ROWS * DEPTH], weight[WIDTH * DEPTH], scale[WIDTH], bias[WIDTH], gate[IMAGES * WIDTH],
        residual[IMAGES * ROWS * WIDTH], rounded[IMAGES * ROWS * DEPTH], out[IMAGES * ROWS * WIDTH];
    uint8_t codes[WIDTH * DEPTH];
    uint16_t half[IMAGES * ROWS * DEPTH];
};

static struct layer *new_layer(void)
{
    static struct layer l;
    unsigned state = 8;
    for (float *f = (float *)&l; f < l.rounded; f++)
        *f = noise(&state);
    for (int i = 0; i < WIDTH * DEPTH; i++)
        l.weight[i] *= 300;
    tensor_from_f32(DTYPE_F8_E4M3, l.weight, l.codes, WIDTH * DEPTH);
    tensor_to_f32(DTYPE_F8_E4M3, l.codes, l.weight, WIDTH * DEPTH);
    tensor_from_f32(DTYPE_BF16, l.x, l.half, IMAGES * ROWS * DEPTH);
    tensor_to_f32(DTYPE_BF16, l.half, l.rounded, IMAGES * ROWS * DEPTH);
    return &l;
}

/* half: bfloat16 goes in and comes out, behind GELU; else floats, behind a gate and a residual. */
static void describe_layer(struct layer *l, int half, int round)
{
    const float *in = half ? l->rounded : l->x;
    for (int row = 0; row < IMAGES * ROWS; row++) {
        float x[DEPTH], most = 0;
        uint8_t codes[DEPTH];
        for (int k = 0; k < DEPTH; k++)
            most = fmaxf(most, fabsf(in[row * DEPTH + k]));
        float scale = round ? most / 448 : 1, inverse = round ? 1 / scale : 1;
        for (int k = 0; k < DEPTH; k++)
            x[k] = in[row * DEPTH + k] * inverse;
        if (round) {
            tensor_from_f32(DTYPE_F8_E4M3, x, codes, DEPTH);
            tensor_to_f32(DTYPE_F8_E4M3, codes, x, DEPTH);
        }
        for (int n = 0; n < WIDTH; n++) {
            double sum = 0;
            for (int k = 0; k < DEPTH; k++)
                sum += (double)x[k] * (double)l->weight[n * DEPTH + k];
            sum = sum * (double)scale * (double)l->scale[n] + (double)l->bias[n];
            sum = half ? sum / (1 + exp(-2 * 0.79788456080286536 * (sum + 0.044715 * sum * sum * sum)))
                       : sum * (double)l->gate[row / ROWS * WIDTH + n] + (double)l->residual[row * WIDTH + n];
            l->out[row * WIDTH + n] = (float)sum;
        }
    }
}

static void *on_the_device(struct backend *b, const void *from, size_t bytes)
{
    struct error e = {0};
    void *at = b->ops->allocate(b, bytes, &e);
    ck_assert_msg(at && b->ops->put(b, at, from, bytes, &e) == 0, "%s", e.text);
    return at;
}

/* As a backend computes it; got: [images * ROWS][WIDTH]. */
static void run_layer(struct backend *b, const struct layer *l, int images, int half, float *got)
{
    struct error e = {0};
    const struct cpu_kernels *table = cuda_packing(CUDA_F32);
    struct mm_shape s = {WIDTH, 1, 1, {DEPTH, 0}};
    size_t packed = table->matmul_packed_size(&s, 1), size = (size_t)(images * ROWS * WIDTH);
    uint16_t halves[IMAGES * ROWS * WIDTH];
    char *weights = mem_array(packed + WIDTH * sizeof *halves, 1, &e);
    table->matmul_pack_int8(weights, (const int8_t *)l->codes, &s, 0, WIDTH);
    tensor_from_f32(DTYPE_BF16, l->bias, (uint16_t *)(void *)(weights + packed),
                    WIDTH); /* as cuda_pack does */
    void *at[LAYER_BLOCKS] = {half ? on_the_device(b, l->half, sizeof l->half)
                                   : on_the_device(b, l->x, sizeof l->x),
                              on_the_device(b, weights, packed + WIDTH * sizeof *halves),
                              on_the_device(b, l->scale, sizeof l->scale),
                              on_the_device(b, l->bias, sizeof l->bias),
                              on_the_device(b, l->gate, sizeof l->gate),
                              on_the_device(b, l->residual, sizeof l->residual),
                              on_the_device(b, l->out, sizeof l->out)};
    struct kernel_call k = {.kind = KERNEL_MATMUL, .phases = 1};
    k.matmul = (struct matmul){.images = images,
                               .out_height = 1,
                               .out_width = ROWS,
                               .n = WIDTH,
                               .kernel_h = 1,
                               .kernel_w = 1,
                               .stride = 1,
                               .sources = 1,
                               .source = {{at[0], DEPTH, DEPTH, ROWS * DEPTH, 1, ROWS, 1, NULL}},
                               .weights = at[1],
                               .column_scale = at[2],
                               .form = MM_E4M3,
                               .bf16 = half,
                               .out = half ? NULL : at[6],
                               .out_bf16 = half ? at[6] : NULL,
                               .out_ld = WIDTH,
                               .out_bf16_ld = WIDTH,
                               .epilogue = {.bias = at[3],
                                            .act = half ? ACT_GELU_TANH : ACT_NONE,
                                            .gate = half ? NULL : at[4],
                                            .gate_ld = WIDTH,
                                            .residual = half ? NULL : at[5],
                                            .residual_ld = WIDTH}};
    size_t scratch = k.matmul.scratch_ld = b->ops->scratch(b, &k);
    k.matmul.scratch = b->ops->allocate(b, scratch, &e);
    struct plan one = {.call = &k, .calls = 1, .backend = b};
    ck_assert_msg(b->ops->run(b, &one, 0, 1, NULL, &e) == 0, "%s", e.text);
    ck_assert_int_eq(b->ops->get(b, half ? (void *)halves : got, at[6], size * (half ? 2 : 4), &e), 0);
    if (half)
        tensor_to_f32(DTYPE_BF16, halves, got, size);
    for (int i = 0; i < LAYER_BLOCKS; i++)
        b->ops->release(b, at[i]);
    b->ops->release(b, k.matmul.scratch);
    mem_free(weights);
}

/* What the library, the device and its user say; whether rows are rounded then. */
static const struct {
    const char *blas, *driver, *libraries;
    int round;
} layers[] = {{"", "", "cublaslt,fp8", 1},
              {"refuse-scales", "", "cublaslt,fp8", 1},
              {"late-scales", "", "cublaslt,fp8", 1},
              {"", "capability=89", "cublaslt,fp8", 1},
              {"", "capability=120", "cublaslt,fp8", 1},
              {"", "capability=86", "cublaslt,fp8", 0},
              {"refuse-fp8", "", "cublaslt,fp8", 0},
              {"absent", "", "cublaslt,fp8", 0},
              {"", "", "cublaslt", 0}};
enum { LAYERS = sizeof layers / sizeof *layers };

START_TEST(products_of_e4m3_are_as_described)
{
    struct backend b;
    struct error e = {0};
    struct layer *l = new_layer();
    float got[IMAGES * ROWS * WIDTH], first[ROWS * WIDTH];
    int half = _i % 2, round = layers[_i / 2].round;
    setenv("HASTEN_BLAS", layers[_i / 2].blas, 1);
    setenv("HASTEN_DRIVER", layers[_i / 2].driver, 1);
    struct team *team = team_open(1, &e);
    ck_assert_msg(open_plugin(&b, layers[_i / 2].libraries, team, &e) == 0, "%s", e.text);
    run_layer(&b, l, IMAGES, half, got);
    run_layer(&b, l, 1, half, first);
    ck_assert_msg(!memcmp(first, got, sizeof first), "an image depends on its batch");
    if (on_device()) /* which may be any */
        round = distance(got, (describe_layer(l, half, 1), l->out), IMAGES * ROWS * WIDTH) < 4e-3;
    describe_layer(l, half, round);
    double d = distance(got, l->out, IMAGES * ROWS * WIDTH);
    ck_assert_msg(d < (half ? 3e-3 : 1e-6), "relative error %g", d);
    describe_layer(l, half, !round);
    ck_assert_msg(distance(got, l->out, IMAGES * ROWS * WIDTH) > 1e-2, "it makes no difference");
    backend_close(&b);
    team_close(team);
}
END_TEST

int main(int argc, char **argv)
{
    use_driver(argc, argv);
    TCase *t = tcase_create("libraries");
    tcase_add_loop_test(t, convolutions_are_the_cpus, 0, 2 * CONVOLUTIONS);
    tcase_add_loop_test(t, attention_is_the_cpus, 0, ATTENTIONS);
    tcase_add_loop_test(t, products_of_e4m3_are_as_described, 0, 2 * LAYERS);
    return run_suite(t, "cuda libraries");
}
