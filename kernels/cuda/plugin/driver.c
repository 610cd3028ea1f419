/* The plugin: see plugin.h. One device, one stream, state in one static structure. */
#include "kernels/cuda/plugin/blas.h"
#include "kernels/cuda/plugin/cupti.h"
#include "kernels/cuda/plugin/dnn.h"
#include "kernels/cuda/plugin/driver.h"
#include "kernels/cuda/plugin/images.h"
#include "kernels/cuda/plugin/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { KERNELS_MOST = 256 };

#define DECLARE(name, arguments) int(*name) arguments;
static struct {
    CU_FUNCTIONS(DECLARE)
} cu;
#undef DECLARE

static struct {
    void *library, *context, *stream;
    void *module[CUDA_IMAGES_MOST];
    const char *const *name, *libraries;
    void *kernel[KERNELS_MOST];
    void *event[CUDA_EVENTS];
    int users, device, retained, opened, major, minor, recording;
} d;

/* ---- failures ---- */

/* The text of a failed call: what was done, what the driver says, what to do about it. */
static int refuse(struct cuda_failure *f, int result, const char *doing, const char *advice)
{
    const char *name = NULL, *text = NULL;
    if (cu.cuGetErrorName && cu.cuGetErrorName(result, &name) != 0)
        name = NULL;
    if (cu.cuGetErrorString && cu.cuGetErrorString(result, &text) != 0)
        text = NULL;
    f->kind = result == CU_OUT_OF_MEMORY ? 5 : 1;
    snprintf(f->text, sizeof f->text, "CUDA: %s: %s (%s)%s%s", doing, text ? text : "unknown error",
             name ? name : "?", advice ? "; " : "", advice ? advice : "");
    return -1;
}

static int is_no_image(int result)
{
    return result == CU_NO_BINARY_FOR_GPU || result == CU_INVALID_IMAGE || result == CU_INVALID_PTX ||
           result == CU_UNSUPPORTED_PTX_VERSION || result == CU_INVALID_SOURCE ||
           result == CU_FUNCTION_NOT_LOADED;
}

static int check(int result, const char *doing, struct cuda_failure *f)
{
    char advice[160];
    if (result == 0)
        return 0;
    if (is_no_image(result)) {
        snprintf(advice, sizeof advice,
                 "%s kernels for compute capability %d.%d: update the driver, or --backend cpu",
                 hasten_cuda_images[0] ? "this plugin has no" : "built without nvcc, this plugin has no",
                 d.major, d.minor);
        return refuse(f, result, doing, advice);
    }
    if (result == CU_OUT_OF_MEMORY)
        return refuse(f, result, doing, "take a smaller --batch, or --backend cpu");
    if (result == CU_NO_DEVICE)
        return refuse(f, result, doing, "see nvidia-smi and CUDA_VISIBLE_DEVICES");
    if (!d.opened)
        return refuse(f, result, doing, "see nvidia-smi, or use --backend cpu");
    /* Errors of kernels and of the device stay until the process ends. */
    return refuse(f, result, doing, "the device is lost for this run; run it again, or with --backend cpu");
}

/* ---- opening ---- */

static int find_functions(struct cuda_failure *f)
{
    struct {
        const char *name;
        void *to;
    } all[] = {
#define ENTRY(name, arguments) {#name, &cu.name},
        CU_FUNCTIONS(ENTRY)
#undef ENTRY
    };
    /* It has threads of its own, which may outlive the context. */
    d.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!d.library) {
        const char *why = dlerror();
        f->kind = 1;
        snprintf(f->text, sizeof f->text, "CUDA: no NVIDIA driver: %s",
                 why ? why : "libcuda.so.1 is missing");
        return -1;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(d.library, all[i].name);
        if (!symbol) {
            f->kind = 1;
            snprintf(f->text, sizeof f->text,
                     "CUDA: the driver has no %s, it is older than CUDA 11.4; update the driver",
                     all[i].name);
            return -1;
        }
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    return 0;
}

static int describe(struct cuda_info *info, struct cuda_failure *f)
{
    *info = (struct cuda_info){.name = ""};
    if (check(cu.cuDeviceGetName(info->name, sizeof info->name, d.device), "reading the device's name", f) <
            0 ||
        check(cu.cuDeviceTotalMem_v2(&info->memory, d.device), "reading the device's memory", f) < 0 ||
        check(cu.cuDriverGetVersion(&info->driver), "reading the driver's version", f) < 0)
        return -1;
    const struct {
        int which, *to;
    } wanted[] = {{CU_MULTIPROCESSORS, &info->multiprocessors},
                  {CU_CAPABILITY_MAJOR, &info->major},
                  {CU_CAPABILITY_MINOR, &info->minor}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (check(cu.cuDeviceGetAttribute(wanted[i].to, wanted[i].which, d.device), "reading the device", f) <
            0)
            return -1;
    d.major = info->major;
    d.minor = info->minor;
    if (info->major >= 8)
        return 0;
    f->kind = 1;
    snprintf(f->text, sizeof f->text,
             "CUDA: %.100s has compute capability %d.%d, 8.0 or more is needed; use --backend cpu",
             info->name, info->major, info->minor);
    return -1;
}

/* Everything that a launch may do for the first time is done here, so that nothing is left for a capture. */
static int load_kernel(int i, int most_shared, struct cuda_failure *f)
{
    int result = CU_NOT_FOUND, fixed = 0;
    for (int m = 0; m < CUDA_IMAGES_MOST && d.module[m] && result == CU_NOT_FOUND; m++)
        result = cu.cuModuleGetFunction(&d.kernel[i], d.module[m], d.name[i]);
    if (result == CU_NOT_FOUND)
        return refuse(f, result, d.name[i], "the plugin is of another version, install both anew");
    if (check(result, "loading the kernels", f) < 0 ||
        check(cu.cuFuncGetAttribute(&fixed, CU_SHARED_STATIC, d.kernel[i]), "loading the kernels", f) < 0)
        return -1;
    return check(cu.cuFuncSetAttribute(d.kernel[i], CU_SHARED_DYNAMIC_MOST, most_shared - fixed),
                 "setting the shared memory of a kernel", f);
}

static int load_kernels(struct cuda_failure *f)
{
    int most = 0, none = 1;
    static const unsigned char no_image[1];
    for (int m = 0; m < CUDA_IMAGES_MOST && hasten_cuda_images[m]; m++, none = 0)
        if (check(cu.cuModuleLoadData(&d.module[m], hasten_cuda_images[m]), "loading the kernels", f) < 0)
            return -1;
    if (none && check(cu.cuModuleLoadData(&d.module[0], no_image), "loading the kernels", f) < 0)
        return -1;
    if (check(cu.cuDeviceGetAttribute(&most, CU_SHARED_OPTIN, d.device), "reading the device", f) < 0)
        return -1;
    for (int i = 0; d.name[i]; i++)
        if (i == KERNELS_MOST || load_kernel(i, most, f) < 0)
            return -1;
    return 0;
}

static int cuda_open(const char *const *kernels, const char *libraries, int local, struct cuda_info *info,
                     struct cuda_failure *f)
{
    int devices = 0;
    if (d.users++ > 0) /* another one in this process: the same device and stream */
        return check(cu.cuCtxSetCurrent(d.context), "opening the device", f) < 0 ? -1 : describe(info, f);
    d.name = kernels;
    d.libraries = libraries;
    if (find_functions(f) < 0 || check(cu.cuInit(0), "starting the driver", f) < 0 ||
        check(cu.cuDeviceGetCount(&devices), "counting devices", f) < 0)
        return -1;
    if (devices < 1)
        return check(CU_NO_DEVICE, "counting devices", f);
    if (check(cu.cuDeviceGet(&d.device, local % devices), "opening the device", f) < 0 ||
        describe(info, f) < 0 ||
        check(cu.cuDevicePrimaryCtxRetain(&d.context, d.device), "opening the device", f) < 0)
        return -1;
    d.retained = 1;
    if (check(cu.cuCtxSetCurrent(d.context), "opening the device", f) < 0 ||
        check(cu.cuStreamCreate(&d.stream, CU_STREAM_NON_BLOCKING), "making a stream", f) < 0)
        return -1;
    d.opened = load_kernels(f) == 0;
    return d.opened - 1;
}

static void cuda_close(void)
{
    if (--d.users > 0)
        return;
    blas_close();
    dnn_close();
    cupti_close();
    for (int i = 0; i < CUDA_EVENTS; i++)
        if (d.event[i])
            cu.cuEventDestroy_v2(d.event[i]);
    if (d.stream)
        cu.cuStreamDestroy_v2(d.stream);
    for (int m = 0; m < CUDA_IMAGES_MOST; m++)
        if (d.module[m])
            cu.cuModuleUnload(d.module[m]);
    if (d.retained)
        cu.cuDevicePrimaryCtxRelease_v2(d.device);
    if (d.library)
        dlclose(d.library);
    memset(&d, 0, sizeof d);
    memset(&cu, 0, sizeof cu);
}

static int is_wanted(const char *library) { return !d.libraries || strstr(d.libraries, library); }

/* The device, not the library. */
static int has_fp8(void) { return d.major * 10 + d.minor >= 89; }

static unsigned cuda_features(unsigned wanted, char *note, size_t size)
{
    char why[64] = "absent";
    unsigned found = 0;
    if (wanted & (CUDA_HAS_CUBLASLT | CUDA_HAS_FP8)) {
        if (!is_wanted("cublaslt"))
            snprintf(why, sizeof why, "not wanted");
        else if (wanted == CUDA_HAS_FP8 && !has_fp8())
            snprintf(why, sizeof why, "not on this device");
        else if (blas_open(why, sizeof why))
            found |= wanted & (has_fp8() ? CUDA_HAS_CUBLASLT | CUDA_HAS_FP8 : CUDA_HAS_CUBLASLT);
    }
    if (wanted & CUDA_HAS_CUDNN) {
        if (!is_wanted("cudnn"))
            snprintf(why, sizeof why, "not wanted");
        else if (dnn_open(d.stream, why, sizeof why))
            found |= CUDA_HAS_CUDNN;
    }
    if (wanted & CUDA_HAS_CUPTI) {
        if (!is_wanted("cupti"))
            snprintf(why, sizeof why, "not wanted");
        else if (cupti_open(why, sizeof why))
            found |= CUDA_HAS_CUPTI;
    }
    if (note)
        snprintf(note, size, "%s", found == wanted ? "" : why);
    return found;
}

/* ---- memory ---- */

static unsigned long long address_of(const void *p) { return (unsigned long long)(uintptr_t)p; }

static void cuda_release(void *block)
{
    if (block)
        cu.cuMemFree_v2(address_of(block));
}

static int cuda_allocate(void **block, size_t bytes, struct cuda_failure *f)
{
    unsigned long long address = 0;
    char doing[120];
    size_t unused = 0, total = 0;
    *block = NULL;
    int result = cu.cuMemAlloc_v2(&address, bytes ? bytes : 1);
    if (result == CU_OUT_OF_MEMORY && cu.cuMemGetInfo_v2(&unused, &total) == 0) {
        snprintf(doing, sizeof doing, "%.1f MiB more, with %.1f of %.1f MiB free", (double)bytes / 1048576,
                 (double)unused / 1048576, (double)total / 1048576);
        return check(result, doing, f);
    }
    if (check(result, "taking memory", f) < 0)
        return -1;
    *block = (void *)(uintptr_t)address;
    if (check(cu.cuMemsetD8Async(address, 0, bytes ? bytes : 1, d.stream), "clearing memory", f) == 0)
        return 0;
    cuda_release(*block);
    *block = NULL;
    return -1;
}

static int cuda_put(void *to, const void *from, size_t bytes, struct cuda_failure *f)
{
    return bytes ? check(cu.cuMemcpyHtoDAsync_v2(address_of(to), from, bytes, d.stream),
                         "copying to the device", f)
                 : 0;
}

static int cuda_wait(struct cuda_failure *f)
{
    return check(cu.cuStreamSynchronize(d.stream), "waiting for the device", f);
}

static int cuda_get(void *to, const void *from, size_t bytes, struct cuda_failure *f)
{
    if (bytes && check(cu.cuMemcpyDtoHAsync_v2(to, address_of(from), bytes, d.stream),
                       "copying from the device", f) < 0)
        return -1;
    return cuda_wait(f);
}

/* ---- launches, graphs, events ---- */

static int cuda_launch(const struct cuda_launch *l, struct cuda_failure *f)
{
    int i = 0;
    void *parameter[] = {(void *)l->args};
    while (d.name[i] && d.name[i] != l->kernel && strcmp(d.name[i], l->kernel) != 0)
        i++;
    if (!d.name[i])
        return refuse(f, CU_NOT_FOUND, l->kernel, "the plugin is of another version, install both anew");
    return check(cu.cuLaunchKernel(d.kernel[i], l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                                   l->block[2], l->shared, d.stream, parameter, NULL),
                 l->kernel, f);
}

/* A library's first use of a kernel loads it, which a capture allows in this mode alone. */
static int relax(int on)
{
    static int before;
    int mode = on ? CU_CAPTURE_RELAXED : before;
    int result = d.recording ? cu.cuThreadExchangeStreamCaptureMode(&mode) : 0;
    before = on ? mode : before;
    return result;
}

static int cuda_product(const struct cuda_product *p, struct cuda_failure *f)
{
    return blas_product(p, d.stream, relax, f);
}

static int cuda_operate(const struct cuda_operation *o, struct cuda_failure *f)
{
    return dnn_operate(o, relax, f);
}

static int cuda_record(struct cuda_failure *f)
{
    int status = check(cu.cuStreamBeginCapture_v2(d.stream, CU_CAPTURE_THREAD_LOCAL), "starting a graph", f);
    d.recording = status == 0;
    return status;
}

static int cuda_recorded(void **graph, struct cuda_failure *f)
{
    void *captured = NULL;
    *graph = NULL;
    d.recording = 0;
    int status = check(cu.cuStreamEndCapture(d.stream, &captured), "ending a graph", f);
    if (status == 0)
        status = check(cu.cuGraphInstantiateWithFlags(graph, captured, 0), "making a graph", f);
    if (captured)
        cu.cuGraphDestroy(captured);
    return status;
}

static int cuda_replay(void *graph, struct cuda_failure *f)
{
    return check(cu.cuGraphLaunch(graph, d.stream), "starting a graph", f);
}

static void cuda_drop(void *graph)
{
    if (graph)
        cu.cuGraphExecDestroy(graph);
}

static int cuda_mark(int index, struct cuda_failure *f)
{
    if (!d.event[index] && check(cu.cuEventCreate(&d.event[index], 0), "making an event", f) < 0)
        return -1;
    return check(cu.cuEventRecord(d.event[index], d.stream), "recording an event", f);
}

static int cuda_elapsed(int from, int to, float *milliseconds, struct cuda_failure *f)
{
    return check(cu.cuEventElapsedTime(milliseconds, d.event[from], d.event[to]), "reading an event", f);
}

static int cuda_trace(struct cuda_failure *f) { return cuda_wait(f) < 0 ? -1 : cupti_start(); }

static int cuda_traced(struct cuda_trace *kernels, int most, struct cuda_failure *f)
{
    int status = cuda_wait(f), count = cupti_stop(kernels, most); /* which ends it in any case */
    return status < 0 ? -1 : count;
}

static const struct cuda_plugin plugin = {
    .abi = HASTEN_CUDA_PLUGIN_ABI,
    .size = sizeof plugin,
    .open = cuda_open,
    .close = cuda_close,
    .features = cuda_features,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .put = cuda_put,
    .get = cuda_get,
    .wait = cuda_wait,
    .launch = cuda_launch,
    .offers = blas_offers,
    .product = cuda_product,
    .prepare = dnn_prepare,
    .operate = cuda_operate,
    .record = cuda_record,
    .recorded = cuda_recorded,
    .replay = cuda_replay,
    .drop = cuda_drop,
    .mark = cuda_mark,
    .elapsed = cuda_elapsed,
    .trace = cuda_trace,
    .traced = cuda_traced,
};

__attribute__((visibility("default"))) hasten_cuda_plugin_fn hasten_cuda_plugin;
const struct cuda_plugin *hasten_cuda_plugin(void) { return &plugin; }
