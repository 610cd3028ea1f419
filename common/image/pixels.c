/* See pixels.h. */
#include "common/image/pixels.h"
#include "common/base/mem.h"

#include <math.h>

int image_new(int width, int height, int channels, struct image *out, struct error *e)
{
    if (channels != 1 && channels != 3)
        return error_set(e, HASTEN_EFILE, "a picture has 1 or 3 channels, not %d", channels);
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return error_set(e, HASTEN_EFILE, "a picture of %d x %d pixels: sides must be 1 to %d", width,
                         height, IMAGE_SIDE_MAX);
    size_t bytes = (size_t)width * (size_t)height * (size_t)channels; /* at most 3 * 2^30 */
    if (bytes > IMAGE_BYTES_MAX)
        return error_set(e, HASTEN_EFILE, "a picture of %d x %d pixels is larger than %d bytes", width,
                         height, IMAGE_BYTES_MAX);
    unsigned char *data = mem_array(bytes, 1, e);
    if (!data)
        return -1;
    *out = (struct image){.width = width, .height = height, .channels = channels, .data = data};
    return 0;
}

void image_free(struct image *picture)
{
    mem_free(picture->data);
    *picture = (struct image){0};
}

int image_from_float(const float *x, int channels, int height, int width, float low, float high,
                     struct image *out, struct error *e)
{
    float range = high - low;
    if (!(range > 0) || !isfinite(range))
        return error_set(e, HASTEN_EFILE, "the picture's value range %g to %g is empty", (double)low,
                         (double)high);
    struct image picture = {0};
    if (image_new(width, height, channels, &picture, e) < 0)
        return -1;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++)
            for (int column = 0; column < width; column++) {
                float v = x[((size_t)c * (size_t)height + (size_t)y) * (size_t)width + (size_t)column];
                if (!isfinite(v)) {
                    image_free(&picture);
                    return error_set(e, HASTEN_EFAIL,
                                     "the picture's value at channel %d, row %d, column %d is %f", c, y,
                                     column, (double)v);
                }
                /* (v - -1) / 2 rounds exactly as v / 2 + 0.5: halving is exact. */
                float unit = (v - low) / range;
                unit = unit < 0 ? 0 : unit > 1 ? 1 : unit;
                size_t at = ((size_t)y * (size_t)width + (size_t)column) * (size_t)channels + (size_t)c;
                picture.data[at] = (unsigned char)rintf(unit * 255.0f);
            }
    *out = picture;
    return 0;
}

void image_to_float(const struct image *picture, float low, float high, float *out)
{
    size_t pixels = (size_t)picture->width * (size_t)picture->height,
           channels = (size_t)picture->channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++)
            out[c * pixels + i] = (float)picture->data[i * channels + c] / 255.0f * (high - low) + low;
}
