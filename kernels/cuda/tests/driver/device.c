/* The recording driver's settings, its end, its device and the kernels. See driver.c. */
#include "kernels/cuda/tests/driver/driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct recording_driver d;

void broken(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("recording driver: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(LAW_BROKEN);
}

void *need(void *p)
{
    if (!p)
        broken("no memory of the host");
    return p;
}

/* ---- settings and the end ---- */

static void read_settings(void)
{
    const char *text = getenv("HASTEN_DRIVER");
    d.set = 1;
    d.memory = (size_t)1 << 32;
    d.capability = 90;
    d.devices = 1;
    snprintf(d.text, sizeof d.text, "%s", text ? text : "");
    for (char *rest = d.text, *word; (word = strsep(&rest, ","));) {
        if (!strncmp(word, "fail=", 5) && sscanf(word + 5, "%ld:%d", &d.fail, &d.code) != 2)
            broken("bad setting '%s'", word);
        d.lost |= !strcmp(word, "lost") ? 1 : 0;
        d.none |= !strcmp(word, "none");
        if (!strncmp(word, "devices=", 8))
            d.devices = (int)strtol(word + 8, NULL, 10);
        if (!strncmp(word, "capability=", 11))
            d.capability = (int)strtol(word + 11, NULL, 10);
        if (!strncmp(word, "memory=", 7))
            d.memory = strtoull(word + 7, NULL, 10);
        if (!strncmp(word, "graph=", 6))
            d.graph_most = strtoull(word + 6, NULL, 10);
        if (!strncmp(word, "seed=", 5))
            d.seed = (unsigned)strtoul(word + 5, NULL, 10);
        if (!strncmp(word, "log=", 4))
            d.log = word + 4;
    }
}

__attribute__((destructor)) static void finish(void)
{
    free(d.queue.work);
    free(d.capture.work);
    FILE *f = d.log ? fopen(d.log, "w") : NULL;
    int live = 0;
    for (int i = 0; i < d.blocks; i++)
        live += d.block[i].data != NULL;
    if (f) {
        fprintf(f,
                "calls %ld launches %ld products %ld graphs %ld replays %ld replayed %ld allocations %ld "
                "late %ld peak "
                "%zu live %d\n",
                d.calls, d.launches, d.products, d.graphs, d.replays, d.replayed, d.allocations,
                d.late_allocations, d.peak,
                live + d.live_streams + d.live_events + d.live_graphs + d.live_modules + d.retained);
        fclose(f);
    }
    if (live || d.live_streams || d.live_events || d.live_graphs || d.live_modules || d.retained)
        broken("left behind: %d blocks, %d streams, %d events, %d graphs, %d modules, %d contexts", live,
               d.live_streams, d.live_events, d.live_graphs, d.live_modules, d.retained);
}

/* Counts a call; gives the error that it is to have. */
int enter(void)
{
    if (!d.set)
        read_settings();
    d.calls++;
    return d.fail && (d.calls == d.fail || (d.lost && d.calls > d.fail)) ? d.code : 0;
}

void no_capture(const char *what)
{
    if (d.captured)
        broken("%s during a capture", what);
}

/* ---- the device and its kernels ---- */

int cuInit(unsigned flags)
{
    (void)flags;
    ENTER();
    return d.none ? CU_NO_DEVICE : 0;
}

int cuDriverGetVersion(int *version)
{
    ENTER();
    *version = 13000;
    return 0;
}

int cuGetErrorName(int result, const char **text)
{
    *text = result == CU_OUT_OF_MEMORY       ? "CUDA_ERROR_OUT_OF_MEMORY"
            : result == CU_NO_DEVICE         ? "CUDA_ERROR_NO_DEVICE"
            : result == CU_NO_BINARY_FOR_GPU ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
            : result == 719                  ? "CUDA_ERROR_LAUNCH_FAILED"
                                             : NULL;
    return *text ? 0 : INVALID_VALUE;
}

int cuGetErrorString(int result, const char **text)
{
    *text = result == CU_OUT_OF_MEMORY       ? "out of memory"
            : result == CU_NO_DEVICE         ? "no CUDA-capable device is detected"
            : result == CU_NO_BINARY_FOR_GPU ? "no kernel image is available for execution on the device"
            : result == 719                  ? "unspecified launch failure"
                                             : NULL;
    return *text ? 0 : INVALID_VALUE;
}

int cuDeviceGetCount(int *count)
{
    ENTER();
    *count = d.none ? 0 : d.devices;
    return 0;
}

int cuDeviceGet(int *device, int index)
{
    ENTER();
    *device = index;
    return index < 0 || index >= d.devices ? INVALID_VALUE : 0;
}

int cuDeviceGetName(char *name, int size, int device)
{
    ENTER();
    snprintf(name, (size_t)size, device ? "recording driver %d" : "recording driver", device);
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    (void)device;
    ENTER();
    *bytes = d.memory;
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    ENTER();
    *value = attribute == CU_MULTIPROCESSORS    ? 132
             : attribute == CU_CAPABILITY_MAJOR ? d.capability / 10
             : attribute == CU_CAPABILITY_MINOR ? d.capability % 10
             : attribute == CU_SHARED_OPTIN     ? 99 * 1024 /* what every device from 8.6 on has */
                                                : -1;
    return *value < 0 ? INVALID_VALUE : 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    (void)device;
    ENTER();
    d.retained++;
    *context = &d;
    return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    (void)device;
    int failure = enter();
    d.retained--;
    return failure;
}

int cuCtxSetCurrent(void *context)
{
    ENTER();
    return context == &d ? 0 : INVALID_VALUE;
}

int cuModuleLoadData(void **module, const void *image)
{
    ENTER();
    no_capture("cuModuleLoadData");
    if (!image)
        return CU_INVALID_IMAGE;
    d.live_modules++;
    *module = &d.kernel;
    return 0;
}

int cuModuleUnload(void *module)
{
    (void)module;
    int failure = enter();
    do_all();
    d.live_modules--;
    return failure;
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
    const char *const *names = cuda_kernel_names();
    (void)module;
    ENTER();
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) {
            d.kernel[i] = (struct kernel){names[i], 48 * 1024};
            *function = &d.kernel[i];
            return 0;
        }
    return CU_NOT_FOUND;
}

int cuFuncGetAttribute(int *value, int attribute, void *function)
{
    (void)function;
    ENTER();
    *value = 0;
    return attribute == CU_SHARED_STATIC ? 0 : INVALID_VALUE;
}

int cuFuncSetAttribute(void *function, int attribute, int value)
{
    struct kernel *k = function;
    ENTER();
    if (attribute != CU_SHARED_DYNAMIC_MOST || value < 0 || value > 99 * 1024)
        return INVALID_VALUE;
    k->most_shared = (unsigned)value;
    return 0;
}
