/* Products on CUDA against the scalar reference, over the shapes and epilogues that the CPU's products are
 * tested with. Factors are rounded to bfloat16 beforehand where the kernel would do it, so that tolerances
 * are those of float sums: a few 2^-24 of the sum of magnitudes. */
#include "kernels/cpu/tests/matmul_test.h"
#include "kernels/cuda/tests/cuda_test.h"

static const enum activation acts[] = {ACT_NONE, ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF,
                                       ACT_RELU, ACT_TANH, ACT_SIGMOID};

/* Shapes of the CPU's tests. The emulator takes those that are there for the CPU's own limits at sizes that
 * meet the same edges of tiles and chunks sooner. */
static struct shape shape_at(int i)
{
    struct shape c = shapes[i];
    if (device_wanted())
        return c;
    c.channels[0] = c.channels[0] > 400 ? 330 : c.channels[0];
    c.n = c.n > 400 ? 197 : c.n;
    c.height = c.kernel_h == 9 ? 6 : c.height;
    c.width = c.width == 30 ? 13 : c.width;
    return c;
}

/* How many numbers a source's array holds. */
static int64_t numbers(const struct data *d, int i)
{
    const struct mm_source *s = &d->m.source[i];
    return (s->image_ld ? (d->m.images - 1) * s->image_ld : 0) + ((int64_t)s->height * s->width - 1) * s->ld +
           s->channels;
}

static void round_factors(struct data *d)
{
    for (int i = 0; i < d->m.sources; i++)
        round_to_bf16(d->in[i], numbers(d, i));
    round_to_bf16(d->weight,
                  (int64_t)d->s.n * (d->s.channels[0] + d->s.channels[1]) * d->s.kernel_h * d->s.kernel_w);
}

static void run_reference(struct data *d)
{
    pack(d, cpu_kernels(CPU_REF));
    cpu_kernels(CPU_REF)->matmul(&d->m, 0, 1);
}

static void run_cuda(struct data *d, enum cuda_precision p, int tile, unsigned seed)
{
    struct cuda_launches l;
    pack(d, cuda_packing(p));
    cuda_matmul_tile(&d->m, p, tile, &l);
    run_launches(&l, seed);
    ck_assert_int_eq(emulator_bank_conflicts(), 0);
}

/* Sums of up to some thousand products of size 1: relative to the sum's own size, or to 1 where it is small.
 * The sum of magnitudes is about its root times that. */
static double tolerance(const struct data *d)
{
    double k = (double)(d->s.channels[0] + d->s.channels[1]) * d->s.kernel_h * d->s.kernel_w;
    return 2e-6 + 3e-8 * k;
}

static void compare(const struct shape *c, int int8, enum cuda_precision p, int tile, int pieces,
                    enum activation act, unsigned seed)
{
    struct data want, got;
    make(&want, c, int8, pieces, act);
    make(&got, c, int8, pieces, act);
    if (!int8 && p == CUDA_BF16) {
        round_factors(&want);
        round_factors(&got);
    }
    run_reference(&want);
    run_cuda(&got, p, tile, seed);
    near(got.out, want.out, got.out_size, tolerance(&got), "out");
    near(got.tap, want.tap, got.out_size, tolerance(&got), "tap");
    release(&want);
    release(&got);
}

START_TEST(float32_equals_the_reference)
{
    struct shape c = shape_at(_i);
    compare(&c, 0, CUDA_F32, 64, _i % 3 ? ALL_PIECES : 0, acts[_i % 7], (unsigned)_i);
}
END_TEST

START_TEST(bfloat16_equals_the_reference)
{
    struct shape c = shape_at(_i);
    compare(&c, 0, CUDA_BF16, 64, _i % 2 ? ALL_PIECES : 0, acts[(_i + 3) % 7], (unsigned)_i);
    compare(&c, 0, CUDA_BF16, 128, _i % 2 ? BIAS | TAP : ALL_PIECES, acts[(_i + 5) % 7], (unsigned)_i + 7);
}
END_TEST

/* ---- bfloat16 in memory ---- */

/* Sources and weights of bfloat16, results in both types. Distances of make() are odd as often as not. */
static void make_halves(struct data *d, const struct shape *c, int pieces, enum activation act,
                        const struct cpu_kernels *k, uint16_t *out)
{
    make(d, c, 0, pieces, act);
    round_factors(d);
    for (int i = 0; i < d->m.sources; i++) {
        float *from = d->in[i];
        d->m.source[i].data = d->in[i] = halves(from, numbers(d, i));
        free(from);
    }
    uint16_t *weight = halves(d->weight, (int64_t)d->s.n * (d->s.channels[0] + d->s.channels[1]) *
                                             d->s.kernel_h * d->s.kernel_w);
    d->m.weights = d->packed = malloc(k->matmul_bf16_size(&d->s));
    k->matmul_pack_bf16(d->packed, weight, &d->s, 0, d->s.n);
    free(weight);
    d->m.bf16 = 1;
    d->m.out_bf16 = out;
    d->m.out_bf16_ld = d->m.out_ld;
}

START_TEST(bfloat16_rows_equal_the_reference)
{
    struct shape c = shape_at(_i);
    for (int s = 0; s < 2; s++)
        c.channels[s] = (c.channels[s] + 1) / 2 * 2;
    for (int tile = 64; tile <= 128; tile += 64) {
        struct data want, got;
        uint16_t *out[2];
        for (int i = 0; i < 2; i++)
            out[i] = calloc(1 << 20, sizeof **out);
        make_halves(&want, &c, tile == 64 ? ALL_PIECES : 0, acts[_i % 7], cpu_kernels(CPU_REF), out[0]);
        make_halves(&got, &c, tile == 64 ? ALL_PIECES : 0, acts[_i % 7], cuda_packing(_i % 2), out[1]);
        ck_assert_int_le(want.out_size, 1 << 20);
        cpu_kernels(CPU_REF)->matmul(&want.m, 0, 1);
        struct cuda_launches l;
        cuda_matmul_tile(&got.m, CUDA_F32, tile, &l);
        run_launches(&l, (unsigned)_i);
        near(got.out, want.out, got.out_size, tolerance(&got), "out");
        near(got.tap, want.tap, got.out_size, tolerance(&got), "tap");
        for (int64_t row = 0; row < got.rows; row++)
            for (int n = 0; n < got.s.n; n++) {
                float exact = as_bf16(got.out[row * got.m.out_ld + n]);
                ck_assert(from_half(out[1][row * got.m.out_ld + n]) == exact);
            }
        release(&want), release(&got), free(out[0]), free(out[1]);
    }
}
END_TEST

START_TEST(int8_equals_the_reference)
{
    struct shape c = shape_at(_i);
    compare(&c, 1, CUDA_BF16, 64, _i % 2 ? ALL_PIECES : 0, acts[(_i + 1) % 7], (unsigned)_i);
    if (!c.channels[1])
        compare(&c, 1, CUDA_F32, 128, _i % 2 ? IMAGE_BIAS : ALL_PIECES, acts[(_i + 2) % 7], (unsigned)_i + 7);
}
END_TEST

/* With scales of 1 the results are the int32 sums themselves. */
START_TEST(int8_sums_are_equal_to_the_bit)
{
    struct shape c = shape_at(_i);
    for (int tile = 64; tile <= (c.channels[1] ? 64 : 128); tile += 64) {
        struct data want, got;
        make(&want, &c, 1, 0, ACT_NONE);
        make(&got, &c, 1, 0, ACT_NONE);
        struct data *both[] = {&want, &got};
        for (int i = 0; i < 2; i++) {
            for (int n = 0; n < got.s.n; n++)
                both[i]->column_scale[n] = 1;
            for (int s = 0; s < got.m.sources; s++)
                for (int64_t r = 0;
                     r < (int64_t)got.m.images * got.m.source[s].height * got.m.source[s].width; r++)
                    both[i]->scale[s][r].scale = 1;
        }
        run_reference(&want);
        run_cuda(&got, CUDA_F32, tile, 5);
        equal(got.out, want.out, got.out_size * (int64_t)sizeof(float), "sums");
        release(&want);
        release(&got);
    }
}
END_TEST

/* Whatever the tile, the order of threads and the number of images. */
START_TEST(bits_depend_on_the_row_alone)
{
    struct shape at = shape_at(_i * 3), *c = &at;
    for (int int8 = 0; int8 < (c->channels[1] ? 1 : 2); int8++) {
        struct data one, other;
        make(&one, c, int8, ALL_PIECES, ACT_SILU);
        make(&other, c, int8, ALL_PIECES, ACT_SILU);
        run_cuda(&one, CUDA_BF16, 64, 1);
        run_cuda(&other, CUDA_BF16, 128, 2);
        equal(one.out, other.out, one.out_size * (int64_t)sizeof(float), "tile");
        other.m.images = 1;
        run_cuda(&other, CUDA_BF16, 128, 3);
        equal(one.out, other.out, one.out_size * (int64_t)sizeof(float), "one image");
        release(&one);
        release(&other);
    }
}
END_TEST

/* Rounding of both factors to 8 bits: 2^-9 each, at random over k. */
START_TEST(bfloat16_rounds_its_factors)
{
    struct shape c = {1, 1, 40, {1, 1}, {300, 0}, 70, 1, 1, 1, 0, 0, 0, 0, 0};
    struct data want, got;
    make(&want, &c, 0, 0, ACT_NONE);
    make(&got, &c, 0, 0, ACT_NONE);
    run_reference(&want);
    run_cuda(&got, CUDA_BF16, 64, 1);
    double most = 0;
    for (int64_t i = 0; i < got.out_size; i++)
        most = fmax(most, fabs(got.out[i] - want.out[i]));
    ck_assert_double_le(most, sqrt(300) / 3 * 5 / 512);
    ck_assert_double_ge(most, 1e-4);
    release(&want);
    release(&got);
}
END_TEST

/* The choice of a tile: whichever leaves less to the busiest multiprocessor, of those that exist. */
START_TEST(the_tile_fits_the_device)
{
    struct cuda_launches l;
    struct matmul m = {.images = 2, .out_height = 1, .out_width = 256, .n = 3456, .sources = 1};
    cuda_matmul(&m, CUDA_BF16, &l); /* 108 large tiles at once, or 432 small ones in four turns */
    ck_assert_str_eq(l.launch[0].kernel, "product_bf16_128");
    ck_assert_uint_eq(l.launch[0].grid[0], 4 * 27);
    cuda_matmul(&m, CUDA_F32, &l);
    ck_assert_str_eq(l.launch[0].kernel, "product_f32_64");
    m.n = 4608;
    cuda_matmul(&m, CUDA_BF16, &l); /* 144 large tiles take two turns, 576 small ones five quarters of one */
    ck_assert_str_eq(l.launch[0].kernel, "product_bf16_64");
    ck_assert_uint_eq(l.launch[0].grid[0], 8 * 72);
    m.int8 = 1;
    m.images = 16;
    cuda_matmul(&m, CUDA_BF16, &l);
    ck_assert_str_eq(l.launch[0].kernel, "product_s8_128");
    m.sources = 2;
    cuda_matmul(&m, CUDA_BF16, &l);
    ck_assert_str_eq(l.launch[0].kernel, "product_s8_two_64");
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("products");
    tcase_add_loop_test(t, float32_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, bfloat16_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, bfloat16_rows_equal_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, int8_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, int8_sums_are_equal_to_the_bit, 0, SHAPES);
    tcase_add_loop_test(t, bits_depend_on_the_row_alone, 0, SHAPES / 3);
    tcase_add_test(t, bfloat16_rounds_its_factors);
    tcase_add_test(t, the_tile_fits_the_device);
    return run_suite(t, "cuda products");
}
