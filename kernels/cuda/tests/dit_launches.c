/* Prints what one network call of DiT-XL/2 launches between its embeddings and its output, for
 * scripts/cuda-resources:
 *
 *     dit-launches IMAGES TOKENS f32|bf16|int8
 *
 * A line for each kernel: how often, name, blocks, threads, shared bytes, floating-point operations (2 for
 * each multiply-add) and bytes (weights and activations once each) of one launch. Nothing is run. */
#include "kernels/cuda/launch_inside.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 28, WIDTH = 1152, HEADS = 16, HIDDEN = 4 * WIDTH };

struct sizes {
    int images, tokens, int8;
    enum cuda_precision precision;
};

static void print_launches(const struct cuda_launches *l, double flops, double bytes)
{
    for (int i = 0; i < l->count; i++)
        printf("%d %s %u %u %u %.0f %.0f\n", BLOCKS, l->launch[i].kernel, l->launch[i].grid[0],
               l->launch[i].block[0], l->launch[i].shared, flops, bytes);
}

static void norm(const struct sizes *s, int channels, int is_norm)
{
    static uint8_t codes;
    double rows = (double)s->images * s->tokens;
    struct row_norm r = {.images = s->images,
                         .rows_per_image = s->tokens,
                         .channels = channels,
                         .norm = is_norm,
                         .codes = s->int8 ? &codes : NULL};
    struct cuda_launches l;
    cuda_row_norm(&r, &l);
    print_launches(&l, 0, rows * channels * (s->int8 ? 5 : 8));
}

static void linear(const struct sizes *s, int from, int to, int residual)
{
    double rows = (double)s->images * s->tokens, element = s->int8 ? 1 : s->precision == CUDA_BF16 ? 2 : 4;
    struct matmul m = {.images = s->images,
                       .out_height = 1,
                       .out_width = s->tokens,
                       .n = to,
                       .kernel_h = 1,
                       .kernel_w = 1,
                       .stride = 1,
                       .sources = 1,
                       .int8 = s->int8};
    struct cuda_launches l;
    cuda_matmul(&m, s->precision, &l);
    print_launches(&l, 2 * rows * from * to,
                   element * from * to + rows * (from * (s->int8 ? 1.0 : 4.0) + to * (residual ? 8.0 : 4.0)));
}

static void attention(const struct sizes *s)
{
    struct attention a = {.images = s->images,
                          .heads = HEADS,
                          .head_dim = WIDTH / HEADS,
                          .queries = s->tokens,
                          .keys = s->tokens};
    struct cuda_launches l;
    cuda_attention(&a, s->precision, &l);
    print_launches(&l, 4.0 * s->images * s->tokens * s->tokens * WIDTH, 16.0 * s->images * s->tokens * WIDTH);
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[3], "f32") && strcmp(argv[3], "bf16") && strcmp(argv[3], "int8"))) {
        fprintf(stderr, "usage: dit-launches IMAGES TOKENS f32|bf16|int8\n");
        return 2;
    }
    struct sizes s = {.images = (int)strtol(argv[1], NULL, 10),
                      .tokens = (int)strtol(argv[2], NULL, 10),
                      .int8 = !strcmp(argv[3], "int8"),
                      .precision = strcmp(argv[3], "f32") ? CUDA_BF16 : CUDA_F32};
    norm(&s, WIDTH, 1);
    linear(&s, WIDTH, 3 * WIDTH, 0);
    attention(&s);
    if (s.int8)
        norm(&s, WIDTH, 0);
    linear(&s, WIDTH, WIDTH, 1);
    norm(&s, WIDTH, 1);
    linear(&s, WIDTH, HIDDEN, 0);
    if (s.int8)
        norm(&s, HIDDEN, 0);
    linear(&s, HIDDEN, WIDTH, 1);
    return 0;
}
