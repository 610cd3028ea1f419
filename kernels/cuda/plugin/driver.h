/* Inside the plugin: the entry points of the driver that it uses, declared here so that no CUDA header is
 * needed. Names with a version are those that cuda.h maps the plain ones to since CUDA 11.4; the driver keeps
 * them for ever. Handles are pointers, a device address is a 64-bit number, results are 0 or a CUDA_ERROR. */
#ifndef HASTEN_KERNELS_CUDA_DRIVER_H
#define HASTEN_KERNELS_CUDA_DRIVER_H

#include <stddef.h>

#define CU_FUNCTIONS(X)                                                                                 \
    X(cuInit, (unsigned flags))                                                                         \
    X(cuDriverGetVersion, (int *version))                                                               \
    X(cuGetErrorName, (int result, const char **text))                                                  \
    X(cuGetErrorString, (int result, const char **text))                                                \
    X(cuDeviceGetCount, (int *count))                                                                   \
    X(cuDeviceGet, (int *device, int index))                                                            \
    X(cuDeviceGetName, (char *name, int size, int device))                                              \
    X(cuDeviceTotalMem_v2, (size_t * bytes, int device))                                                \
    X(cuDeviceGetAttribute, (int *value, int attribute, int device))                                    \
    X(cuDevicePrimaryCtxRetain, (void **context, int device))                                           \
    X(cuDevicePrimaryCtxRelease_v2, (int device))                                                       \
    X(cuCtxSetCurrent, (void *context))                                                                 \
    X(cuModuleLoadData, (void **module, const void *image))                                             \
    X(cuModuleUnload, (void *module))                                                                   \
    X(cuModuleGetFunction, (void **function, void *module, const char *name))                           \
    X(cuFuncGetAttribute, (int *value, int attribute, void *function))                                  \
    X(cuFuncSetAttribute, (void *function, int attribute, int value))                                   \
    X(cuMemGetInfo_v2, (size_t * unused, size_t * total))                                               \
    X(cuMemAlloc_v2, (unsigned long long *address, size_t bytes))                                       \
    X(cuMemFree_v2, (unsigned long long address))                                                       \
    X(cuMemsetD8Async, (unsigned long long address, unsigned char value, size_t bytes, void *stream))   \
    X(cuMemcpyHtoDAsync_v2, (unsigned long long to, const void *from, size_t bytes, void *stream))      \
    X(cuMemcpyDtoHAsync_v2, (void *to, unsigned long long from, size_t bytes, void *stream))            \
    X(cuStreamCreate, (void **stream, unsigned flags))                                                  \
    X(cuStreamDestroy_v2, (void *stream))                                                               \
    X(cuStreamSynchronize, (void *stream))                                                              \
    X(cuStreamBeginCapture_v2, (void *stream, int mode))                                                \
    X(cuStreamEndCapture, (void *stream, void **graph))                                                 \
    X(cuThreadExchangeStreamCaptureMode, (int *mode))                                                   \
    X(cuGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags))                \
    X(cuGraphDestroy, (void *graph))                                                                    \
    X(cuGraphExecDestroy, (void *exec))                                                                 \
    X(cuGraphLaunch, (void *exec, void *stream))                                                        \
    X(cuEventCreate, (void **event, unsigned flags))                                                    \
    X(cuEventDestroy_v2, (void *event))                                                                 \
    X(cuEventRecord, (void *event, void *stream))                                                       \
    X(cuEventElapsedTime, (float *milliseconds, void *from, void *to))                                  \
    X(cuLaunchKernel, (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, \
                       unsigned bz, unsigned shared, void *stream, void **parameters, void **extra))

enum cu_result {
    CU_OUT_OF_MEMORY = 2,
    CU_NO_DEVICE = 100,
    CU_INVALID_IMAGE = 200,
    CU_NO_BINARY_FOR_GPU = 209,
    CU_INVALID_PTX = 218,
    CU_UNSUPPORTED_PTX_VERSION = 222,
    CU_INVALID_SOURCE = 300,
    CU_NOT_FOUND = 500,
    CU_FUNCTION_NOT_LOADED = 913,
};

enum cu_device_attribute {
    CU_MULTIPROCESSORS = 16,
    CU_CAPABILITY_MAJOR = 75,
    CU_CAPABILITY_MINOR = 76,
    CU_SHARED_OPTIN = 97,
};

enum cu_function_attribute { CU_SHARED_STATIC = 1, CU_SHARED_DYNAMIC_MOST = 8 };

enum { CU_STREAM_NON_BLOCKING = 1, CU_CAPTURE_THREAD_LOCAL = 1, CU_CAPTURE_RELAXED = 2 };

#endif
