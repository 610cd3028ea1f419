/* Attention: every level against the scalar reference over sizes on both sides of every block, cross and
 * causal, heads inside merged rows; results known without arithmetic; the same bits for any split, batch and
 * number of queries. */
#include "kernels/cpu/tests/kernel_test.h"

static const struct attention_shape shapes[] = {
    {1, 1, 1, 1, 1, 0},     {1, 1, 16, 1, 1, 0},     {2, 3, 16, 49, 49, 0},   {1, 2, 72, 130, 130, 0},
    {1, 1, 40, 20, 77, 0},  {1, 2, 33, 150, 150, 1}, {1, 1, 300, 17, 257, 0}, {2, 1, 5, 3, 129, 0},
    {1, 2, 24, 14, 128, 0}, {3, 2, 8, 15, 127, 0},   {1, 1, 128, 13, 16, 0},  {1, 1, 129, 6, 17, 0},
    {2, 2, 64, 7, 33, 1},   {1, 1, 160, 64, 64, 0},  {1, 1, 512, 29, 131, 0}, {1, 3, 80, 8, 31, 0},
    {1, 1, 16, 300, 40, 1}, {1, 1, 16, 40, 300, 1},  {1, 1, 257, 2, 2, 0},    {2, 4, 48, 28, 256, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, MOST_PARTS = 5 };

struct data {
    struct attention a;
    float *q, *kv, *out;
    int64_t count; /* of out */
};

/* Keys and values lie in the same rows, as in a merged projection; every distance is another one. */
static void make(struct data *d, const struct attention_shape *s, float size)
{
    int64_t wide = s->heads * s->dim, q_ld = wide + 3, kv_ld = 2 * wide + 1, out_ld = wide + 2;
    int64_t q_image = s->queries * q_ld + 5, kv_image = s->keys * kv_ld + 7,
            out_image = s->queries * out_ld + 1;
    d->count = s->images * out_image;
    d->q = floats(s->images * q_image, 1, size, 0);
    d->kv = floats(s->images * kv_image, 2, 1, 0.1f);
    d->out = floats(d->count, 3, 1, 0);
    d->a = merged_attention(s, &(struct attention_lds){q_ld, kv_ld, out_ld, q_image, kv_image, out_image});
    d->a.q = d->q;
    d->a.k = d->kv;
    d->a.v = d->kv + wide;
    d->a.out = d->out;
    d->a.scratch_ld = attention_scratch(&d->a);
    size_t bytes = MOST_PARTS * d->a.scratch_ld * sizeof(float);
    d->a.scratch = aligned_alloc(64, bytes);
    memset(d->a.scratch, 0xff, bytes); /* NaN: what is read must have been written */
}

static void release(struct data *d) { free(d->q), free(d->kv), free(d->out), free(d->a.scratch); }

/* With queries of size 6 to 40 some weights are tiny and some rows are nearly one key's. A score of size s is
 * off by about s * 1e-7, and so is a weight, relatively. */
START_TEST(every_level_equals_the_reference)
{
    static const float sizes[] = {0.5f, 6, 40};
    for (int i = 0; i < 3; i++) {
        struct data want, got;
        make(&want, &shapes[_i], sizes[i]);
        cpu_kernels(CPU_REF)->attention(&want.a, 0, 1);
        FOR_LEVELS(k)
        {
            make(&got, &shapes[_i], sizes[i]);
            k->attention(&got.a, 0, 1);
            near(got.out, want.out, got.count, 2e-6 + 1e-6 * sizes[i], cpu_level_name(k->level));
            release(&got);
        }
        release(&want);
    }
}
END_TEST

START_TEST(split_batch_and_number_of_queries_do_not_change_a_bit)
{
    const struct attention_shape *s = &shapes[_i];
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct data whole, other;
        make(&whole, s, 6);
        make(&other, s, 6);
        k->attention(&whole.a, 0, 1);
        for (int parts = 1; parts <= MOST_PARTS; parts++) {
            for (int p = parts - 1; p >= 0; p--)
                k->attention(&other.a, p, parts);
            equal(other.out, whole.out, whole.count * (int64_t)sizeof(float), "parts");
        }
        /* The last query of the last image alone, last head only. */
        int64_t head = (s->heads - 1) * s->dim, image = s->images - 1, query = s->causal ? 0 : s->queries - 1;
        struct attention one = other.a;
        float alone[512];
        one.q += image * one.q_image_ld + query * one.q_ld + head;
        one.k += image * one.k_image_ld + head;
        one.v += image * one.v_image_ld + head;
        one.images = one.heads = one.queries = 1;
        one.out = alone;
        k->attention(&one, 0, 1);
        equal(alone, whole.out + image * other.a.out_image_ld + query * other.a.out_ld + head,
              s->dim * (int64_t)sizeof(float), "alone");
        /* Onto the queries. */
        struct attention place = other.a;
        place.out = other.q;
        place.out_ld = place.q_ld;
        place.out_image_ld = place.q_image_ld;
        for (int p = 0; p < 3; p++)
            k->attention(&place, p, 3);
        for (int i = 0; i < s->images * s->queries; i++)
            equal(other.q + i / s->queries * place.q_image_ld + i % s->queries * place.q_ld,
                  whole.out + i / s->queries * whole.a.out_image_ld + i % s->queries * whole.a.out_ld,
                  s->heads * s->dim * (int64_t)sizeof(float), "in place");
        release(&whole);
        release(&other);
    }
}
END_TEST

/* Equal keys: the mean of the values. Here whole numbers, whose sums are exact. */
START_TEST(equal_keys_give_the_mean)
{
    enum { KEYS = 320, DIM = 20, QUERIES = 17 };
    static float q[QUERIES * DIM], k[KEYS * DIM], v[KEYS * DIM], out[QUERIES * DIM];
    for (int i = 0; i < QUERIES * DIM; i++)
        q[i] = (float)(i % 7) - 3;
    for (int i = 0; i < KEYS * DIM; i++) {
        k[i] = (float)(i % DIM);
        v[i] = (float)(i / DIM % 64);
    }
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int causal = 0; causal < 2; causal++) {
            struct attention a = {.q = q,
                                  .k = k,
                                  .v = v,
                                  .q_ld = DIM,
                                  .k_ld = DIM,
                                  .v_ld = DIM,
                                  .images = 1,
                                  .heads = 1,
                                  .head_dim = DIM,
                                  .queries = QUERIES,
                                  .keys = KEYS,
                                  .causal = causal,
                                  .scale = 0.25f,
                                  .out = out,
                                  .out_ld = DIM};
            a.scratch_ld = attention_scratch(&a);
            a.scratch = aligned_alloc(64, a.scratch_ld * sizeof(float));
            cpu_kernels((enum cpu_level)level)->attention(&a, 0, 1);
            for (int i = 0; i < QUERIES * DIM; i++) /* causal: of 0, 1, ... query */
                ck_assert(fabs(out[i] - (causal ? i / DIM / 2.0 : 31.5)) <= 4e-6 * 31.5);
            free(a.scratch);
        }
}
END_TEST

/* One key outweighs all: its value comes out, exactly, however large the scores are. */
START_TEST(the_largest_score_takes_all)
{
    enum { KEYS = 200, DIM = 3 };
    static float k[KEYS * DIM], v[KEYS * DIM];
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int winner = 0; winner < KEYS; winner++)
            for (int big = 0; big < 2; big++) {
                float q[DIM] = {1, 0, 0}, out[DIM];
                for (int i = 0; i < KEYS * DIM; i++) {
                    k[i] = (i / DIM == winner ? 1.0f : -1.0f) * (big ? 1e37f : 500);
                    v[i] = (float)i;
                }
                struct attention a = {.q = q,
                                      .k = k,
                                      .v = v,
                                      .q_ld = DIM,
                                      .k_ld = DIM,
                                      .v_ld = DIM,
                                      .images = 1,
                                      .heads = 1,
                                      .head_dim = DIM,
                                      .queries = 1,
                                      .keys = KEYS,
                                      .scale = 1,
                                      .out = out,
                                      .out_ld = DIM};
                a.scratch_ld = attention_scratch(&a);
                a.scratch = aligned_alloc(64, a.scratch_ld * sizeof(float));
                cpu_kernels((enum cpu_level)level)->attention(&a, 0, 1);
                if (memcmp(out, v + winner * DIM, sizeof out))
                    ck_abort_msg("%s: winner %d: %g", cpu_level_name((enum cpu_level)level), winner, out[0]);
                free(a.scratch);
            }
}
END_TEST

/* A bad query spoils its row and no other; a bad value spoils its column in all rows. */
START_TEST(what_is_not_a_number_is_not_lost)
{
    struct attention_shape s = {1, 1, 40, 30, 140, 0};
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int at = 0; at < 30; at++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            struct data d;
            make(&d, &s, 1);
            d.q[at * d.a.q_ld + at] = at % 2 ? NAN : INFINITY;
            k->attention(&d.a, 0, 1);
            for (int r = 0; r < 30; r++)
                for (int c = 0; c < 40; c++)
                    if (!isnan(d.out[r * d.a.out_ld + c]) != (r != at))
                        ck_abort_msg("query %d of %d, %s", at, r, cpu_level_name(k->level));
            d.q[at * d.a.q_ld + at] = 0;
            d.kv[(at * 4 + 3) * d.a.v_ld + 40 + at] = NAN;
            k->attention(&d.a, 0, 1);
            for (int r = 0; r < 30; r++)
                for (int c = 0; c < 40; c++)
                    if (!isnan(d.out[r * d.a.out_ld + c]) != (c != at))
                        ck_abort_msg("value %d, row %d, %s", at, r, cpu_level_name(k->level));
            release(&d);
        }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("attention");
    tcase_add_loop_test(t, every_level_equals_the_reference, 0, SHAPES);
    tcase_add_loop_test(t, split_batch_and_number_of_queries_do_not_change_a_bit, 0, SHAPES);
    tcase_add_test(t, equal_keys_give_the_mean);
    tcase_add_test(t, the_largest_score_takes_all);
    tcase_add_test(t, what_is_not_a_number_is_not_lost);
    return run_suite(t, "attention");
}
