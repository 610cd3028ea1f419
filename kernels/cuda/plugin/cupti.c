/* Kernels and the calls that launched them, by CUPTI: see cupti.h. Its records come in buffers that are lent
 * to it, perhaps from a thread of its own; they are read when it has given them all back. */
#include "kernels/cuda/plugin/cupti.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 8, BUFFER_BYTES = 1 << 20 };

#define DECLARE(name, arguments) int(*name) arguments;
static struct {
    CUPTI_FUNCTIONS(DECLARE)
} cupti;
#undef DECLARE

static struct {
    void *library;
    int tried, usable, lent, kernels;
    size_t valid[BUFFERS];
    uint32_t correlation[CUDA_TRACE_MOST];
    uint64_t begin[CUDA_TRACE_MOST], end[CUDA_TRACE_MOST], asked[CUDA_TRACE_MOST];
    const char *name[CUDA_TRACE_MOST];
} t;
static uint8_t buffer[BUFFERS][BUFFER_BYTES] __attribute__((aligned(CUPTI_ALIGNED)));

static const int kinds[] = {CUPTI_KERNEL, CUPTI_DRIVER, CUPTI_RUNTIME};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- buffers ---- */

static void lend(uint8_t **to, size_t *size, size_t *most)
{
    int i = __atomic_fetch_add(&t.lent, 1, __ATOMIC_RELAXED);
    *most = 0;
    *to = i < BUFFERS ? buffer[i] : NULL;
    *size = i < BUFFERS ? BUFFER_BYTES : 0;
}

static void take_back(void *context, uint32_t stream, uint8_t *at, size_t size, size_t valid)
{
    (void)context, (void)stream, (void)size;
    for (int i = 0; i < BUFFERS; i++)
        if (at == buffer[i])
            __atomic_store_n(&t.valid[i], valid, __ATOMIC_RELEASE);
}

/* ---- opening ---- */

static int find_functions(void)
{
    struct {
        const char *name;
        void *to;
    } all[] = {
#define ENTRY(name, arguments) {#name, &cupti.name},
        CUPTI_FUNCTIONS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(t.library, all[i].name);
        if (!symbol)
            return -1;
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    return 0;
}

/* The library keeps the addresses of lend and take_back: the plugin has to stay in memory. */
static int stay(void)
{
    Dl_info self;
    return dladdr(&kinds, &self) && dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

int cupti_open(char *why, size_t size)
{
    if (t.tried++)
        return t.usable;
    int how = RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE;
    t.library = dlopen("libcupti.so.13", how);
    if (!t.library)
        t.library = dlopen("libcupti.so.12", how);
    if (!t.library)
        snprintf(why, size, "absent");
    else if (find_functions() < 0)
        snprintf(why, size, "too old");
    else if (!stay() || cupti.cuptiActivityRegisterCallbacks(lend, take_back) != 0)
        snprintf(why, size, "not usable");
    else
        t.usable = 1;
    return t.usable;
}

void cupti_close(void)
{
    if (t.library)
        dlclose(t.library);
    memset(&t, 0, sizeof t);
    memset(&cupti, 0, sizeof cupti);
}

/* ---- tracing ---- */

static void disable(int count)
{
    for (int i = 0; i < count; i++)
        cupti.cuptiActivityDisable(kinds[i]);
}

int cupti_start(void)
{
    if (!t.usable)
        return 1;
    t.lent = t.kernels = 0;
    memset(t.valid, 0, sizeof t.valid);
    for (int i = 0; i < KINDS; i++)
        if (cupti.cuptiActivityEnable(kinds[i]) != 0) { /* a profiler is attached already */
            disable(i);
            return 1;
        }
    return 0;
}

static void note_kernel(const struct cupti_kernel *k)
{
    int i = t.kernels++;
    if (i >= CUDA_TRACE_MOST)
        return;
    t.correlation[i] = k->correlation;
    t.begin[i] = k->start;
    t.end[i] = k->end;
    t.asked[i] = UINT64_MAX;
    t.name[i] = k->name;
}

/* A kernel of the runtime's has two calls, one inside the other. */
static void note_call(const struct cupti_call *c)
{
    for (int i = 0; i < t.kernels && i < CUDA_TRACE_MOST; i++)
        if (t.correlation[i] == c->correlation && c->start < t.asked[i])
            t.asked[i] = c->start;
}

/* Kernels first, then the calls. */
static void read_records(int calls)
{
    for (int i = 0; i < BUFFERS; i++) {
        size_t valid = __atomic_load_n(&t.valid[i], __ATOMIC_ACQUIRE);
        void *record = NULL;
        while (valid && cupti.cuptiActivityGetNextRecord(buffer[i], valid, &record) == 0) {
            int32_t kind;
            memcpy(&kind, record, sizeof kind);
            if (kind == CUPTI_KERNEL && !calls)
                note_kernel(record);
            else if (kind != CUPTI_KERNEL && calls)
                note_call(record);
        }
    }
}

static int by_begin(const void *x, const void *y)
{
    const struct cuda_trace *a = x, *b = y;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

static void hand_out(struct cuda_trace *kernels)
{
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < t.kernels; i++) {
        if (t.asked[i] > t.begin[i]) /* nobody saw the call */
            t.asked[i] = t.begin[i];
        first = t.asked[i] < first ? t.asked[i] : first;
    }
    for (int i = 0; i < t.kernels; i++) {
        struct cuda_trace *k = &kernels[i];
        snprintf(k->name, sizeof k->name, "%s", t.name[i] ? t.name[i] : "?");
        k->asked = (double)(t.asked[i] - first) * 1e-6;
        k->begin = (double)(t.begin[i] - first) * 1e-6;
        k->end = (double)(t.end[i] - first) * 1e-6;
    }
    qsort(kernels, (size_t)t.kernels, sizeof *kernels, by_begin);
}

int cupti_stop(struct cuda_trace *kernels, int most)
{
    size_t dropped = 0;
    int status = cupti.cuptiActivityFlushAll(1);
    disable(KINDS);
    if (status == 0)
        status = cupti.cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped);
    read_records(0);
    read_records(1);
    if (status != 0 || dropped > 0 || t.lent > BUFFERS || t.kernels > most || t.kernels > CUDA_TRACE_MOST)
        return 0;
    hand_out(kernels);
    return t.kernels;
}
