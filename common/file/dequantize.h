/* The weights of a layer as floats, whatever its format: unpacked, scaled, rotated back.
 *
 *     float *w = mem_array(node_weight_count(n), sizeof *w, e);
 *     node_dequantize(n, w);            // after graph_infer, tensors loaded
 */
#ifndef HASTEN_FILE_DEQUANTIZE_H
#define HASTEN_FILE_DEQUANTIZE_H

#include "common/graph/graph.h"

/* Numbers of the weight of a linear layer or convolution. */
size_t node_weight_count(const struct node *n);
void node_dequantize(const struct node *n, float *out);

#endif
