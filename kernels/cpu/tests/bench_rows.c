/* Rates of the kernels that are not products, on one thread, by its CPU time: GB/s of bytes that must move
 * (operands once in, results once out; a group norm reads its input twice, three times with codes) beside
 * those of a plain copy of the same size, and GF/s of attention in float, bfloat16 and with int8 scores (4
 * flops for each query, key and element of a head; masked pairs count). Run by hand: bin/tests/bench-rows
 * [LEVEL]. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *some(size_t bytes)
{
    float *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    for (size_t i = 0; i < bytes / sizeof *p; i++)
        p[i] = (float)(i * 2654435761u % 4096) / 2048.0f - 1;
    return p;
}

struct job {
    const struct cpu_kernels *k;
    struct row_norm row_norm;
    struct group_norm group_norm;
    struct image_quantize quantize;
    struct attention attention;
    struct elementwise elementwise;
    const float *from;
    float *to;
    size_t bytes;
};

typedef void bench_fn(const struct job *j);

static void do_copy(const struct job *j) { memcpy(j->to, j->from, j->bytes); }
static void do_row_norm(const struct job *j) { j->k->row_norm(&j->row_norm, 0, 1); }
static void do_elementwise(const struct job *j) { j->k->elementwise(&j->elementwise, 0, 1); }
static void do_attention(const struct job *j) { j->k->attention(&j->attention, 0, 1); }

static void do_group_norm(const struct job *j)
{
    for (int phase = 0; phase < (j->group_norm.codes[0] ? 4 : 3); phase++)
        j->k->group_norm(&j->group_norm, phase, 0, 1);
}

static void do_quantize(const struct job *j)
{
    for (int phase = 0; phase < 2; phase++)
        j->k->image_quantize(&j->quantize, phase, 0, 1);
}

/* The fastest of a few runs: noise only ever adds. */
static double best_of(bench_fn *fn, const struct job *j)
{
    double best = 1e9, spent = 0;
    for (int i = 0; i < 200 && (i < 3 || spent < 0.15); i++) {
        double start = seconds();
        fn(j);
        double t = seconds() - start;
        spent += t;
        best = t < best ? t : best;
    }
    return best;
}

static void bench_rows(const struct cpu_kernels *k, int rows, int channels)
{
    int64_t n = (int64_t)rows * channels, codes_ld = (channels + 63) / 64 * 64;
    float *x = some((size_t)n * 4), *y = some((size_t)n * 4), *mod = some((size_t)channels * 8),
          *scale = some((size_t)rows * 8);
    uint8_t *codes = some((size_t)(rows * codes_ld));
    struct job j = {.k = k, .from = x, .to = y, .bytes = (size_t)n * 4};
    j.row_norm = (struct row_norm){.x = x,
                                   .x_ld = channels,
                                   .images = 1,
                                   .rows_per_image = rows,
                                   .channels = channels,
                                   .norm = 1,
                                   .eps = 1e-6f,
                                   .scale = mod,
                                   .shift = mod + channels,
                                   .mod_ld = 2 * channels,
                                   .out = y,
                                   .out_ld = channels};
    double copy = 8.0 * (double)n / best_of(do_copy, &j), norm = 8.0 * (double)n / best_of(do_row_norm, &j);
    j.row_norm.out = NULL;
    j.row_norm.codes = codes, j.row_norm.codes_ld = codes_ld,
    j.row_norm.row_scale = (struct code_scale *)scale;
    double coded = 5.0 * (double)n / best_of(do_row_norm, &j);
    j.row_norm.norm = 0, j.row_norm.scale = j.row_norm.shift = NULL;
    double plain = 5.0 * (double)n / best_of(do_row_norm, &j);
    j.elementwise = (struct elementwise){.a = x,
                                         .a_ld = channels,
                                         .images = 1,
                                         .rows_per_image = rows,
                                         .channels = channels,
                                         .b = y,
                                         .b_ld = channels,
                                         .out = y,
                                         .out_ld = channels};
    double add = 12.0 * (double)n / best_of(do_elementwise, &j);
    j.elementwise.b = NULL;
    j.elementwise.act = ACT_GELU_TANH;
    double gelu = 8.0 * (double)n / best_of(do_elementwise, &j);
    printf("%5d x %4d  copy %5.1f  norm %5.1f  norm+codes %5.1f  codes %5.1f  add %5.1f  gelu %5.1f\n", rows,
           channels, copy * 1e-9, norm * 1e-9, coded * 1e-9, plain * 1e-9, add * 1e-9, gelu * 1e-9);
    free(x), free(y), free(mod), free(scale), free(codes);
}

static void bench_images(const struct cpu_kernels *k, int pixels, int channels, int groups)
{
    int64_t n = (int64_t)pixels * channels, codes_ld = (channels + 63) / 64 * 64;
    float *x = some((size_t)n * 4), *y = some((size_t)n * 4), *weight = some((size_t)channels * 4);
    struct code_scale scale;
    uint8_t *codes = some((size_t)(pixels * codes_ld));
    struct job j = {.k = k};
    j.group_norm = (struct group_norm){.x = {x},
                                       .x_ld = {channels},
                                       .channels = {channels},
                                       .images = 1,
                                       .pixels = pixels,
                                       .groups = groups,
                                       .eps = 1e-6f,
                                       .weight = weight,
                                       .bias = weight,
                                       .act = ACT_SILU,
                                       .out = y,
                                       .out_ld = channels};
    j.group_norm.workspace = some(group_norm_workspace(&j.group_norm) * sizeof(float));
    double norm = 12.0 * (double)n / best_of(do_group_norm, &j);
    j.group_norm.out = NULL;
    j.group_norm.codes[0] = codes, j.group_norm.codes_ld[0] = codes_ld, j.group_norm.image_scale[0] = &scale;
    double coded = 13.0 * (double)n / best_of(do_group_norm, &j);
    j.quantize = (struct image_quantize){
        x, channels, 1, pixels, channels, codes, codes_ld, &scale, j.group_norm.workspace};
    double plain = 9.0 * (double)n / best_of(do_quantize, &j);
    printf("%5d x %4d / %2d  group norm+silu %5.1f  +codes %5.1f  image codes %5.1f\n", pixels, channels,
           groups, norm * 1e-9, coded * 1e-9, plain * 1e-9);
    free(x), free(y), free(weight), free(codes), free(j.group_norm.workspace);
}

static void bench_attention(const struct cpu_kernels *k, int heads, int dim, int queries, int keys,
                            int causal)
{
    int64_t ld = 3 * heads * dim, most = queries > keys ? queries : keys;
    size_t results = (size_t)(queries * heads * dim);
    float *qkv = some((size_t)(most * ld) * 4), *out = some(results * 4), *half_out = some(results * 4);
    uint16_t *half = some((size_t)(most * ld) * 2);
    unsigned state = 1;
    for (int64_t i = 0; i < most * ld; i++) { /* values that both forms hold, scores of size 1 */
        state = state * 1664525u + 1013904223u;
        uint32_t bits;
        qkv[i] = (float)((int)(state >> 24) - 128) / 64;
        memcpy(&bits, qkv + i, sizeof bits);
        half[i] = (uint16_t)(bits >> 16);
    }
    struct job j = {.k = k};
    j.attention = (struct attention){.q = qkv,
                                     .k = qkv + heads * dim,
                                     .v = qkv + 2 * heads * dim,
                                     .q_ld = ld,
                                     .k_ld = ld,
                                     .v_ld = ld,
                                     .images = 1,
                                     .heads = heads,
                                     .head_dim = dim,
                                     .queries = queries,
                                     .keys = keys,
                                     .causal = causal,
                                     .scale = 1 / sqrtf((float)dim),
                                     .out = out,
                                     .out_ld = heads * dim};
    j.attention.scratch_ld = attention_scratch(&j.attention);
    j.attention.scratch = some(j.attention.scratch_ld * sizeof(float));
    double flops = 4.0 * heads * dim * (double)queries * keys;
    printf("%2d heads x %3d, %4d queries x %4d keys%s  %6.1f GF/s", heads, dim, queries, keys,
           causal ? ", causal" : "", flops / best_of(do_attention, &j) * 1e-9);
    j.attention.q = j.attention.k = j.attention.v = NULL;
    j.attention.q_bf16 = half;
    j.attention.k_bf16 = half + heads * dim;
    j.attention.v_bf16 = half + 2 * heads * dim;
    j.attention.out = half_out;
    for (int int8 = 0; int8 < (dim > 128 ? 1 : 2); int8++) {
        j.attention.int8_scores = int8;
        double rate = flops / best_of(do_attention, &j) * 1e-9, off = 0, all = 0;
        for (size_t i = 0; i < results; i++) {
            off += (half_out[i] - out[i]) * (double)(half_out[i] - out[i]);
            all += out[i] * (double)out[i];
        }
        printf("   %s %6.1f GF/s, relative error %.1e", int8 ? "int8 scores" : "bfloat16", rate,
               sqrt(off / all));
    }
    puts("");
    free(qkv), free(out), free(half), free(half_out), free(j.attention.scratch);
}

int main(int argc, char **argv)
{
    static const struct {
        int heads, dim, queries, keys, causal;
    } attentions[] = {{16, 72, 256, 256, 0},   {16, 64, 256, 256, 0},  {6, 64, 1024, 1024, 0},
                      {1, 64, 4096, 4096, 0},  {2, 72, 1024, 1024, 0}, {1, 72, 4096, 4096, 0},
                      {1, 40, 4096, 4096, 0},  {8, 40, 1024, 77, 0},   {8, 160, 64, 64, 0},
                      {1, 512, 1024, 1024, 0}, {12, 64, 77, 77, 1},    {4, 16, 49, 49, 0}};
    int level = argc > 1 ? cpu_level_from_name(argv[1]) : (int)cpu_best_level();
    if (level < 0 || level > (int)cpu_best_level())
        return 2;
    const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
    printf("GB/s, %s:\n", cpu_level_name(k->level));
    bench_rows(k, 256, 1152);
    bench_rows(k, 4096, 320);
    bench_rows(k, 16384, 1152);
    bench_images(k, 4096, 320, 32);
    bench_images(k, 1024, 640, 32);
    bench_images(k, 64, 1280, 32);
    bench_images(k, 784, 32, 8);
    bench_images(k, 65536, 128, 32);
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
        bench_attention(k, attentions[i].heads, attentions[i].dim, attentions[i].queries, attentions[i].keys,
                        attentions[i].causal);
    return 0;
}
