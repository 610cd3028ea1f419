/* New tensors over those of a model, so that a changed network can be run and thrown away, or kept.
 *
 *     struct overlay o = {.model = &m};                          // or .below = &other
 *     overlay_put(&o, "blocks.3.fc1.weight", &tensor, e);        // data from mem_array, owned from then on
 *     graph_infer(g, 0, 0, overlay_find, &o, e);
 *     overlay_commit(&o, &m, e);                                 // into the model
 *     overlay_close(&o);
 */
#ifndef HASTEN_RUN_OVERLAY_H
#define HASTEN_RUN_OVERLAY_H

#include "common/file/model.h"

struct overlay {
    const struct model *model;
    const struct overlay *below; /* instead of the model */
    struct tensor **tensor;      /* each by itself: graphs point to them */
    int count, capacity;
};

/* graph.h's tensor_find. */
const struct tensor *overlay_find(const void *context, const char *name);
/* t->dtype, rank and shape set. A tensor that is there already is replaced. On an error data is freed too. */
int overlay_put(struct overlay *o, const char *name, struct tensor *t, struct error *e) HASTEN_CHECKED;
/* All tensors go over to the model; the overlay is empty then. */
int overlay_commit(struct overlay *o, struct model *m, struct error *e) HASTEN_CHECKED;
void overlay_close(struct overlay *o);

#endif
