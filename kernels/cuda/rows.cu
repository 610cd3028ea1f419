/* Rows: norm, modulation and quantization in one pass; elementwise; reads of caches. struct row_norm,
 * image_quantize, elementwise and cache_read of cpu.h. */
#include "kernels/cuda/device.h"

/* ---- norms: a warp a row; but for rotations a lane sees none but its own numbers, without a barrier ---- */

DEVICE void modulated(const struct row_norm &r, float *v, unsigned row, unsigned image, int c, int count,
                      float mean, float inverse, unsigned vectors)
{
    float x[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = (v[i] - mean) * inverse;
    if (r.weight) {
        get4(x, r.weight + c, count, vectors & 2);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= x[i];
    }
    if (r.bias) {
        get4(x, r.bias + c, count, vectors & 4);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += x[i];
    }
    if (r.scale) {
        get4(x, r.scale + image * r.mod_ld + c, count, vectors & 8);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= 1 + x[i];
    }
    if (r.shift) {
        get4(x, r.shift + image * r.mod_ld + c, count, vectors & 16);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += x[i];
    }
    if (r.times) {
        get4(x, r.times + row * r.times_ld + c, count, vectors & 256);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= activate(x[i], r.times_act);
    }
}

DEVICE void put_codes(unsigned char *to, const float *v, int count, const rounding &by)
{
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; i++)
        word |= (uint32_t)(i < count ? code_of(v[i], by) : by.scale.zero) << 8 * i;
    *(uint32_t *)to = word;
}

/* A row's blocks times R4 x R4 ..., R4 = 1/2 [[1,1,1,-1],[1,1,-1,1],[1,-1,1,1],[-1,1,1,1]]: of four numbers
 * at distance 1, 4, 16, 64 with half their sum s, (a, b, c, d) becomes (s - d, s - c, s - b, s - a). */
DEVICE void rotate_row(float *v, int channels, int block)
{
    for (int apart = 1; apart < block; apart *= 4) {
        warp_barrier();
        for (int i = (int)(threadIdx.x % 32); i < channels / 4; i += 32) {
            float *at = v + i / apart * apart * 4 + i % apart;
            float w = at[0], x = at[apart], y = at[2 * apart], z = at[3 * apart],
                  s = ((w + x) + (y + z)) * 0.5f;
            at[0] = s - z;
            at[apart] = s - y;
            at[2 * apart] = s - x;
            at[3 * apart] = s - w;
        }
    }
    warp_barrier();
}

/* What a lane knows of its row. */
struct row_state {
    const float *x;
    float *kept; /* the row in shared memory, or NULL */
    unsigned row, image, vectors;
    float mean, inverse;
};

/* Four numbers of x. */
DEVICE void read4(const struct row_norm &r, const row_state &s, float *v, int c)
{
    if (s.kept)
        get4(v, s.kept + c, 4, 1);
    else
        get4(v, s.x + c, r.channels - c, s.vectors & 1);
}

/* Mean and 1 / deviation: first the mean, then the squares around it. */
DEVICE void row_moments(const struct row_norm &r, row_state &s, int first)
{
    float v[4], sum = 0;
    for (int c = first; c < r.channels; c += 128) {
        get4(v, s.x + c, r.channels - c, s.vectors & 1);
        sum += (v[0] + v[1]) + (v[2] + v[3]);
        if (s.kept)
            put4(s.kept + c, v, 4, 1);
    }
    s.mean = 0;
    s.inverse = 1;
    if (!r.norm)
        return;
    s.mean = warp_sum(sum) / (float)r.channels;
    sum = 0;
    for (int c = first; c < r.channels; c += 128) {
        read4(r, s, v, c);
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum += c + i < r.channels ? (v[i] - s.mean) * (v[i] - s.mean) : 0;
    }
    s.inverse = 1 / sqrtf(warp_sum(sum) / (float)r.channels + r.eps);
}

/* Values: to the tap; to where they are kept; to out, if that is wanted and nothing else happens to them. The
 * extremes. */
DEVICE extremes row_values(const struct row_norm &r, const row_state &s, int first)
{
    float v[4];
    extremes most = no_extremes();
    for (int c = first; c < r.channels; c += 128) {
        int count = r.channels - c;
        read4(r, s, v, c);
        modulated(r, v, s.row, s.image, c, count, s.mean, s.inverse, s.vectors);
        if (r.tap)
            put4(r.tap + s.row * r.tap_ld + c, v, count, s.vectors & 64);
        if (r.out && !r.codes && !r.rotate)
            put4(r.out + s.row * r.out_ld + c, v, count, s.vectors & 32);
        if (r.out_bf16 && !r.codes)
            put4_bf16(r.out_bf16 + s.row * r.out_bf16_ld + c, v, count, s.vectors & 128);
        if (s.kept)
            put4(s.kept + c, v, 4, 1);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (i < count)
                add_number(most, v[i]);
    }
    return most;
}

DEVICE void row_codes(const struct row_norm &r, const row_state &s, const extremes &most, int first)
{
    float v[4];
    rounding by = rounding_of(warp_extremes(most));
    for (int c = first; c < r.codes_ld; c += 128) {
        int count = r.channels - c;
        if (count > 0) {
            read4(r, s, v, c);
            if (!s.kept)
                modulated(r, v, s.row, s.image, c, count, s.mean, s.inverse, s.vectors);
        }
        put_codes(r.codes + s.row * r.codes_ld + c, v, count, by);
    }
    if (first == 0)
        r.row_scale[s.row] = by.scale;
}

KERNEL(row_norm_rows, 128, 4, row_norm_args)
{
    SHARED(memory);
    const struct row_norm &r = a.r;
    unsigned warp = threadIdx.x / 32;
    int first = (int)(threadIdx.x % 32) * 4;
    row_state s;
    s.row = blockIdx.x * (blockDim.x / 32) + warp;
    if (s.row >= (unsigned)r.images * (unsigned)r.rows_per_image)
        return;
    s.x = r.x + s.row * r.x_ld;
    s.kept = a.cached ? (float *)memory + (int)warp * a.padded : (float *)0;
    s.image = s.row / (unsigned)r.rows_per_image;
    s.vectors = is_vector(r.x, r.x_ld) | is_vector(r.weight, 0) << 1 | is_vector(r.bias, 0) << 2 |
                is_vector(r.scale, r.mod_ld) << 3 | is_vector(r.shift, r.mod_ld) << 4 |
                is_vector(r.out, r.out_ld) << 5 | is_vector(r.tap, r.tap_ld) << 6 |
                is_vector_bf16(r.out_bf16, r.out_bf16_ld) << 7 | is_vector(r.times, r.times_ld) << 8;
    row_moments(r, s, first);
    float v[4];
    extremes most = row_values(r, s, first);
    if (r.rotate) { /* the row is kept, else it would not have been launched */
        rotate_row(s.kept, r.channels, r.rotate);
        most = no_extremes();
        for (int c = first; c < r.channels; c += 128) {
            read4(r, s, v, c);
            if (r.out && !r.codes)
                put4(r.out + s.row * r.out_ld + c, v, 4, s.vectors & 32);
#pragma unroll
            for (int i = 0; i < 4; i++)
                add_number(most, v[i]);
        }
    }
    if (r.codes)
        row_codes(r, s, most, first);
}

/* ---- one scale an image: the extremes of each block of rows, then the codes ---- */

DEVICE int quantize_rows(const struct image_quantize &q, int block)
{
    int left = q.rows_per_image - block * GROUP_NORM_BLOCK;
    return left < GROUP_NORM_BLOCK ? left : GROUP_NORM_BLOCK;
}

KERNEL(image_extremes, 256, 4, image_quantize)
{
    SHARED(memory);
    int blocks = (a.rows_per_image + GROUP_NORM_BLOCK - 1) / GROUP_NORM_BLOCK, groups = (a.channels + 3) / 4;
    int image = (int)blockIdx.x / blocks, block = (int)blockIdx.x % blocks, rows = quantize_rows(a, block);
    int64_t first = (int64_t)image * a.rows_per_image + block * GROUP_NORM_BLOCK;
    int vector = is_vector(a.x, a.x_ld);
    float v[4];
    extremes most = no_extremes();
    for (int i = (int)threadIdx.x; i < rows * groups; i += (int)blockDim.x) {
        int c = i % groups * 4;
        get4(v, a.x + (first + i / groups) * a.x_ld + c, a.channels - c, vector);
#pragma unroll
        for (int k = 0; k < 4; k++) /* what is behind the end is 0 */
            add_number(most, v[k]);
    }
    most = block_extremes(most, (uint32_t *)memory);
    if (threadIdx.x == 0)
        store2(a.workspace + 2 * blockIdx.x, bits_float((uint32_t)most.top), bits_float(most.low));
}

KERNEL(image_codes, 256, 4, image_quantize)
{
    SHARED(memory);
    int blocks = (a.rows_per_image + GROUP_NORM_BLOCK - 1) / GROUP_NORM_BLOCK, groups = (int)(a.codes_ld / 4);
    int image = (int)blockIdx.x / blocks, block = (int)blockIdx.x % blocks, rows = quantize_rows(a, block);
    int64_t first = (int64_t)image * a.rows_per_image + block * GROUP_NORM_BLOCK;
    int vector = is_vector(a.x, a.x_ld);
    float v[4] = {0, 0, 0, 0};
    extremes most = no_extremes();
    for (int i = (int)threadIdx.x; i < blocks; i += (int)blockDim.x)
        add_bits(most, float_bits(a.workspace[2 * (image * blocks + i)]),
                 float_bits(a.workspace[2 * (image * blocks + i) + 1]));
    rounding by = rounding_of(block_extremes(most, (uint32_t *)memory));
    for (int i = (int)threadIdx.x; i < rows * groups; i += (int)blockDim.x) {
        int c = i % groups * 4, count = a.channels - c;
        int64_t row = first + i / groups;
        if (count > 0)
            get4(v, a.x + row * a.x_ld + c, count, vector);
        put_codes(a.codes + row * a.codes_ld + c, v, count, by);
    }
    if (block == 0 && threadIdx.x == 0)
        a.image_scale[image] = by.scale;
}

/* ---- elementwise, four channels a thread ---- */

KERNEL(elementwise_rows, 256, 4, elementwise)
{
    unsigned groups = (unsigned)(a.channels + 3) / 4, at = blockIdx.x * blockDim.x + threadIdx.x,
             row = at / groups;
    int c = (int)(at % groups) * 4, count = a.channels - c;
    float v[4], w[4];
    if (row >= (unsigned)a.images * (unsigned)a.rows_per_image)
        return;
    get4(v, a.a + row * a.a_ld + c, count, is_vector(a.a, a.a_ld));
    if (a.b) {
        unsigned b = a.b_kind == PER_ROW ? row : a.b_kind == PER_IMAGE ? row / (unsigned)a.rows_per_image : 0;
        get4(w, a.b + b * a.b_ld + c, count, is_vector(a.b, a.b_ld));
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = a.op == BIN_ADD ? v[i] + w[i] : a.op == BIN_SUB ? v[i] - w[i] : v[i] * w[i];
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = activate(v[i], a.act) * (a.scale != 0 ? a.scale : 1);
    if (a.out)
        put4(a.out + row * a.out_ld + c, v, count, is_vector(a.out, a.out_ld));
    if (a.out_bf16)
        put4_bf16(a.out_bf16 + row * a.out_bf16_ld + c, v, count, is_vector_bf16(a.out_bf16, a.out_bf16_ld));
}

KERNEL(cache_read_rows, 256, 4, cache_read)
{
    const struct mm_epilogue &e = a.epilogue;
    unsigned groups = (unsigned)(a.channels + 3) / 4, at = blockIdx.x * blockDim.x + threadIdx.x,
             row = at / groups;
    int c = (int)(at % groups) * 4, count = a.channels - c;
    float v[4], w[4], s[4];
    if (row >= (unsigned)a.images * (unsigned)a.rows_per_image)
        return;
    get4(v, a.cache + row * a.cache_ld + c, count, is_vector(a.cache, a.cache_ld));
    if (a.a) {
        float add[4];
        get4(add, a.b + c, count, is_vector(a.b, 0));
        if (a.cache2) {
            get4(w, a.cache2 + row * a.cache_ld + c, count, is_vector(a.cache2, a.cache_ld));
            get4(s, a.a2 + c, count, is_vector(a.a2, 0));
#pragma unroll
            for (int i = 0; i < 4; i++)
                add[i] += w[i] * s[i];
        }
        get4(s, a.a + c, count, is_vector(a.a, 0));
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = v[i] * s[i] + add[i];
    }
    if (e.gate) {
        get4(w, e.gate + row / (unsigned)a.rows_per_image * e.gate_ld + c, count,
             is_vector(e.gate, e.gate_ld));
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] *= w[i];
    }
    if (e.residual) {
        get4(w, e.residual + row * e.residual_ld + c, count, is_vector(e.residual, e.residual_ld));
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] += w[i];
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] *= e.scale != 0 ? e.scale : 1;
    put4(a.out + row * a.out_ld + c, v, count, is_vector(a.out, a.out_ld));
}
