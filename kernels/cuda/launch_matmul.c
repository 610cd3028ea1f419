/* Launches of products: which tile. */
#include "kernels/cuda/launch_inside.h"

enum { STAGES = 4, ROW_BYTES = 64, PAD = 8, LARGE = 128, SMALL = 64 };
/* Large tiles read less, but a device of 108 to 160 multiprocessors wants at least one each. */
enum { LEAST_LARGE = 120 };

static size_t shared_of(int tile)
{
    size_t stages = (size_t)STAGES * 2 * (size_t)tile * ROW_BYTES,
           end = (size_t)tile * (size_t)(tile + PAD) * 4;
    return stages > end ? stages : end;
}

void cuda_matmul_tile(const struct matmul *m, enum cuda_precision p, int tile, struct cuda_launches *l)
{
    int64_t rows = (int64_t)m->images * m->out_height * m->out_width;
    const char *name = m->int8 && m->sources == 2 ? "product_s8_two_64"
                       : m->int8                  ? (tile == LARGE ? "product_s8_128" : "product_s8_64")
                       : p == CUDA_F32            ? "product_f32_64"
                       : tile == LARGE            ? "product_bf16_128"
                                                  : "product_bf16_64";
    l->count = 0;
    add_launch(l, name, divide_up(rows, tile) * divide_up(m->n, tile), tile == LARGE ? 256 : 128,
               shared_of(tile), m, sizeof *m);
}

void cuda_matmul(const struct matmul *m, enum cuda_precision p, struct cuda_launches *l)
{
    int64_t rows = (int64_t)m->images * m->out_height * m->out_width;
    int64_t large = divide_up(rows, LARGE) * divide_up(m->n, LARGE);
    int has_large = m->int8 ? m->sources == 1 : p == CUDA_BF16;
    cuda_matmul_tile(m, p, has_large && large >= LEAST_LARGE ? LARGE : SMALL, l);
}
