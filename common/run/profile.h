/* Profile files: milliseconds of a model's network call, kernel by kernel, and of every action that a cache
 * schedule may take. Kind "profile"; everything in the metadata.
 *
 *     double ms[CANDIDATES + 1];
 *     profile_prices("x.profile.zst", id, list, count, 2, ms, e);    // ms[0]: all computed; ms[1 + i]:
 * action i
 *
 * A profile belongs to a model (its content id); times of another batch are taken in proportion. */
#ifndef HASTEN_RUN_PROFILE_H
#define HASTEN_RUN_PROFILE_H

#include "common/run/actions.h"

/* HASTEN_EFILE when the profile is of another model or lacks an action. */
int profile_prices(const char *path, const char *model, const struct candidate *list, int count, int batch,
                   double *ms, struct error *e) HASTEN_CHECKED;

/* The same, with 0 for what the profile lacks. */
int profile_known_prices(const char *path, const char *model, const struct candidate *list, int count,
                         int batch, double *ms, struct error *e) HASTEN_CHECKED;

/* Where the profile was made. */
struct profile_machine {
    char level[32];
    int threads;
};
int profile_machine(const char *path, struct profile_machine *m, struct error *e) HASTEN_CHECKED;

/* Milliseconds of each node of the graph: of the kernels whose first node it is, 0 for the others; and of the
 * whole call in *full. The profile must be of this model. */
int profile_node_ms(const char *path, const char *model, const struct graph *g, double *ms, double *full,
                    struct error *e) HASTEN_CHECKED;

#endif
