/* The list of names.h for the host side. */
#include "kernels/cuda/launch.h"
#include "kernels/cuda/names.h"

#include <stddef.h>

const char *const *cuda_kernel_names(void)
{
#define NAME(name) #name,
    static const char *const names[] = {CUDA_KERNELS(NAME) NULL};
#undef NAME
    return names;
}
