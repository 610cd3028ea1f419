/* Markers of quantized layers, for other programs: beside X.weight a tensor X.comfy_quant of bytes, JSON that
 * names the format. They are made from the graph when a model is written; when one is read, each must say
 * what the graph says, and then it is left out of the tensors. */
#ifndef HASTEN_FILE_MODEL_MARKERS_H
#define HASTEN_FILE_MODEL_MARKERS_H

#include "common/file/model.h"

/* Bytes of a layer's marker, 0: it has none. */
size_t marker_size(const struct node *n);
/* The model's tensors and its markers: *tensors (mem_free), names and data in the arena. */
int markers_add(const struct model *m, struct arena *arena, struct tensor **tensors, int *count,
                struct error *e) HASTEN_CHECKED;
/* Check and drop those of a model whose tensors are loaded. */
int markers_check(struct model *m, struct error *e) HASTEN_CHECKED;

#endif
