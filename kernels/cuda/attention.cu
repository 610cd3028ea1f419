/* Attention, the score matrix never in memory: struct attention of cpu.h. (Dao et al. 2022 and 2023: a block
 * of queries meets one block of keys after the other; running maxima and sums; a warp owns whole rows.)
 *
 * A block of four warps has 64 queries of one head, a warp 16. Q, K and V pass through shared memory,
 * converted on the way: Q and K as rows of D numbers, V turned over, a row for each dimension, so that all
 * matrices of both products are read alike. The weights never leave registers: the first product's result has
 * the layout of the second's factor, for tf32 up to an order of keys (0 2 4 6 1 3 5 7 of each eight), in
 * which V is laid down. Rows in shared memory are an odd number of 16-byte units apart, so that ldmatrix
 * meets no bank twice.
 *
 * Heads of more than D dimensions are done in slabs of D: scores are summed over slabs, a block makes one
 * slab of the output. */
#include "kernels/cuda/multiply.h"

enum { QUERIES = 64, WARPS = 4 };

template <class T, int D> struct layout {
    enum { SIZE = 64 / T::CHUNK, WIDE = T::CHUNK == 32 }; /* bytes of a number; WIDE: bfloat16 */
    enum { KEYS = WIDE ? 64 : 32 };
    enum { ROW = D * SIZE + 16, TURNED = KEYS * SIZE + 16 }; /* bytes from row to row */
    enum { K = QUERIES * ROW, V = K + KEYS * ROW, ALL = V + D * TURNED };
};

/* One of q, k and v of one head of an image: in one of two forms. */
struct values {
    const float *f;
    const uint16_t *h;
    int64_t ld;
};

DEVICE values values_at(const float *f, const uint16_t *h, int64_t ld, int64_t at)
{
    values v = {h ? (const float *)0 : f + at, h ? h + at : (const uint16_t *)0, ld};
    return v;
}

/* Rows [first, first + ROWS) of Q or K, dimensions [from, from + D); zeros behind both ends. */
template <class T, int D, int ROWS>
DEVICE void load_rows(unsigned char *to, const values &p, int first, int rows, int from, int dim)
{
    enum { PER_UNIT = T::CHUNK / 4, UNITS = D / PER_UNIT };
    int vector = is_vector(p.f + from, p.ld),
        whole = (((uintptr_t)(p.h + from) | (uintptr_t)(p.ld * 2)) & 15) == 0;
    for (int i = (int)threadIdx.x; i < ROWS * UNITS; i += WARPS * 32) {
        int r = i / UNITS, d = from + i % UNITS * PER_UNIT, count = first + r < rows ? dim - d : 0;
        int64_t at = (first + r) * p.ld + d;
        uint32_t w[4];
        float v[8];
        if (PER_UNIT == 8 && p.h) {
            get8_bf16(w, p.h + at, count, whole);
        } else {
            get4(v, p.f + at, count, vector);
            if (PER_UNIT == 8)
                get4(v + 4, p.f + at + 4, count - 4, vector);
#pragma unroll
            for (int j = 0; j < 4; j++)
                w[j] = PER_UNIT == 8 ? pack_bf16(v[2 * j], v[2 * j + 1]) : float_bits(v[j]);
        }
        store_words(to + r * layout<T, D>::ROW + i % UNITS * 16, w[0], w[1], w[2], w[3]);
    }
}

/* A block of V, a row for each dimension. A lane has one key (or two neighbours, for bfloat16), so that a
 * warp writes neighbouring words. */
template <class T, int D>
DEVICE void load_turned(unsigned char *to, const values &p, int first, int rows, int from, int dim)
{
    typedef layout<T, D> L;
    int lane = (int)threadIdx.x % 32, vector = is_vector(p.f + from, p.ld);
    int key = L::WIDE ? 2 * lane : lane, word = L::WIDE ? lane : lane / 8 * 8 + lane % 8 / 2 + lane % 2 * 4;
    int64_t at = (first + key) * p.ld + from;
    for (int d = (int)threadIdx.x / 32 * 4; d < D; d += WARPS * 4) {
        int count = first + key < rows ? dim - from - d : 0, next = first + key + 1 < rows ? count : 0;
        unsigned char *row = to + d * L::TURNED + word * 4;
        if (L::WIDE && p.h) {
#pragma unroll
            for (int i = 0; i < 4; i++)
                *(uint32_t *)(row + i * L::TURNED) = (i < count ? p.h[at + d + i] : 0) |
                                                     (uint32_t)(i < next ? p.h[at + p.ld + d + i] : 0) << 16;
            continue;
        }
        float v[4], w[4];
        get4(v, p.f + at + d, count, vector);
        if (L::WIDE)
            get4(w, p.f + at + p.ld + d, next, vector);
#pragma unroll
        for (int i = 0; i < 4; i++)
            *(uint32_t *)(row + i * L::TURNED) = L::WIDE ? pack_bf16(v[i], w[i]) : float_bits(v[i]);
    }
}

/* A warp's rows. */
template <class T, int D> struct rows_of_warp {
    typedef layout<T, D> L;
    enum { SCORES = L::KEYS / 8, OUT = D / 8 };
    float s[SCORES][4], out[OUT][4];
    float top[2], total[2]; /* of rows g and g + 8; the total of this lane's columns */

    DEVICE_INSIDE void clear()
    {
#pragma unroll
        for (int i = 0; i < OUT; i++)
            out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
        top[0] = top[1] = -INFINITY;
        total[0] = total[1] = 0;
    }

    DEVICE_INSIDE void clear_scores()
    {
#pragma unroll
        for (int i = 0; i < SCORES; i++)
            s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
    }

    /* s += Q K' over one slab. */
    DEVICE_INSIDE void add_scores(const unsigned char *q, const unsigned char *k, int lane)
    {
#pragma unroll
        for (int step = 0; step < D * L::SIZE / 32; step++) {
            uint32_t a[4], b[4];
            ldmatrix4(a, q + lane % 16 * L::ROW + step * 32 + lane / 16 * 16);
#pragma unroll
            for (int i = 0; i < SCORES; i += 2) {
                ldmatrix4(b, k + (i * 8 + lane % 8 + lane / 16 * 8) * L::ROW + step * 32 + lane / 8 % 2 * 16);
                T::multiply(s[i], a, b);
                T::multiply(s[i + 1], a, b + 2);
            }
        }
    }

    /* Scores to weights; what is out is scaled to the new maximum. factor: scale / ln 2. */
    DEVICE_INSIDE void weigh(float factor, int first_key, int keys, int query, int causal, int lane)
    {
        float most[2] = {top[0], top[1]};
#pragma unroll
        for (int i = 0; i < SCORES; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int key = first_key + i * 8 + lane % 4 * 2 + j % 2;
                int seen = key < keys && (!causal || key <= query + j / 2 * 8);
                s[i][j] = seen ? s[i][j] * factor : -INFINITY;
                most[j / 2] = fmaxf(most[j / 2], s[i][j]);
            }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            most[half] = fmaxf(most[half], shuffle_xor(most[half], 1));
            most[half] = fmaxf(most[half], shuffle_xor(most[half], 2));
            float keep = exp2f(top[half] - most[half]);
            top[half] = most[half];
            total[half] *= keep;
#pragma unroll
            for (int i = 0; i < OUT; i++) {
                out[i][half * 2] *= keep;
                out[i][half * 2 + 1] *= keep;
            }
        }
#pragma unroll
        for (int i = 0; i < SCORES; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s[i][j] = exp2f(s[i][j] - top[j / 2]);
                if (L::WIDE) /* as the second product will see it */
                    s[i][j] = bits_float(pack_bf16(0, s[i][j]) & 0xffff0000u);
                total[j / 2] += s[i][j];
            }
    }

    /* out += weights V. */
    DEVICE_INSIDE void add_values(const unsigned char *v, int lane)
    {
#pragma unroll
        for (int step = 0; step < L::KEYS * L::SIZE / 32; step++) {
            uint32_t a[4], b[4];
            if (L::WIDE) {
                int i = step * 2 % SCORES; /* never beyond; the other kind's index is computed here as well */
                a[0] = pack_bf16(s[i][0], s[i][1]), a[1] = pack_bf16(s[i][2], s[i][3]);
                a[2] = pack_bf16(s[i + 1][0], s[i + 1][1]), a[3] = pack_bf16(s[i + 1][2], s[i + 1][3]);
            } else {
                int i = step % SCORES;
                a[0] = float_bits(s[i][0]), a[1] = float_bits(s[i][2]);
                a[2] = float_bits(s[i][1]), a[3] = float_bits(s[i][3]);
            }
#pragma unroll
            for (int i = 0; i < OUT; i += 2) {
                ldmatrix4(b,
                          v + (i * 8 + lane % 8 + lane / 16 * 8) * L::TURNED + step * 32 + lane / 8 % 2 * 16);
                T::multiply(out[i], a, b);
                T::multiply(out[i + 1], a, b + 2);
            }
        }
    }

    /* to or half: whichever is there. */
    DEVICE_INSIDE void store(float *to, uint16_t *half, int64_t ld, int query, int queries, int dim, int lane)
    {
        int pair = (((uintptr_t)to | (uintptr_t)(ld * 4)) & 7) == 0;
#pragma unroll
        for (int side = 0; side < 2; side++) {
            float sum = total[side];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            float inverse = 1 / sum;
            int64_t at = (query + side * 8) * ld;
            if (query + side * 8 >= queries)
                continue;
#pragma unroll
            for (int i = 0; i < OUT; i++) {
                int d = i * 8 + lane % 4 * 2;
                float x = out[i][side * 2] * inverse, y = out[i][side * 2 + 1] * inverse;
                if (half) {
                    uint32_t both = pack_bf16(x, y);
                    if (d < dim)
                        half[at + d] = (uint16_t)both;
                    if (d + 1 < dim)
                        half[at + d + 1] = (uint16_t)(both >> 16);
                } else if (pair && d + 1 < dim) {
                    store2(to + at + d, x, y);
                } else {
                    if (d < dim)
                        to[at + d] = x;
                    if (d + 1 < dim)
                        to[at + d + 1] = y;
                }
            }
        }
    }
};

template <class T, int D> DEVICE void attend(const attention_args &a)
{
    typedef layout<T, D> L;
    SHARED(memory);
    const struct attention &t = a.t;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, block = (int)blockIdx.x;
    int slab = block % a.slabs, tile = block / a.slabs % a.query_tiles;
    int head = block / a.slabs / a.query_tiles % t.heads, image = block / a.slabs / a.query_tiles / t.heads;
    int first = tile * QUERIES, query = first + warp * 16 + lane / 4;
    int64_t at = (int64_t)head * t.head_dim, out = image * t.out_image_ld + at + slab * D;
    values q = values_at(t.q, t.q_bf16, t.q_ld, image * t.q_image_ld + at),
           k = values_at(t.k, t.k_bf16, t.k_ld, image * t.k_image_ld + at),
           v = values_at(t.v, t.v_bf16, t.v_ld, image * t.v_image_ld + at);
    int keys = t.causal && first + QUERIES < t.keys ? first + QUERIES : t.keys;
    rows_of_warp<T, D> w;
    w.clear();
    for (int key = 0; key < keys; key += L::KEYS) {
        w.clear_scores();
        for (int i = 0; i < a.slabs; i++) {
            if (i > 0 || key > 0)
                __syncthreads(); /* all have read what is overwritten */
            if (key == 0 || a.slabs > 1)
                load_rows<T, D, QUERIES>(memory, q, first, t.queries, i * D, t.head_dim);
            load_rows<T, D, L::KEYS>(memory + L::K, k, key, t.keys, i * D, t.head_dim);
            if (i == 0)
                load_turned<T, D>(memory + L::V, v, key, t.keys, slab * D, t.head_dim);
            __syncthreads();
            w.add_scores(memory + warp * 16 * L::ROW, memory + L::K, lane);
        }
        w.weigh(t.scale * 1.44269504088896341f, key, t.keys, query, t.causal, lane);
        w.add_values(memory + L::V, lane);
    }
    w.store(t.out + out, t.out_bf16 ? t.out_bf16 + out : (uint16_t *)0, t.out_ld, query, t.queries,
            t.head_dim - slab * D, lane);
}

KERNEL(attention_bf16_32, 128, 4, attention_args) { attend<of_bf16, 32>(a); }
KERNEL(attention_bf16_48, 128, 4, attention_args) { attend<of_bf16, 48>(a); }
KERNEL(attention_bf16_64, 128, 3, attention_args) { attend<of_bf16, 64>(a); }
KERNEL(attention_bf16_80, 128, 3, attention_args) { attend<of_bf16, 80>(a); }
KERNEL(attention_bf16_128, 128, 2, attention_args) { attend<of_bf16, 128>(a); }
KERNEL(attention_f32_32, 128, 4, attention_args) { attend<of_f32, 32>(a); }
KERNEL(attention_f32_48, 128, 3, attention_args) { attend<of_f32, 48>(a); }
KERNEL(attention_f32_64, 128, 3, attention_args) { attend<of_f32, 64>(a); }
KERNEL(attention_f32_80, 128, 2, attention_args) { attend<of_f32, 80>(a); }
KERNEL(attention_f32_128, 128, 2, attention_args) { attend<of_f32, 128>(a); }
