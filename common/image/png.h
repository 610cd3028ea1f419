/* PNG (ISO/IEC 15948) through libpng: 8-bit gray and RGB out, anything in.
 *
 *     struct png_note notes[] = {{"Software", "hasten"}, {"parameters", json}};
 *     struct buf bytes = {0};
 *     if (image_png_write(&picture, notes, 2, image_to_buf, &bytes, e) < 0) ...
 *
 *     struct image got = {0};
 *     if (image_png_read(bytes.data, bytes.size, &got, e) < 0) ...
 *
 * The bytes depend on picture and notes alone (and on the zlib in use): no time, fixed level and filters.
 * Nothing leaks when the sink or an allocation fails, or when the file is damaged. */
#ifndef HASTEN_IMAGE_PNG_H
#define HASTEN_IMAGE_PNG_H

#include "common/image/pixels.h"

#include <stddef.h>

/* A text chunk: tEXt when the text is ASCII, else iTXt (UTF-8, uncompressed). */
struct png_note {
    const char *key;  /* 1 to 79 printable ASCII characters, no blanks at its ends or twice in a row */
    const char *text; /* valid UTF-8 */
};

/* Takes the next n bytes; -1 and an error ends the writing. */
typedef int image_sink(void *to, const void *data, size_t n, struct error *e);

/* The sink that appends to a struct buf. */
int image_to_buf(void *buf, const void *data, size_t n, struct error *e);

/* HASTEN_EFILE for a bad note, HASTEN_ENOMEM, or the sink's error. */
int image_png_write(const struct image *picture, const struct png_note *notes, int count, image_sink *sink,
                    void *to, struct error *e) HASTEN_CHECKED;

/* Any colour type and bit depth, interlaced or not, to 8-bit gray or RGB: palettes are looked up, 16 bits
 * are scaled to 8 with rounding, alpha is dropped (not blended), gamma and profiles are ignored. Limits:
 * see pixels.h, and a file that is too short for the size in its head is refused before the picture is
 * allocated. Everything wrong with the bytes is HASTEN_EFILE. Bytes behind the end are ignored, as every
 * reader does. *out must be empty. */
int image_png_read(const void *bytes, size_t n, struct image *out, struct error *e) HASTEN_CHECKED;

/* The text of a tEXt chunk with that key, in a PNG that is there to its end: *size bytes inside `bytes`.
 * NULL: no such chunk, or not a whole PNG. Pixels are not looked at. */
const char *image_png_note(const void *bytes, size_t n, const char *key, size_t *size);

#endif
