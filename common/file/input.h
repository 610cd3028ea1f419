/* Inputs: a regular file can be read anywhere and by several threads, everything else in order.
 *
 *     struct input in;
 *     if (input_open(&in, path, e) < 0) return -1;              // "-": standard input
 *     if (in.size >= 0) input_read_at(&in, buffer, n, offset, e);
 *     else got = input_read(&in, buffer, n, e);
 *     input_close(&in);
 *
 *     struct buf b = {.max = 1 << 20};
 *     if (input_whole(path, &b, e) < 0) ...                     // a small text, all of it
 *
 * Standard input that is a regular file at its start counts as one. Errors of the system are HASTEN_EFAIL, a
 * file that ends too early is HASTEN_EFILE. */
#ifndef HASTEN_FILE_INPUT_H
#define HASTEN_FILE_INPUT_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include <stdint.h>

struct input {
    int fd;
    int close;
    int64_t size;     /* of a regular file; -1: only readable in order */
    const char *name; /* for messages: path (the caller's string) or "standard input" */
};

int input_open(struct input *in, const char *path, struct error *e) HASTEN_CHECKED;
void input_close(struct input *in);
/* The same open file under a descriptor above 2, or -1: when the program was started with one of 0 to 2
 * closed, a file there would take what is meant for the standard stream. fd is closed if it is another; -1
 * stays -1. */
int input_above(int fd);
/* Up to n bytes in order (fewer only at the end), or -1. */
int64_t input_read(struct input *in, void *data, size_t n, struct error *e) HASTEN_CHECKED;
/* Exactly n bytes from a place of a regular file. Thread safe. */
int input_read_at(const struct input *in, void *data, size_t n, int64_t offset,
                  struct error *e) HASTEN_CHECKED;
/* All of a file, appended to b; more than b->max is an error. */
int input_whole(const char *path, struct buf *b, struct error *e) HASTEN_CHECKED;

#endif
