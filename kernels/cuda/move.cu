/* Copies between layouts, resampling, pooling: struct move of move.h, a number a thread. */
#include "kernels/cuda/device.h"

DEVICE const float *input_row(const struct move &m, int64_t image, int h, int w)
{
    return m.in + image * m.in_image_ld + ((int64_t)h * m.in_width + w) * m.in_ld;
}

/* Sums by columns of pixels, in one order. */
DEVICE float average(const struct move &m, int64_t image, int h0, int w0, int height, int width, int c)
{
    float sum = 0;
    for (int y = 0; y < height; y++) {
        float line = 0;
        for (int x = 0; x < width; x++)
            line += input_row(m, image, h0 + y, w0 + x)[c];
        sum += line;
    }
    return sum / (float)(height * width);
}

/* Channels of a row of the output. */
DEVICE int width_of(const struct move &m)
{
    return m.kind == MOVE_DEPTH_TO_SPACE ? m.channels / (m.block * m.block) : m.channels;
}

KERNEL(move_rows, 256, 4, move)
{
    unsigned wide = (unsigned)width_of(a), at = blockIdx.x * blockDim.x + threadIdx.x, row = at / wide;
    unsigned per_image = (unsigned)a.out_height * (unsigned)a.out_width, pixel = row % per_image;
    int c = (int)(at % wide), image = (int)(row / per_image);
    int h = (int)(pixel / (unsigned)a.out_width), w = (int)(pixel % (unsigned)a.out_width);
    float v = 0;
    if (image >= a.images)
        return;
    switch (a.kind) {
    case MOVE_COPY:
        v = a.in[image * a.in_image_ld + pixel * a.in_ld + c];
        break;
    case MOVE_UPSAMPLE:
        v = input_row(a, image, (int)((int64_t)h * a.in_height / a.out_height),
                      (int)((int64_t)w * a.in_width / a.out_width))[c];
        break;
    case MOVE_AVG_POOL:
        v = average(a, image, h * a.block, w * a.block, a.block, a.block, c);
        break;
    case MOVE_MEAN_POOL:
        v = average(a, image, 0, 0, a.in_height, a.in_width, c);
        break;
    case MOVE_DEPTH_TO_SPACE:
        v = input_row(a, image, h / a.block,
                      w / a.block)[(h % a.block * a.block + w % a.block) * (int)wide + c];
        break;
    case MOVE_SPACE_TO_DEPTH: {
        int count = a.channels / (a.block * a.block), i = c / count;
        v = input_row(a, image, h * a.block + i / a.block, w * a.block + i % a.block)[c % count];
        break;
    }
    }
    a.out[image * a.out_image_ld + pixel * a.out_ld + c] = v;
}
