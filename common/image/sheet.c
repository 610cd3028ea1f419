/* See sheet.h. */
#include "common/image/sheet.h"
#include "common/base/num.h"
#include "common/image/font.h"

#include <stdio.h>
#include <string.h>

struct layout {
    int width, height; /* of one picture in the rows */
    int channels, factor, columns;
    int label_height; /* with the gap behind it */
};

int sheet_factor(int width, int height)
{
    int longer = width > height ? width : height;
    return longer >= SHEET_SIDE ? 1 : (SHEET_SIDE + longer - 1) / longer;
}

static int has_label(const struct sheet_row *row) { return row->label && row->label[0]; }

static int lines_of(const struct sheet_row *row, int columns)
{
    return row->count / columns + (row->count % columns > 0);
}

static int plan(const struct sheet_row *rows, int count, int columns, struct layout *l, struct error *e)
{
    int longest = 0;
    *l = (struct layout){.channels = 1, .columns = columns};
    for (int r = 0; r < count; r++) {
        longest = rows[r].count > longest ? rows[r].count : longest;
        for (int i = 0; i < rows[r].count; i++) {
            const struct image *p = &rows[r].pictures[i];
            if (!l->width) {
                l->width = p->width;
                l->height = p->height;
            }
            if (p->width != l->width || p->height != l->height)
                return error_set(
                    e, HASTEN_EFILE,
                    "picture %d of row %d of the sheet has %d x %d pixels, the first has %d x %d", i, r,
                    p->width, p->height, l->width, l->height);
            l->channels = p->channels > l->channels ? p->channels : l->channels;
        }
    }
    if (!l->width)
        return error_set(e, HASTEN_EFILE, "a contact sheet needs at least one picture");
    l->factor = sheet_factor(l->width, l->height);
    if (!l->columns && count == 1)
        while (l->columns * l->columns < longest)
            l->columns++;
    if (l->columns < 1 || l->columns > longest)
        l->columns = longest;
    l->label_height = FONT_HEIGHT * SHEET_TEXT + SHEET_GAP;
    return 0;
}

static const char *shorten(const char *label, char room[SHEET_LABEL + 1])
{
    snprintf(room, SHEET_LABEL + 1, "%s", label);
    return room;
}

static int measure(const struct sheet_row *rows, int count, const struct layout *l, int *width,
                   int *height, struct error *e)
{
    char text[SHEET_LABEL + 1];
    int64_t w = (int64_t)l->columns * (l->width * l->factor + SHEET_GAP) + SHEET_GAP, h = SHEET_GAP;
    for (int r = 0; r < count; r++) {
        if (has_label(&rows[r])) {
            int wanted = font_width(shorten(rows[r].label, text), SHEET_TEXT) + 2 * SHEET_GAP;
            w = wanted > w ? wanted : w;
            h += l->label_height;
        }
        h += (int64_t)lines_of(&rows[r], l->columns) * (l->height * l->factor + SHEET_GAP);
    }
    if (w > IMAGE_SIDE_MAX || h > IMAGE_SIDE_MAX)
        return error_set(e, HASTEN_EFILE,
                         "the contact sheet would have %lld x %lld pixels, at most %d x %d are possible",
                         (long long)w, (long long)h, IMAGE_SIDE_MAX, IMAGE_SIDE_MAX);
    *width = (int)w;
    *height = (int)h;
    return 0;
}

static void paste(struct image *sheet, const struct image *p, int factor, int left, int top)
{
    for (int y = 0; y < p->height * factor; y++) {
        unsigned char *to = sheet->data + ((size_t)(top + y) * (size_t)sheet->width + (size_t)left) *
                                              (size_t)sheet->channels;
        const unsigned char *row =
            p->data + (size_t)(y / factor) * (size_t)p->width * (size_t)p->channels;
        for (int x = 0; x < p->width * factor; x++)
            for (int c = 0; c < sheet->channels; c++)
                *to++ = row[(x / factor) * p->channels + (p->channels == 1 ? 0 : c)];
    }
}

int sheet_make(const struct sheet_row *rows, int count, int columns, struct image *out, struct error *e)
{
    struct layout l;
    int width = 0, height = 0;
    struct image sheet = {0};
    if (plan(rows, count, columns, &l, e) < 0 || measure(rows, count, &l, &width, &height, e) < 0 ||
        image_new(width, height, l.channels, &sheet, e) < 0)
        return -1;
    memset(sheet.data, 255, (size_t)width * (size_t)height * (size_t)l.channels);
    char text[SHEET_LABEL + 1];
    int y = SHEET_GAP, step_x = l.width * l.factor + SHEET_GAP, step_y = l.height * l.factor + SHEET_GAP;
    for (int r = 0; r < count; r++) {
        if (has_label(&rows[r])) {
            font_draw(&sheet, SHEET_GAP, y, SHEET_TEXT, 0, shorten(rows[r].label, text));
            y += l.label_height;
        }
        for (int i = 0; i < rows[r].count; i++)
            paste(&sheet, &rows[r].pictures[i], l.factor, SHEET_GAP + i % l.columns * step_x,
                  y + i / l.columns * step_y);
        y += lines_of(&rows[r], l.columns) * step_y;
    }
    *out = sheet;
    return 0;
}
