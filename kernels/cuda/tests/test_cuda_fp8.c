/* Products of e4m3 without a device: rows become the nearest codes, and what is asked of the library. What it
 * makes of that is in test_cuda_libraries of common/run and in cuda_fp8 of tools/tests. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/tests/cuda_test.h"

/* Images, rows, channels; numbers from row to row and beyond the rows from image to image. */
static const int sizes[][5] = {{1, 1, 1, 1, 0},     {2, 5, 16, 16, 0},     {3, 4, 72, 80, 3},
                               {2, 3, 130, 131, 1}, {1, 9, 1152, 1152, 0}, {2, 2, 4, 4, 8}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct matmul layer(const int *s)
{
    return (struct matmul){.images = s[0],
                           .out_height = 1,
                           .out_width = s[1],
                           .n = 48,
                           .kernel_h = 1,
                           .kernel_w = 1,
                           .stride = 1,
                           .sources = 1,
                           .source = {{NULL, s[2], s[3], (int64_t)s[1] * s[3] + s[4], 1, s[1], 1, NULL}},
                           .weights = (void *)0x2000,
                           .form = MM_E4M3,
                           .column_scale = (void *)0x3000,
                           .out = (void *)0x4000,
                           .out_ld = 48,
                           .epilogue = {.bias = (void *)0x5000}};
}

/* The nearest code; of two the even one. */
static int nearest(float x)
{
    int best = 0;
    double least = INFINITY;
    for (int code = 0; code < 256; code++) {
        double d = fabs((double)mm_e4m3((uint8_t)code) - (double)x);
        if ((code & 127) != 127 && (d < least || (d == least && best % 2 == 1)))
            least = d, best = code;
    }
    return mm_e4m3((uint8_t)best) == 0 && signbit(x) ? 128 : best;
}

/* Numbers over all of the codes' range, small ones (steps of 2^-9) and borders between codes among them. */
static float number(unsigned *state, int i)
{
    float x = (float)(noise(state) * 448);
    return i % 5 == 0   ? x / 65536
           : i % 5 == 1 ? mm_e4m3((uint8_t)(i % 126)) + mm_e4m3((uint8_t)(i % 126 + 1))
                        : x;
}

START_TEST(rows_become_the_nearest_codes)
{
    const int *s = sizes[_i / 2];
    int half = _i % 2 && s[2] % 2 == 0;
    struct matmul m = layer(s);
    struct cuda_product p;
    struct cuda_launches before, after;
    unsigned state = (unsigned)_i + 1;
    int64_t rows = (int64_t)s[0] * s[1], k = (s[2] + 15) / 16 * 16, count = s[0] * m.source[0].image_ld;
    float *x = calloc((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = number(&state, (int)i);
    memset(x, 0, (size_t)s[2] * sizeof *x); /* the first row: nothing but zeros */
    if (half)
        round_to_bf16(x, count);
    uint16_t *short_x = halves(x, count);
    m.source[0].data = half ? (void *)short_x : x;
    m.bf16 = half;
    m.scratch = aligned_alloc(256, (cuda_fp8_scratch(&m) + 255) / 256 * 256);
    memset(m.scratch, 0xff, cuda_fp8_scratch(&m));
    ck_assert(cuda_fp8_product(&m, NULL, CUDA_BARE, &p, &before, &after));
    ck_assert_int_eq(before.count, 1);
    run_launches(&before, (unsigned)_i);
    const struct finish_args *a = (const void *)after.launch[0].args;
    const uint8_t *codes = p.in;
    for (int64_t row = 0; row < rows; row++) {
        const float *from = x + row / s[1] * m.source[0].image_ld + row % s[1] * s[3];
        float most = 0;
        for (int c = 0; c < s[2]; c++)
            most = fmaxf(most, fabsf(from[c]));
        float scale = most / 448, inverse = scale > 0 ? 1 / scale : 0;
        ck_assert_float_eq(a->row_scale[row], scale);
        for (int c = 0; c < k; c++) {
            int want = c < s[2] ? nearest(from[c] * inverse) : 0;
            ck_assert_msg(codes[row * p.in_ld + c] == want, "row %d, channel %d of %d: %g is %d, not %d",
                          (int)row, c, s[2], (double)(from[c] * inverse), codes[row * p.in_ld + c], want);
        }
    }
    free(x), free(short_x), free(m.scratch);
}
END_TEST

/* What is not finite must not become a number. */
START_TEST(what_is_not_finite_stays_so)
{
    int s[] = {1, 4, 40, 40, 0};
    struct matmul m = layer(s);
    struct cuda_product p;
    struct cuda_launches before, after;
    float *x = floats(160, 7, 1, 0);
    x[3] = INFINITY, x[80 + 39] = NAN, x[41] = 1e-44f;
    for (int i = 42; i < 80; i++)
        x[i] = x[40] = 0;
    m.source[0].data = x;
    m.scratch = aligned_alloc(256, (cuda_fp8_scratch(&m) + 255) / 256 * 256);
    ck_assert(cuda_fp8_product(&m, NULL, CUDA_BARE, &p, &before, &after));
    run_launches(&before, 5);
    const struct finish_args *a = (const void *)after.launch[0].args;
    ck_assert(isnan(a->row_scale[0]) && isnan(a->row_scale[2]) && isfinite(a->row_scale[3]));
    for (int c = 0; c < 48; c++) /* too small for a scale with an inverse */
        ck_assert_int_eq(((const uint8_t *)p.in)[p.in_ld + c], 0);
    free(x), free(m.scratch);
}
END_TEST

START_TEST(what_is_asked_of_the_library)
{
    int s[] = {2, 16, 72, 72, 0};
    struct matmul m = layer(s);
    struct cuda_product p;
    struct cuda_launches before, after;
    m.source[0].data = (void *)0x1000;
    m.scratch = (void *)0x10010;
    /* Floats, and whatever has more behind it than a bias and GELU, are finished by a kernel. */
    ck_assert(!cuda_fp8_product(&m, (void *)0x6000, CUDA_WHOLE, &p, &before, &after));
    ck_assert(cuda_fp8_product(&m, (void *)0x6000, CUDA_BARE, &p, &before, &after));
    ck_assert(p.e4m3 && p.rows == 32 && p.n == 48 && p.k == 80 && p.in_ld == 80 && p.weights_ld == 128);
    ck_assert(!p.row_scale && !p.column_scale && !p.bias && !p.out_bf16 && p.out_ld == 48);
    ck_assert(before.count == 1 && after.count == 1);
    ck_assert_uint_ge((uintptr_t)m.scratch + cuda_fp8_scratch(&m),
                      (uintptr_t)p.out + 32 * 48 * sizeof(float));
    m.out = NULL, m.out_bf16 = (void *)0x4000, m.out_bf16_ld = 48, m.epilogue.act = ACT_GELU_TANH;
    ck_assert(cuda_fp8_product(&m, (void *)0x6000, CUDA_WHOLE, &p, &before, &after));
    ck_assert(p.row_scale && p.column_scale == (void *)0x3000 && p.bias == (void *)0x6000 && p.gelu);
    ck_assert(p.out == (void *)0x4000 && p.out_bf16 && before.count == 1 && after.count == 0);
    m.epilogue.gate = (void *)0x7000;
    ck_assert(!cuda_fp8_product(&m, (void *)0x6000, CUDA_WHOLE, &p, &before, &after));
    /* Each of these alone is enough for an own kernel. */
    struct matmul bad[8];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = m;
    bad[0].form = MM_INT8;
    bad[1].n = 40;
    bad[2].kernel_w = 3;
    bad[3].stride = 2;
    bad[4].sources = 2, bad[4].source[1].channels = 8;
    bad[5].weights = (void *)0x2008;
    bad[6].source[0].upsample = 2;
    bad[7].pad_left = 1;
    for (int i = 0; i < 8; i++)
        ck_assert_msg(!cuda_fp8_product(&bad[i], NULL, CUDA_BARE, &p, &before, &after), "change %d", i);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("fp8");
    tcase_add_loop_test(t, rows_become_the_nearest_codes, 0, 2 * SIZES);
    tcase_add_test(t, what_is_not_finite_stays_so);
    tcase_add_test(t, what_is_asked_of_the_library);
    return run_suite(t, "cuda fp8");
}
