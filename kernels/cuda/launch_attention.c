/* Launches of attention: the variant that wastes least. */
#include "kernels/cuda/launch_inside.h"

enum { QUERIES = CUDA_ATTENTION_QUERIES, WIDTHS = 5 };

static const int widths[WIDTHS] = {32, 48, 64, 80, 128};
static const char *const names[2][WIDTHS] = {
    {"attention_f32_32", "attention_f32_48", "attention_f32_64", "attention_f32_80", "attention_f32_128"},
    {"attention_bf16_32", "attention_bf16_48", "attention_bf16_64", "attention_bf16_80",
     "attention_bf16_128"}};

/* As struct layout of attention.cu. */
static size_t shared_of(int wide, enum cuda_precision p)
{
    size_t size = p == CUDA_BF16 ? 2 : 4, keys = p == CUDA_BF16 ? 64 : 32, d = (size_t)wide;
    return (QUERIES + keys) * (d * size + 16) + d * (keys * size + 16);
}

/* One slab if it fits; else the fewest numbers, then the fewest slabs. */
static int variant_of(int dim)
{
    int best = WIDTHS - 1;
    for (int i = WIDTHS - 1; i >= 0; i--) {
        int64_t here = divide_up(dim, widths[i]), there = divide_up(dim, widths[best]);
        if (dim <= 128 ? dim <= widths[i] : i >= 2 && here * widths[i] < there * widths[best])
            best = i;
    }
    return best;
}

void cuda_attention_tile(int head_dim, int *width, int *slabs)
{
    *width = widths[variant_of(head_dim)];
    *slabs = (int)divide_up(head_dim, *width);
}

void cuda_attention(const struct attention *t, enum cuda_precision p, struct cuda_launches *l)
{
    int variant = variant_of(t->head_dim);
    p = t->q_bf16 ? CUDA_BF16 : p;
    struct attention_args a = {.t = *t,
                               .query_tiles = (int)divide_up(t->queries, QUERIES),
                               .slabs = (int)divide_up(t->head_dim, widths[variant])};
    l->count = 0;
    add_launch(l, names[p == CUDA_BF16][variant], (int64_t)t->images * t->heads * a.query_tiles * a.slabs,
               128, shared_of(widths[variant], p), &a, sizeof a);
}
