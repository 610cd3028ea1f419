/* Attention by cuDNN's SDPA: see operation.h. */
#include "kernels/cuda/launch_inside.h"
#include "kernels/cuda/operation.h"

enum { EVEN = 8, WIDEST = 256 };

static int is_even(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return a % EVEN == 0 && b % EVEN == 0 && c % EVEN == 0 && d % EVEN == 0;
}

int cuda_attention_operation(const struct attention *a, struct cuda_operation *o)
{
    if (!a->q_bf16 || !a->k_bf16 || !a->v_bf16 || !a->out_bf16 || a->causal || a->head_dim % EVEN != 0 ||
        a->head_dim > WIDEST || !is_even(a->q_ld, a->k_ld, a->v_ld, a->out_ld) ||
        !is_even(a->q_image_ld, a->k_image_ld, a->v_image_ld, a->out_image_ld) || !is_aligned(a->q_bf16) ||
        !is_aligned(a->k_bf16) || !is_aligned(a->v_bf16) || !is_aligned(a->out_bf16) || a->k_image_ld < 1 ||
        a->q_image_ld < 1 || a->v_image_ld < 1)
        return 0;
    memset(o, 0, sizeof *o);
    o->shape.kind = CUDA_ATTENTION;
    o->shape.images = a->images;
    o->shape.operands = 1 << CUDA_Q | 1 << CUDA_K | 1 << CUDA_V | 1 << CUDA_SCALE | 1 << CUDA_ATTENDED;
    o->shape.attention = (struct cuda_heads){.heads = a->heads,
                                             .head_dim = a->head_dim,
                                             .queries = a->queries,
                                             .keys = a->keys,
                                             .q_ld = a->q_ld,
                                             .k_ld = a->k_ld,
                                             .v_ld = a->v_ld,
                                             .out_ld = a->out_ld,
                                             .q_image_ld = a->q_image_ld,
                                             .k_image_ld = a->k_image_ld,
                                             .v_image_ld = a->v_image_ld,
                                             .out_image_ld = a->out_image_ld};
    o->at[CUDA_Q] = a->q_bf16;
    o->at[CUDA_K] = a->k_bf16;
    o->at[CUDA_V] = a->v_bf16;
    o->at[CUDA_ATTENDED] = a->out_bf16;
    o->scale = a->scale;
    uintptr_t at = (uintptr_t)a->scratch,
              aligned = (uintptr_t)(divide_up((int64_t)at, CUDA_LIBRARY_ALIGNED) * CUDA_LIBRARY_ALIGNED);
    size_t size = a->scratch_ld * sizeof(float);
    o->workspace = (void *)aligned;
    o->workspace_size = size > aligned - at ? size - (aligned - at) : 0;
    return 1;
}

/* ---- where the library is expected to win ---- */

/* Guesses, until both have been timed on a device (scripts/gpu-check prints what they take): the library's
 * kernels do RATE times the multiply-adds of the own ones, which use no wgmma, but in tiles of twice as many
 * queries and with heads padded to 64, 128 or 256. At two images (one with guidance) on an H100's 132
 * multiprocessors; a tile costs what KEYS more keys would. */
enum { MULTIPROCESSORS = 132, IMAGES = 2, KEYS = 64 };
static const double RATE = 1.8;

static double time_of(const struct attention *a, int queries, int width, int slabs)
{
    int64_t tiles = (int64_t)IMAGES * a->heads * divide_up(a->queries, queries) * slabs;
    double keys = (double)divide_up(a->keys, KEYS) * KEYS + KEYS;
    return (double)divide_up(tiles, MULTIPROCESSORS) * queries * keys * width * (slabs + 1);
}

int cuda_attention_is_quicker(const struct attention *a)
{
    int padded = a->head_dim <= 64 ? 64 : a->head_dim <= 128 ? 128 : WIDEST, width, slabs;
    cuda_attention_tile(a->head_dim, &width, &slabs);
    return time_of(a, 2 * CUDA_ATTENTION_QUERIES, padded, 1) <
           RATE * time_of(a, CUDA_ATTENTION_QUERIES, width, slabs);
}
