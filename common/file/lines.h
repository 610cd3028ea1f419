/* Lines of a file or a pipe as they come, without waiting for those that are not there yet.
 *
 *     struct lines *l = lines_open("-", 1 << 20, e);
 *     struct line x;
 *     int r = lines_next(l, wait, &x, e);             // LINES_LINE, LINES_LATER (wait 0 only), LINES_END, -1
 *     lines_close(l);
 *
 * A last line without '\n' counts. Never more than one piece of 64 KiB (or one line) is read ahead. */
#ifndef HASTEN_FILE_LINES_H
#define HASTEN_FILE_LINES_H

#include "common/base/error.h"
#include <stdint.h>

enum { LINES_END, LINES_LINE, LINES_LATER };

struct line {
    const char *text; /* size bytes, valid until the next call; no '\n' */
    size_t size;
    int64_t number; /* from 1 */
    int too_long;   /* more than `most` bytes: text is empty, and the line has been passed over */
};

struct lines;

/* path NULL or "-": standard input. */
struct lines *lines_open(const char *path, size_t most, struct error *e) HASTEN_CHECKED;
int lines_next(struct lines *l, int wait, struct line *out, struct error *e) HASTEN_CHECKED;
void lines_close(struct lines *l); /* NULL is fine */

#endif
