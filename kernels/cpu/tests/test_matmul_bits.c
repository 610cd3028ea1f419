/* What must hold to the last bit: integer sums are the same at all levels; a row's result is the same for any
 * split into parts, in any batch, at any place in a tile, however its neighbours look; output onto its own
 * residual. */
#include "kernels/cpu/tests/matmul_test.h"

/* So that a row that nobody computes is seen. */
static void poison(struct data *d)
{
    for (int64_t i = 0; i < d->out_size; i++)
        if (i % d->m.out_ld < d->m.n)
            d->out[i] = d->tap[i] = NAN;
}

START_TEST(parts_do_not_change_a_bit)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int kind = 0; kind < kinds_of(&shapes[_i]); kind++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &shapes[_i], kind, ALL_PIECES, ACT_SILU);
            pack(&d, k);
            k->matmul(&d.m, 0, 1);
            float *whole = copy_of(d.out, d.out_size), *tap = copy_of(d.tap, d.out_size);
            for (int parts = 2; parts < 10; parts += 1 + parts / 5) {
                poison(&d);
                for (int p = parts - 1; p >= 0; p--)
                    k->matmul(&d.m, p, parts);
                equal(d.out, whole, d.out_size * (int64_t)sizeof(float), "out");
                equal(d.tap, tap, d.out_size * (int64_t)sizeof(float), "tap");
            }
            free(whole), free(tap);
            release(&d);
        }
}
END_TEST

/* Each image alone: the same rows begin at other places of tiles. */
START_TEST(batch_does_not_change_a_bit)
{
    const struct shape *c = &shapes[_i];
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int kind = 0; kind < kinds_of(c); kind++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, c, kind, ALL_PIECES, ACT_GELU_ERF);
            pack(&d, k);
            k->matmul(&d.m, 0, 1);
            float *whole = copy_of(d.out, d.out_size);
            int64_t rows = d.rows / c->images;
            poison(&d);
            for (int image = 0; image < c->images; image++) {
                struct matmul one = d.m;
                one.images = 1;
                for (int s = 0; s < one.sources; s++) {
                    struct mm_source *from = &one.source[s];
                    from->data = (const char *)from->data + image * from->image_ld * (d.m.int8 ? 1 : 4);
                    from->scale += image * (one.scale_per_row ? from->height * from->width : 1);
                }
                one.out += image * rows * one.out_ld;
                one.epilogue.tap += image * rows * one.out_ld;
                one.epilogue.image_bias += (int64_t)image * c->n;
                one.epilogue.gate += (int64_t)image * c->n;
                one.epilogue.residual += image * rows * c->n;
                k->matmul(&one, 0, 1);
            }
            equal(d.out, whole, d.out_size * (int64_t)sizeof(float), "images alone");
            free(whole);
            release(&d);
        }
}
END_TEST

/* A linear layer's rows one by one, and from each place on. */
START_TEST(place_does_not_change_a_bit)
{
    enum { ROWS = 31, CHANNELS = 67, COLUMNS = 70 };
    static const struct shape c = {1, 1, ROWS, {1, 1}, {CHANNELS, 0}, COLUMNS, 1, 1, 1, 0, 0, 0, 0, 0};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int int8 = 0; int8 < 2; int8++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &c, int8, BIAS, ACT_GELU_TANH);
            pack(&d, k);
            k->matmul(&d.m, 0, 1);
            float *whole = copy_of(d.out, d.out_size);
            poison(&d);
            for (int first = 0; first < ROWS; first++)
                for (int count = 1; first + count <= ROWS; count += first ? ROWS : 1) {
                    struct matmul some = d.m;
                    some.out_width = some.source[0].width = count;
                    some.source[0].data =
                        (const char *)some.source[0].data + first * some.source[0].ld * (int8 ? 1 : 4);
                    some.source[0].scale += first;
                    some.out += first * some.out_ld;
                    k->matmul(&some, 0, 1);
                }
            equal(d.out, whole, d.out_size * (int64_t)sizeof(float), "rows alone");
            free(whole);
            release(&d);
        }
}
END_TEST

/* A NaN or an infinity in one row shows in that row and in no other. */
START_TEST(rows_do_not_see_each_other)
{
    enum { ROWS = 20, CHANNELS = 33, BAD = 7 };
    static const struct shape c = {1, 1, ROWS, {1, 1}, {CHANNELS, 0}, 40, 1, 1, 1, 0, 0, 0, 0, 0};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int act = ACT_NONE; act <= ACT_SIGMOID; act++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &c, 0, BIAS, (enum activation)act);
            pack(&d, k);
            k->matmul(&d.m, 0, 1);
            float *whole = copy_of(d.out, d.out_size);
            ((float *)d.in[0])[BAD * d.m.source[0].ld + 5] = NAN;
            k->matmul(&d.m, 0, 1);
            for (int r = 0; r < ROWS; r++)
                for (int n = 0; n < c.n; n++) {
                    int64_t i = r * d.m.out_ld + n;
                    if (r == BAD ? !isnan(d.out[i]) : d.out[i] != whole[i])
                        ck_abort_msg("%s, activation %d, row %d: %g", cpu_level_name(k->level), act, r,
                                     d.out[i]);
                }
            free(whole);
            release(&d);
        }
}
END_TEST

START_TEST(output_onto_its_residual)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int kind = 0; kind < kinds_of(&shapes[_i]); kind++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &shapes[_i], kind, ALL_PIECES, ACT_NONE);
            pack(&d, k);
            float *sum = copy_of(d.out, d.out_size); /* as residual in the layout of out */
            d.m.epilogue.residual = sum;
            d.m.epilogue.residual_ld = d.m.out_ld;
            k->matmul(&d.m, 0, 1);
            d.m.out = sum;
            k->matmul(&d.m, 0, 1);
            for (int64_t r = 0; r < d.rows; r++)
                equal(sum + r * d.m.out_ld, d.out + r * d.m.out_ld, d.m.n * 4, "in place");
            free(sum);
            release(&d);
        }
}
END_TEST

/* Sums below 2^24 are themselves as floats when all scales are 1; sums of the largest codes and weights are
 * rounded to floats alike. */
static void ints_agree(const struct shape *c, int extreme)
{
    float *want = NULL;
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d;
        make(&d, c, 1, 0, ACT_NONE);
        for (int s = 0; s < d.m.sources; s++)
            for (int i = 0; i < c->images * d.m.source[s].height * d.m.source[s].width; i++)
                d.scale[s][i].scale = 1;
        for (int n = 0; n < c->n; n++)
            d.column_scale[n] = 1;
        int64_t ld = d.m.source[0].ld, weights = (int64_t)c->n * c->channels[0];
        for (int64_t i = 0; extreme && i < weights; i++)
            ((int8_t *)d.weight)[i] = i / c->channels[0] % 3 == 0   ? -128
                                      : i / c->channels[0] % 3 == 1 ? 127
                                                                    : -127;
        for (int64_t i = 0; extreme && i < c->width * ld; i++)
            ((uint8_t *)d.in[0])[i] = i / ld % 2 ? 255 : 0;
        for (int i = 0; extreme && i < c->width; i++)
            d.scale[0][i].zero = i % 2 ? 200 : 160;
        pack(&d, k);
        k->matmul(&d.m, 0, 1);
        if (level == CPU_REF)
            want = copy_of(d.out, d.out_size);
        equal(d.out, want, d.out_size * (int64_t)sizeof(float), cpu_level_name(k->level));
        for (int64_t i = 0; extreme && i < d.out_size; i++) /* by hand */
            if (i % d.m.out_ld < c->n) {
                int w = i % d.m.out_ld % 3 == 0 ? -128 : i % d.m.out_ld % 3 == 1 ? 127 : -127;
                int x = i / d.m.out_ld % 2 ? 55 : -160;
                if (d.out[i] != (float)(w * x * c->channels[0]))
                    ck_abort_msg("%g at %lld", d.out[i], (long long)i);
            }
        release(&d);
    }
    free(want);
}

START_TEST(integer_sums_are_equal_at_all_levels) { ints_agree(&shapes[_i], 0); }
END_TEST

/* Convolutions of codes that are turned and of codes that are not. extreme: the largest sums that there are.
 */
static void turned_codes(const struct shape *c, int extreme)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d[2];
        for (int turned = 0; turned < 2; turned++) {
            make(&d[turned], c, turned ? TURNED_CODES : CODES, ALL_PIECES, ACT_SILU);
            int64_t weights = (int64_t)c->n * c->channels[0] * 9, ld = d->m.source[0].ld;
            for (int64_t i = 0; extreme && i < weights; i++)
                ((int8_t *)d[turned].weight)[i] = i / c->channels[0] / 9 % 2 ? 127 : -128;
            for (int64_t i = 0; extreme && i < c->height * c->width * ld; i++)
                ((uint8_t *)d[turned].in[0])[i] = i / ld % 5 == 3 ? 0 : 255;
            d[turned].scale[0][0].zero = extreme ? 0 : d[turned].scale[0][0].zero;
            pack(&d[turned], k);
            k->matmul(&d[turned].m, 0, 1);
        }
        if (extreme && (level == CPU_AVX2 || level == CPU_AVX512))
            ck_assert_int_eq(d[1].m.form, MM_WINOGRAD_INT8);
        equal(d[1].out, d[0].out, d->out_size * (int64_t)sizeof(float), "turned codes");
        equal(d[1].tap, d[0].tap, d->out_size * (int64_t)sizeof(float), "tap of turned codes");
        release(&d[0]), release(&d[1]);
    }
}

START_TEST(turning_codes_loses_nothing)
{
    if (kinds_of(&shapes[_i]) > TURNED_CODES)
        turned_codes(&shapes[_i], 0);
}
END_TEST

START_TEST(largest_turned_codes)
{
    static const struct shape c = {1, 5, 8, {1, 1}, {1827, 0}, 35, 3, 3, 1, 1, 1, 1, 1, 0};
    turned_codes(&c, 1);
}
END_TEST

/* 16-bit sums of pairs would saturate here, and 32-bit sums of codes without their zeros overflow. */
START_TEST(largest_integers_do_not_saturate)
{
    static const struct shape c[] = {{1, 1, 16, {1, 1}, {1000, 0}, 35, 1, 1, 1, 0, 0, 0, 0, 0},
                                     {1, 1, 2, {1, 1}, {100003, 0}, 3, 1, 1, 1, 0, 0, 0, 0, 0}};
    ints_agree(&c[_i], 1);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, parts_do_not_change_a_bit, 0, SHAPES);
    tcase_add_loop_test(t, batch_does_not_change_a_bit, 0, SHAPES);
    tcase_add_test(t, place_does_not_change_a_bit);
    tcase_add_test(t, rows_do_not_see_each_other);
    tcase_add_loop_test(t, output_onto_its_residual, 0, SHAPES);
    tcase_add_loop_test(t, integer_sums_are_equal_at_all_levels, 0, SHAPES);
    tcase_add_loop_test(t, turning_codes_loses_nothing, 0, SHAPES);
    tcase_add_test(t, largest_turned_codes);
    tcase_add_loop_test(t, largest_integers_do_not_saturate, 0, 2);
    return run_suite(t, "matmul-bits");
}
