/* Matrix products and implicit convolutions by mma.sync: struct matmul of cpu.h, weights from pack.c.
 *
 * A block makes a tile of ROWS x COLUMNS results. k runs in chunks of 64 bytes: one source, one tap, 16 to 64
 * channels. A chunk of A (rows found by geometry, float32 converted on the way) and one of B (the rows that
 * pack.c has laid out) lie in shared memory as rows of 64 bytes, their four 16-byte units permuted by
 * (row / 2) % 4 so that ldmatrix meets no bank twice. Four stages are under way: while one is multiplied, the
 * third after it is fetched. Results pass through shared memory once more, for an epilogue that works on four
 * neighbours and whole lines.
 *
 * A result is the sum of the same products in the same order whatever the tile: bits do not depend on it. */
#include "kernels/cuda/multiply.h"

enum { STAGES = 4, ROW_BYTES = 64, PAD = 8 };

DEVICE unsigned char *unit_at(unsigned char *tile, int row, int unit)
{
    return tile + row * ROW_BYTES + ((unit ^ (row >> 1 & 3)) * 16);
}

/* The chunk that is fetched next, and this thread's share of A: one unit of N rows. */
template <class T, int N> struct fetcher {
    enum { WIDTH = T::CHUNK / 4 }; /* channels of a unit */
    const struct matmul &m;
    int source, ky, kx, channel, unit, vector;
    int image[N], top[N], left[N]; /* of the window, top < -100000: no such row */
    const char *row[N];            /* NULL: all zeros */
    float v[WIDTH];                /* of the row that is fetched */

    DEVICE_INSIDE fetcher(const struct matmul &m_, int first, int apart, int unit_)
        : m(m_), source(0), ky(0), kx(0), channel(0), unit(unit_)
    {
        unsigned width = (unsigned)m.out_width, per_image = (unsigned)m.out_height * width;
        unsigned rows = (unsigned)m.images * per_image;
#pragma unroll
        for (int i = 0; i < N; i++) {
            unsigned at = (unsigned)(first + i * apart), pixel = at % per_image;
            image[i] = (int)(at / per_image);
            top[i] = at < rows ? (int)(pixel / width) * m.stride - m.pad_top : -(1 << 30);
            left[i] = (int)(pixel % width) * m.stride - m.pad_left;
        }
        find();
    }

    /* The rows that this tap reads. */
    DEVICE_INSIDE void find()
    {
        const struct mm_source &s = m.source[source];
        int up = s.upsample > 1;
        vector = (((uintptr_t)s.data | (uintptr_t)(s.ld * T::BYTES) | (uintptr_t)(s.image_ld * T::BYTES)) &
                  15) == 0;
#pragma unroll
        for (int i = 0; i < N; i++) {
            int y = top[i] + ky, x = left[i] + kx;
            int inside = y >= 0 && x >= 0 && y < s.height << up && x < s.width << up;
            int64_t at = image[i] * s.image_ld + ((int64_t)(y >> up) * s.width + (x >> up)) * s.ld;
            row[i] = inside ? (const char *)s.data + at * T::BYTES : (const char *)0;
        }
    }

    DEVICE_INSIDE void advance()
    {
        channel += T::CHUNK;
        if (channel < m.source[source].channels)
            return;
        channel = 0;
        if (++kx == m.kernel_w) {
            kx = 0;
            if (++ky == m.kernel_h) {
                ky = 0;
                if (++source == m.sources)
                    return;
            }
        }
        find();
    }

    /* The unit of row i. */
    DEVICE_INSIDE void fetch(int i)
    {
        int first = channel + unit * WIDTH, left_over = (int)m.source[source].channels - first;
#pragma unroll
        for (int j = 0; j < WIDTH; j += 4)
            get4(&v[j], (const float *)row[i] + first + j, row[i] ? left_over - j : 0, vector);
    }

    DEVICE_INSIDE void place(unsigned char *tile, int at)
    {
        unsigned char *to = unit_at(tile, at, unit);
        if (T::CHUNK == 32)
            store_words(to, pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]),
                        pack_bf16(v[WIDTH - 4], v[WIDTH - 3]), pack_bf16(v[WIDTH - 2], v[WIDTH - 1]));
        else
            store_words(to, float_bits(v[0]), float_bits(v[1]), float_bits(v[2]), float_bits(v[3]));
    }

    /* Four zeros of an int8 source around row i's image; of no image, whatever. */
    DEVICE_INSIDE uint32_t around(int i)
    {
        int no_row = top[i] < -(1 << 29) || m.scale_per_row;
        return T::BYTES != 1 || no_row ? 0 : (uint32_t)m.source[source].scale[image[i]].zero * 0x01010101u;
    }

    /* What needs no conversion is copied. A tap outside reads 0, or its code. */
    DEVICE_INSIDE void copy(unsigned char *tile, int first, int apart)
    {
        int left_over = ((int)m.source[source].channels - channel - unit * WIDTH) * T::BYTES;
        int bytes = T::BYTES == 1 ? 16 : left_over < 0 ? 0 : left_over > 16 ? 16 : left_over;
#pragma unroll
        for (int i = 0; i < N; i++) {
            unsigned char *to = unit_at(tile, first + i * apart, unit);
            const char *from = row[i] + (channel + unit * WIDTH) * T::BYTES;
            if (!row[i] || bytes == 0) {
                uint32_t zeros = around(i);
                store_words(to, zeros, zeros, zeros, zeros);
            } else if (T::BYTES == 1 || vector)
                copy16(to, from, bytes);
            else
                store_words(to, two(from, bytes), two(from + 4, bytes - 4), two(from + 8, bytes - 8),
                            two(from + 12, bytes - 12));
        }
    }

    /* Two bfloat16, which may lie at any of their multiples. */
    DEVICE_INSIDE static uint32_t two(const char *from, int bytes)
    {
        const uint16_t *p = (const uint16_t *)from;
        return bytes > 0 ? p[0] | (uint32_t)p[1] << 16 : 0;
    }
};

DEVICE int chunks_of(const struct matmul &m, int source, int chunk)
{
    int channels = source < m.sources ? (int)m.source[source].channels : 0;
    return m.kernel_h * m.kernel_w * ((channels + chunk - 1) / chunk);
}

DEVICE struct code_scale source_scale(const struct matmul &m, int source, unsigned row, unsigned image)
{
    return m.source[source].scale[m.scale_per_row ? row : image];
}

/* Four neighbours of one row behind the product. */
DEVICE void finish(const struct matmul &m, float *v, unsigned row, int column, unsigned vectors)
{
    const struct mm_epilogue &e = m.epilogue;
    unsigned image = row / ((unsigned)m.out_height * (unsigned)m.out_width);
    int count = m.n - column;
    float x[4];
    if (m.column_scale) {
        get4(x, m.column_scale + column, count, vectors & 1);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= x[i];
    }
    if (e.bias) {
        get4(x, e.bias + column, count, vectors & 2);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += x[i];
    }
    if (e.image_bias) {
        get4(x, e.image_bias + image * e.image_bias_ld + column, count, vectors & 4);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += x[i];
    }
    if (e.act != ACT_NONE) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = activate(v[i], e.act);
    }
    if (e.tap)
        put4(e.tap + row * e.tap_ld + column, v, count, vectors & 8);
    if (e.gate) {
        get4(x, e.gate + image * e.gate_ld + column, count, vectors & 16);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= x[i];
    }
    if (e.residual) {
        get4(x, e.residual + row * e.residual_ld + column, count, vectors & 32);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += x[i];
    }
    if (e.scale != 0) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= e.scale;
    }
    if (m.out)
        put4(m.out + row * m.out_ld + column, v, count, vectors & 64);
    if (m.out_bf16)
        put4_bf16(m.out_bf16 + row * m.out_bf16_ld + column, v, count, vectors & 128);
}

DEVICE unsigned vectors_of(const struct matmul &m)
{
    const struct mm_epilogue &e = m.epilogue;
    return is_vector(m.column_scale, 0) | is_vector(e.bias, 0) << 1 |
           is_vector(e.image_bias, e.image_bias_ld) << 2 | is_vector(e.tap, e.tap_ld) << 3 |
           is_vector(e.gate, e.gate_ld) << 4 | is_vector(e.residual, e.residual_ld) << 5 |
           is_vector(m.out, m.out_ld) << 6 | is_vector_bf16(m.out_bf16, m.out_bf16_ld) << 7;
}

/* Integers keep their bits in a float tile. */
DEVICE float in_tile(float v) { return v; }
DEVICE float in_tile(int v) { return bits_float((uint32_t)v); }

/* (codes' sum - zero * weights' sum) * scale, exact but for the rounding of integer and product. */
DEVICE float scaled(uint32_t sum, struct code_scale s, uint32_t weight_sum)
{
    return (float)(int)(sum - (uint32_t)s.zero * weight_sum) * s.scale;
}

/* A warp's WARP_ROWS x WARP_COLUMNS results: `add` multiplies one stage, `store` puts them into a float tile.
 */
template <class T, int WARP_ROWS, int WARP_COLUMNS> struct warp_tile {
    enum { M = WARP_ROWS / 16, N = WARP_COLUMNS / 8 };
    typename T::sum sum[M][N][4];

    DEVICE_INSIDE void clear()
    {
#pragma unroll
        for (int i = 0; i < M * N * 4; i++)
            (&sum[0][0][0])[i] = 0;
    }

    /* One half of a stage. */
    DEVICE_INSIDE void add(unsigned char *a_tile, unsigned char *b_tile, int row, int column, int step,
                           int lane)
    {
        uint32_t a[2][4], b[N / 2][4]; /* a: of this i and the next */
        load(a[0], a_tile, row, step, lane);
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            ldmatrix4(b[i],
                      unit_at(b_tile, column + i * 16 + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < M; i++) {
            if (i + 1 < M)
                load(a[(i + 1) % 2], a_tile, row + i * 16 + 16, step, lane);
#pragma unroll
            for (int j = 0; j < N; j++)
                T::multiply(sum[i][j], a[i % 2], &b[j / 2][j % 2 * 2]);
        }
    }

    DEVICE_INSIDE void load(uint32_t *a, unsigned char *a_tile, int row, int step, int lane)
    {
        ldmatrix4(a, unit_at(a_tile, row + lane % 16, step * 2 + lane / 16));
    }

    template <class V> DEVICE void store(V value[M][N][4], float *tile, int ld, int row, int column, int lane)
    {
#pragma unroll
        for (int i = 0; i < M; i++)
#pragma unroll
            for (int j = 0; j < N; j++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    store2(tile + (row + i * 16 + half * 8 + lane / 4) * ld + column + j * 8 + lane % 4 * 2,
                           in_tile(value[i][j][half * 2]), in_tile(value[i][j][half * 2 + 1]));
    }
};

/* The sums of one int8 source, scaled, onto those before. weight_sum: of the lane's first column. */
template <class W, int M, int N>
DEVICE void fold(const struct matmul &m, W &w, float total[M][N][4], int source, unsigned row,
                 const uint32_t *weight_sum, int lane)
{
    unsigned per_image = (unsigned)m.out_height * (unsigned)m.out_width,
             rows = (unsigned)m.images * per_image;
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned at = row + (unsigned)(i * 16 + half * 8 + lane / 4);
            struct code_scale scale =
                source_scale(m, source, at < rows ? at : 0, at < rows ? at / per_image : 0);
#pragma unroll
            for (int j = 0; j < N; j++)
#pragma unroll
                for (int k = half * 2; k < half * 2 + 2; k++) {
                    total[i][j][k] += scaled((uint32_t)w.sum[i][j][k], scale, weight_sum[j * 8 + k % 2]);
                    w.sum[i][j][k] = 0;
                }
        }
}

/* TWO: int8 of two sources, each with scales of its own. */
template <class T, int ROWS, int COLUMNS, int WARP_ROWS, int WARP_COLUMNS, bool TWO>
DEVICE void product(const struct matmul &m)
{
    enum {
        ACROSS = COLUMNS / WARP_COLUMNS,
        THREADS = ROWS / WARP_ROWS * ACROSS * 32,
        OWN = ROWS * 4 / THREADS
    };
    enum { STAGE = (ROWS + COLUMNS) * ROW_BYTES, LD = COLUMNS + PAD };
    typedef warp_tile<T, WARP_ROWS, WARP_COLUMNS> warp_sums;
    static_assert(OWN == 2, "a thread fetches two units of A, one for each half of a stage");
    SHARED(memory);
    int thread = (int)threadIdx.x, lane = thread % 32, warp = thread / 32;
    int across = (m.n + COLUMNS - 1) / COLUMNS;
    int first_row = (int)(blockIdx.x / (unsigned)across) * ROWS,
        first_column = (int)(blockIdx.x % (unsigned)across) * COLUMNS;
    int row = warp / ACROSS * WARP_ROWS, column = warp % ACROSS * WARP_COLUMNS;
    int first_chunks = chunks_of(m, 0, T::CHUNK), chunks = first_chunks + chunks_of(m, 1, T::CHUNK);
    const uint32_t *weight_sum = /* int8: [source][columns] */
        (const uint32_t *)((const char *)m.weights + (int64_t)m.n * chunks * ROW_BYTES);
    fetcher<T, OWN> f(m, first_row + thread / 4, THREADS / 4, thread % 4);
    const char *weights =
        (const char *)m.weights + (int64_t)(first_column + thread / 4) * chunks * ROW_BYTES + thread % 4 * 16;
    warp_sums w;
    float total[TWO ? warp_sums::M : 1][TWO ? warp_sums::N : 1][4] = {};
    w.clear();

    for (int k = 1 - STAGES; k < chunks; k++) {
        int ahead = k + STAGES - 1, more = ahead < chunks;
        unsigned char *next = memory + ahead % STAGES * STAGE;
        if (k >= 0) {
            copy_wait<STAGES - 2>();
            __syncthreads();
        }
        if (more) {
            if (T::COPIED)
                f.copy(next, thread / 4, THREADS / 4);
#pragma unroll
            for (int i = 0; i < COLUMNS * 4 / THREADS; i++) {
                int at = thread / 4 + i * (THREADS / 4), there = first_column + at < m.n;
                copy16(unit_at(next + ROWS * ROW_BYTES, at, thread % 4),
                       there ? weights + (int64_t)i * (THREADS / 4) * chunks * ROW_BYTES : m.weights,
                       there ? 16 : 0);
            }
            weights += ROW_BYTES;
        }
        copy_commit();
        /* Half of what is ahead is under way while half of this stage is multiplied. */
        unsigned char *stage = memory + (k < 0 ? 0 : k) % STAGES * STAGE;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (!T::COPIED && more)
                f.fetch(half);
            if (k >= 0)
                w.add(stage, stage + ROWS * ROW_BYTES, row, column, half, lane);
            if (!T::COPIED && more)
                f.place(next, thread / 4 + half * (THREADS / 4));
        }
        if (more)
            f.advance();
        if constexpr (TWO)
            if (k + 1 == first_chunks || k + 1 == chunks)
                fold<warp_sums, warp_sums::M, warp_sums::N>(
                    m, w, total, k + 1 > first_chunks, (unsigned)(first_row + row),
                    weight_sum + (k + 1 > first_chunks ? (m.n + 63) / 64 * 64 : 0) + first_column + column +
                        lane % 4 * 2,
                    lane);
    }

    copy_wait<0>();
    __syncthreads();
    float *tile = (float *)memory;
    if constexpr (TWO)
        warp_sums::store(total, tile, LD, row, column, lane);
    else
        warp_sums::store(w.sum, tile, LD, row, column, lane);
    __syncthreads();
    unsigned per_image = (unsigned)m.out_height * (unsigned)m.out_width,
             rows = (unsigned)m.images * per_image;
    unsigned vectors = vectors_of(m);
    for (int i = thread; i < ROWS * COLUMNS / 4; i += THREADS) {
        int r = i / (COLUMNS / 4), c = i % (COLUMNS / 4) * 4, at = first_column + c;
        unsigned out_row = (unsigned)(first_row + r);
        float v[4];
        if (out_row >= rows || at >= m.n)
            continue;
        get4(v, tile + r * LD + c, 4, 1);
        if (T::CHUNK == 64 && !TWO) {
            struct code_scale scale = source_scale(m, 0, out_row, out_row / per_image);
            float sums[4];
            get4(sums, (const float *)weight_sum + at, 4, 1);
#pragma unroll
            for (int j = 0; j < 4; j++)
                v[j] = scaled(float_bits(v[j]), scale, float_bits(sums[j]));
        }
        finish(m, v, out_row, at, vectors);
    }
}

KERNEL(product_f32_64, 128, 3, matmul) { product<of_f32, 64, 64, 32, 32, false>(a); }
KERNEL(product_bf16_64, 128, 4, matmul) { product<of_bf16, 64, 64, 32, 32, false>(a); }
KERNEL(product_bf16_128, 256, 2, matmul) { product<of_bf16, 128, 128, 64, 32, false>(a); }
KERNEL(product_bf16_rows_64, 128, 4, matmul) { product<of_bf16_rows, 64, 64, 32, 32, false>(a); }
KERNEL(product_bf16_rows_128, 256, 2, matmul) { product<of_bf16_rows, 128, 128, 64, 32, false>(a); }
KERNEL(product_s8_64, 128, 4, matmul) { product<of_s8, 64, 64, 32, 32, false>(a); }
KERNEL(product_s8_128, 256, 2, matmul) { product<of_s8, 128, 128, 64, 32, false>(a); }
KERNEL(product_s8_two_64, 128, 3, matmul) { product<of_s8, 64, 64, 32, 32, true>(a); }

/* Sums that a library has made: four a thread. */
KERNEL(product_finish, 256, 4, finish_args)
{
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x, across = (unsigned)a.m.n / 4, row = at / across;
    float v[4];
    if (row >= (unsigned)a.m.images * (unsigned)a.m.out_height * (unsigned)a.m.out_width)
        return;
    get4(v, a.sums + (int64_t)at * 4, 4, 1);
    if (a.row_scale) {
        float scale = a.row_scale[row];
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= scale;
    }
    finish(a.m, v, row, (int)(at % across) * 4, vectors_of(a.m));
}
