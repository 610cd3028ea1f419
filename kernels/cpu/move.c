/* See move.h. */
#include "kernels/cpu/move.h"

#include <string.h>

static const float *input_row(const struct move *m, int64_t image, int64_t h, int64_t w)
{
    return m->in + image * m->in_image_ld + (h * m->in_width + w) * m->in_ld;
}

static void average(const struct move *m, float *out, int64_t image, int64_t h0, int64_t w0, int height,
                    int width)
{
    for (int c = 0; c < m->channels; c++) {
        double sum = 0;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                sum += input_row(m, image, h0 + y, w0 + x)[c];
        out[c] = (float)(sum / ((double)height * width));
    }
}

/* Output pixel (h, w) of an unpatchified image takes its channels from one slice of one input row. */
static void from_depth(const struct move *m, float *out, int64_t image, int64_t h, int64_t w)
{
    int64_t count = m->channels / ((int64_t)m->block * m->block),
            slice = h % m->block * m->block + w % m->block;
    memcpy(out, input_row(m, image, h / m->block, w / m->block) + slice * count, (size_t)count * sizeof *out);
}

static void to_depth(const struct move *m, float *out, int64_t image, int64_t h, int64_t w)
{
    int64_t count = m->channels / ((int64_t)m->block * m->block);
    for (int i = 0; i < m->block * m->block; i++)
        memcpy(out + i * count, input_row(m, image, h * m->block + i / m->block, w * m->block + i % m->block),
               (size_t)count * sizeof *out);
}

void move_run(const struct move *m, int part, int parts)
{
    int64_t per_image = (int64_t)m->out_height * m->out_width, rows = m->images * per_image;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
        int64_t image = row / per_image, h = row % per_image / m->out_width, w = row % m->out_width;
        float *out = m->out + image * m->out_image_ld + row % per_image * m->out_ld;
        switch (m->kind) {
        case MOVE_COPY:
            memcpy(out, m->in + image * m->in_image_ld + row % per_image * m->in_ld,
                   (size_t)m->channels * sizeof *out);
            break;
        case MOVE_UPSAMPLE:
            memcpy(out, input_row(m, image, h * m->in_height / m->out_height, w * m->in_width / m->out_width),
                   (size_t)m->channels * sizeof *out);
            break;
        case MOVE_AVG_POOL:
            average(m, out, image, h * m->block, w * m->block, m->block, m->block);
            break;
        case MOVE_MEAN_POOL:
            average(m, out, image, 0, 0, m->in_height, m->in_width);
            break;
        case MOVE_DEPTH_TO_SPACE:
            from_depth(m, out, image, h, w);
            break;
        case MOVE_SPACE_TO_DEPTH:
            to_depth(m, out, image, h, w);
            break;
        }
    }
}
