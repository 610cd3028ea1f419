/* Inside kernels/cuda: parameters of kernels that need more than a struct of cpu.h. */
#ifndef HASTEN_KERNELS_CUDA_ARGS_H
#define HASTEN_KERNELS_CUDA_ARGS_H

#include "kernels/cuda/launch.h"

/* A warp a row. cached: a row's values are kept in shared memory, `padded` floats a warp. */
struct row_norm_args {
    struct row_norm r;
    int cached, padded;
};

/* Blocks of GROUP_NORM_BLOCK pixels; group_norm_sums takes GROUP_NORM_WARPS groups at once, the others
 * GROUP_NORM_CHANNELS channels. In the workspace: mean and sum of squares of [image][block][group], mean and
 * 1 / deviation of [image][group], extremes of [image][block][split][side]. */
enum { GROUP_NORM_WARPS = 8, GROUP_NORM_CHANNELS = 256 };
struct group_norm_args {
    struct group_norm g;
    int blocks, bundles, splits;
    float *moments, *extremes;
};

/* Heads wider than a variant of the kernel are done in slabs of it; a block makes one slab of the output. */
struct attention_args {
    struct attention t;
    int query_tiles, slabs;
};

/* Weights of `form` as float32, as bfloat16, which holds all of their numbers, or (MM_INT4 for int8 sources)
 * as int8: `units` of 16 bytes. */
enum decode_to { DECODE_F32, DECODE_BF16, DECODE_CODES };
struct decode_args {
    const void *from;
    void *to;
    struct mm_shape shape;
    int group;
    enum decode_to as;
    enum mm_weights form;
    const int32_t *weight_sum; /* of columns, for int8: they go behind the weights */
    unsigned units, sum_units; /* of weights and sums */
};

/* What comes behind float32 sums [rows][n] that a library has made; n is a multiple of four. */
struct finish_args {
    struct matmul m;
    const float *sums, *row_scale; /* [rows], NULL: 1 */
};

/* Rows of floats, or of bfloat16 (`half`), as e4m3 with a scale each, a warp a row: codes [rows][k], zeros
 * behind the channels. */
struct e4m3_args {
    struct mm_source from;
    int rows, per_image, k, half; /* k: a multiple of 16 */
    unsigned char *codes;
    float *scale;
};

#endif
