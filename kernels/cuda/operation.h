/* What cuDNN computes, seen from the host: which convolutions and attentions fit its operation graphs, and as
 * what. Plain C; plugin.h has the functions that take them.
 *
 *     struct cuda_operation o;
 *     struct cuda_launches before, after;
 *     if (cuda_convolution(&m, CUDA_WHOLE, &o, &before, &after) && plugin->prepare(&o, &workspace) == 0)
 *         scratch = cuda_convolution_scratch(&m, CUDA_WHOLE) + workspace;         // when a plan is made
 *     ...
 *     launch(before); status = plugin->operate(&o, &f); launch(after);            // when it is run
 *
 * A convolution of more than one tap fits when rows and weights are bfloat16, of one source, and everything
 * lies at multiples of 16 bytes (channels and columns at multiples of 8). A source that is read enlarged is
 * written so first. Then as in library.h:
 *   CUDA_WHOLE  the graph does all: bias, bias of an image, nothing or SiLU, residual, one output
 *   CUDA_BARE   float32 sums into scratch; `after` has the kernel for what comes behind
 * Attention of bfloat16 rows fits when heads are multiples of 8 wide, nothing is masked and bfloat16 comes
 * out. cuda_attention_is_quicker() says where the library is expected to win.
 *
 * Which way something goes does not depend on the number of images: an image stays independent of its batch.
 */
#ifndef HASTEN_KERNELS_CUDA_OPERATION_H
#define HASTEN_KERNELS_CUDA_OPERATION_H

#include "kernels/cuda/library.h"

enum cuda_operation_kind { CUDA_CONVOLUTION, CUDA_ATTENTION };

/* out[image][y][x][n] = act(sum of in * weights[n][ky][kx][channel] + bias + image_bias) + residual. Rows lie
 * in_ld apart, images in_image_ld, images of out and residual directly behind one another. */
struct cuda_convolution {
    int64_t in_height, in_width, channels, out_height, out_width, n, kernel_h, kernel_w, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right;                           /* zeros around */
    int64_t in_ld, in_image_ld, weights_ld, out_ld, image_bias_ld, residual_ld; /* elements */
    int64_t silu, out_bf16;
};

/* out[image][query][head][...] = softmax(q k' * scale) v. Heads of a row lie directly behind one another. */
struct cuda_heads {
    int64_t heads, head_dim, queries, keys;
    int64_t q_ld, k_ld, v_ld, out_ld, q_image_ld, k_image_ld, v_image_ld, out_image_ld;
};

/* All that a plan of the library depends on; comparable byte by byte (no holes, zeros where unused). */
struct cuda_shape {
    int64_t kind, images, operands; /* bit k: operand k is there */
    struct cuda_convolution convolution;
    struct cuda_heads attention;
};

enum { CUDA_OPERANDS = 6 };
enum cuda_convolution_operand { CUDA_IN, CUDA_WEIGHTS, CUDA_BIAS, CUDA_IMAGE_BIAS, CUDA_RESIDUAL, CUDA_OUT };
enum cuda_attention_operand { CUDA_Q, CUDA_K, CUDA_V, CUDA_SCALE, CUDA_ATTENDED };

struct cuda_operation {
    struct cuda_shape shape;
    /* Device pointers at multiples of 16 bytes; biases and residual are float. CUDA_SCALE has none, but: */
    const void *at[CUDA_OPERANDS];
    float scale;
    void *workspace; /* at a multiple of CUDA_LIBRARY_ALIGNED */
    size_t workspace_size;
};

/* 1 and what is to be done in this order when m can be asked for in this way, else 0. */
int cuda_convolution(const struct matmul *m, enum cuda_way way, struct cuda_operation *o,
                     struct cuda_launches *before, struct cuda_launches *after);
/* Bytes of m's scratch beside the workspace. */
size_t cuda_convolution_scratch(const struct matmul *m, enum cuda_way way);

/* The same of attention: all of its scratch, less what its place wants, is workspace. */
int cuda_attention_operation(const struct attention *a, struct cuda_operation *o);
int cuda_attention_is_quicker(const struct attention *a);

#endif
