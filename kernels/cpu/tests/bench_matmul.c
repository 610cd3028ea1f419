/* Rates of the matrix products at the shapes of DiT-XL/2 and of U-Nets, on one thread, by its CPU time,
 * beside the peak of multiply-adds measured in the same run. Run by hand: bin/tests/bench-matmul [LEVEL]. */
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

static void *some(size_t bytes)
{
    char *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(p, 0x3c, bytes);
    return p;
}

static double rate(const struct cpu_kernels *k, int int8, int h, int w, int c, int n, int kernel)
{
    struct mm_shape s = {n, kernel, kernel, {c, 0}};
    int64_t rows = (int64_t)h * w, ld = int8 ? (c + 63) / 64 * 64 : c;
    void *weight = some((size_t)n * (size_t)c * (size_t)(kernel * kernel) * 4),
         *packed = some(k->matmul_packed_size(&s, int8));
    void *in = some((size_t)(rows * ld) * 4);
    float *out = some((size_t)(rows * n) * 4), *scale = some((size_t)(rows + n) * 4);
    if (int8)
        k->matmul_pack_int8(packed, weight, &s, 0, n);
    else
        k->matmul_pack(packed, weight, &s, 0, n);
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
                       .source = {{in, c, ld, rows * ld, h, w, 1, scale}},
                       .weights = packed,
                       .column_scale = scale,
                       .int8 = int8,
                       .scale_per_row = kernel == 1,
                       .out = out,
                       .out_ld = n};
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = seconds();
        k->matmul(&m, 0, 1);
        double t = seconds() - start;
        best = t < best ? t : best;
    }
    free(weight), free(packed), free(in), free(out), free(scale);
    return 2.0 * (double)rows * c * n * kernel * kernel / best * 1e-9;
}

int main(int argc, char **argv)
{
    static const struct {
        int h, w, c, n, kernel;
    } shapes[] = {{1, 256, 1152, 1152, 1}, {1, 256, 1152, 4608, 1}, {1, 256, 4608, 1152, 1},
                  {1, 49, 192, 768, 1},    {64, 64, 64, 64, 3},     {64, 64, 320, 320, 3},
                  {32, 32, 640, 640, 3},   {16, 16, 512, 512, 3},   {8, 8, 1280, 1280, 3},
                  {1, 1, 1152, 6912, 1}};
    int level = argc > 1 ? cpu_level_from_name(argv[1]) : (int)cpu_best_level();
    if (level < 0 || level > (int)cpu_best_level())
        return 2;
    printf("%-24s %10s %10s\n", "rows x in x out, kernel", "f32 GF/s", "int8 GOP/s");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        int h = shapes[i].h, w = shapes[i].w, c = shapes[i].c, n = shapes[i].n, kernel = shapes[i].kernel;
        printf("%5d x %4d x %4d, %d    %10.0f %10.0f\n", h * w, c, n, kernel, rate(k, 0, h, w, c, n, kernel),
               rate(k, 1, h, w, c, n, kernel));
    }
    return 0;
}
