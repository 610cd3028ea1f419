/* Pictures of 8-bit samples, and the way from a network's floats to them and back.
 *
 *     struct image picture = {0};
 *     if (image_from_float(decoded, 3, height, width, -1, 1, &picture, e) < 0) return -1;
 *     ...
 *     image_free(&picture);
 *
 * Floats are channels first (channels, height, width), as networks have them; bytes are rows of
 * interleaved samples, as PNG has them. */
#ifndef HASTEN_IMAGE_PIXELS_H
#define HASTEN_IMAGE_PIXELS_H

#include "common/base/error.h"

enum {
    IMAGE_SIDE_MAX = 32768,
    IMAGE_BYTES_MAX = 1 << 30,
};

struct image {
    int width, height, channels; /* channels: 1 gray, 3 RGB */
    unsigned char *data; /* height x width x channels, no padding; owned, from mem_array */
};

/* A black picture. *out must be empty ({0}) or freed. HASTEN_EFILE: sides outside 1..IMAGE_SIDE_MAX,
 * channels not 1 or 3, or more than IMAGE_BYTES_MAX bytes. */
int image_new(int width, int height, int channels, struct image *out, struct error *e) HASTEN_CHECKED;
void image_free(struct image *picture); /* leaves it empty; an empty one is fine */

/* low becomes 0, high 255, what lies outside is clamped; rounding is half to even in float arithmetic:
 * for low -1 and high 1 this is bit by bit (x / 2 + 0.5).clamp(0, 1), then (255 * y).round() in NumPy,
 * which is what diffusers' pipelines do. NaN and Inf are refused with their place (HASTEN_EFAIL), low >=
 * high with HASTEN_EFILE. */
int image_from_float(const float *x, int channels, int height, int width, float low, float high,
                     struct image *out, struct error *e) HASTEN_CHECKED;

/* The middle of each byte's interval: 0 -> low, 255 -> high. out: channels x height x width.
 * image_from_float takes it back to the same bytes. */
void image_to_float(const struct image *picture, float low, float high, float *out);

#endif
