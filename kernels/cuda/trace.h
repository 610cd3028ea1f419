/* A kernel that ran on a device, as CUPTI saw it. */
#ifndef HASTEN_KERNELS_CUDA_TRACE_H
#define HASTEN_KERNELS_CUDA_TRACE_H

enum { CUDA_TRACE_MOST = 16384 };

struct cuda_trace {
    char name[64];
    double asked, begin, end; /* milliseconds: the call that launched it, or its graph; the kernel */
};

#endif
