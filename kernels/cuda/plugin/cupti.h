/* Inside the plugin: the entry points of CUPTI's activity API that it uses, their numbers and the first
 * fields of their records, declared here so that no header of CUDA is needed. They are the same in versions
 * 12 and 13 (cupti_activity.h: CUpti_ActivityKernel9 and 10, CUpti_ActivityAPI). Results are 0 or a
 * CUptiResult. */
#ifndef HASTEN_KERNELS_CUDA_CUPTI_H
#define HASTEN_KERNELS_CUDA_CUPTI_H

#include "kernels/cuda/plugin/plugin.h"

#include <stddef.h>
#include <stdint.h>

typedef void cupti_wants(uint8_t **buffer, size_t *size, size_t *most);
typedef void cupti_has(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

#define CUPTI_FUNCTIONS(X)                                                       \
    X(cuptiActivityRegisterCallbacks, (cupti_wants * wants, cupti_has * has))    \
    X(cuptiActivityEnable, (int kind))                                           \
    X(cuptiActivityDisable, (int kind))                                          \
    X(cuptiActivityFlushAll, (uint32_t all))                                     \
    X(cuptiActivityGetNextRecord, (uint8_t * buffer, size_t valid, void **next)) \
    X(cuptiActivityGetNumDroppedRecords, (void *context, uint32_t stream, size_t *dropped))

enum cupti_kind { CUPTI_DRIVER = 4, CUPTI_RUNTIME = 5, CUPTI_KERNEL = 10 };
enum { CUPTI_ALIGNED = 8 };

/* Nanoseconds of one clock. */
struct cupti_call {
    int32_t kind, function;
    uint64_t start, end;
    uint32_t process, thread, correlation, result;
};

struct cupti_kernel {
    int32_t kind;
    uint8_t caches[2];
    uint16_t registers;
    int32_t partitions[2];
    uint64_t start, end, completed;
    uint32_t device, context, stream;
    int32_t grid[3], block[3], shared[2];
    uint32_t local[2], correlation;
    int64_t grid_id;
    const char *name;
};

/* Opens the library; 0 when there is none that works. `why` then gets a reason. */
int cupti_open(char *why, size_t size);
void cupti_close(void);

/* Kernels are noted from here on. 0, or 1 when it does not work. */
int cupti_start(void);
/* When the device is done: those of them, in the order in which they began; how many, 0 when
 * some were lost. */
int cupti_stop(struct cuda_trace *kernels, int most);

#endif
