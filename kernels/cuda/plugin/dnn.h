/* Inside the plugin: the entry points of cuDNN 9's backend (cudnn_graph.h) that it uses, and their numbers,
 * declared here so that no header of CUDA is needed. Handles and descriptors are pointers, results 0 or a
 * cudnnStatus_t.
 *
 * dnn_graph.c describes an operation as an operation graph, which needs no device; dnn.c chooses engines and
 * runs plans. */
#ifndef HASTEN_KERNELS_CUDA_DNN_H
#define HASTEN_KERNELS_CUDA_DNN_H

#include "kernels/cuda/operation.h"
#include "kernels/cuda/plugin/plugin.h"

#include <stddef.h>
#include <stdint.h>

#define DNN_FUNCTIONS(X)                                                                                   \
    X(cudnnCreate, (void **handle))                                                                        \
    X(cudnnDestroy, (void *handle))                                                                        \
    X(cudnnSetStream, (void *handle, void *stream))                                                        \
    X(cudnnBackendCreateDescriptor, (int type, void **descriptor))                                         \
    X(cudnnBackendDestroyDescriptor, (void *descriptor))                                                   \
    X(cudnnBackendSetAttribute, (void *descriptor, int name, int type, int64_t count, const void *values)) \
    X(cudnnBackendGetAttribute,                                                                            \
      (void *descriptor, int name, int type, int64_t most, int64_t *count, void *values))                  \
    X(cudnnBackendFinalize, (void *descriptor))                                                            \
    X(cudnnBackendExecute, (void *handle, void *plan, void *pack))

enum dnn_status {
    DNN_NOT_INITIALIZED = 1001,
    DNN_BAD_PARAM = 2000,
    DNN_NOT_SUPPORTED = 3000,
    DNN_NO_HOST_MEMORY = 4003,
    DNN_NO_DEVICE_MEMORY = 4004,
    DNN_EXECUTION_FAILED = 5000,
};

enum dnn_type { DNN_F32 = 0, DNN_BF16 = 9 };
enum dnn_pointwise { DNN_ADD = 0, DNN_SWISH = 106 };
enum { DNN_CROSS_CORRELATION = 1 };
enum dnn_heuristic { DNN_HEURISTIC_FALLBACK = 2, DNN_HEURISTIC_A = 3 };
enum dnn_note { DNN_NOTE_TENSOR_CORE = 0, DNN_NOTE_NONDETERMINISTIC = 4, DNN_NOTE_NAN = 9 };
enum { DNN_KNOB_STREAM_K = 38 };

enum dnn_descriptor {
    DNN_POINTWISE = 0,
    DNN_CONVOLUTION = 1,
    DNN_ENGINE = 2,
    DNN_CONFIG = 3,
    DNN_HEURISTIC = 4,
    DNN_PLAN = 5,
    DNN_KNOB = 7,
    DNN_OP_CONVOLUTION = 10,
    DNN_OP_POINTWISE = 13,
    DNN_GRAPH = 15,
    DNN_PACK = 16,
    DNN_TENSOR = 17,
    DNN_OP_ATTENTION = 41, /* since 9.13.1 */
};

/* Types of attributes, and the attributes of descriptors. */
enum dnn_attribute_type {
    DNN_IS_HANDLE = 0,
    DNN_IS_DATA_TYPE = 1,
    DNN_IS_BOOLEAN = 2,
    DNN_IS_INT64 = 3,
    DNN_IS_FLOAT = 4,
    DNN_IS_POINTER = 6,
    DNN_IS_CONVOLUTION_MODE = 7,
    DNN_IS_HEURISTIC_MODE = 8,
    DNN_IS_KNOB = 9,
    DNN_IS_NOTE = 11,
    DNN_IS_POINTWISE_MODE = 14,
    DNN_IS_DESCRIPTOR = 15,
};

enum dnn_attribute {
    DNN_POINTWISE_MODE = 0,
    DNN_POINTWISE_MATH = 1,
    DNN_CONVOLUTION_MATH = 100,
    DNN_CONVOLUTION_MODE = 101,
    DNN_CONVOLUTION_DILATIONS = 102,
    DNN_CONVOLUTION_STRIDES = 103,
    DNN_CONVOLUTION_POST = 104,
    DNN_CONVOLUTION_PRE = 105,
    DNN_CONVOLUTION_DIMS = 106,
    DNN_HEURISTIC_MODE = 200,
    DNN_HEURISTIC_GRAPH = 201,
    DNN_HEURISTIC_RESULTS = 202,
    DNN_CONFIG_ENGINE = 300,
    DNN_CONFIG_KNOBS = 302,
    DNN_PLAN_HANDLE = 400,
    DNN_PLAN_CONFIG = 401,
    DNN_PLAN_WORKSPACE = 402,
    DNN_KNOB_TYPE = 600,
    DNN_KNOB_VALUE = 601,
    DNN_OP_CONVOLUTION_ALPHA = 700,
    DNN_OP_CONVOLUTION_BETA = 701,
    DNN_OP_CONVOLUTION_HOW = 702,
    DNN_OP_CONVOLUTION_W = 703,
    DNN_OP_CONVOLUTION_X = 704,
    DNN_OP_CONVOLUTION_Y = 705,
    DNN_OP_POINTWISE_HOW = 750,
    DNN_OP_POINTWISE_X = 751,
    DNN_OP_POINTWISE_B = 752,
    DNN_OP_POINTWISE_Y = 753,
    DNN_GRAPH_HANDLE = 800,
    DNN_GRAPH_OPS = 801,
    DNN_TENSOR_ALIGNMENT = 900,
    DNN_TENSOR_TYPE = 901,
    DNN_TENSOR_DIMS = 902,
    DNN_TENSOR_STRIDES = 903,
    DNN_TENSOR_ID = 906,
    DNN_TENSOR_IS_VIRTUAL = 907,
    DNN_TENSOR_IS_VALUE = 908,
    DNN_PACK_IDS = 1000,
    DNN_PACK_POINTERS = 1001,
    DNN_PACK_WORKSPACE = 1003,
    DNN_ENGINE_GRAPH = 1300,
    DNN_ENGINE_INDEX = 1301,
    DNN_ENGINE_NOTES = 1303,
    DNN_OP_ATTENTION_Q = 2800,
    DNN_OP_ATTENTION_K = 2801,
    DNN_OP_ATTENTION_V = 2802,
    DNN_OP_ATTENTION_O = 2803,
    DNN_OP_ATTENTION_SCALE = 2805,
};

/* Ids of tensors: operand + 1, attention's scale (a number of the host), values between operations. */
enum { DNN_VALUE = 99, DNN_FIRST_VIRTUAL = 100 };
enum { DNN_ALIGNED = 16, DNN_MADE = 64 };

/* ---- dnn_graph.c ---- */

#define DNN_DECLARE(name, arguments) int(*name) arguments;
extern struct dnn_functions {
    DNN_FUNCTIONS(DNN_DECLARE)
} dnn;
#undef DNN_DECLARE

/* Descriptors that belong together. The first failure stays in status, and nothing is done behind it. */
struct dnn_made {
    int status, count;
    void *at[DNN_MADE];
};

int dnn_find_functions(void *library); /* -1: not all are there */
void *dnn_new(struct dnn_made *m, int type);
void dnn_set(struct dnn_made *m, void *descriptor, int name, int type, int64_t count, const void *values);
void dnn_set_one(struct dnn_made *m, void *descriptor, int name, void *other); /* a descriptor */
void dnn_finalize(struct dnn_made *m, void *descriptor);
void dnn_drop(struct dnn_made *m); /* all of them */
/* The finalized operation graph. handle may be NULL where there is no device. */
void *dnn_graph(struct dnn_made *m, const struct cuda_shape *s, void *handle);

/* ---- dnn.c ---- */

/* Opens the library for this stream; 0 when there is none that works. `why` then gets a reason. */
int dnn_open(void *stream, char *why, size_t size);
void dnn_close(void);

/* Makes the plan of an operation: 0 and the workspace that it needs, 1 when the library has none. Loads and
 * compiles, so it cannot be done in a capture. */
int dnn_prepare(const struct cuda_operation *o, size_t *workspace);
/* On the stream. 0; 1: there is no such plan, or it needs more workspace; -1 and *f. */
int dnn_operate(const struct cuda_operation *o, int (*relax)(int on), struct cuda_failure *f);

#endif
