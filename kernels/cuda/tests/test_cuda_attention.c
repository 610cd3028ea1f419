/* Attention on CUDA against the scalar reference: sizes on both sides of every tile, cross and causal, heads
 * inside merged rows, heads wider than a slab; values that are not finite. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"

static const struct attention_shape shapes[] = {
    {1, 1, 1, 1, 1, 0},     {1, 1, 16, 1, 1, 0},     {2, 3, 16, 49, 49, 0},  {1, 2, 72, 130, 130, 0},
    {1, 1, 40, 20, 77, 0},  {1, 2, 33, 150, 150, 1}, {1, 1, 300, 17, 65, 0}, {2, 1, 5, 3, 129, 0},
    {1, 2, 24, 64, 64, 0},  {3, 2, 8, 65, 63, 0},    {1, 1, 128, 13, 16, 0}, {1, 1, 129, 6, 17, 0},
    {2, 2, 64, 7, 33, 1},   {1, 1, 160, 64, 64, 0},  {1, 3, 80, 8, 31, 0},   {1, 1, 16, 140, 40, 1},
    {1, 1, 16, 40, 140, 1}, {2, 4, 48, 28, 96, 1},   {1, 1, 512, 9, 33, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct data {
    struct attention a;
    float *q, *kv, *out;
    int64_t q_count, kv_count, count;
};

/* Keys and values lie in the same rows, as in a merged projection; every distance is another one. apart:
 * added to rows, 0 for such that vectors may be read. */
static void make(struct data *d, const struct attention_shape *s, float size, int apart)
{
    int64_t wide = s->heads * s->dim, q_ld = wide + 3 * apart, kv_ld = 2 * wide + apart,
            out_ld = wide + 2 * apart;
    int64_t q_image = s->queries * q_ld + 4, kv_image = s->keys * kv_ld + 8,
            out_image = s->queries * out_ld + apart;
    d->q_count = (s->images - 1) * q_image + (s->queries - 1) * q_ld + wide;
    d->kv_count = (s->images - 1) * kv_image + (s->keys - 1) * kv_ld + 2 * wide;
    d->count = (s->images - 1) * out_image + (s->queries - 1) * out_ld + wide;
    d->q = floats(d->q_count, 1, size, 0);
    d->kv = floats(d->kv_count, 2, 1, 0.1f);
    d->out = floats(d->count, 3, 1, 0);
    d->a = merged_attention(s, &(struct attention_lds){q_ld, kv_ld, out_ld, q_image, kv_image, out_image});
    d->a.q = d->q;
    d->a.k = d->kv;
    d->a.v = d->kv + wide;
    d->a.out = d->out;
}

static void release(struct data *d) { free(d->q), free(d->kv), free(d->out); }

static void run_reference(struct data *d)
{
    d->a.scratch_ld = attention_scratch(&d->a);
    d->a.scratch = aligned_alloc(64, d->a.scratch_ld * sizeof(float));
    cpu_kernels(CPU_REF)->attention(&d->a, 0, 1);
    free(d->a.scratch);
}

static void run_cuda(struct data *d, enum cuda_precision p, unsigned seed)
{
    struct cuda_launches l;
    cuda_attention(&d->a, p, &l);
    run_launches(&l, seed);
    ck_assert_int_eq(emulator_bank_conflicts(), 0);
}

static void compare(const struct attention_shape *s, enum cuda_precision p, float size, int apart,
                    double tolerance)
{
    struct data want, got;
    make(&want, s, size, apart);
    make(&got, s, size, apart);
    if (p == CUDA_BF16) {
        round_to_bf16(want.q, want.q_count), round_to_bf16(want.kv, want.kv_count);
        round_to_bf16(got.q, got.q_count), round_to_bf16(got.kv, got.kv_count);
    }
    run_reference(&want);
    run_cuda(&got, p, (unsigned)s->keys);
    near(got.out, want.out, got.count, tolerance, "out");
    release(&want);
    release(&got);
}

/* A score of size s is off by about s * 1e-6 (products to 2^-21, sums to 2^-24), and so is a weight,
 * relatively. */
START_TEST(float32_equals_the_reference)
{
    compare(&shapes[_i], CUDA_F32, 0.5f, 1, 4e-6);
    compare(&shapes[_i], CUDA_F32, 6, 0, 1.5e-5);
}
END_TEST

/* q, k and v are rounded beforehand; what remains is the rounding of the weights, 2^-9 of at most 1.1. */
START_TEST(bfloat16_equals_the_reference)
{
    compare(&shapes[_i], CUDA_BF16, 0.5f, 0, 2.2e-3);
    compare(&shapes[_i], CUDA_BF16, 6, 1, 2.2e-3);
}
END_TEST

/* The same in bfloat16 from end to end: with its roundings of the result. */
START_TEST(bfloat16_rows_equal_the_reference)
{
    struct attention_shape s = shapes[_i];
    s.dim = (s.dim + 1) / 2 * 2;
    for (int apart = 0; apart < 2; apart++) {
        struct data want, got;
        make(&want, &s, 6, apart);
        make(&got, &s, 6, apart);
        struct data *both[] = {&want, &got};
        uint16_t *half[2][3];
        for (int i = 0; i < 2; i++) {
            struct attention *a = &both[i]->a;
            half[i][0] = halves(both[i]->q, both[i]->q_count);
            half[i][1] = halves(both[i]->kv, both[i]->kv_count);
            half[i][2] = halves(both[i]->out, both[i]->count);
            a->q_bf16 = half[i][0];
            a->k_bf16 = half[i][1];
            a->v_bf16 = half[i][1] + s.heads * s.dim;
            a->out_bf16 = half[i][2];
            a->q = a->k = a->v = a->out = NULL;
        }
        run_reference(&want);
        run_cuda(&got, CUDA_F32, (unsigned)_i);
        for (int64_t i = 0; i < got.count; i++)
            ck_assert_double_le(fabs(from_half(half[1][2][i]) - from_half(half[0][2][i])), 9e-3);
        for (int i = 0; i < 6; i++)
            free(half[i / 3][i % 3]);
        release(&want);
        release(&got);
    }
}
END_TEST

START_TEST(bits_do_not_depend_on_batch_order_or_queries)
{
    const struct attention_shape s = {2, 2, 40, 70, 90, 0};
    for (int p = CUDA_F32; p <= CUDA_BF16; p++) {
        struct data all, one;
        make(&all, &s, 6, 0);
        make(&one, &s, 6, 0);
        run_cuda(&all, (enum cuda_precision)p, 1);
        one.a.images = 1;
        one.a.queries = 3;
        one.a.q += one.a.q_image_ld + 66 * one.a.q_ld;
        one.a.k += one.a.k_image_ld;
        one.a.v += one.a.v_image_ld;
        run_cuda(&one, (enum cuda_precision)p, 2);
        equal(one.out, all.out + all.a.out_image_ld + 66 * all.a.out_ld, 3 * 80 * (int64_t)sizeof(float),
              "rows");
        release(&all);
        release(&one);
    }
}
END_TEST

/* A bad value stays a bad value in the rows that see it, and in no others. */
START_TEST(values_that_are_not_finite_give_nan)
{
    const struct attention_shape s = {1, 1, 16, 70, 90, 0};
    for (int p = CUDA_F32; p <= CUDA_BF16; p++)
        for (int where = 0; where < 3; where++) {
            struct data d;
            make(&d, &s, 1, 0);
            float *at = where == 0   ? d.q + 5 * d.a.q_ld
                        : where == 1 ? d.kv + 80 * d.a.k_ld
                                     : d.kv + 16 + 80 * d.a.v_ld;
            *at = where == 2 ? INFINITY : NAN;
            run_cuda(&d, (enum cuda_precision)p, 4);
            for (int query = 0; query < s.queries; query++)
                ck_assert_int_eq(!isfinite(d.out[query * d.a.out_ld]), where > 0 || query == 5);
            ck_assert_int_eq(!isfinite(d.out[7 * d.a.out_ld + 1]), where == 1);
            release(&d);
        }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("attention");
    tcase_add_loop_test(t, float32_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, bfloat16_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, bfloat16_rows_equal_the_reference, 0, SHAPES);
    tcase_add_test(t, bits_do_not_depend_on_batch_order_or_queries);
    tcase_add_test(t, values_that_are_not_finite_give_nan);
    return run_suite(t, "cuda attention");
}
