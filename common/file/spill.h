/* Tensors that memory need not hold until a file is written: compressed into a temporary file without a name.
 *
 *     struct spill *s = spill_open("out/small.zst", NULL, team, e);
 *     spill_add(s, list, count, e);     // data (of mem_array) go to the file; origins say where they are
 *     ...                               // tensors_load has them back, container_write copies the frames
 *     spill_close(s);                   // after their last use
 *
 * The file is made when something is added, has no name from then on, and ends with the process. */
#ifndef HASTEN_FILE_SPILL_H
#define HASTEN_FILE_SPILL_H

#include "common/base/team.h"
#include "common/file/tensor.h"

struct spill;

/* In the folder of the file `beside`; where that is no regular file (standard output, a device) in the folder
 * `elsewhere`; NULL or "": /tmp. */
struct spill *spill_open(const char *beside, const char *elsewhere, struct team *team,
                         struct error *e) HASTEN_CHECKED;
void spill_close(struct spill *s); /* NULL is fine */
/* On failure tensors keep their data. */
int spill_add(struct spill *s, struct tensor *const *tensor, int count, struct error *e) HASTEN_CHECKED;

#endif
