/* Elementwise operations, activations and cache reads: every level against the scalar reference and against
 * the C library in double; special values; the same bits for any split and in place. */
#include "kernels/cpu/tests/kernel_test.h"

static const int widths[] = {1, 7, 8, 15, 16, 17, 33, 64, 77, 192, 1153};
enum { WIDTHS = sizeof widths / sizeof *widths, IMAGES = 3, ROWS = 5, ALL = IMAGES * ROWS };

static struct elementwise operation(const float *a, const float *b, int channels, int b_kind, int op, int act)
{
    return (struct elementwise){.a = a,
                                .a_ld = channels + 2,
                                .images = IMAGES,
                                .rows_per_image = ROWS,
                                .channels = channels,
                                .b = b,
                                .b_ld = channels + 1,
                                .b_kind = (enum operand_kind)b_kind,
                                .op = (enum binary_kind)op,
                                .act = (enum activation)act,
                                .scale = act % 2 ? 0.75f : 0,
                                .out_ld = channels + 3};
}

START_TEST(operations_equal_the_reference)
{
    int channels = widths[_i];
    int64_t n = ALL * (int64_t)(channels + 3);
    float *a = floats(n, 1, 20, 0), *b = floats(n, 2, 3, 0), *want = floats(n, 3, 1, 0),
          *got = floats(n, 3, 1, 0);
    for (int act = ACT_NONE; act <= ACT_SIGMOID; act++)
        for (int kind = -1; kind < 9; kind++) { /* -1: one operand */
            struct elementwise e = operation(a, kind < 0 ? NULL : b, channels, kind < 0 ? 0 : kind % 3,
                                             kind < 0 ? 0 : kind / 3, act);
            e.out = want;
            cpu_kernels(CPU_REF)->elementwise(&e, 0, 1);
            e.out = got;
            FOR_LEVELS(k)
            {
                for (int row = 0; row < ALL; row++)
                    memset(got + row * e.out_ld, 0, (size_t)channels * sizeof *got);
                for (int p = 3; p >= 0; p--)
                    k->elementwise(&e, p, 4);
                /* Operands up to 60: see the test of activations. Columns between rows are compared too. */
                near(got, want, n, 1e-6, "elementwise");
            }
        }
    free(a), free(b), free(want), free(got);
}
END_TEST

START_TEST(split_and_place_do_not_change_a_bit)
{
    int channels = widths[_i];
    int64_t n = ALL * (int64_t)(channels + 3);
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int op = BIN_ADD; op <= BIN_MUL; op++) {
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            float *a = floats(n, 1, 20, 0), *b = floats(n, 2, 3, 0), *whole = floats(n, 3, 1, 0),
                  *other = floats(n, 3, 1, 0);
            struct elementwise e = operation(a, b, channels, PER_ROW, op, ACT_GELU_TANH);
            e.a_ld = e.b_ld = e.out_ld;
            e.out = whole;
            k->elementwise(&e, 0, 1);
            e.out = other;
            for (int parts = 2; parts < 5; parts++) {
                for (int p = 0; p < parts; p++)
                    k->elementwise(&e, p, parts);
                equal(other, whole, n * (int64_t)sizeof(float), "parts");
            }
            float *keep = copy_of(a, n);
            e.out = a;
            k->elementwise(&e, 0, 1);
            e.a = keep;
            e.out = b;
            k->elementwise(&e, 0, 1);
            for (int row = 0; row < ALL; row++) {
                equal(a + row * e.out_ld, whole + row * e.out_ld, channels * (int64_t)sizeof(float),
                      "in place of a");
                equal(b + row * e.out_ld, whole + row * e.out_ld, channels * (int64_t)sizeof(float),
                      "in place of b");
            }
            free(a), free(b), free(whole), free(other), free(keep);
        }
}
END_TEST

/* What PyTorch's functions of these names compute, in double. */
static double exactly(double x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return x / (1 + exp(-x));
    case ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF:
        return 0.5 * x * erfc(-x * sqrt(0.5));
    case ACT_RELU:
        return x > 0 ? x : 0;
    case ACT_TANH:
        return tanh(x);
    case ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

/* Every activation to 5 half steps of its value or of 1 (3e-7); the GELUs to that of their argument, since x
 * / 2 is multiplied by 1 + erf or 1 + tanh. The grid is fine near zero and reaches past where exponentials
 * overflow. */
START_TEST(activations_are_right)
{
    enum { N = 40001 };
    float *x = floats(N, 4, 1, 0), *y = floats(N, 5, 1, 0);
    for (int i = 0; i < N; i++) {
        double t = (i - N / 2) / (double)(N / 2);
        x[i] = (float)(i % 2 ? 12 * t : 200 * t * t * t);
    }
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        struct elementwise e = {.a = x,
                                .a_ld = N,
                                .images = 1,
                                .rows_per_image = 1,
                                .channels = N,
                                .act = (enum activation)_i,
                                .out = y,
                                .out_ld = N};
        cpu_kernels((enum cpu_level)level)->elementwise(&e, 0, 1);
        for (int i = 0; i < N; i++) {
            double want = exactly(x[i], e.act);
            double size =
                e.act == ACT_GELU_TANH || e.act == ACT_GELU_ERF ? fmax(1, fabs(x[i])) : fmax(1, fabs(want));
            if (!(fabs(y[i] - want) <= 3e-7 * size))
                ck_abort_msg("%s, activation %d: at %.9g: %.9g, expected %.9g",
                             cpu_level_name((enum cpu_level)level), _i, x[i], y[i], want);
        }
    }
    free(x), free(y);
}
END_TEST

/* NaN stays; infinities go where the function goes, or to NaN, never to a number that hides them. */
START_TEST(special_values)
{
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
        for (int at = 0; at < 20; at++) {
            float x[20] = {0}, y[20];
            struct elementwise e = {.a = x,
                                    .a_ld = 20,
                                    .images = 1,
                                    .rows_per_image = 1,
                                    .channels = 20,
                                    .act = (enum activation)_i,
                                    .out = y,
                                    .out_ld = 20};
            const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
            x[at] = NAN;
            k->elementwise(&e, 0, 1);
            for (int i = 0; i < 20; i++)
                ck_assert_msg(!isnan(y[i]) == (i != at), "%s: %d", cpu_level_name((enum cpu_level)level), i);
            x[at] = INFINITY;
            k->elementwise(&e, 0, 1);
            ck_assert(y[at] == (_i == ACT_TANH || _i == ACT_SIGMOID ? 1 : INFINITY));
            x[at] = -INFINITY;
            k->elementwise(&e, 0, 1);
            float limit =
                _i == ACT_TANH ? -1 : 0; /* exponentials end at the largest float, so 0 is at most 1e-38 */
            ck_assert(!isfinite(y[at]) || fabsf(y[at] - limit) < 1e-38f);
        }
}
END_TEST

START_TEST(cache_reads_equal_the_reference)
{
    int channels = widths[_i];
    int64_t n = ALL * (int64_t)(channels + 3), bytes = n * (int64_t)sizeof(float);
    float *cache = floats(n, 1, 2, 0), *a = floats(channels, 2, 1, 1), *b = floats(channels, 3, 1, 0),
          *gate = floats(n, 4, 1, 0);
    float *older = floats(n, 7, 2, 0), *a2 = floats(channels, 8, 1, 0);
    float *residual = floats(n, 5, 1, 0), *want = floats(n, 6, 1, 0), *got = floats(n, 6, 1, 0),
          *once = floats(n, 6, 1, 0);
    for (int option = 0; option < 32; option++) {
        struct cache_read r = {.cache = cache,
                               .cache_ld = channels + 1,
                               .images = IMAGES,
                               .rows_per_image = ROWS,
                               .channels = channels,
                               .out = want,
                               .out_ld = channels + 3};
        if (option & 1)
            r.a = a, r.b = b;
        if ((option & 17) == 17)
            r.cache2 = older, r.a2 = a2;
        r.epilogue = (struct mm_epilogue){.gate = option & 2 ? gate : NULL,
                                          .gate_ld = channels + 2,
                                          .residual = option & 4 ? residual : NULL,
                                          .residual_ld = channels + 3,
                                          .scale = option & 8 ? 1 / sqrtf(2) : 0};
        cpu_kernels(CPU_REF)->cache_read(&r, 0, 1);
        FOR_LEVELS(k)
        {
            r.out = once;
            k->cache_read(&r, 0, 1);
            near(once, want, n, 5e-7, "cache read");
            r.out = got;
            for (int p = 2; p >= 0; p--)
                k->cache_read(&r, p, 3);
            equal(got, once, bytes, "parts");
            if (!r.epilogue.residual)
                continue;
            float *place = copy_of(residual, n);
            r.epilogue.residual = r.out = place;
            k->cache_read(&r, 0, 1);
            r.epilogue.residual = residual;
            for (int row = 0; row < ALL; row++)
                equal(place + row * r.out_ld, once + row * r.out_ld, channels * (int64_t)sizeof(float),
                      "onto the residual");
            free(place);
        }
    }
    free(older), free(a2);
    free(cache), free(a), free(b), free(gate), free(residual), free(want), free(got), free(once);
}
END_TEST

/* A plain read is a copy, to the bit. */
START_TEST(plain_reads_copy)
{
    int channels = widths[_i];
    float *cache = floats((int64_t)ALL * channels, 1, 2, 0), *out = floats((int64_t)ALL * channels, 2, 1, 0);
    for (int level = CPU_REF; level <= (int)cpu_best_level(); level++) {
        struct cache_read r = {.cache = cache,
                               .cache_ld = channels,
                               .images = 1,
                               .rows_per_image = ALL,
                               .channels = channels,
                               .out = out,
                               .out_ld = channels};
        memset(out, 0, (size_t)ALL * (size_t)channels * sizeof *out);
        cpu_kernels((enum cpu_level)level)->cache_read(&r, 0, 1);
        equal(out, cache, ALL * (int64_t)channels * (int64_t)sizeof(float), "plain read");
    }
    free(cache), free(out);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("elementwise");
    tcase_add_loop_test(t, operations_equal_the_reference, 0, WIDTHS);
    tcase_add_loop_test(t, split_and_place_do_not_change_a_bit, 0, WIDTHS);
    tcase_add_loop_test(t, activations_are_right, ACT_NONE, ACT_SIGMOID + 1);
    tcase_add_loop_test(t, special_values, ACT_NONE, ACT_SIGMOID + 1);
    tcase_add_loop_test(t, cache_reads_equal_the_reference, 0, WIDTHS);
    tcase_add_loop_test(t, plain_reads_copy, 0, WIDTHS);
    return run_suite(t, "elementwise");
}
