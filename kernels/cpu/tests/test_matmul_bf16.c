/* bfloat16 products, every level: against the reference's float product of the same, widened values (a sum of
 * exact products, so only the order of float32 additions differs); what must hold to the bit; rounding. */
#include "kernels/cpu/tests/matmul_test.h"

struct halves {
    struct data d;
    uint16_t *in[2], *weight, *out;
    float *want; /* the reference's float product */
};

static int64_t source_size(const struct shape *c, const struct mm_source *s)
{
    int64_t image = s->ld * s->height * s->width + 64;
    return ((c->shared ? 1 : c->images) - 1) * image + ((int64_t)s->height * s->width - 1) * s->ld +
           s->channels;
}

static struct shape even_shape(int i)
{
    struct shape c = shapes[i];
    for (int s = 0; s < 2; s++)
        c.channels[s] = (c.channels[s] + 1) / 2 * 2;
    return c;
}

static void make_halves(struct halves *h, const struct shape *c, int pieces, enum activation act)
{
    struct data *d = &h->d;
    make(d, c, 0, pieces, act);
    for (int i = 0; i < d->m.sources; i++)
        h->in[i] = round_all(d->in[i], source_size(c, &d->m.source[i]));
    h->weight =
        round_all(d->weight, (int64_t)c->n * (c->channels[0] + c->channels[1]) * c->kernel_h * c->kernel_w);
    pack(d, cpu_kernels(CPU_REF));
    cpu_kernels(CPU_REF)->matmul(&d->m, 0, 1);
    h->want = copy_of(d->out, d->out_size);
    d->m.bf16 = 1;
    for (int i = 0; i < d->m.sources; i++)
        d->m.source[i].data = h->in[i];
    h->out = calloc((size_t)d->out_size, sizeof *h->out);
    d->m.out_bf16 = h->out;
    d->m.out_bf16_ld = d->m.out_ld;
}

static void pack_halves(struct halves *h, const struct cpu_kernels *k)
{
    int middle = h->d.s.n / 2 / k->mm_panel * k->mm_panel;
    free(h->d.packed);
    h->d.m.weights = h->d.packed = malloc(k->matmul_bf16_size(&h->d.s));
    k->matmul_pack_bf16(h->d.packed, h->weight, &h->d.s, middle, h->d.s.n);
    if (middle)
        k->matmul_pack_bf16(h->d.packed, h->weight, &h->d.s, 0, middle);
}

static void release_halves(struct halves *h)
{
    free(h->in[0]), free(h->in[1]), free(h->weight), free(h->out), free(h->want);
    release(&h->d);
}

/* float32 sums of n products below 1 each: sqrt(n) rounding errors of size sqrt(n) * 2^-24, with room. */
static double tolerance_of(const struct shape *c)
{
    return 3e-7 * (8 + (double)(c->channels[0] + c->channels[1]) * c->kernel_h * c->kernel_w / 8);
}

START_TEST(every_level_equals_the_float_product)
{
    struct shape c = even_shape(_i);
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct halves h = {0};
        make_halves(&h, &c, _i % 2 ? ALL_PIECES : BIAS, _i % 2 ? ACT_GELU_TANH : ACT_NONE);
        pack_halves(&h, k);
        struct matmul *m = &h.d.m;
        for (int parts = 1; parts <= 5; parts += 2) {
            float *before = copy_of(h.d.out, h.d.out_size);
            for (int part = 0; part < parts; part++)
                k->matmul(m, part, parts);
            for (int64_t row = 0; row < h.d.rows; row++) {
                near(h.d.out + row * m->out_ld, h.want + row * m->out_ld, c.n,
                     level == CPU_REF ? 0 : tolerance_of(&c), "product");
                for (int n = 0; n < c.n; n++)
                    if (h.out[row * m->out_ld + n] != rounded(h.d.out[row * m->out_ld + n]))
                        ck_abort_msg("rounding at row %d, %d", (int)row, n);
                if (parts > 1)
                    equal(h.d.out + row * m->out_ld, before + row * m->out_ld, c.n * 4, "parts");
            }
            free(before);
        }
        release_halves(&h);
    }
}
END_TEST

/* A row alone gives the bits that it gives among others; nothing but out_bf16 need be written. */
START_TEST(rows_are_independent)
{
    struct shape c = {1, 1, 61, {1, 1}, {258, 0}, 71, 1, 1, 1, 0, 0, 0, 0, 0};
    FOR_LEVELS(k)
    {
        struct halves h = {0};
        make_halves(&h, &c, BIAS, ACT_SILU);
        pack_halves(&h, k);
        k->matmul(&h.d.m, 0, 1);
        uint16_t one[71];
        for (int row = 0; row < 61; row++) {
            struct matmul m = h.d.m;
            m.out_width = m.source[0].width = 1;
            m.source[0].data = h.in[0] + row * m.source[0].ld;
            m.out = NULL;
            m.out_bf16 = one;
            k->matmul(&m, 0, 1);
            equal(one, h.out + row * h.d.m.out_bf16_ld, sizeof one, "one row");
        }
        release_halves(&h);
    }
}
END_TEST

/* Values go through a product with the unit matrix, so what comes out is their rounding. */
START_TEST(rounding_is_to_nearest_even_and_keeps_what_is_no_number)
{
    enum { N = 32 };
    uint16_t unit[N * N] = {0}, out[N];
    float residual[N], out_float[N];
    uint16_t zeros[N] = {0};
    static const uint32_t bits[] = {0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF,
                                    0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF,
                                    0x00000000, 0x00800000, 0x3FFFFFFF, 0xC2F58000};
    static const uint16_t want[] = {0x3F80, 0x3F80, 0x3F82, 0x3F81, 0x3F80, 0x7F80, 0xFF80, 0x7F80,
                                    0xFF80, 0,      0,      0,      0x0000, 0x0080, 0x4000, 0xC2F6};
    for (int i = 0; i < N; i++)
        memcpy(&residual[i], &bits[i % 16], 4);
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
        struct mm_shape s = {N, 1, 1, {N, 0}};
        void *packed = malloc(k->matmul_bf16_size(&s));
        k->matmul_pack_bf16(packed, unit, &s, 0, N);
        struct matmul m = {
            .images = 1, .out_height = 1, .out_width = 1, .n = N, .kernel_h = 1, .kernel_w = 1};
        m.stride = m.sources = m.bf16 = 1;
        m.source[0] = (struct mm_source){zeros, N, N, N, 1, 1, 1, NULL};
        m.weights = packed;
        m.out = out_float;
        m.out_bf16 = out;
        m.out_ld = m.out_bf16_ld = m.epilogue.residual_ld = N;
        m.epilogue.residual = residual;
        k->matmul(&m, 0, 1);
        for (int i = 0; i < N; i++) {
            if (isnan(residual[i]) ? !isnan(widened(out[i])) : out[i] != want[i % 16])
                ck_abort_msg("%s: %08x becomes %04x", cpu_level_name(k->level), bits[i % 16], out[i]);
        }
        free(packed);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("bfloat16");
    tcase_add_loop_test(t, every_level_equals_the_float_product, 0, SHAPES);
    tcase_add_test(t, rows_are_independent);
    tcase_add_test(t, rounding_is_to_nearest_even_and_keeps_what_is_no_number);
    return run_suite(t, "bfloat16 products");
}
