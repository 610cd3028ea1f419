/* The recording driver: a libcuda.so.1 without a device, for tests of the host side. bin/tests/cuda holds it;
 * with that folder in LD_LIBRARY_PATH the plugin opens it as it opens the real one.
 *
 * Device memory is host memory of its own, with a guard on both sides. Work is queued and done at the next
 * wait, kernels by the emulator (emulate.h), so whoever reads too early or lets go of memory too early is
 * found. Beyond the driver's own rules these laws are held; breaking one ends the process with status 99:
 *
 *   - during a capture nothing is allocated, freed, copied, waited for, timed or loaded
 *   - a launch stays within what its kernel was prepared for
 *   - copies stay inside one block; a block is freed once; nothing is left when the process ends
 *
 * HASTEN_DRIVER, words apart by commas: fail=K:CODE   call number K gives this CUDA_ERROR; lost: and so do
 * all later ones; memory=BYTES of the device; graph=N: larger graphs do
 * not fit into it; capability=NN: 90 for 9.0, which it has else; devices=N; none: no
 * device;
 * log=FILE gets one line at the end; seed=S of the emulator. */
#include "kernels/cuda/tests/driver/driver.h"
#include "kernels/cuda/emulate.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static struct block *find_block(const void *p, size_t bytes, const char *what)
{
    const unsigned char *at = p;
    for (int i = 0; i < d.blocks; i++)
        if (d.block[i].data && at >= d.block[i].data && at + bytes <= d.block[i].data + d.block[i].size)
            return &d.block[i];
    broken("%s: %zu bytes at %p are not inside a block", what, bytes, p);
}

static void check_guards(const struct block *b)
{
    for (int i = 0; i < GUARD; i++)
        if (b->data[-1 - i] != GUARD_BYTE || b->data[b->size + (size_t)i] != GUARD_BYTE)
            broken("something was written outside a block of %zu bytes", b->size);
}

int cuMemGetInfo_v2(size_t *unused, size_t *total)
{
    ENTER();
    *unused = d.memory - d.used;
    *total = d.memory;
    return 0;
}

int cuMemAlloc_v2(unsigned long long *address, size_t bytes)
{
    ENTER();
    no_capture("cuMemAlloc");
    if (bytes == 0)
        return INVALID_VALUE;
    if (bytes > d.memory - d.used)
        return CU_OUT_OF_MEMORY;
    int i = 0;
    while (i < d.blocks && d.block[i].data)
        i++;
    if (i == BLOCKS)
        broken("too many blocks");
    unsigned char *raw = need(aligned_alloc(GUARD, (bytes + 3 * GUARD - 1) / GUARD * GUARD));
    memset(raw, GUARD_BYTE, (bytes + 3 * GUARD - 1) / GUARD * GUARD);
    memset(raw + GUARD, FRESH_BYTE, bytes);
    d.block[i] = (struct block){raw + GUARD, bytes};
    d.blocks += i == d.blocks;
    d.used += bytes;
    d.peak = d.used > d.peak ? d.used : d.peak;
    d.allocations++;
    d.late_allocations += d.replays > 0;
    *address = (unsigned long long)(uintptr_t)d.block[i].data;
    return 0;
}

int cuMemFree_v2(unsigned long long address)
{
    int failure = enter();
    no_capture("cuMemFree");
    struct block *b = find_block((const void *)(uintptr_t)address, 1, "cuMemFree");
    if (b->data != (unsigned char *)(uintptr_t)address)
        broken("cuMemFree inside a block");
    do_all(); /* as the real one waits */
    check_guards(b);
    d.used -= b->size;
    free(b->data - GUARD);
    b->data = NULL;
    return failure;
}

/* ---- the queue ---- */

static struct work *add(struct list *l)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->work = need(realloc(l->work, l->capacity * sizeof *l->work));
    }
    struct work *w = &l->work[l->count++];
    memset(w, 0, sizeof *w);
    return w;
}

/* The host takes a moment to launch something. */
static void ask(struct work *w)
{
    w->asked = d.clock;
    w->number = ++d.numbers;
    d.clock += 0.0002;
}

static void launch(const struct work *w)
{
    d.launches++;
    if (emulate(w->kernel->name, w->grid, w->block, w->shared, w->args, d.seed++) < 0)
        broken("no kernel '%s'", w->kernel->name);
}

/* graph: what launched the list, or NULL. */
static void do_list(struct list *l, const struct work *graph)
{
    for (size_t i = 0; i < l->count; i++) {
        struct work *w = &l->work[i];
        const struct work *by = graph ? graph : w;
        double begin = d.clock;
        d.clock += 0.001;
        if (d.watcher && (w->kind == WORK_LAUNCH || w->kind == WORK_CALL))
            d.watcher(w->kind == WORK_CALL ? "library" : w->kernel->name, by->number, by->asked, begin,
                      d.clock);
        switch (w->kind) {
        case WORK_FILL:
            memset(w->to, w->value, w->bytes);
            break;
        case WORK_IN:
            memcpy(w->to, w->staged, w->bytes);
            free(w->staged);
            break;
        case WORK_OUT:
            memcpy(w->to, w->from, w->bytes);
            break;
        case WORK_LAUNCH:
            launch(w);
            break;
        case WORK_CALL:
            d.products++;
            w->call(w->args);
            break;
        case WORK_GRAPH:
            d.replayed += (long)w->graph->list.count;
            do_list(&w->graph->list, w);
            break;
        case WORK_EVENT:
            w->event->done = 1;
            w->event->when = d.clock;
            break;
        }
    }
}

void do_all(void)
{
    do_list(&d.queue, NULL);
    d.queue.count = 0;
    for (int i = 0; i < d.blocks; i++)
        if (d.block[i].data)
            check_guards(&d.block[i]);
}

int cuMemsetD8Async(unsigned long long address, unsigned char value, size_t bytes, void *stream)
{
    (void)stream;
    ENTER();
    no_capture("cuMemset");
    find_block((void *)(uintptr_t)address, bytes, "cuMemset");
    *add(&d.queue) = (struct work){
        .kind = WORK_FILL, .to = (unsigned char *)(uintptr_t)address, .bytes = bytes, .value = value};
    return 0;
}

int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream)
{
    (void)stream;
    ENTER();
    no_capture("a copy");
    find_block((void *)(uintptr_t)to, bytes, "copy to the device");
    unsigned char *staged = need(malloc(bytes));
    memcpy(staged, from, bytes);
    *add(&d.queue) = (struct work){
        .kind = WORK_IN, .to = (unsigned char *)(uintptr_t)to, .staged = staged, .bytes = bytes};
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream)
{
    (void)stream;
    ENTER();
    no_capture("a copy");
    find_block((void *)(uintptr_t)from, bytes, "copy from the device");
    *add(&d.queue) =
        (struct work){.kind = WORK_OUT, .to = to, .from = (unsigned char *)(uintptr_t)from, .bytes = bytes};
    return 0;
}

int cuStreamCreate(void **stream, unsigned flags)
{
    ENTER();
    if (flags != CU_STREAM_NON_BLOCKING)
        return INVALID_VALUE;
    d.live_streams++;
    *stream = &d;
    return 0;
}

int cuStreamDestroy_v2(void *stream)
{
    (void)stream;
    int failure = enter();
    no_capture("cuStreamDestroy");
    do_all();
    d.live_streams--;
    return failure;
}

int cuStreamSynchronize(void *stream)
{
    (void)stream;
    ENTER();
    no_capture("a wait");
    do_all();
    return 0;
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **parameters, void **extra)
{
    (void)stream;
    struct kernel *k = function;
    ENTER();
    if (!gx || !gy || !gz || !bx || !by || !bz || gx > 0x7fffffffu || gy > 65535 || gz > 65535 ||
        (unsigned long long)bx * by * bz > 1024 || extra)
        broken("%s: a grid of %ux%ux%u blocks of %ux%ux%u threads", k->name, gx, gy, gz, bx, by, bz);
    if (shared > k->most_shared)
        broken("%s: %u bytes of shared memory, it was prepared for %u", k->name, shared, k->most_shared);
    struct work *w = add(d.captured ? &d.capture : &d.queue);
    *w = (struct work){
        .kind = WORK_LAUNCH, .kernel = k, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared};
    ask(w);
    memcpy(w->args, parameters[0],
           sizeof w->args); /* the driver knows the real size; args are always this long */
    return 0;
}

/* ---- what the libraries' stand-ins do ---- */

int driver_enter(void) { return enter(); }
int driver_capability(void) { return d.capability; }

void driver_call(void (*call)(const void *args), const void *args, size_t size)
{
    struct work *w = add(d.captured ? &d.capture : &d.queue);
    *w = (struct work){.kind = WORK_CALL, .call = call};
    ask(w);
    if (size > sizeof w->args)
        broken("arguments of %zu bytes", size);
    memcpy(w->args, args, size);
}

void driver_range(const void *p, size_t bytes, const char *what) { find_block(p, bytes, what); }

void driver_first_use(const char *what)
{
    if (d.captured && !d.relaxed)
        broken("%s for the first time in a capture that is not relaxed", what);
}

int cuThreadExchangeStreamCaptureMode(int *mode)
{
    int before = d.relaxed ? CU_CAPTURE_RELAXED : 0;
    d.relaxed &= *mode == CU_CAPTURE_RELAXED; /* nobody can say more than that it is over */
    ENTER();
    d.relaxed = *mode == CU_CAPTURE_RELAXED;
    *mode = before;
    return 0;
}

/* ---- graphs and events ---- */

int cuStreamBeginCapture_v2(void *stream, int mode)
{
    (void)stream;
    ENTER();
    if (d.captured || mode != CU_CAPTURE_THREAD_LOCAL)
        return INVALID_VALUE;
    d.captured = 1;
    return 0;
}

int cuStreamEndCapture(void *stream, void **graph)
{
    (void)stream;
    int failure = enter();
    if (!d.captured)
        broken("the end of a capture that did not begin");
    if (d.relaxed && !failure)
        broken("the end of a capture that is still relaxed");
    d.captured = d.relaxed = 0;
    if (failure) {
        d.capture.count = 0;
        return failure;
    }
    struct graph *g = need(calloc(1, sizeof *g));
    g->list = d.capture;
    d.capture = (struct list){0};
    d.live_graphs++;
    *graph = g;
    return 0;
}

int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags)
{
    (void)flags;
    ENTER();
    no_capture("cuGraphInstantiate");
    const struct graph *from = graph;
    if (d.graph_most && from->list.count > d.graph_most)
        return CU_OUT_OF_MEMORY;
    struct graph *g = need(calloc(1, sizeof *g));
    size_t bytes = from->list.count * sizeof *g->list.work;
    g->list = (struct list){need(malloc(bytes + 1)), from->list.count, from->list.count};
    if (bytes)
        memcpy(g->list.work, from->list.work, bytes);
    d.live_graphs++;
    d.graphs++;
    *exec = g;
    return 0;
}

static int destroy(struct graph *g)
{
    int failure = enter();
    no_capture("cuGraphDestroy");
    do_all();
    free(g->list.work);
    free(g);
    d.live_graphs--;
    return failure;
}

int cuGraphDestroy(void *graph) { return destroy(graph); }
int cuGraphExecDestroy(void *exec) { return destroy(exec); }

int cuGraphLaunch(void *exec, void *stream)
{
    (void)stream;
    ENTER();
    no_capture("cuGraphLaunch");
    d.replays++;
    struct work *w = add(&d.queue);
    *w = (struct work){.kind = WORK_GRAPH, .graph = exec};
    ask(w);
    return 0;
}

int cuEventCreate(void **event, unsigned flags)
{
    (void)flags;
    ENTER();
    no_capture("cuEventCreate");
    *event = need(calloc(1, sizeof(struct event)));
    d.live_events++;
    return 0;
}

int cuEventDestroy_v2(void *event)
{
    int failure = enter();
    do_all();
    free(event);
    d.live_events--;
    return failure;
}

int cuEventRecord(void *event, void *stream)
{
    (void)stream;
    struct event *v = event;
    ENTER();
    no_capture("cuEventRecord");
    v->recorded = 1;
    v->done = 0;
    *add(&d.queue) = (struct work){.kind = WORK_EVENT, .event = v};
    return 0;
}

int cuEventElapsedTime(float *milliseconds, void *from, void *to)
{
    const struct event *a = from, *b = to;
    ENTER();
    if (!a || !b || !a->recorded || !b->recorded)
        broken("the time of an event that was never recorded");
    if (!a->done || !b->done)
        broken("the time of an event that nobody has waited for");
    *milliseconds = (float)(b->when - a->when);
    return 0;
}
