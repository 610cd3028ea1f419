/* A graph as JSON, the form it has in a model file and in `import --graph` (hasten-model(5)).
 *
 *     {"inputs": [{"name": "sample", "kind": "image", "channels": 4, "height": 32, "width": 32},
 *                 {"name": "timestep", "kind": "vector", "channels": 1}],
 *      "nodes": [{"name": "conv_in", "op": "conv2d", "in": ["sample"], "attr": {"pad": 1},
 *                 "weights": {"weight": "denoiser.conv_in.weight", "bias": "denoiser.conv_in.bias"}}],
 *      "outputs": {"sample": "conv_in"}}
 *
 * "version" of a node is written only when it is not 1. Attributes equal to their default are not written. */
#ifndef HASTEN_GRAPH_GRAPH_JSON_H
#define HASTEN_GRAPH_GRAPH_JSON_H

#include "common/graph/graph.h"
#include <cjson/cJSON.h>

/* NULL and an error that names the node and what is wrong with it. */
struct graph *graph_from_json(const char *component, const cJSON *json, struct error *e) HASTEN_CHECKED;
cJSON *graph_to_json(const struct graph *g, struct error *e) HASTEN_CHECKED;

#endif
