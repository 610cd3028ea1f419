/* Products with compressed weights, every form and level: bit-equal to the level's product with the weights
 * that the form stands for (which test_matmul holds against the definition), decoded here by other means. */
#include "kernels/cpu/tests/matmul_test.h"

/* e4m3 as a table built from the definition: sign, 4 bits of exponent with bias 7, 3 of fraction. */
static float e4m3(int code)
{
    double exponent = code >> 3 & 15, fraction = (code & 7) / 8.0;
    double most = exponent > 0 ? pow(2, exponent - 7) * (1 + fraction) : pow(2, -6) * fraction;
    return (float)(code & 128 ? -most : most);
}

static void *scratch_for(struct matmul *m, const struct cpu_kernels *k, int parts)
{
    m->scratch_ld = k->matmul_scratch(m);
    return m->scratch = aligned_alloc(64, m->scratch_ld * (size_t)parts + 64);
}

static void run(const struct cpu_kernels *k, const struct matmul *m, int parts)
{
    for (int i = 0; i < parts; i++)
        k->matmul(m, i, parts);
}

static void pack_as(struct data *d, const struct cpu_kernels *k, enum mm_weights form, const int8_t *bytes,
                    const uint16_t *halves)
{
    free(d->packed);
    d->packed = malloc(form == MM_BF16            ? k->matmul_bf16_size(&d->s)
                       : form == MM_WINOGRAD_INT8 ? k->winograd_size(&d->s, 1)
                                                  : k->matmul_packed_size(&d->s, 1));
    if (form == MM_BF16)
        k->matmul_pack_bf16(d->packed, halves, &d->s, 0, d->s.n);
    else if (form == MM_WINOGRAD_INT8)
        k->winograd_pack(d->packed, bytes, &d->s, 1, 0, d->s.n);
    else
        k->matmul_pack_int8(d->packed, bytes, &d->s, 0, d->s.n);
    d->m.weights = d->packed;
    d->m.form = form;
}

/* Bytes (int8, turned or not, or e4m3) or bfloat16 against float sources; packed native floats of the same
 * values say what must come out. */
static void check_bytes(const struct cpu_kernels *k, const struct shape *c, enum mm_weights form)
{
    struct data d;
    make(&d, c, 0, ALL_PIECES & ~TAP, ACT_SILU);
    int64_t count = (int64_t)c->n * (c->channels[0] + c->channels[1]) * c->kernel_h * c->kernel_w;
    float *values = d.weight;
    int8_t *bytes = malloc((size_t)count);
    uint16_t *halves = calloc((size_t)count, sizeof *halves);
    for (int64_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)(i * 37 % 255 - 127); /* all codes but -128 */
        if (form == MM_E4M3 && (bytes[i] & 127) == 127)
            bytes[i] = 3;
        halves[i] = (uint16_t)(0x3F80 + i * 37 % 128 + (i % 3 ? 0x8000 : 0)); /* +-[1, 2) */
        values[i] = form == MM_E4M3 ? e4m3(bytes[i] & 255) : bytes[i];
        if (form == MM_BF16)
            values[i] = (float)((i % 3 ? -1 : 1) * (1 + i * 37 % 128 / 128.0));
    }
    d.m.column_scale = d.column_scale;
    pack(&d, k);
    run(k, &d.m, 1);
    float *want = malloc((size_t)d.out_size * sizeof *want);
    memcpy(want, d.out, (size_t)d.out_size * sizeof *want);
    pack_as(&d, k, form, bytes, halves);
    for (int parts = 1; parts <= 3; parts += 2) {
        void *scratch = scratch_for(&d.m, k, parts);
        for (int64_t i = 0; i < d.out_size; i++)
            d.out[i] = want[i] == 0 ? 1 : 0;
        run(k, &d.m, parts);
        for (int64_t row = 0; row < d.rows; row++)
            ck_assert_mem_eq(d.out + row * d.m.out_ld, want + row * d.m.out_ld, (size_t)c->n * sizeof *want);
        free(scratch);
    }
    free(bytes);
    free(halves);
    free(want);
    release(&d);
}

START_TEST(bytes)
{
    const struct cpu_kernels *k = cpu_kernels((enum cpu_level)_i);
    for (int i = 0; i < SHAPES && (int)k->level == _i; i++) {
        check_bytes(k, &shapes[i], MM_INT8);
        check_bytes(k, &shapes[i], MM_E4M3);
        check_bytes(k, &shapes[i], MM_BF16);
        struct mm_shape s = {shapes[i].n, 3, 3, {shapes[i].channels[0], shapes[i].channels[1]}};
        if (kinds_of(&shapes[i]) > TURNED_CODES && k->winograd_size(&s, 1) > 0)
            check_bytes(k, &shapes[i], MM_WINOGRAD_INT8);
    }
}
END_TEST

/* The integers of the int8 form are the same at all levels, and the float form reads the same integers. */
static void check_int4(const struct cpu_kernels *k, int rows, int channels, int n, int group, int int8)
{
    struct shape c = {1, 1, rows, {1, 1}, {channels, 0}, n, 1, 1, 1, 0, 0, 0, 0, 0};
    struct data d;
    make(&d, &c, int8, BIAS, ACT_NONE);
    size_t count = (size_t)n * (size_t)channels, groups = (size_t)(channels / group);
    uint8_t *codes = malloc(count / 2), *scales = malloc((size_t)n * groups);
    float levels[16];
    for (int i = 0; i < 16; i++)
        levels[i] = (float)(i - 8) / 7.3f;
    for (size_t i = 0; i < count / 2; i++)
        codes[i] = (uint8_t)(i * 151 + i / 7);
    for (size_t i = 0; i < (size_t)n * groups; i++) /* up to 448: some values are clipped */
        scales[i] = (uint8_t)(i * 29 % 127);
    for (size_t i = 0; i < count; i++) {
        double q = nearbyint(
            (double)(levels[codes[i / 2] >> i % 2 * 4 & 15] *
                     e4m3(scales[i / (size_t)channels * groups + i % (size_t)channels / (size_t)group])));
        q = q > 127 ? 127 : q < -127 ? -127 : q;
        if (int8)
            ((int8_t *)d.weight)[i] = (int8_t)q;
        else
            ((float *)d.weight)[i] = (float)q;
    }
    d.m.column_scale = d.column_scale;
    pack(&d, k);
    run(k, &d.m, 1);
    float *want = malloc((size_t)d.out_size * sizeof *want);
    memcpy(want, d.out, (size_t)d.out_size * sizeof *want);
    free(d.packed);
    d.packed = aligned_alloc(64, (k->matmul_int4_size(n, channels, group) + 63) / 64 * 64);
    struct mm_int4 w = {codes, scales, levels, n, channels, group};
    int middle = n / 2 / k->mm_panel * k->mm_panel;
    k->matmul_pack_int4(d.packed, &w, middle, n);
    k->matmul_pack_int4(d.packed, &w, 0, middle);
    if (!middle) /* nothing was packed from 0 on: the levels come with row 0 */
        k->matmul_pack_int4(d.packed, &w, 0, n);
    d.m.weights = d.packed;
    d.m.form = MM_INT4;
    d.m.group = group;
    for (int parts = 1; parts <= 3; parts += 2) {
        void *scratch = scratch_for(&d.m, k, parts);
        memset(d.out, 0xFF, (size_t)d.out_size * sizeof *d.out);
        run(k, &d.m, parts);
        for (int64_t row = 0; row < d.rows; row++)
            ck_assert_mem_eq(d.out + row * d.m.out_ld, want + row * d.m.out_ld, (size_t)n * sizeof *want);
        free(scratch);
    }
    free(codes);
    free(scales);
    free(want);
    release(&d);
}

START_TEST(int4)
{
    static const int sizes[][4] = {{1, 16, 1, 16},     {3, 64, 33, 16},   {29, 192, 47, 64},
                                   {40, 5120, 70, 32}, {7, 256, 200, 16}, {13, 704, 97, 64}};
    const struct cpu_kernels *k = cpu_kernels((enum cpu_level)_i);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && (int)k->level == _i; i++)
        for (int int8 = 0; int8 < 2; int8++)
            check_int4(k, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], int8);
}
END_TEST

START_TEST(e4m3_codes)
{
    for (int code = 0; code < 256; code++)
        if ((code & 127) == 127)
            ck_assert(isnan(mm_e4m3((uint8_t)code)));
        else
            ck_assert_float_eq(mm_e4m3((uint8_t)code), e4m3(code));
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, bytes, 0, (int)cpu_best_level() + 1);
    tcase_add_loop_test(t, int4, 0, (int)cpu_best_level() + 1);
    tcase_add_test(t, e4m3_codes);
    return run_suite(t, "matmul_decode");
}
