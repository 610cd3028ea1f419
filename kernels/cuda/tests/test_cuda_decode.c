/* Compressed weights, decoded on the device: bit for bit what pack.c makes of the numbers that they stand
 * for, the zeros behind the ends included. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"

static const struct mm_shape shapes[] = {
    {1, 1, 1, {1, 0}},    {64, 1, 1, {64, 0}},  {65, 1, 1, {130, 0}}, {70, 3, 3, {5, 0}},
    {130, 1, 1, {72, 7}}, {3, 3, 2, {66, 129}}, {64, 1, 1, {16, 48}}, {200, 1, 1, {300, 0}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Runs the decoding of m's weights; the result is of cuda_matmul_scratch() bytes. */
static unsigned char *decoded(struct matmul *m, enum cuda_precision p, size_t *size)
{
    struct cuda_launches l;
    *size = cuda_matmul_scratch(m, p);
    m->scratch = malloc(*size);
    memset(m->scratch, 0xff, *size);
    cuda_decode(m, p, &l);
    ck_assert_int_eq(l.count, 1);
    run_launches(&l, 3);
    return m->scratch;
}

static struct matmul product_of(const struct mm_shape *s, enum mm_weights form, const void *weights)
{
    return (struct matmul){.n = s->n,
                           .kernel_h = s->kernel_h,
                           .kernel_w = s->kernel_w,
                           .sources = s->channels[1] ? 2 : 1,
                           .source = {{.channels = s->channels[0]}, {.channels = s->channels[1]}},
                           .weights = weights,
                           .form = form};
}

/* half: 1 for rows of bfloat16, 2 for rows of floats and products of bfloat16. */
static void check_bytes(const struct mm_shape *s, enum mm_weights form, int half)
{
    const struct cpu_kernels *k = cuda_packing(half ? CUDA_BF16 : CUDA_F32);
    size_t size,
        want_size = k->matmul_packed_size(s, 0),
        count = (size_t)s->n * (size_t)((s->channels[0] + s->channels[1]) * s->kernel_h * s->kernel_w);
    int8_t *bytes = malloc(count);
    float *values = malloc(count * sizeof *values);
    void *packed = malloc(k->matmul_packed_size(s, 1)), *want = malloc(want_size);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)(i * 37 % 256);
        if (form == MM_E4M3 && (bytes[i] & 127) == 127)
            bytes[i] = 3;
        values[i] = form == MM_E4M3 ? mm_e4m3((uint8_t)bytes[i]) : bytes[i];
    }
    k->matmul_pack_int8(packed, bytes, s, 0, s->n);
    k->matmul_pack(want, values, s, 0, s->n);
    struct matmul m = product_of(s, form, packed);
    m.bf16 = half == 1;
    unsigned char *got = decoded(&m, half == 2 ? CUDA_BF16 : CUDA_F32, &size);
    ck_assert_uint_eq(size, want_size);
    ck_assert_mem_eq(got, want, size);
    free(bytes), free(values), free(packed), free(want), free(got);
}

START_TEST(bytes)
{
    check_bytes(&shapes[_i / 3], MM_INT8, _i % 3);
    check_bytes(&shapes[_i / 3], MM_E4M3, _i % 3);
}
END_TEST

/* n, channels, group */
static const int four_bits[][3] = {{1, 4, 4}, {70, 64, 16}, {64, 192, 64}, {130, 72, 72}, {3, 200, 8}};
enum { FOUR_BITS = sizeof four_bits / sizeof *four_bits };

START_TEST(nibbles)
{
    int n = four_bits[_i / 3][0], channels = four_bits[_i / 3][1], group = four_bits[_i / 3][2],
        codes8 = _i % 3 == 1, half = _i % 3 == 2;
    const struct cpu_kernels *k = cuda_packing(half ? CUDA_BF16 : CUDA_F32);
    struct mm_shape s = {n, 1, 1, {channels, 0}};
    size_t size, count = (size_t)(n * channels), want_size = k->matmul_packed_size(&s, codes8);
    uint8_t *codes = malloc(count / 2), *scales = malloc(count / (size_t)group);
    float levels[16], *values = malloc(count * sizeof *values);
    int8_t *ints = malloc(count);
    const struct cpu_kernels *four = cuda_packing(CUDA_F32);
    void *packed = malloc(four->matmul_int4_size(n, channels, group)), *want = malloc(want_size);
    for (int i = 0; i < 16; i++)
        levels[i] = (float)(i - 8) * 1.37f;
    for (size_t i = 0; i < count / 2; i++)
        codes[i] = (uint8_t)(i * 151);
    for (size_t i = 0; i < count / (size_t)group; i++)
        scales[i] = (uint8_t)(i * 5 % 100); /* up to 120 or so: some weights are clipped */
    for (size_t i = 0; i < count; i++)
        values[i] = ints[i] =
            (int8_t)mm_int4_value(levels[codes[i / 2] >> i % 2 * 4 & 15], scales[i / (size_t)group]);
    struct mm_int4 w = {codes, scales, levels, n, channels, group};
    four->matmul_pack_int4(packed, &w, 0, n);
    if (codes8)
        k->matmul_pack_int8(want, ints, &s, 0, n);
    else
        k->matmul_pack(want, values, &s, 0, n);
    struct matmul m = product_of(&s, MM_INT4, packed);
    m.group = group;
    m.int8 = codes8;
    unsigned char *got = decoded(&m, half ? CUDA_BF16 : CUDA_F32, &size);
    ck_assert_uint_eq(size, want_size);
    ck_assert_mem_eq(got, want, size);
    free(codes), free(scales), free(values), free(ints), free(packed), free(want), free(got);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("decode");
    tcase_add_loop_test(t, bytes, 0, 3 * SHAPES);
    tcase_add_loop_test(t, nibbles, 0, 3 * FOUR_BITS);
    return run_suite(t, "cuda decode");
}
