/* The text chunks of a PNG, without decoding it. See png.h. */
#include "common/image/png.h"

#include <stdint.h>
#include <string.h>

enum { HEAD = 8, FRAME = 12 }; /* a chunk: length, type, data, checksum */

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

const char *image_png_note(const void *bytes, size_t n, const char *key, size_t *size)
{
    const unsigned char *p = bytes;
    const char *found = NULL;
    size_t key_size = strlen(key) + 1;
    if (n < HEAD || memcmp(p, "\x89PNG\r\n\x1a\n", HEAD))
        return NULL;
    for (size_t at = HEAD; n - at >= FRAME;) {
        size_t length = big_endian(p + at);
        const unsigned char *data = p + at + 8;
        if (length > n - at - FRAME)
            return NULL;
        if (!memcmp(p + at + 4, "IEND", 4))
            return found;
        if (!found && !memcmp(p + at + 4, "tEXt", 4) && length >= key_size && !memcmp(data, key, key_size)) {
            found = (const char *)data + key_size;
            *size = length - key_size;
        }
        at += FRAME + length;
    }
    return NULL;
}
