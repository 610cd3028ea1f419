/* Inside common/graph: the parts of the operation table (graph.h is the interface). */
#ifndef HASTEN_GRAPH_OPS_H
#define HASTEN_GRAPH_OPS_H

#include "common/graph/graph.h"

typedef int infer_fn(const struct node *n, const struct shape *in, struct shape *out, struct error *e);
typedef void reference_fn(const struct op_call *c);

infer_fn infer_linear, infer_conv2d, infer_norm, infer_same, infer_modulate, infer_binary, infer_attention,
    infer_concat, infer_slice, infer_upsample, infer_avg_pool, infer_mean_pool, infer_tokens, infer_grid,
    infer_depth_to_space, infer_space_to_depth, infer_timestep_embedding, infer_embedding,
    infer_position_embedding, infer_parameter;
reference_fn ref_linear, ref_conv2d, ref_group_norm, ref_layer_norm, ref_modulate, ref_binary, ref_unary,
    ref_attention, ref_concat, ref_slice, ref_upsample, ref_avg_pool, ref_mean_pool, ref_copy,
    ref_depth_to_space, ref_space_to_depth, ref_timestep_embedding, ref_embedding, ref_position_embedding,
    ref_parameter;

int node_is_int4(const struct node *n);      /* w4a8 or w4a16 */
int node_rounds_input(const struct node *n); /* int8 activations: w8a8 or w4a8 */

/* Choices, in the order of the attribute's list. */
enum { FORMAT_PLAIN, FORMAT_W8A8, FORMAT_W8A16, FORMAT_W4A16, FORMAT_W4A8, FORMAT_FP8, FORMATS };
enum { AXIS_CHANNELS, AXIS_TOKENS };
enum { GELU_EXACT, GELU_TANH };

#endif
