/* Group norm, modulation, activation and quantization: struct group_norm of cpu.h. Moments are those of
 * blocks of 64 pixels, merged pair by pair (Chan, Golub and LeVeque 1979), so that no sum of squares loses
 * what it is about. */
#include "kernels/cuda/device.h"

DEVICE int pixels_in(const struct group_norm &g, int block)
{
    int left = g.pixels - block * GROUP_NORM_BLOCK;
    return left < GROUP_NORM_BLOCK ? left : GROUP_NORM_BLOCK;
}

DEVICE const float *input_at(const struct group_norm &g, int64_t row, int c)
{
    return c < g.channels[0] ? g.x[0] + row * g.x_ld[0] + c : g.x[1] + row * g.x_ld[1] + c - g.channels[0];
}

/* A warp a group of one block of pixels. */
KERNEL(group_norm_sums, 256, 4, group_norm_args)
{
    const struct group_norm &g = a.g;
    int lane = (int)threadIdx.x % 32, width = (g.channels[0] + g.channels[1]) / g.groups;
    int group = (int)blockIdx.x % a.bundles * GROUP_NORM_WARPS + (int)threadIdx.x / 32;
    int block = (int)blockIdx.x / a.bundles % a.blocks, image = (int)blockIdx.x / a.bundles / a.blocks;
    int64_t first = (int64_t)image * g.pixels + block * GROUP_NORM_BLOCK;
    int count = pixels_in(g, block) * width;
    float sum = 0, square = 0;
    if (group >= g.groups)
        return;
    for (int i = lane; i < count; i += 32)
        sum += *input_at(g, first + i / width, group * width + i % width);
    float mean = warp_sum(sum) / (float)count;
    for (int i = lane; i < count; i += 32) {
        float d = *input_at(g, first + i / width, group * width + i % width) - mean;
        square += d * d;
    }
    square = warp_sum(square);
    if (lane == 0) {
        float *to = a.moments + 2 * ((int64_t)(image * a.blocks + block) * g.groups + group);
        to[0] = mean;
        to[1] = square;
    }
}

struct moments {
    float count, mean, square;
};

DEVICE moments merged(moments x, moments y)
{
    moments m;
    m.count = x.count + y.count;
    float d = y.mean - x.mean, share = m.count > 0 ? y.count / m.count : 0;
    m.mean = x.mean + d * share;
    m.square = x.square + y.square + d * d * x.count * share;
    return m;
}

DEVICE float *of_group(const struct group_norm_args &a, int image, int group)
{
    return a.moments +
           2 * ((int64_t)a.g.images * a.blocks * a.g.groups + (int64_t)image * a.g.groups + group);
}

/* A warp a group of an image. */
KERNEL(group_norm_moments, 32, 16, group_norm_args)
{
    const struct group_norm &g = a.g;
    int lane = (int)threadIdx.x, image = (int)blockIdx.x / g.groups, group = (int)blockIdx.x % g.groups;
    int width = (g.channels[0] + g.channels[1]) / g.groups;
    moments all = {0, 0, 0};
    for (int block = lane; block < a.blocks; block += 32) {
        const float *from = a.moments + 2 * ((int64_t)(image * a.blocks + block) * g.groups + group);
        moments one = {(float)(pixels_in(g, block) * width), from[0], from[1]};
        all = merged(all, one);
    }
#pragma unroll
    for (int mask = 1; mask < 32; mask <<= 1) {
        moments other = {shuffle_xor(all.count, mask), shuffle_xor(all.mean, mask),
                         shuffle_xor(all.square, mask)};
        all = lane & mask ? merged(other, all) : merged(all, other);
    }
    if (lane == 0) {
        of_group(a, image, group)[0] = all.mean;
        of_group(a, image, group)[1] = 1 / sqrtf(all.square / all.count + g.eps);
    }
}

/* Four channels of a row behind norm, modulation and activation; zeros behind the last. */
DEVICE void values4(const struct group_norm_args &a, float *v, int image, int64_t row, int c, int vector)
{
    const struct group_norm &g = a.g;
    int channels = g.channels[0] + g.channels[1], width = channels / g.groups;
    if (vector && c + 4 <= channels) {
        get4(v, input_at(g, row, c), 4, 1);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = c + i < channels ? *input_at(g, row, c + i) : 0;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = c + i;
        if (at >= channels)
            continue;
        const float *m = of_group(a, image, at / width);
        float x = (v[i] - m[0]) * m[1];
        x *= g.weight ? g.weight[at] : 1;
        x += g.bias ? g.bias[at] : 0;
        x *= g.scale ? 1 + g.scale[image * g.mod_ld + at] : 1;
        x += g.shift ? g.shift[image * g.mod_ld + at] : 0;
        v[i] = activate(x, g.act);
    }
}

DEVICE int sources_vector(const struct group_norm &g)
{
    return is_vector(g.x[0], g.x_ld[0]) &&
           (!g.channels[1] || (is_vector(g.x[1], g.x_ld[1]) && g.channels[0] % 4 == 0));
}

KERNEL(group_norm_apply, 256, 4, group_norm_args)
{
    SHARED(memory);
    const struct group_norm &g = a.g;
    int split = (int)blockIdx.x % a.splits, block = (int)blockIdx.x / a.splits % a.blocks;
    int image = (int)blockIdx.x / a.splits / a.blocks, channels = g.channels[0] + g.channels[1];
    int first = split * GROUP_NORM_CHANNELS, left = channels - first;
    int groups = ((left < GROUP_NORM_CHANNELS ? left : GROUP_NORM_CHANNELS) + 3) / 4;
    int items = pixels_in(g, block) * groups, vector = sources_vector(g);
    int out_vector = is_vector(g.out, g.out_ld), tap_vector = is_vector(g.tap, g.tap_ld);
    int half_vector = is_vector_bf16(g.out_bf16, g.out_bf16_ld);
    float v[4];
    extremes most[2] = {no_extremes(), no_extremes()};
    for (int i = (int)threadIdx.x; i < items; i += (int)blockDim.x) {
        int64_t row = (int64_t)image * g.pixels + block * GROUP_NORM_BLOCK + i / groups;
        int c = first + i % groups * 4;
        values4(a, v, image, row, c, vector);
        if (g.tap)
            put4(g.tap + row * g.tap_ld + c, v, channels - c, tap_vector);
        if (g.out_bf16)
            put4_bf16(g.out_bf16 + row * g.out_bf16_ld + c, v, channels - c, half_vector);
        else if (!g.codes[0])
            put4(g.out + row * g.out_ld + c, v, channels - c, out_vector);
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (c + k < g.channels[0])
                add_number(most[0], v[k]);
            else if (c + k < channels)
                add_number(most[1], v[k]);
    }
    for (int side = 0; g.codes[0] && side < 2; side++) {
        extremes all = block_extremes(most[side], (uint32_t *)memory);
        if (threadIdx.x == 0)
            store2(a.extremes + 4 * blockIdx.x + 2 * side, bits_float((uint32_t)all.top),
                   bits_float(all.low));
    }
}

/* The codes of one side of the channels. */
DEVICE void put_side(const struct group_norm_args &a, int side, int image, int block, const rounding &by)
{
    const struct group_norm &g = a.g;
    int groups = (int)(g.codes_ld[side] / 4), items = pixels_in(g, block) * groups;
    int base = side ? g.channels[0] : 0, vector = sources_vector(g);
    float v[4] = {0, 0, 0, 0};
    for (int i = (int)threadIdx.x; i < items; i += (int)blockDim.x) {
        int64_t row = (int64_t)image * g.pixels + block * GROUP_NORM_BLOCK + i / groups;
        int c = i % groups * 4, count = g.channels[side] - c;
        uint32_t word = 0;
        if (count > 0)
            values4(a, v, image, row, base + c, vector && base % 4 == 0);
#pragma unroll
        for (int k = 0; k < 4; k++)
            word |= (uint32_t)(k < count ? code_of(v[k], by) : by.scale.zero) << 8 * k;
        *(uint32_t *)(g.codes[side] + row * g.codes_ld[side] + c) = word;
    }
}

KERNEL(group_norm_codes, 256, 4, group_norm_args)
{
    SHARED(memory);
    const struct group_norm &g = a.g;
    int block = (int)blockIdx.x % a.blocks, image = (int)blockIdx.x / a.blocks, parts = a.blocks * a.splits;
    for (int side = 0; side < (g.channels[1] ? 2 : 1); side++) {
        extremes most = no_extremes();
        for (int i = (int)threadIdx.x; i < parts; i += (int)blockDim.x) {
            const float *of = a.extremes + 4 * (image * parts + i) + 2 * side;
            add_bits(most, float_bits(of[0]), float_bits(of[1]));
        }
        rounding by = rounding_of(block_extremes(most, (uint32_t *)memory));
        put_side(a, side, image, block, by);
        if (block == 0 && threadIdx.x == 0)
            g.image_scale[side][image] = by.scale;
    }
}
