/* Types, sizes and conversions. The oracle is the definition: the value of every code of a narrow float is
 * computed from its bits with ldexp, and rounding is checked against a search for the nearest of them. The
 * same rules were compared with PyTorch 2.15 over 10^9 float32 patterns when they were written (F8_E4M3
 * clamps there as well). */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/file/tensor.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct format {
    enum dtype dtype;
    int bits, man, bias;
    int ieee; /* all-ones exponent: infinity and NaN */
};

static const struct format formats[] = {{DTYPE_F16, 16, 10, 15, 1},
                                        {DTYPE_BF16, 16, 7, 127, 1},
                                        {DTYPE_F8_E4M3, 8, 3, 7, 0},
                                        {DTYPE_F8_E5M2, 8, 2, 15, 1}};

/* The value of a code without its sign. */
static double value_of(const struct format *f, unsigned code)
{
    int exponent = (int)(code >> f->man), top = (1 << (f->bits - 1 - f->man)) - 1;
    double m = code & ((1u << f->man) - 1);
    if (f->ieee && exponent == top)
        return m > 0 ? (double)NAN : (double)INFINITY;
    if (!f->ieee && code == (1u << (f->bits - 1)) - 1)
        return (double)NAN;
    return exponent == 0 ? ldexp(m, 1 - f->bias - f->man)
                         : ldexp(m + (1 << f->man), exponent - f->bias - f->man);
}

static unsigned convert(const struct format *f, float x)
{
    uint16_t wide = 0;
    uint8_t narrow = 0;
    if (f->bits == 16)
        tensor_from_f32(f->dtype, &x, &wide, 1);
    else
        tensor_from_f32(f->dtype, &x, &narrow, 1);
    return f->bits == 16 ? wide : narrow;
}

START_TEST(widening_is_exact)
{
    const struct format *f = &formats[_i];
    unsigned codes = 1u << f->bits;
    uint16_t *wide = malloc(codes * sizeof *wide);
    uint8_t *narrow = malloc(codes);
    float *out = malloc(codes * sizeof *out);
    for (unsigned c = 0; c < codes; c++) {
        wide[c] = (uint16_t)c;
        narrow[c] = (uint8_t)c;
    }
    tensor_to_f32(f->dtype, f->bits == 16 ? (void *)wide : (void *)narrow, out, codes);
    for (unsigned c = 0; c < codes; c++) {
        double v = value_of(f, c & (codes / 2 - 1));
        ck_assert_msg(isnan(v) ? isnan(out[c]) : (double)fabsf(out[c]) == v, "code %x: %a", c,
                      (double)out[c]);
        ck_assert_int_eq(signbit(out[c]) != 0, c >= codes / 2);
    }
    free(wide), free(narrow), free(out);
}
END_TEST

/* Codes without sign are in the order of their values: the nearest by bisection, ties to the even code. */
static unsigned nearest(const struct format *f, double x)
{
    unsigned low = 0, high = 1u << (f->bits - 1);
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        double v = value_of(f, middle);
        if (!isnan(v) && v <= x)
            low = middle;
        else
            high = middle;
    }
    double below = value_of(f, low), above = value_of(f, low + 1);
    if (isinf(below) || x == below)
        return low;
    if (isnan(above)) /* the largest of a format without infinity: it clamps */
        return low;
    if (isinf(above)) /* rounds as if the exponent went on */
        above = 2 * value_of(f, (low + 1) & ~((1u << f->man) - 1u) ? low + 1 - (1u << f->man) : 0);
    if (x - below != above - x)
        return x - below < above - x ? low : low + 1;
    return low & 1 ? low + 1 : low;
}

static void check_rounding(const struct format *f, float x)
{
    if (isnan(x))
        return;
    unsigned sign = signbit(x) ? 1u << (f->bits - 1) : 0, got = convert(f, x);
    unsigned want = isinf(x) ? (f->ieee ? (1u << (f->bits - 1)) - (1u << f->man) : (1u << (f->bits - 1)) - 2)
                             : nearest(f, fabs((double)x));
    ck_assert_msg(got == (want | sign), "%a (%.9g): %x, expected %x", (double)x, (double)x, got, want | sign);
}

START_TEST(narrowing_rounds_to_nearest_even)
{
    const struct format *f = &formats[_i];
    unsigned codes = 1u << (f->bits - 1);
    /* All codes, all midpoints, and the float32 numbers beside them. */
    for (unsigned c = 0; c + 1 < codes; c++) {
        double low = value_of(f, c), high = value_of(f, c + 1);
        if (isnan(low) || isnan(high))
            break;
        if (isinf(high))
            high = 2 * value_of(f, c + 1 - (1u << f->man));
        if (isinf(low))
            break;
        float points[2] = {(float)low, (float)((low + high) / 2)};
        for (int p = 0; p < 2; p++)
            for (int sign = -1; sign <= 1; sign += 2) {
                check_rounding(f, (float)sign * points[p]);
                check_rounding(f, (float)sign * nextafterf(points[p], INFINITY));
                check_rounding(f, (float)sign * nextafterf(points[p], -1));
            }
    }
    uint32_t state = 3;
    for (int i = 0; i < 300000; i++) {
        float x;
        state = state * 1664525u + 1013904223u;
        memcpy(&x, &state, sizeof x);
        check_rounding(f, x);
    }
    float special[] = {0,     -0.0f, INFINITY, -INFINITY, 3.4e38f, 65504, 65519.99f,
                       65520, 448,   464,      480,       1e-45f,  1e-38f};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        check_rounding(f, special[i]);
}
END_TEST

START_TEST(nan_stays_nan)
{
    const struct format *f = &formats[_i];
    static const uint32_t patterns[] = {0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001,
                                        0x7FFFFFFF, 0x7F801000, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        float x;
        memcpy(&x, &patterns[i], sizeof x);
        unsigned code = convert(f, x);
        ck_assert_msg(isnan(value_of(f, code & ((1u << (f->bits - 1)) - 1))), "%08x became %x", patterns[i],
                      code);
        ck_assert_int_eq(code >> (f->bits - 1), patterns[i] >> 31);
    }
}
END_TEST

START_TEST(integers_clamp_and_round)
{
    float in[] = {0, 1.5f, 2.5f, -2.5f, -0.5f, 127.6f, 1e30f, -1e30f, NAN, 255.4f, 300, -3};
    int8_t i8[12], want8[] = {0, 2, 2, -2, 0, 127, 127, -128, 0, 127, 127, -3};
    uint8_t u8[12], wantu[] = {0, 2, 2, 0, 0, 128, 255, 0, 0, 255, 255, 0};
    int16_t i16[12], want16[] = {0, 2, 2, -2, 0, 128, 32767, -32768, 0, 255, 300, -3};
    int32_t i32[12];
    int64_t i64[12];
    uint8_t b[12];
    double d[12];
    tensor_from_f32(DTYPE_I8, in, i8, 12);
    tensor_from_f32(DTYPE_U8, in, u8, 12);
    tensor_from_f32(DTYPE_I16, in, i16, 12);
    tensor_from_f32(DTYPE_I32, in, i32, 12);
    tensor_from_f32(DTYPE_I64, in, i64, 12);
    tensor_from_f32(DTYPE_BOOL, in, b, 12);
    tensor_from_f32(DTYPE_F64, in, d, 12);
    ck_assert_mem_eq(i8, want8, sizeof want8);
    ck_assert_mem_eq(u8, wantu, sizeof wantu);
    ck_assert_mem_eq(i16, want16, sizeof want16);
    ck_assert(i32[6] == INT32_MAX && i32[7] == INT32_MIN && i32[8] == 0 && i32[3] == -2);
    ck_assert(i64[6] == INT64_MAX && i64[7] == INT64_MIN && i64[8] == 0 && i64[10] == 300);
    ck_assert(b[0] == 0 && b[1] == 1 && b[8] == 1 && b[4] == 1);
    ck_assert(d[1] == 1.5 && isnan(d[8]));
    float back[12];
    tensor_to_f32(DTYPE_I8, i8, back, 12);
    ck_assert(back[7] == -128 && back[5] == 127);
    tensor_to_f32(DTYPE_I64, (int64_t[]){16777217, -5}, back, 2);
    ck_assert(back[0] == 16777216 && back[1] == -5);
    tensor_to_f32(DTYPE_I32, (int32_t[]){16777219}, back, 1);
    ck_assert(back[0] == 16777220);
    tensor_to_f32(DTYPE_I16, (int16_t[]){-32768}, back, 1);
    ck_assert(back[0] == -32768);
    tensor_to_f32(DTYPE_U8, (uint8_t[]){255}, back, 1);
    ck_assert(back[0] == 255);
    tensor_to_f32(DTYPE_BOOL, (uint8_t[]){0, 7}, back, 2);
    ck_assert(back[0] == 0 && back[1] == 1);
    tensor_to_f32(DTYPE_F64, (double[]){0.1}, back, 1);
    ck_assert(back[0] == 0.1f);
    tensor_to_f32(DTYPE_F32, NULL, NULL, 0);
}
END_TEST

START_TEST(names_and_sizes)
{
    static const size_t sizes[DTYPE_COUNT] = {4, 2, 2, 8, 8, 4, 2, 1, 1, 1, 1, 1};
    for (int d = 0; d < DTYPE_COUNT; d++) {
        ck_assert_int_eq(dtype_find(dtype_name((enum dtype)d)), d);
        ck_assert_uint_eq(dtype_size((enum dtype)d), sizes[d]);
    }
    ck_assert_int_eq(dtype_find("f32"), -1);
    ck_assert_int_eq(dtype_find("U64"), -1);
    ck_assert_int_eq(dtype_find(""), -1);
    ck_assert(dtype_is_float(DTYPE_F8_E4M3) && !dtype_is_float(DTYPE_I8));
}
END_TEST

START_TEST(measuring_does_not_wrap)
{
    static const struct {
        int rank;
        int64_t shape[TENSOR_MAX_RANK];
        enum dtype dtype;
        size_t count;
        const char *message;
    } all[] = {
        {0, {0}, DTYPE_F32, 1, NULL},
        {2, {3, 5}, DTYPE_F16, 15, NULL},
        {2, {0, 5}, DTYPE_F16, 0, NULL},
        {8, {1, 2, 1, 2, 1, 2, 1, 2}, DTYPE_I8, 16, NULL},
        {1, {INT64_MAX}, DTYPE_U8, INT64_MAX, NULL},
        {1, {INT64_MAX / 4 + 1}, DTYPE_F32, 0, "more bytes than"},
        {2, {(int64_t)1 << 32, (int64_t)1 << 32}, DTYPE_U8, 0, "more bytes than"},
        {2, {(int64_t)1 << 33, (int64_t)1 << 31}, DTYPE_U8, 0, "more bytes than"},
        {3, {0, (int64_t)1 << 40, (int64_t)1 << 40}, DTYPE_U8, 0, "more bytes than"},
        {2, {2, -1}, DTYPE_F32, 0, "dimension 1 is -1"},
        {9, {0}, DTYPE_F32, 0, "has 9 dimensions"},
        {-1, {0}, DTYPE_F32, 0, "has -1 dimensions"},
        {1, {1}, DTYPE_COUNT, 0, "no known type"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct tensor t = {.name = "w", .dtype = all[i].dtype, .rank = all[i].rank};
        struct error e = {0};
        memcpy(t.shape, all[i].shape, sizeof t.shape);
        int result = tensor_measure(&t, &e);
        if (!all[i].message) {
            ck_assert_msg(result == 0, "%s", e.text);
            ck_assert_uint_eq(t.count, all[i].count);
            ck_assert_uint_eq(t.size, all[i].count * dtype_size(t.dtype));
        } else {
            ck_assert_int_eq(result, -1);
            ck_assert_int_eq(e.code, HASTEN_EFILE);
            ck_assert_msg(strstr(e.text, all[i].message) && strstr(e.text, "'w'"), "%s", e.text);
        }
    }
    char text[TENSOR_SHAPE_TEXT];
    struct tensor worst = {.rank = 8};
    for (int i = 0; i < 8; i++)
        worst.shape[i] = INT64_MIN;
    ck_assert_uint_lt(strlen(tensor_shape_text(&worst, text)), sizeof text);
    ck_assert_str_eq(tensor_shape_text(&(struct tensor){.rank = 2, .shape = {2, 3}}, text), "[2, 3]");
}
END_TEST

START_TEST(nonfinite_numbers_are_found)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16,     DTYPE_BF16,
                                       DTYPE_F64, DTYPE_F8_E4M3, DTYPE_F8_E5M2};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        float x[5] = {1, -448, 0, 1e-30f, 3};
        double buffer[5];
        tensor_from_f32(types[k], x, buffer, 5);
        ck_assert_int_eq(tensor_first_nonfinite(types[k], buffer, 5), -1);
        x[3] = NAN;
        tensor_from_f32(types[k], x, buffer, 5);
        ck_assert_int_eq(tensor_first_nonfinite(types[k], buffer, 5), 3);
        x[1] = -INFINITY;
        tensor_from_f32(types[k], x, buffer, 5);
        ck_assert_int_eq(tensor_first_nonfinite(types[k], buffer, 5), types[k] == DTYPE_F8_E4M3 ? 3 : 1);
    }
    ck_assert_int_eq(tensor_first_nonfinite(DTYPE_I32, (int32_t[]){0x7F800000}, 1), -1);
}
END_TEST

int main(void)
{
    int count = (int)(sizeof formats / sizeof *formats);
    Suite *s = suite_create("tensor");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, widening_is_exact, 0, count);
    tcase_add_loop_test(t, narrowing_rounds_to_nearest_even, 0, count);
    tcase_add_loop_test(t, nan_stays_nan, 0, count);
    tcase_add_test(t, integers_clamp_and_round);
    tcase_add_test(t, names_and_sizes);
    tcase_add_test(t, measuring_does_not_wrap);
    tcase_add_test(t, nonfinite_numbers_are_found);
    suite_add_tcase(s, t);
    return run_suite(s);
}
