/* Outputs that appear whole or not at all.
 *
 *     struct output *o = output_open(path, OUTPUT_BINARY, e);   // NULL or "-": standard output
 *     if (!o) return -1;
 *     if (output_write(o, data, size, e) < 0) { output_abandon(o); return -1; }
 *     return output_commit(o, e);                               // closes in every case
 *
 * A regular file is written as `.NAME.XXXXXX` in the same folder, synced and renamed over the name on commit;
 * until then the old file stays as it was, so an input may be the output. Symbolic links are followed to
 * their target. An existing file's permission bits are kept, a new one gets the umask's. FIFOs and devices
 * are written directly. SIGINT, SIGTERM and SIGHUP (when at their default) remove the unfinished files and
 * then end the program as usual. All errors are HASTEN_EFAIL, except a terminal as target for binary data:
 * HASTEN_EUSAGE. */
#ifndef HASTEN_FILE_OUTPUT_H
#define HASTEN_FILE_OUTPUT_H

#include "common/file/input.h"
#include <stdint.h>

enum {
    OUTPUT_BINARY = 1, /* refuse a terminal */
};

struct output;

struct output *output_open(const char *path, int flags, struct error *e) HASTEN_CHECKED;
int output_write(struct output *o, const void *data, size_t size, struct error *e) HASTEN_CHECKED;
/* `size` bytes of a regular file, from `at` on: by the kernel alone where it can. */
int output_copy(struct output *o, const struct input *in, int64_t at, size_t size,
                struct error *e) HASTEN_CHECKED;
/* Everything to the disk and under its name. o is gone afterwards, also on failure. */
int output_commit(struct output *o, struct error *e) HASTEN_CHECKED;
void output_abandon(struct output *o); /* NULL is fine */

uint64_t output_size(const struct output *o);    /* bytes written so far */
const char *output_name(const struct output *o); /* for messages: the path or "standard output" */

/* All of it at once: open, write, commit. */
int output_whole(const char *path, int flags, const void *data, size_t size, struct error *e) HASTEN_CHECKED;

/* Whether output_open would go well, as far as that shows without making anything: for before the work. */
int output_check(const char *path, struct error *e) HASTEN_CHECKED;

/* 1 when path means standard output: NULL, "-", /dev/stdout and its relatives. */
int output_is_stdout(const char *path);

#endif
