/* Inside common/file: models whose large tensors stay in the file until they are asked for (model_open_lazy).
 */
#ifndef HASTEN_FILE_MODEL_LAZY_H
#define HASTEN_FILE_MODEL_LAZY_H

#include "common/file/model.h"

/* Right after the structure: can this file's tensors be read one by one, with an id that is known already?
 * Then the small ones are loaded: 1. 0: no; -1: error. */
int lazy_load_small(struct model *m, struct team *team, struct error *e);

/* When the list of tensors is final: who reads what, in which order. */
int lazy_start(struct model *m, struct team *team, struct error *e) HASTEN_CHECKED;
void lazy_close(struct lazy *l);

#endif
