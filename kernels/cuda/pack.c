/* Weights of products in the device's layout: see cuda_packing() in launch.h. */
#include "kernels/cuda/launch_inside.h"

#include <string.h>

enum { PANEL = 64, CHUNK_BYTES = 64, UNIT = 16 };

static int chunks_of(const struct mm_shape *s, int source, int per_chunk)
{
    return s->kernel_h * s->kernel_w * ((s->channels[source] + per_chunk - 1) / per_chunk);
}

static size_t columns_of(int n) { return (size_t)(n + PANEL - 1) / PANEL * PANEL; }

static size_t packed_size(const struct mm_shape *s, int per_chunk)
{
    size_t chunks = (size_t)(chunks_of(s, 0, per_chunk) + chunks_of(s, 1, per_chunk));
    return (size_t)s->n * chunks * CHUNK_BYTES;
}

/* Nearest, ties to even, as the device rounds activations. */
static uint16_t to_bf16(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)(x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* What comes in and what is laid down. */
enum kind { FLOATS, FLOATS_TO_BF16, BF16, CODES };

static int size_of(enum kind kind) { return kind == FLOATS ? 4 : kind == CODES ? 1 : 2; }

/* One column's chunk: `count` channels, `step` numbers apart. */
static void put_chunk(unsigned char *chunk, const void *weight, int64_t first, int64_t step, int count,
                      enum kind kind)
{
    for (int c = 0; c < count; c++) {
        unsigned char *to = chunk + c * size_of(kind);
        int64_t at = first + c * step;
        uint16_t half;
        switch (kind) {
        case FLOATS:
            memcpy(to, (const float *)weight + at, sizeof(float));
            break;
        case FLOATS_TO_BF16:
            half = to_bf16(((const float *)weight)[at]);
            memcpy(to, &half, sizeof half);
            break;
        case BF16:
            memcpy(to, (const uint16_t *)weight + at, sizeof half);
            break;
        case CODES:
            *to = ((const unsigned char *)weight)[at];
            break;
        }
    }
}

/* Columns [begin, end), zeros behind each source's channels. */
static void pack(void *packed, const void *weight, const struct mm_shape *s, int begin, int end,
                 enum kind kind)
{
    int per_chunk = CHUNK_BYTES / size_of(kind), taps = s->kernel_h * s->kernel_w;
    int64_t chunks = chunks_of(s, 0, per_chunk) + chunks_of(s, 1, per_chunk),
            all = s->channels[0] + s->channels[1];
    unsigned char *chunk = (unsigned char *)packed + begin * chunks * CHUNK_BYTES;
    memset(chunk, 0, (size_t)((end - begin) * chunks) * CHUNK_BYTES);
    for (int n = begin; n < end; n++)
        for (int source = 0; source < 2; source++)
            for (int tap = 0; tap < taps; tap++)
                for (int c = 0; c < s->channels[source]; c += per_chunk, chunk += CHUNK_BYTES) {
                    int left = s->channels[source] - c, first = c + (source ? s->channels[0] : 0);
                    put_chunk(chunk, weight, (n * all + first) * taps + tap, taps,
                              left < per_chunk ? left : per_chunk, kind);
                }
}

/* The int32 sums of the weights of each source and column lie behind int8 weights. */
static size_t size_s8(const struct mm_shape *s)
{
    return packed_size(s, 64) + 2 * columns_of(s->n) * sizeof(int32_t);
}

static size_t size_f32(const struct mm_shape *s, int int8) { return int8 ? size_s8(s) : packed_size(s, 16); }
static size_t size_bf16(const struct mm_shape *s, int int8) { return int8 ? size_s8(s) : packed_size(s, 32); }

static void pack_f32(void *packed, const float *weight, const struct mm_shape *s, int begin, int end)
{
    pack(packed, weight, s, begin, end, FLOATS);
}

static void pack_bf16(void *packed, const float *weight, const struct mm_shape *s, int begin, int end)
{
    pack(packed, weight, s, begin, end, FLOATS_TO_BF16);
}

static void pack_s8(void *packed, const int8_t *weight, const struct mm_shape *s, int begin, int end)
{
    int taps = s->kernel_h * s->kernel_w;
    int32_t *sum = (int32_t *)(void *)((char *)packed + packed_size(s, 64));
    pack(packed, weight, s, begin, end, CODES);
    for (int n = begin; n < (end == s->n ? (int)columns_of(end) : end); n++) {
        const int8_t *from = weight + (size_t)n * (size_t)((s->channels[0] + s->channels[1]) * taps);
        for (int source = 0; source < 2; source++, sum += columns_of(s->n)) {
            sum[n] = 0;
            for (int i = 0; n < s->n && i < s->channels[source] * taps; i++)
                sum[n] += *from++;
        }
        sum -= 2 * columns_of(s->n);
    }
}

static size_t size_halves(const struct mm_shape *s) { return packed_size(s, 32); }

static void pack_halves(void *packed, const uint16_t *weight, const struct mm_shape *s, int begin, int end)
{
    pack(packed, weight, s, begin, end, BF16);
}

/* Nibbles stay as they are: levels, codes, scales; behind them the sum of each column's int8 weights. */
size_t cuda_int4_sums(int n, int channels, int group)
{
    return (cpu_kernels(CPU_REF)->matmul_int4_size(n, channels, group) + UNIT - 1) / UNIT * UNIT;
}

static size_t size_int4(int n, int channels, int group)
{
    return cuda_int4_sums(n, channels, group) + columns_of(n) * sizeof(int32_t);
}

static void pack_int4(void *packed, const struct mm_int4 *w, int begin, int end)
{
    int32_t *sum = (int32_t *)(void *)((char *)packed + cuda_int4_sums(w->n, w->channels, w->group));
    cpu_kernels(CPU_REF)->matmul_pack_int4(packed, w, begin, end);
    for (int n = begin; n < (end == w->n ? (int)columns_of(end) : end); n++) {
        size_t first = (size_t)n * (size_t)w->channels;
        sum[n] = 0;
        for (size_t i = first; n < w->n && i < first + (size_t)w->channels; i++)
            sum[n] +=
                mm_int4_value(w->levels[w->codes[i / 2] >> i % 2 * 4 & 15], w->scales[i / (size_t)w->group]);
    }
}

const struct cpu_kernels *cuda_packing(enum cuda_precision p)
{
    static const struct cpu_kernels f32 = {.mm_panel = PANEL,
                                           .matmul_packed_size = size_f32,
                                           .matmul_pack = pack_f32,
                                           .matmul_pack_int8 = pack_s8,
                                           .matmul_bf16_size = size_halves,
                                           .matmul_pack_bf16 = pack_halves,
                                           .matmul_int4_size = size_int4,
                                           .matmul_pack_int4 = pack_int4},
                                    bf16 = {.mm_panel = PANEL,
                                            .matmul_packed_size = size_bf16,
                                            .matmul_pack = pack_bf16,
                                            .matmul_pack_int8 = pack_s8,
                                            .matmul_bf16_size = size_halves,
                                            .matmul_pack_bf16 = pack_halves};
    return p == CUDA_BF16 ? &bf16 : &f32;
}
