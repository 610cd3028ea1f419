/* Operations of cuDNN: which convolutions and attentions fit and as what. test-cuda-dnn has their graphs, the
 * stand-in of tests/driver computes them: see test-cuda and cuda_library in tools/tests. */
#include "kernels/cuda/tests/operation_test.h"

START_TEST(convolutions_fit)
{
    struct matmul m = resnet(2, 16, 64, 128);
    struct cuda_operation o = asked(&m, CUDA_WHOLE, 0, 0);
    const struct cuda_convolution *c = &o.shape.convolution;
    ck_assert(o.at[CUDA_OUT] == (void *)0x4000 && o.at[CUDA_BIAS] == (void *)0x5000 && !o.at[CUDA_RESIDUAL]);
    ck_assert(o.workspace == (void *)0x3100 && o.workspace_size == (1 << 20) - 0xf0);
    ck_assert(c->pad_top == 1 && c->pad_bottom == 1 && c->weights_ld == 64 && !c->out_bf16 && !c->silu);
    /* 40 channels have their weights at every 64th. */
    m = smaller(2, 16, 40, 0);
    o = asked(&m, CUDA_WHOLE, 0, 0);
    ck_assert(c->pad_top == 1 && c->pad_bottom == 1 && c->out_height == 8 && c->weights_ld == 64);
    m = smaller(2, 16, 64, 1);
    o = asked(&m, CUDA_WHOLE, 0, 0);
    ck_assert(c->pad_top == 0 && c->pad_bottom == 1);
    m = larger(2, 8, 64);
    o = asked(&m, CUDA_WHOLE, 1, 0);
    ck_assert(c->in_height == 16 && c->in_image_ld == 16 * 16 * 64 && o.at[CUDA_IN] == (void *)0x3100);
    /* What a graph does not take is a kernel's. */
    m.epilogue.gate = (void *)0x6000;
    o = asked(&m, CUDA_BARE, 1, 1);
    ck_assert(!o.at[CUDA_BIAS] && o.at[CUDA_OUT] == (char *)o.at[CUDA_IN] + 2 * 16 * 16 * 64 * 2);
}
END_TEST

/* Each of these alone is enough for an own kernel. */
START_TEST(what_does_not_fit_is_left_alone)
{
    struct matmul m[16];
    struct cuda_operation o;
    struct cuda_launches before, after;
    int n = 0;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        m[i] = resnet(2, 16, 64, 128);
    m[n++].bf16 = 0;
    m[n++].form = MM_BF16;
    m[n++].sources = 2;
    m[n].kernel_h = m[n].kernel_w = 1, n++;
    m[n++].source[0].channels = 60;
    m[n++].source[0].ld = 68;
    m[n++].source[0].image_ld = 0;
    m[n++].source[0].data = (void *)0x1008;
    m[n++].weights = (void *)0x2008;
    m[n++].n = 124;
    m[n].stride = 2, m[n].out_height = m[n].out_width = 6, n++; /* a window less than there could be */
    for (int i = 0; i < n; i++)
        for (int way = 0; way < CUDA_WAYS; way++)
            ck_assert_msg(!cuda_convolution(&m[i], (enum cuda_way)way, &o, &before, &after), "change %d", i);
    for (int i = 0; i < 8; i++) {
        m[0] = resnet(2, 16, 64, 128);
        struct mm_epilogue *e = &m[0].epilogue;
        *(i == 0   ? (const void **)&e->gate
          : i == 1 ? (const void **)&e->tap
          : i == 2 ? (const void **)&m[0].out_bf16
          : i == 3 ? (const void **)&e->bias
                   : (const void **)&m[0].out) = (void *)0x7008;
        e->act = i == 4 ? ACT_RELU : ACT_NONE;
        e->scale = i == 5 ? 0.5f : 1;
        ck_assert(!cuda_convolution(&m[0], CUDA_WHOLE, &o, &before, &after));
        ck_assert(cuda_convolution(&m[0], CUDA_BARE, &o, &before, &after));
    }
}
END_TEST

START_TEST(attention_fits)
{
    struct attention a = heads_of(16, 72, 256), b[12];
    struct cuda_operation o;
    int n = 0;
    a.scratch = (void *)0x5004;
    a.scratch_ld = 1000;
    ck_assert(cuda_attention_operation(&a, &o));
    ck_assert(o.at[CUDA_ATTENDED] == (void *)0x4000 && o.scale == 0.5f && o.shape.attention.head_dim == 72);
    ck_assert(o.workspace == (void *)0x5100 && o.workspace_size == 4000 - 0xfc);
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = a;
    b[n++].causal = 1;
    b[n++].head_dim = 68;
    b[n++].head_dim = 264;
    b[n++].out_bf16 = NULL;
    b[n++].q_bf16 = NULL;
    b[n++].v_bf16 = (void *)0x3008;
    b[n++].k_ld = 3 * 1152 + 4;
    b[n++].v_image_ld = 0;
    for (int i = 0; i < n; i++)
        ck_assert_msg(!cuda_attention_operation(&b[i], &o), "change %d", i);
}
END_TEST

/* Kernels number their threads in 32 bits: what is beyond is not launched. */
START_TEST(too_large_is_refused)
{
    struct cuda_launches l, before, after;
    struct cuda_operation o;
    struct move m = {.kind = MOVE_COPY, .images = 63, .out_height = 512, .out_width = 512, .channels = 256};
    struct elementwise e = {.images = 255, .rows_per_image = 512 * 512, .channels = 256};
    cuda_move(&m, &l);
    ck_assert_int_eq(l.count, 1);
    m.images = 64; /* of a decoder's last enlarged value: 2^32 numbers */
    cuda_move(&m, &l);
    ck_assert_int_eq(l.count, 0);
    cuda_elementwise(&e, &l);
    ck_assert_int_eq(l.count, 1);
    e.images = 256;
    cuda_elementwise(&e, &l);
    ck_assert_int_eq(l.count, 0);
    struct matmul big = larger(127, 256, 256);
    ck_assert(cuda_convolution(&big, CUDA_WHOLE, &o, &before, &after));
    big = larger(128, 256, 256);
    ck_assert(!cuda_convolution(&big, CUDA_WHOLE, &o, &before, &after));
}
END_TEST

/* Few tiles of twice as many queries leave multiprocessors idle. */
START_TEST(large_attention_is_the_librarys)
{
    struct attention a = heads_of(16, 72, 256);
    ck_assert(!cuda_attention_is_quicker(&a)); /* DiT-XL/2-256 */
    a = heads_of(16, 72, 1024);
    ck_assert(cuda_attention_is_quicker(&a)); /* -512 */
    a = heads_of(8, 40, 4096);
    ck_assert(cuda_attention_is_quicker(&a)); /* SD1.5 */
    a = heads_of(8, 160, 64);
    ck_assert(!cuda_attention_is_quicker(&a));
    int before = cuda_attention_is_quicker(&a);
    a.images = 64;
    ck_assert_int_eq(cuda_attention_is_quicker(&a), before);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("operation");
    tcase_add_test(t, convolutions_fit);
    tcase_add_test(t, what_does_not_fit_is_left_alone);
    tcase_add_test(t, attention_fits);
    tcase_add_test(t, too_large_is_refused);
    tcase_add_test(t, large_attention_is_the_librarys);
    return run_suite(t, "cuda operation");
}
