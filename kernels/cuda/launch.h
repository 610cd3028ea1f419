/* CUDA kernels, seen from the host: from a kernel's arguments to the launches that compute it. Plain C, no
 * CUDA header, no device; whoever launches (a stream, a graph, the emulator of the tests) takes the list.
 *
 *     struct cuda_launches l;
 *     cuda_matmul(&m, CUDA_BF16, &l);                    // m: as for the CPU, with device pointers in it
 *     for (int i = 0; i < l.count; i++)                  // in order on one stream
 *         cuLaunchKernel(find(l.launch[i].kernel), grid, block, l.launch[i].shared, {&l.launch[i].args});
 *
 * Arguments are the structs of kernels/cpu/cpu.h and move.h. Every pointer in them is a device pointer;
 * weights are packed by cuda_packing(). A kernel takes one parameter, by value: the bytes in args. Work areas
 * are those of the structs (group_norm_workspace; a float for each block of image_quantize); attention's
 * scratch is not used, a product's has cuda_matmul_scratch() bytes. Beyond cpu.h:
 *   - codes, their rows and their images start at multiples of 16 bytes
 *   - compressed weights are decoded into the product's scratch by a kernel of their own: they cost their own
 *     bytes, and the time to write and read the larger ones
 *   - attention's out may be q only for heads of at most 128
 *
 * Row invariance holds as on the CPU: what a row gives does not depend on the number of images or rows. int32
 * sums are those of the CPU, bit for bit.
 *
 * A list of no launches means that the device cannot do it: rows of more than 24576 channels that are
 * rotated, and 2^32 numbers (of elementwise and cache_read: fours of them) or more in one launch.
 *
 * Precision is that of products of float32 rows and of attention:
 *   CUDA_F32   3xTF32 (each factor split in two tf32 numbers, three products): relative error of a product
 *              2^-21, sums in float32
 *   CUDA_BF16  factors rounded to bfloat16 (relative 2^-9 each), sums in float32
 * Products of bfloat16 rows (bf16) are bfloat16 products in both; their weights are packed by
 * matmul_pack_bf16. */
#ifndef HASTEN_KERNELS_CUDA_LAUNCH_H
#define HASTEN_KERNELS_CUDA_LAUNCH_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/move.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cuda_precision { CUDA_F32, CUDA_BF16 };

enum { CUDA_ARGS = 640, CUDA_LAUNCHES = 4 };

struct cuda_launch {
    const char *kernel; /* its name in the fatbin; cuda_kernel_names() lists them all */
    unsigned grid[3], block[3];
    unsigned shared; /* dynamic shared memory in bytes, at most 99 KiB; above 48 KiB the kernel's limit
                      * (cudaFuncAttributeMaxDynamicSharedMemorySize) has to be raised before */
    unsigned args_size;
    unsigned char args[CUDA_ARGS] __attribute__((aligned(16)));
};

struct cuda_launches {
    int count;
    struct cuda_launch launch[CUDA_LAUNCHES];
};

void cuda_matmul(const struct matmul *m, enum cuda_precision p, struct cuda_launches *l);
size_t cuda_matmul_scratch(const struct matmul *m, enum cuda_precision p);
void cuda_row_norm(const struct row_norm *r, struct cuda_launches *l);
void cuda_group_norm(const struct group_norm *g, struct cuda_launches *l);
void cuda_image_quantize(const struct image_quantize *q, struct cuda_launches *l);
void cuda_attention(const struct attention *a, enum cuda_precision p, struct cuda_launches *l);
void cuda_elementwise(const struct elementwise *e, struct cuda_launches *l);
void cuda_cache_read(const struct cache_read *c, struct cuda_launches *l);
void cuda_move(const struct move *m, struct cuda_launches *l);

/* A table for weights_open() with nothing but mm_panel and the packing functions, which make the device's
 * layout in host memory: [n][chunk][64 bytes], a chunk being 64 bytes of one source's channels at one tap (16
 * float, 32 bfloat16 or 64 int8 numbers), zeros behind the ends: a linear layer's is a plain matrix. Behind
 * int8 weights are the int32 sums of each source's columns, [2][n up to a multiple of 64]. */
const struct cpu_kernels *cuda_packing(enum cuda_precision p);

/* ---- what a trajectory does between two network calls ---- */

/* A sampler's step as numbers. For every element, with `out` the guided network output:
 *
 *     picture = limit(picture_of[0] * x + picture_of[1] * out)          limit: +-clip, when clip > 0
 *     target  = sum over inputs of to[target][input] * input            inputs: x, out, picture, noise,
 * history
 *
 * Targets are the next x (always) and histories in `writes` (bit k: history k), all computed before any is
 * stored. Only histories in `reads` are read. variance: noise is multiplied by a learned deviation first,
 * exp((share * high + (1 - share) * low) / 2) with share = (v + 1) / 2 (STEP_RANGE) or sqrt(v)
 * (STEP_LEARNED), v being the second half of the network's channels. */
enum { STEP_HISTORY = 6 };
enum step_input { STEP_X, STEP_OUT, STEP_PICTURE, STEP_NOISE, STEP_FIRST_HISTORY, STEP_INPUTS = 10 };
enum step_variance { STEP_FIXED, STEP_RANGE, STEP_LEARNED };

struct step_numbers {
    float picture_of[2], clip;
    float to[1 + STEP_HISTORY][STEP_INPUTS]; /* [0]: x; [1 + k]: history k */
    unsigned writes, reads;
    enum step_variance variance;
    float low, high;
};

/* Guidance, the step, and the network's next input in one kernel. Everything is channels last but the noise,
 * which is as it is drawn. */
struct cuda_step {
    int images, pixels, channels, out_channels;
    const float *cond;   /* [images][pixels][out_channels] */
    const float *uncond; /* the same; NULL: out = cond, else uncond + guidance * (cond - uncond) */
    const float *noise;  /* [images][channels][pixels], NULL: none */
    float *x;            /* [images][pixels][channels] */
    float *history[STEP_HISTORY];
    float *input[2];  /* gets input_scale * x for the next call (both passes); NULL: not wanted */
    unsigned *failed; /* set to 1 when a network output is not finite; NULL: not looked at */
    float guidance, input_scale;
    struct step_numbers numbers;
};
void cuda_step(const struct cuda_step *s, struct cuda_launches *l);

/* out = scale * in between channels first [images][channels][pixels] and channels last
 * [images][pixels][channels]; out again to `again`, if it is not NULL. */
struct cuda_layout {
    const float *in;
    float *out, *again;
    int images, pixels, channels, to_last;
    float scale;
};
void cuda_layout(const struct cuda_layout *c, struct cuda_launches *l);

/* ---- the compiled kernels ---- */

/* All names, NULL behind the last: to load and prepare every kernel before a capture. */
const char *const *cuda_kernel_names(void);

#ifdef __cplusplus
}
#endif

#endif
