/* See device.h. The few functions of the driver that this takes are declared here, so that no CUDA header is
 * needed. */
#include "kernels/cuda/tests/emulator/device.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGEABLE_ACCESS = 88, MOST_SHARED = 8, MOST_MODULES = 32, MOST_FATBIN = 16 << 20 };

#define DRIVER(X)                                                                                            \
    X(cuInit, (unsigned))                                                                                    \
    X(cuDeviceGet, (int *, int))                                                                             \
    X(cuDeviceGetAttribute, (int *, int, int))                                                               \
    X(cuDevicePrimaryCtxRetain, (void **, int))                                                              \
    X(cuCtxSetCurrent, (void *))                                                                             \
    X(cuModuleLoadData, (void **, const void *))                                                             \
    X(cuModuleGetFunction, (void **, void *, const char *))                                                  \
    X(cuFuncSetAttribute, (void *, int, int))                                                                \
    X(cuLaunchKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, \
                       void **, void **))                                                                    \
    X(cuStreamSynchronize, (void *))

static struct {
#define FIELD(name, parameters) int(*name) parameters;
    DRIVER(FIELD)
#undef FIELD
    void *module[MOST_MODULES];
    int modules;
} cu;

int device_wanted(void) { return getenv("HASTEN_CUDA_DEVICE") != NULL; }

static const char *find_driver(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library)
        return "there is no libcuda.so.1";
#define FIND(name, parameters)                    \
    {                                             \
        void *symbol = dlsym(library, #name);     \
        if (!symbol)                              \
            return "the driver lacks " #name;     \
        memcpy(&cu.name, &symbol, sizeof symbol); \
    }
    DRIVER(FIND)
#undef FIND
    return NULL;
}

static const char *load_module(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *data = malloc(MOST_FATBIN);
    size_t size = f && data ? fread(data, 1, MOST_FATBIN, f) : 0;
    int status = size > 0 && size < MOST_FATBIN ? cu.cuModuleLoadData(&cu.module[cu.modules], data) : -1;
    if (f)
        fclose(f);
    free(data);
    if (status)
        return "a fatbin cannot be loaded";
    cu.modules++;
    return NULL;
}

static const char *open_device(void)
{
    int device = 0, pageable = 0;
    void *context = NULL;
    glob_t files;
    const char *why = find_driver();
    if (why)
        return why;
    if (cu.cuInit(0) || cu.cuDeviceGet(&device, (int)strtol(getenv("HASTEN_CUDA_DEVICE"), NULL, 10)) ||
        cu.cuDevicePrimaryCtxRetain(&context, device) || cu.cuCtxSetCurrent(context))
        return "there is no such device";
    if (cu.cuDeviceGetAttribute(&pageable, PAGEABLE_ACCESS, device) || !pageable)
        return "this driver does not let the device read the host's memory";
    if (glob("build/cuda/*.fatbin", 0, NULL, &files))
        return "there are no fatbins in build/cuda";
    for (size_t i = 0; !why && i < files.gl_pathc && cu.modules < MOST_MODULES; i++)
        why = load_module(files.gl_pathv[i]);
    globfree(&files);
    return why;
}

const char *device_launch(const struct cuda_launch *l)
{
    const char *why = cu.modules ? NULL : open_device();
    void *function = NULL, *parameters[] = {(void *)(uintptr_t)l->args};
    if (why)
        return why;
    for (int i = 0; i < cu.modules && !function; i++)
        if (cu.cuModuleGetFunction(&function, cu.module[i], l->kernel))
            function = NULL;
    if (!function)
        return "no fatbin has this kernel";
    if (cu.cuFuncSetAttribute(function, MOST_SHARED, (int)l->shared))
        return "it does not get its shared memory";
    if (cu.cuLaunchKernel(function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2],
                          l->shared, NULL, parameters, NULL))
        return "it cannot be launched";
    return cu.cuStreamSynchronize(NULL) ? "it has failed" : NULL;
}
