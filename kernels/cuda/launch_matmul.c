/* Launches of products: which tile. */
#include "kernels/cuda/launch_inside.h"

enum { STAGES = 4, ROW_BYTES = 64, PAD = 8, LARGE = 128, SMALL = 64 };
/* Of an H100 or H200; others have 108 to 170. */
enum { MULTIPROCESSORS = 132 };

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
                       : m->bf16       ? (tile == LARGE ? "product_bf16_rows_128" : "product_bf16_rows_64")
                       : p == CUDA_F32 ? "product_f32_64"
                       : tile == LARGE ? "product_bf16_128"
                                       : "product_bf16_64";
    l->count = 0;
    add_launch(l, name, divide_up(rows, tile) * divide_up(m->n, tile), tile == LARGE ? 256 : 128,
               shared_of(tile), m, sizeof *m);
}

/* What the busiest multiprocessor does, in small tiles. A small tile reads twice as much of shared memory for
 * the same work: a fifth more time is the guess. */
static double work_of(int64_t tiles, int tile)
{
    double most = (double)divide_up(tiles, MULTIPROCESSORS);
    return tile == LARGE ? 4 * most : 1.2 * most;
}

/* MM_BF16 is what the kernels read, with sources of either kind. */
static int is_compressed(const struct matmul *m) { return m->form != MM_NATIVE && m->form != MM_BF16; }

static struct mm_shape shape_of(const struct matmul *m)
{
    int second = m->sources == 2 ? (int)m->source[1].channels : 0;
    return (struct mm_shape){m->n, m->kernel_h, m->kernel_w, {(int)m->source[0].channels, second}};
}

static int decodes_to_bf16(const struct matmul *m, enum cuda_precision p)
{
    return m->bf16 || (p == CUDA_BF16 && !m->int8);
}

static size_t decoded_size(const struct matmul *m, enum cuda_precision p)
{
    struct mm_shape s = shape_of(m);
    return cuda_packing(decodes_to_bf16(m, p) ? CUDA_BF16 : CUDA_F32)->matmul_packed_size(&s, m->int8);
}

size_t cuda_matmul_scratch(const struct matmul *m, enum cuda_precision p)
{
    return is_compressed(m) ? decoded_size(m, p) : 0;
}

void cuda_decode(const struct matmul *m, enum cuda_precision p, struct cuda_launches *l)
{
    struct decode_args a = {.from = m->weights,
                            .to = m->scratch,
                            .shape = shape_of(m),
                            .group = m->group,
                            .as = m->int8                 ? DECODE_CODES
                                  : decodes_to_bf16(m, p) ? DECODE_BF16
                                                          : DECODE_F32,
                            .form = m->form};
    size_t size = decoded_size(m, p), columns = (size_t)divide_up(m->n, 64) * 64;
    if (m->int8) {
        a.weight_sum = (const int32_t *)((const char *)m->weights +
                                         cuda_int4_sums(m->n, (int)m->source[0].channels, m->group));
        a.sum_units = (unsigned)(2 * columns / 4);
    }
    a.units = (unsigned)(size / 16) - a.sum_units;
    l->count = 0;
    add_launch(l, "decode_weights", divide_up(a.units + a.sum_units, 256), 256, 0, &a, sizeof a);
}

void cuda_matmul(const struct matmul *m, enum cuda_precision p, struct cuda_launches *l)
{
    if (is_compressed(m)) {
        struct cuda_launches product;
        struct matmul plain = *m;
        plain.weights = m->scratch;
        plain.form = MM_NATIVE;
        cuda_matmul(&plain, p, &product);
        cuda_decode(m, p, l);
        l->launch[l->count++] = product.launch[0];
        return;
    }
    int64_t rows = (int64_t)m->images * m->out_height * m->out_width;
    int64_t large = divide_up(rows, LARGE) * divide_up(m->n, LARGE),
            small = divide_up(rows, SMALL) * divide_up(m->n, SMALL);
    int has_large = m->int8 ? m->sources == 1 : m->bf16 || p == CUDA_BF16;
    cuda_matmul_tile(m, p, has_large && work_of(large, LARGE) <= work_of(small, SMALL) ? LARGE : SMALL, l);
}
