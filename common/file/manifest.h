/* A manifest: lines that say what was made from what, appended one by one and never rewritten, so that a
 * killed run loses at most the line that it was writing.
 *
 *     struct manifest *m = manifest_open(path, e);      // what a killed run left half is cut off
 *     if (manifest_has(m, line)) ...
 *     manifest_add(m, line, e);                         // nothing happens when the line is there already
 *     manifest_close(m, e);
 *
 * Lines are whole texts without '\n'. One process at a time: a second one is refused. All errors are
 * HASTEN_EFAIL. */
#ifndef HASTEN_FILE_MANIFEST_H
#define HASTEN_FILE_MANIFEST_H

#include "common/base/error.h"

struct manifest;

struct manifest *manifest_open(const char *path, struct error *e) HASTEN_CHECKED;
int manifest_has(const struct manifest *m, const char *line);
int manifest_add(struct manifest *m, const char *line, struct error *e) HASTEN_CHECKED;
/* To the disk. NULL is fine. */
int manifest_close(struct manifest *m, struct error *e);

#endif
