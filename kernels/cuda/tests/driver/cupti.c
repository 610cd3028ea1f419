/* A libcupti.so.13 on the recording driver, for tests of the host side: its clock as activity records, in
 * buffers that are asked for when they are needed and all given back by a flush. Kinds that are enabled twice
 * or left enabled, buffers that are not aligned, and a flush in a capture end the process with status 99.
 * HASTEN_CUPTI: absent: takes no callbacks; busy: enables nothing; lost: says that records were lost. */
#include "kernels/cuda/plugin/cupti.h"
#include "kernels/cuda/tests/driver/driver.h"

#include <stdlib.h>
#include <string.h>

CUPTI_FUNCTIONS(DECLARE)

enum { KINDS = 16, KERNEL_BYTES = 208, CALL_BYTES = sizeof(struct cupti_call) };

struct seen {
    const char *name;
    unsigned number;
    double asked, begin, end;
};

static cupti_wants *wants;
static cupti_has *has;
static int enabled[KINDS];
static struct seen *seen;
static size_t count, capacity;

static int is_set(const char *word)
{
    const char *set = getenv("HASTEN_CUPTI");
    return set && strstr(set, word);
}

__attribute__((destructor)) static void finish(void)
{
    for (int i = 0; i < KINDS; i++)
        if (enabled[i])
            broken("activity %d of CUPTI left enabled", i);
    free(seen);
}

int cuptiActivityRegisterCallbacks(cupti_wants *wants_, cupti_has *has_)
{
    wants = wants_;
    has = has_;
    return is_set("absent") ? 1 : 0;
}

static void watch(const char *name, unsigned number, double asked, double begin, double end)
{
    if (count == capacity) {
        capacity = capacity ? 2 * capacity : 256;
        seen = need(realloc(seen, capacity * sizeof *seen));
    }
    seen[count++] = (struct seen){name, number, asked, begin, end};
}

int cuptiActivityEnable(int kind)
{
    if (!has || kind < 0 || kind >= KINDS || enabled[kind])
        broken("activity %d of CUPTI is enabled twice", kind);
    if (is_set("busy") && kind == CUPTI_RUNTIME)
        return 1;
    enabled[kind] = 1;
    if (kind == CUPTI_KERNEL)
        d.watcher = watch;
    return 0;
}

int cuptiActivityDisable(int kind)
{
    if (kind < 0 || kind >= KINDS || !enabled[kind])
        broken("activity %d of CUPTI was not enabled", kind);
    enabled[kind] = 0;
    if (kind == CUPTI_KERNEL)
        d.watcher = NULL;
    return 0;
}

/* ---- records ---- */

static struct {
    uint8_t *at;
    size_t size, used;
} buffer;

static void give_back(void)
{
    if (buffer.at)
        has(&d, 0, buffer.at, buffer.size, buffer.used);
    memset(&buffer, 0, sizeof buffer);
}

static void put(const void *record, size_t bytes, size_t size)
{
    size_t most;
    if (!buffer.at || buffer.used + size > buffer.size) {
        give_back();
        wants(&buffer.at, &buffer.size, &most);
        if (!buffer.at)
            return;
        if ((uintptr_t)buffer.at % CUPTI_ALIGNED || buffer.size < size)
            broken("a buffer of %zu bytes at %p", buffer.size, (void *)buffer.at);
    }
    memset(buffer.at + buffer.used, 0, size);
    memcpy(buffer.at + buffer.used, record, bytes);
    buffer.used += size;
}

static uint64_t nanoseconds(double ms) { return 1000000 + (uint64_t)(ms * 1e6); }

/* The last kernel first; calls behind those that they have launched; one of a kind that nobody wants. */
int cuptiActivityFlushAll(uint32_t all)
{
    no_capture("cuptiActivityFlushAll");
    if (all != 1)
        broken("a flush that leaves something");
    for (size_t i = count; i-- > 0;) {
        const struct seen *s = &seen[i];
        struct cupti_kernel k = {.kind = CUPTI_KERNEL,
                                 .start = nanoseconds(s->begin),
                                 .end = nanoseconds(s->end),
                                 .correlation = s->number,
                                 .name = s->name};
        put(&k, sizeof k, KERNEL_BYTES);
        if (i > 0 && seen[i - 1].number == s->number)
            continue;
        struct cupti_call c = {
            .kind = CUPTI_DRIVER, .start = nanoseconds(s->asked), .correlation = s->number};
        put(&c, sizeof c, CALL_BYTES);
        c.correlation = 0;
        put(&c, sizeof c, CALL_BYTES);
    }
    count = 0;
    give_back();
    return 0;
}

int cuptiActivityGetNextRecord(uint8_t *at, size_t valid, void **next)
{
    uint8_t *record = *next;
    int32_t kind = 0;
    if (record)
        memcpy(&kind, record, sizeof kind);
    record = record ? record + (kind == CUPTI_KERNEL ? KERNEL_BYTES : CALL_BYTES) : at;
    *next = record;
    return record < at + valid ? 0 : 12; /* CUPTI_ERROR_MAX_LIMIT_REACHED */
}

int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped)
{
    (void)context, (void)stream;
    *dropped = is_set("lost") ? 3 : 0;
    return 0;
}
