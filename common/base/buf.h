/* A growing buffer of bytes, always with a NUL behind them.
 *
 *     struct buf b = {.max = 16 << 20};            // {0}: no limit
 *     buf_add(&b, "[", 1, e);
 *     buf_printf(&b, e, "%d", n);
 *     if (buf_text(&b, "]", e) < 0) ...            // the first failure stays: later calls fail as well,
 *     output_write(o, b.data, b.size, e);          //   so that only the last one needs a look
 *     buf_free(&b);
 *
 * Growing past max is HASTEN_EFILE (a file asked for it); out of memory is HASTEN_ENOMEM. */
#ifndef HASTEN_BASE_BUF_H
#define HASTEN_BASE_BUF_H

#include "common/base/error.h"
#include <stddef.h>

struct buf {
    char *data; /* NULL until something was added */
    size_t size, room, max;
    int failed;
};

int buf_add(struct buf *b, const void *data, size_t n, struct error *e);
int buf_text(struct buf *b, const char *text, struct error *e);
int buf_printf(struct buf *b, struct error *e, const char *format, ...) HASTEN_PRINTF(3, 4);
/* Text inside XML: the first n bytes of s (1999 at most), with & < > and " as entities, and ? for what XML
 * cannot hold. */
int buf_escaped(struct buf *b, const char *s, size_t n, struct error *e);
/* n more bytes, zeroed, for the caller to fill; NULL on failure. Valid until the next call. */
void *buf_more(struct buf *b, size_t n, struct error *e);
void buf_free(struct buf *b); /* leaves it empty, with its max */

#endif
