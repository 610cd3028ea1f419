/* A fixed 5 x 7 font for labels in pictures: printable ASCII, everything else is drawn as a box.
 *
 *     int width = font_width("full 50", 2);                  // pixels at scale 2
 *     font_draw(&picture, 4, 4, 2, 255, "full 50");          // white, clipped at the picture's sides */
#ifndef HASTEN_IMAGE_FONT_H
#define HASTEN_IMAGE_FONT_H

#include "common/image/pixels.h"

enum {
    FONT_WIDTH = 5,
    FONT_HEIGHT = 7,
    FONT_ADVANCE = 6, /* one column between letters */
};

/* Row `row` (0 is the top) of a character: bit 4 is the leftmost of five pixels. */
unsigned font_row(char c, int row);

/* Bytes of UTF-8 behind the first of a character take no room. */
int font_width(const char *text, int scale);
void font_draw(struct image *picture, int x, int y, int scale, unsigned char value, const char *text);

#endif
