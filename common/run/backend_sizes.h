/* Counting memory without using it.
 *
 *     struct backend_count count = {0};
 *     struct backend sizes = backend_sizes(&real, &count);
 *     struct weights *w = weights_open(graph, &sizes, NULL, e);      // tensors need no data
 *     size_t held = count.bytes;
 *     struct trajectory *t = trajectory_open(&options, e);            // options.weights = w; do not run it
 *     ... trajectory_bytes(t) ...
 *
 * Plans, hoisting and the arena are those of the CPU backend with the same kernels and team. */
#ifndef HASTEN_RUN_BACKEND_SIZES_H
#define HASTEN_RUN_BACKEND_SIZES_H

#include "common/run/backend.h"

struct backend_count {
    size_t bytes; /* allocated so far; nothing is taken off when blocks are released */
};

struct backend backend_sizes(const struct backend *like, struct backend_count *count);

#endif
