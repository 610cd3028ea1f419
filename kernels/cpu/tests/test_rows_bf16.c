/* What reads and writes bfloat16 beside the products. Attention: the reference gives the bits of its float
 * form on the same values, other levels come near it, and splits do not matter. Norms and elementwise
 * operations: what they write is their float result, rounded. */
#include "kernels/cpu/tests/kernel_test.h"

static const struct attention_shape shapes[] = {
    {1, 1, 2, 1, 1, 0},      {2, 3, 16, 49, 49, 0},   {1, 2, 72, 130, 130, 0}, {1, 1, 40, 20, 77, 0},
    {1, 2, 34, 150, 150, 1}, {1, 1, 300, 17, 257, 0}, {2, 1, 6, 3, 129, 0},    {1, 2, 24, 14, 128, 0},
    {3, 2, 8, 15, 127, 0},   {2, 2, 64, 7, 33, 1},    {1, 1, 512, 29, 131, 0}, {1, 1, 130, 6, 17, 0},
    {2, 2, 40, 30, 384, 0},  {1, 1, 72, 400, 400, 1}, {1, 1, 136, 16, 256, 0}, {1, 1, 8, 43, 300, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct data {
    struct attention floats, halves;
    float *q, *kv, *out;
    uint16_t *q16, *kv16, *out16;
    int64_t count;
};

static void make(struct data *d, const struct attention_shape *s, float size)
{
    int64_t wide = s->heads * s->dim, q_ld = wide + 3, kv_ld = 2 * wide + 1, out_ld = wide + 2;
    int64_t q_image = (s->queries - 1) * q_ld + wide, kv_image = (s->keys - 1) * kv_ld + 2 * wide;
    d->count = s->images * s->queries * out_ld;
    d->q = floats(s->images * q_image, 1, size, 0);
    d->kv = floats(s->images * kv_image, 2, 1, 0.1f);
    d->q16 = round_all(d->q, s->images * q_image);
    d->kv16 = round_all(d->kv, s->images * kv_image);
    d->out = floats(d->count, 3, 1, 0);
    d->out16 = calloc((size_t)d->count, sizeof *d->out16);
    int64_t out_image = s->queries * out_ld;
    struct attention a =
        merged_attention(s, &(struct attention_lds){q_ld, kv_ld, out_ld, q_image, kv_image, out_image});
    a.out = d->out;
    a.scratch_ld = attention_scratch(&a);
    a.scratch = aligned_alloc(64, 3 * a.scratch_ld * sizeof(float));
    memset(a.scratch, 0xff, 3 * a.scratch_ld * sizeof(float)); /* NaN: what is read must have been written */
    d->floats = d->halves = a;
    d->floats.q = d->q;
    d->floats.k = d->kv;
    d->floats.v = d->kv + wide;
    d->halves.q_bf16 = d->q16;
    d->halves.k_bf16 = d->kv16;
    d->halves.v_bf16 = d->kv16 + wide;
}

static void release(struct data *d)
{
    free(d->q), free(d->kv), free(d->out), free(d->q16), free(d->kv16), free(d->out16);
    free(d->floats.scratch);
}

static double relative_error(const float *got, const float *want, int64_t n)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        off += (got[i] - want[i]) * (double)(got[i] - want[i]);
        all += want[i] * (double)want[i];
    }
    return sqrt(off / all);
}

/* A weight is rounded by 2^-9 of itself at most and values are below 1.1; sums of rounded weights divide.
 * Over all results the errors are independent: a third of that is left. */
START_TEST(attention_comes_near_exact_arithmetic)
{
    static const float sizes[] = {0.5f, 6, 40};
    for (int i = 0; i < 3; i++)
        for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &shapes[_i], sizes[i]);
            cpu_kernels(CPU_REF)->attention(&d.floats, 0, 1);
            float *want = copy_of(d.out, d.count);
            k->attention(&d.halves, 0, 1);
            near(d.out, want, d.count, level == CPU_REF ? 0 : 2 * 1.1 / 512, cpu_level_name(k->level));
            ck_assert_double_le(relative_error(d.out, want, d.count), 1.0 / 400);
            free(want);
            release(&d);
        }
}
END_TEST

START_TEST(attention_in_parts_and_alone)
{
    const struct attention_shape *s = &shapes[_i];
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d;
        make(&d, s, 6);
        k->attention(&d.halves, 0, 1);
        struct attention half = d.halves;
        half.out = NULL;
        half.out_bf16 = d.out16;
        for (int part = 2; part >= 0; part--)
            k->attention(&half, part, 3);
        for (int64_t row = 0; row < (int64_t)s->images * s->queries; row++)
            for (int c = 0; c < s->heads * s->dim; c++)
                if (d.out16[row * half.out_ld + c] != rounded(d.out[row * half.out_ld + c]))
                    ck_abort_msg("%s: row %d, %d", cpu_level_name(k->level), (int)row, c);
        int64_t head = (s->heads - 1) * s->dim, image = s->images - 1, query = s->causal ? 0 : s->queries - 1;
        struct attention one = d.halves;
        float alone[512];
        one.q_bf16 += image * one.q_image_ld + query * one.q_ld + head;
        one.k_bf16 += image * one.k_image_ld + head;
        one.v_bf16 += image * one.v_image_ld + head;
        one.images = one.heads = one.queries = 1;
        one.out = alone;
        k->attention(&one, 0, 1);
        equal(alone, d.out + image * half.out_image_ld + query * half.out_ld + head, s->dim * 4, "alone");
        release(&d);
    }
}
END_TEST

/* From 256 keys on, queries too short for large scores take another way than long ones, in the same tile:
 * each comes near the reference, has the bits that it has alone, and what is not a number stays in its row.
 */
START_TEST(short_and_long_queries_share_a_tile)
{
    const struct attention_shape s = {1, 1, 40, 29, 388, _i};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d;
        make(&d, &s, 1);
        struct attention a = d.halves;
        for (int row = 0; row < s.queries; row++)
            for (int c = 0; c < s.dim; c++) {
                float x = d.q[row * a.q_ld + c] * (row % 3 ? 0.5f : 60);
                d.q[row * a.q_ld + c] = widened(d.q16[row * a.q_ld + c] = rounded(x));
            }
        cpu_kernels(CPU_REF)->attention(&d.halves, 0, 1);
        float *want = copy_of(d.out, d.count);
        k->attention(&a, 0, 1);
        near(d.out, want, d.count, level == CPU_REF ? 0 : 2 * 1.1 / 512, cpu_level_name(k->level));
        for (int row = 0; row < s.queries && !s.causal; row++) {
            struct attention one = a;
            float alone[40];
            one.q_bf16 += row * one.q_ld;
            one.queries = 1;
            one.out = alone;
            k->attention(&one, 0, 1);
            equal(alone, d.out + row * a.out_ld, sizeof alone, "alone");
        }
        d.q16[5 * a.q_ld + 3] = 0x7FC0;
        k->attention(&a, 0, 1);
        for (int i = 0; i < s.queries * s.dim; i++)
            ck_assert_int_eq(isnan(d.out[i / s.dim * a.out_ld + i % s.dim]) != 0, i / s.dim == 5);
        free(want);
        release(&d);
    }
}
END_TEST

/* Scores of codes: near the reference by the bound that cpu.h states, carried through the softmax (a score
 * off by d changes weights by the factor e^d at most, and results by twice that times the largest value),
 * plus the rounding of weights; relative errors over all were 1.5e-3 for short queries and 1.3e-2 for long.
 * Bits are those of a query alone, also where a key takes all, and of any split. */
START_TEST(int8_scores_come_near)
{
    static const struct attention_shape sizes[] = {{1, 1, 4, 3, 5, 0},
                                                   {2, 2, 40, 30, 384, 0},
                                                   {1, 3, 64, 43, 300, 0},
                                                   {1, 1, 128, 20, 129, 0},
                                                   {1, 1, 72, 70, 70, 1}};
    const struct attention_shape *s = &sizes[_i % 5];
    for (int level = CPU_AVX2; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data d;
        make(&d, s, _i < 5 ? 1 : 20);
        struct attention a = d.halves;
        a.int8_scores = 1;
        cpu_kernels(CPU_REF)->attention(&d.halves, 0, 1);
        float *want = copy_of(d.out, d.count);
        for (int part = 2; part >= 0; part--)
            k->attention(&a, part, 3);
        double bound = 2.2 * s->dim / 254 * a.scale;
        if (_i < 5)
            near(d.out, want, d.count, 2 * 1.1 * (exp(bound) - 1) + 2 * 1.1 / 512, cpu_level_name(k->level));
        ck_assert_double_le(relative_error(d.out, want, d.count), _i < 5 ? 0.004 : 0.03);
        for (int row = 0; row < s->queries && !s->causal; row++) {
            int64_t head = (s->heads - 1) * s->dim;
            struct attention one = a;
            float alone[128];
            one.q_bf16 += row * one.q_ld + head;
            one.k_bf16 += head;
            one.v_bf16 += head;
            one.images = one.heads = one.queries = 1;
            one.out = alone;
            k->attention(&one, 0, 1);
            equal(alone, d.out + row * a.out_ld + head, s->dim * 4, "alone");
        }
        d.q16[2 * a.q_ld] = 0x7F80; /* infinity */
        k->attention(&a, 0, 1);
        for (int i = 0; i < s->queries * s->heads * s->dim; i++) {
            int row = i / (s->heads * s->dim), c = i % (s->heads * s->dim);
            ck_assert_int_eq(isnan(d.out[row * a.out_ld + c]) != 0, row == 2 && c < s->dim);
        }
        free(want);
        release(&d);
    }
}
END_TEST

static void same_rounded(const uint16_t *half, const float *whole, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (half[i] != rounded(whole[i]))
            ck_abort_msg("%s: at %d: %04x for %.9g", what, (int)i, half[i], whole[i]);
}

/* Rows of widths around whole vectors, with everything that a norm can do; the tap stays float. */
START_TEST(norms_round_what_they_give)
{
    static const int widths[] = {1, 6, 16, 31, 48, 130};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int w = 0; w < 6; w++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            const int channels = widths[w];
            size_t n = 10 * (size_t)channels;
            float *x = floats((int64_t)n, 1, 2, 0.3f), *out = floats((int64_t)n, 2, 1, 0),
                  *tap = floats((int64_t)n, 3, 1, 0), *mod = floats(4 * (int64_t)channels, 4, 1, 0);
            uint16_t *half = calloc((size_t)n, sizeof *half);
            struct row_norm r = {.x = x, .x_ld = channels, .images = 2, .rows_per_image = 5, .norm = 1};
            r.channels = channels;
            r.eps = 1e-5f;
            r.scale = mod;
            r.shift = mod + 2 * channels;
            r.mod_ld = r.out_ld = r.tap_ld = r.out_bf16_ld = channels;
            r.out = out;
            k->row_norm(&r, 0, 1);
            r.out = NULL;
            r.out_bf16 = half;
            r.tap = tap;
            for (int part = 0; part < 3; part++)
                k->row_norm(&r, part, 3);
            same_rounded(half, out, n, "row norm");
            equal(tap, out, n * 4, "tap");
            struct elementwise e = {.a = x, .b = tap, .images = 2, .rows_per_image = 5, .channels = channels};
            e.a_ld = e.b_ld = e.out_ld = e.out_bf16_ld = channels;
            e.op = BIN_MUL;
            e.act = ACT_SILU;
            e.out = out;
            e.out_bf16 = half;
            k->elementwise(&e, 0, 1);
            same_rounded(half, out, n, "elementwise");
            memset(half, 0, (size_t)n * sizeof *half);
            e.out = NULL;
            k->elementwise(&e, 0, 1);
            same_rounded(half, out, n, "elementwise alone");
            free(x), free(out), free(tap), free(mod), free(half);
        }
}
END_TEST

START_TEST(group_norm_rounds_what_it_gives)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        int channels = 36, pixels = 70, n = 2 * pixels * channels;
        float *x = floats(n, 1, 2, 0.3f), *out = floats(n, 2, 1, 0);
        uint16_t *half = calloc((size_t)n, sizeof *half);
        struct group_norm g = {
            .x = {x}, .x_ld = {channels}, .channels = {channels}, .images = 2, .groups = 4};
        g.pixels = pixels;
        g.eps = 1e-5f;
        g.act = ACT_SILU;
        g.out_ld = g.out_bf16_ld = channels;
        size_t bytes = (group_norm_workspace(&g) * sizeof(float) + 63) / 64 * 64;
        g.workspace = aligned_alloc(64, bytes);
        g.out = out;
        for (int phase = 0; phase < 3; phase++)
            k->group_norm(&g, phase, 0, 1);
        g.out = NULL;
        g.out_bf16 = half;
        for (int phase = 0; phase < 3; phase++)
            k->group_norm(&g, phase, 0, 1);
        same_rounded(half, out, n, "group norm");
        free(x), free(out), free(half), free(g.workspace);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("bfloat16");
    tcase_add_loop_test(t, attention_comes_near_exact_arithmetic, 0, SHAPES);
    tcase_add_loop_test(t, attention_in_parts_and_alone, 0, SHAPES);
    tcase_add_loop_test(t, short_and_long_queries_share_a_tile, 0, 2);
    tcase_add_loop_test(t, int8_scores_come_near, 0, 10);
    tcase_add_test(t, norms_round_what_they_give);
    tcase_add_test(t, group_norm_rounds_what_it_gives);
    return run_suite(t, "bfloat16 rows");
}
