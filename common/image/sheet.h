/* Contact sheets: rows of pictures with a label over each row, small ones enlarged by whole factors.
 *
 *     struct sheet_row rows[] = {{"full, 50 calls", full, 8}, {"fast, 20 calls", fast, 8}};
 *     struct image sheet = {0};
 *     if (sheet_make(rows, 2, 0, &sheet, e) < 0) return -1;
 *
 * Pixels are repeated, not interpolated: what the network made is what is seen. */
#ifndef HASTEN_IMAGE_SHEET_H
#define HASTEN_IMAGE_SHEET_H

#include "common/image/pixels.h"

enum {
    SHEET_SIDE = 96, /* pictures are enlarged until their longer side has at least this many pixels */
    SHEET_GAP = 4, /* between pictures, and around the sheet */
    SHEET_TEXT = 2, /* scale of the font */
    SHEET_LABEL = 200, /* longest label in bytes; the rest is cut off */
};

struct sheet_row {
    const char *label; /* NULL or "": none */
    const struct image *pictures;
    int count; /* may be 0: a heading */
};

/* All pictures must have one size (gray and RGB may be mixed: then the sheet is RGB). columns 0: as many
 * as the longest row has, but for a single row the smallest square that holds it; longer rows go on in
 * the next line. White background. HASTEN_EFILE: no picture, different sizes, a sheet beyond the limits
 * of pixels.h. */
int sheet_make(const struct sheet_row *rows, int count, int columns, struct image *out,
               struct error *e) HASTEN_CHECKED;

/* The factor that sheet_make uses. */
int sheet_factor(int width, int height);

#endif
