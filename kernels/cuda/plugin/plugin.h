/* The contract between the programs and hasten-cuda.so: a device as a dozen functions. The plugin knows
 * memory, copies, launches, graphs and events; what is launched comes from kernels/cuda/launch.h, and why
 * from common/run/backend_cuda.c. Plain C, no CUDA header, nothing of the toolkit linked: the driver
 * (libcuda.so.1) is opened by name.
 *
 *     hasten_cuda_plugin_fn *entry = dlsym(dlopen("hasten-cuda.so", RTLD_NOW), HASTEN_CUDA_PLUGIN_ENTRY);
 *     const struct cuda_plugin *p = entry();
 *     if (p->abi != HASTEN_CUDA_PLUGIN_ABI || p->size != sizeof *p) ...;      // of another version
 *     struct cuda_failure f;
 *     if (p->open(names, NULL, 0, &info, &f) < 0) ...                         // f.text says why
 *
 * One device a process: one of those that CUDA_VISIBLE_DEVICES leaves. One stream; everything is in order on
 * it. Whoever opens again in the same process shares both, and must not use them from two threads at once.
 * Functions return 0, or -1 with *f filled: kind 5 when memory is full, else 1 (exit codes of the tools).
 * Nothing prints, exits or allocates on the host. */
#ifndef HASTEN_KERNELS_CUDA_PLUGIN_H
#define HASTEN_KERNELS_CUDA_PLUGIN_H

#include "kernels/cuda/launch.h"
#include "kernels/cuda/operation.h"
#include "kernels/cuda/trace.h"

#include <stddef.h>
#include <stdint.h>

#define HASTEN_CUDA_PLUGIN_ABI 5u
#define HASTEN_CUDA_PLUGIN_ENTRY "hasten_cuda_plugin"
#define HASTEN_CUDA_PLUGIN_FILE "hasten-cuda.so"

/* NVIDIA's libraries, opened by name when they are first asked for; and products of e4m3, which are
 * cuBLASLt's on devices that multiply them (compute capability 8.9 and later). */
enum cuda_feature { CUDA_HAS_CUBLASLT = 1, CUDA_HAS_CUDNN = 2, CUDA_HAS_CUPTI = 4, CUDA_HAS_FP8 = 8 };

struct cuda_info {
    char name[128];
    int major, minor; /* compute capability */
    int multiprocessors;
    size_t memory; /* bytes */
    int driver;    /* CUDA version that the driver speaks, 1000 * major + 10 * minor */
};

struct cuda_failure {
    int kind;
    char text[600];
};

enum { CUDA_EVENTS = 4096 };

struct cuda_plugin {
    uint32_t abi, size;
    /* Finds device number `local`, counted around, and loads all kernels of these names (NULL behind the
     * last), which must stay, as must `libraries`: NULL, or which of NVIDIA's libraries may be used
     * (cublaslt, cudnn, cupti). */
    int (*open)(const char *const *kernels, const char *libraries, int local, struct cuda_info *info,
                struct cuda_failure *f);
    void (*close)(void); /* once for each open, failed ones too */
    /* Those of `wanted` that work. note: NULL, or gets why one of them does not. Not while recording. */
    unsigned (*features)(unsigned wanted, char *note, size_t size);
    int (*allocate)(void **block, size_t bytes, struct cuda_failure *f); /* zeroed */
    void (*release)(void *block);
    int (*put)(void *to, const void *from, size_t bytes,
               struct cuda_failure *f); /* `from` is free on return */
    int (*get)(void *to, const void *from, size_t bytes, struct cuda_failure *f); /* waits */
    int (*wait)(struct cuda_failure *f);
    int (*launch)(const struct cuda_launch *l, struct cuda_failure *f);
    /* By cuBLASLt: 1 when it has no such product. offers: 1 when it has, as far as it says beforehand; not
     * while recording, but for what was asked before. */
    int (*offers)(const struct cuda_product *p);
    int (*product)(const struct cuda_product *p, struct cuda_failure *f);
    /* By cuDNN. prepare: 0 and the workspace that the operation needs, or 1 when cuDNN has no such one; it
     * may take a second, and no recording may be going on. operate: 1 when it was not prepared. */
    int (*prepare)(const struct cuda_operation *o, size_t *workspace);
    int (*operate)(const struct cuda_operation *o, struct cuda_failure *f);
    /* Launches, products and operations between record and recorded become a graph. */
    int (*record)(struct cuda_failure *f);
    int (*recorded)(void **graph, struct cuda_failure *f); /* ends the recording in any case */
    int (*replay)(void *graph, struct cuda_failure *f);
    void (*drop)(void *graph);
    /* Event `index` < CUDA_EVENTS happens here; milliseconds between two that have happened. */
    int (*mark)(int index, struct cuda_failure *f);
    int (*elapsed)(int from, int to, float *milliseconds, struct cuda_failure *f);
    /* By CUPTI: the kernels between trace (1 when it does not work) and traced, which waits and gives how
     * many there were, in the order in which they began; 0 when there were more than `most` or
     * CUDA_TRACE_MOST, or some were lost. */
    int (*trace)(struct cuda_failure *f);
    int (*traced)(struct cuda_trace *kernels, int most, struct cuda_failure *f);
};

typedef const struct cuda_plugin *hasten_cuda_plugin_fn(void);

#endif
