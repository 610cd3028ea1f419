/* Rates of the matrix products at the shapes of DiT-XL/2 and of U-Nets, on one thread, by its CPU time, and
 * their share of the peak of multiply-adds measured beside each of them: float, bfloat16, int8, and floats
 * and int8 by Winograd, whose rates are those of the definition's operations. Run by hand:
 * bin/tests/bench-matmul [LEVEL]. With the word linears, after the level: every type of quantize at the
 * linear layers of DiT-XL/2 as a share of the int8 peak, the first two with and without the pass that turns
 * and rounds their inputs. */
#include "kernels/cpu/cpu.h"

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

/* ---- the peak: multiply-adds on twelve registers, each depending on its own last result ---- */

enum { CHAINS = 12 };
#if defined __x86_64__
#define TWELVE(op, r)                                                                                    \
    op " %%" r "12, %%" r "13, %%" r "0\n" op " %%" r "12, %%" r "13, %%" r "1\n" op " %%" r "12, %%" r  \
       "13, %%" r "2\n" op " %%" r "12, %%" r "13, %%" r "3\n" op " %%" r "12, %%" r "13, %%" r "4\n" op \
       " %%" r "12, %%" r "13, %%" r "5\n" op " %%" r "12, %%" r "13, %%" r "6\n" op " %%" r "12, %%" r  \
       "13, %%" r "7\n" op " %%" r "12, %%" r "13, %%" r "8\n" op " %%" r "12, %%" r "13, %%" r "9\n" op \
       " %%" r "12, %%" r "13, %%" r "10\n" op " %%" r "12, %%" r "13, %%" r "11"
#define BLOCK(op, r)                                                                                       \
    __asm__ volatile(TWELVE(op, r)::                                                                       \
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                           "xmm10", "xmm11")
#else
#define BLOCK(op, r) (void)0
#endif

/* Operations per second / 1e9 of the level's widest float or int8 multiply-add; 0 where it has none: below
 * VNNI int8 products are widened, which has no peak of its own. */
enum type { FLOATS, HALVES, BYTES, W4A8, W4A16, W8A16, FP8, TYPES, TURNED = TYPES, TURNED_BYTES };
static const int element[] = {4, 2, 1};
static const char *const names[TYPES] = {"f32", "bf16", "w8a8", "w4a8", "w4a16", "w8a16", "fp8"};
static const enum mm_weights forms[] = {MM_NATIVE, MM_NATIVE, MM_NATIVE,   MM_INT4,         MM_INT4,
                                        MM_INT8,   MM_E4M3,   MM_WINOGRAD, MM_WINOGRAD_INT8};

static int rounds(enum type type) { return type == BYTES || type == W4A8 || type == TURNED_BYTES; }

static double peak(enum cpu_level level, enum type type)
{
    enum { TURNS = 500 * 1000 };
    if (level == CPU_REF || (type == BYTES && level < CPU_AVX512_VNNI) ||
        (type == HALVES && level < CPU_AVX512_BF16))
        return 0;
#if defined __x86_64__ /* zeros, so that no denormal slows anything down */
    __asm__ volatile("vpxor %%xmm12, %%xmm12, %%xmm12\nvpxor %%xmm13, %%xmm13, %%xmm13" ::: "xmm12", "xmm13");
#endif
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double start = seconds();
        for (int t = 0; t < TURNS; t++)
            if (type == HALVES)
                BLOCK("vdpbf16ps", "zmm");
            else if (type == BYTES)
                BLOCK("vpdpbusd", "zmm");
            else if (level == CPU_AVX2)
                BLOCK("vfmadd231ps", "ymm");
            else
                BLOCK("vfmadd231ps", "zmm");
        double t = seconds() - start;
        best = t < best ? t : best;
    }
    return 2e-9 * (level == CPU_AVX2 ? 8 : 16) * (4 / element[type]) * CHAINS * TURNS / best;
}

static void *some(size_t bytes)
{
    char *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(p, 0x3c, bytes);
    return p;
}

static void *pack(const struct cpu_kernels *k, enum type type, const struct mm_shape *s, int group)
{
    size_t numbers = (size_t)s->n * (size_t)s->channels[0] * (size_t)(s->kernel_h * s->kernel_w);
    void *weight = some(numbers * 4), *packed = NULL;
    float levels[16];
    for (int i = 0; i < 16; i++)
        levels[i] = (float)i - 7.5f;
    if (forms[type] == MM_INT4) {
        struct mm_int4 four = {weight, weight, levels, s->n, s->channels[0], group};
        packed = some(k->matmul_int4_size(s->n, s->channels[0], group));
        k->matmul_pack_int4(packed, &four, 0, s->n);
    } else if (type == HALVES) {
        packed = some(k->matmul_bf16_size(s));
        k->matmul_pack_bf16(packed, weight, s, 0, s->n);
    } else if (type == TURNED || type == TURNED_BYTES) {
        packed = some(k->winograd_size(s, rounds(type)));
        k->winograd_pack(packed, weight, s, rounds(type), 0, s->n);
    } else if (type == FLOATS) {
        packed = some(k->matmul_packed_size(s, 0));
        k->matmul_pack(packed, weight, s, 0, s->n);
    } else {
        packed = some(k->matmul_packed_size(s, 1));
        k->matmul_pack_int8(packed, weight, s, 0, s->n);
    }
    free(weight);
    return packed;
}

/* pass: rows of float inputs are turned and rounded first. */
static double rate(const struct cpu_kernels *k, enum type type, int h, int w, int c, int n, int kernel,
                   int pass)
{
    struct mm_shape s = {n, kernel, kernel, {c, 0}};
    int group = type == W4A16 ? 64 : 16;
    int64_t rows = (int64_t)h * w, ld = rounds(type) ? (c + 63) / 64 * 64 : c;
    void *packed = pack(k, type, &s, group), *in = some((size_t)(rows * ld) * 4);
    float *out = some((size_t)(rows * n) * 4), *scale = some((size_t)(2 * rows + n) * 4);
    float *x = some((size_t)(rows * c) * 4);
    struct matmul m = {.images = 1,
                       .out_height = h,
                       .out_width = w,
                       .n = n,
                       .kernel_h = kernel,
                       .kernel_w = kernel,
                       .stride = 1,
                       .pad_top = kernel / 2,
                       .pad_left = kernel / 2,
                       .sources = 1,
                       .source = {{in, c, ld, rows * ld, h, w, 1, (const struct code_scale *)(scale + n)}},
                       .weights = packed,
                       .column_scale = scale,
                       .int8 = rounds(type),
                       .bf16 = type == HALVES,
                       .form = forms[type],
                       .group = group,
                       .scale_per_row = kernel == 1,
                       .out = out,
                       .out_ld = n};
    struct row_norm quantize = {.x = x,
                                .x_ld = c,
                                .images = 1,
                                .rows_per_image = (int)rows,
                                .channels = c,
                                .rotate = c % 256 == 0  ? 256
                                          : c % 64 == 0 ? 64
                                                        : 16,
                                .codes = in,
                                .codes_ld = ld,
                                .row_scale = (struct code_scale *)(scale + n)};
    m.scratch_ld = forms[type] == MM_NATIVE ? 0 : k->matmul_scratch(&m);
    m.scratch = some(m.scratch_ld + 64);
    double best = 1e9;
    for (double begin = seconds(); seconds() - begin < 0.05;) {
        double start = seconds();
        if (pass)
            k->row_norm(&quantize, 0, 1);
        k->matmul(&m, 0, 1);
        double t = seconds() - start;
        best = t < best ? t : best;
    }
    free(packed), free(in), free(out), free(scale), free(x), free(m.scratch);
    return 2.0 * (double)rows * c * n * kernel * kernel / best * 1e-9;
}

static void print(enum cpu_level level, enum type type, double rate)
{
    double top = peak(level, type);
    if (top > 0)
        printf("   %6.0f %5.1f %%", rate, 100 * rate / top);
    else
        printf("   %6.0f        ", rate);
}

static void print_linears(enum cpu_level level)
{
    static const int shapes[][2] = {{1152, 3456}, {1152, 1152}, {1152, 4608}, {4608, 1152}};
    const struct cpu_kernels *k = cpu_kernels(level);
    printf("%-20s  int8 peak", "rows x in x out");
    for (int type = BYTES; type < TYPES; type++)
        printf(rounds((enum type)type) ? "   %5s, with its pass" : "   %5s", names[type]);
    printf("   of the float peak: w4a16 w8a16   fp8\n");
    for (int rows = 256; rows <= 512; rows *= 2)
        for (int i = 0; i < 4; i++) {
            int c = shapes[i][0], n = shapes[i][1];
            double top = peak(level, BYTES), floats = peak(level, FLOATS), got[TYPES];
            printf("%5d x %4d x %4d   %6.0f   ", rows, c, n, top);
            for (int type = BYTES; type < TYPES; type++) {
                got[type] = rate(k, (enum type)type, 1, rows, c, n, 1, 0);
                printf(" %5.1f %%", top > 0 ? 100 * got[type] / top : 0);
                if (rounds((enum type)type))
                    printf(" %11.1f %%  ",
                           top > 0 ? 100 * rate(k, (enum type)type, 1, rows, c, n, 1, 1) / top : 0);
            }
            printf("   (%.0f GF/s)", floats);
            for (int type = W4A16; type < TYPES; type++)
                printf(" %5.1f %%", floats > 0 ? 100 * got[type] / floats : 0);
            printf("\n");
        }
}

int main(int argc, char **argv)
{
    static const struct {
        int h, w, c, n, kernel;
    } shapes[] = {
        {1, 256, 1152, 1152, 1}, {1, 256, 1152, 3456, 1}, {1, 256, 1152, 4608, 1}, {1, 256, 4608, 1152, 1},
        {1, 512, 1152, 4608, 1}, {1, 49, 192, 768, 1},    {1, 1, 1152, 6912, 1},   {64, 64, 64, 64, 3},
        {64, 64, 320, 320, 3},   {32, 32, 640, 640, 3},   {16, 16, 1280, 1280, 3}, {8, 8, 1280, 1280, 3},
        {64, 64, 4, 320, 3},     {64, 64, 320, 4, 3},
    };
    int level = argc > 1 ? cpu_level_from_name(argv[1]) : (int)cpu_best_level();
    if (level < 0 || level > (int)cpu_best_level())
        return 2;
    if (argc > 2 && !strcmp(argv[2], "linears")) {
        print_linears((enum cpu_level)level);
        return 0;
    }
    printf("%-22s   f32 GF/s  of peak  bf16 GF/s  of peak int8 GOP/s of peak  Winograd f32, int8\n",
           "rows x in x out, kernel");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        int h = shapes[i].h, w = shapes[i].w, c = shapes[i].c, n = shapes[i].n, kernel = shapes[i].kernel;
        printf("%5d x %4d x %4d, %d", h * w, c, n, kernel);
        for (int type = FLOATS; type <= BYTES; type++)
            print((enum cpu_level)level, (enum type)type, rate(k, (enum type)type, h, w, c, n, kernel, 0));
        if (kernel == 3)
            print((enum cpu_level)level, FLOATS, rate(k, TURNED, h, w, c, n, kernel, 0));
        if (kernel == 3 && k->winograd_size(&(struct mm_shape){n, 3, 3, {c, 0}}, 1) > 0)
            print((enum cpu_level)level, BYTES, rate(k, TURNED_BYTES, h, w, c, n, kernel, 0));
        printf("\n");
    }
    return 0;
}
