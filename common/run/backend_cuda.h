/* The CUDA backend: plans on an NVIDIA device, through the plugin hasten-cuda.so, which is opened at run
 * time.
 *
 *     struct backend b;
 *     if (backend_cuda_open(&b, plugin_path, NULL, 0, kernels, team, e) < 0) ... // no plugin or no device
 *     backend_cuda_describe(&b, text, sizeof text);
 *     ... weights, engines ...
 *     backend_close(&b);                                                    // after all of them
 *
 * Products of bfloat16 weights and the attention of such models are computed with bfloat16 factors, others
 * with float32 (three TF32 products), int8 ones exactly as on the CPU. Values in memory are as on the CPU:
 * float32, and bfloat16 between kernels of such models.
 * Operations that have no kernel run on the host, with copies. One device a process: number `local` of those
 * that CUDA_VISIBLE_DEVICES leaves, counted around; several backends share it and its stream, and are for one
 * thread together.
 *
 * HASTEN_ENOMEM when the device's memory is full, HASTEN_EFAIL for everything else. */
#ifndef HASTEN_RUN_BACKEND_CUDA_H
#define HASTEN_RUN_BACKEND_CUDA_H

#include "common/run/backend.h"

/* libraries: NULL, or which of NVIDIA's libraries may be used ("cublaslt,cudnn,cupti"), "none" for none;
 * with "sdpa" attention goes to cuDNN wherever it can, to be measured; with "fp8" rows are rounded to e4m3
 * for weights that are. The string must stay. */
int backend_cuda_open(struct backend *b, const char *plugin, const char *libraries, int local,
                      const struct cpu_kernels *kernels, struct team *team, struct error *e) HASTEN_CHECKED;

/* For give_way: *b, if nothing holds memory of it, is closed and becomes the CPU's. 1, or 0. */
int backend_cuda_give_way(struct backend *b);

/* One line: the device, its memory, the libraries that were found. */
void backend_cuda_describe(struct backend *b, char *text, size_t size);

#endif
