/* See mem.h. Each block carries its size in a head of 64 bytes (16 in a small one), so counters are exact. */
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    HEAD = 64,
    SMALL_HEAD = 16,
    /* From here on the C library takes pages from the kernel, which are zero already: calloc then touches
     * none of them, so that large buffers are touched first, and in parallel, by whoever fills them. */
    HUGE_BLOCK = 1 << 20,
    HUGE_PAGE = 2 << 20,
};

struct head {
    size_t bytes;
    void *raw; /* what free wants */
};

static atomic_size_t live_bytes, peak_bytes, live_blocks, limit_bytes;

static int charge(size_t bytes, struct error *e)
{
    size_t now = atomic_fetch_add(&live_bytes, bytes) + bytes, limit = atomic_load(&limit_bytes);
    if (limit && now > limit) {
        atomic_fetch_sub(&live_bytes, bytes);
        return error_set(e, HASTEN_ENOMEM, "%zu bytes more would pass the memory limit of %zu bytes", bytes,
                         limit);
    }
    size_t peak = atomic_load(&peak_bytes);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now))
        ;
    return 0;
}

/* Weights and arenas are touched from end to end: with pages of 2 MiB the kernel's share of loading a model
 * is a fraction of that with 4 KiB. Where the system has none, nothing happens. */
static void ask_for_huge_pages(char *raw, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    size_t skip = -(uintptr_t)raw & (HUGE_PAGE - 1);
    if (bytes >= skip + HUGE_PAGE)
        (void)madvise(raw + skip, (bytes - skip) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#else
    (void)raw, (void)bytes;
#endif
}

static void *allocate(size_t count, size_t size, int zeroed, struct error *e)
{
    size_t bytes, whole;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, 3 * HEAD - 1, &whole)) {
        error_set(e, HASTEN_ENOMEM, "%zu x %zu bytes do not fit into the address space", count, size);
        return NULL;
    }
    whole = (whole - HEAD) / HEAD * HEAD; /* head and data; a huge block gets HEAD more to align in */
    if (charge(bytes, e) < 0)
        return NULL;
    int huge = bytes >= HUGE_BLOCK;
    char *raw = fault_hit("alloc") ? NULL
                : !huge            ? aligned_alloc(HEAD, whole)
                : zeroed           ? calloc(1, whole + HEAD)
                                   : malloc(whole + HEAD);
    if (!raw) {
        atomic_fetch_sub(&live_bytes, bytes);
        error_set(e, HASTEN_ENOMEM, "out of memory: %zu bytes wanted, %zu in use", bytes, mem_live());
        return NULL;
    }
    char *block = raw + (-(uintptr_t)raw & (HEAD - 1));
    if (huge)
        ask_for_huge_pages(raw, whole + HEAD);
    else if (zeroed)
        memset(block, 0, whole);
    *(struct head *)(void *)block = (struct head){.bytes = bytes, .raw = raw};
    atomic_fetch_add(&live_blocks, 1);
    return block + HEAD;
}

void *mem_array(size_t count, size_t size, struct error *e) { return allocate(count, size, 1, e); }
void *mem_room(size_t count, size_t size, struct error *e) { return allocate(count, size, 0, e); }

static struct head *head_of(void *block) { return (struct head *)(void *)((char *)block - HEAD); }
size_t mem_size(void *block) { return head_of(block)->bytes; }

void *mem_small(size_t bytes)
{
    if (bytes > HUGE_BLOCK * 1024ull || charge(bytes, NULL) < 0)
        return NULL;
    char *block = fault_hit("alloc") ? NULL : malloc(bytes + SMALL_HEAD);
    if (!block) {
        atomic_fetch_sub(&live_bytes, bytes);
        return NULL;
    }
    memcpy(block, &bytes, sizeof bytes);
    atomic_fetch_add(&live_blocks, 1);
    return block + SMALL_HEAD;
}

void mem_small_free(void *block)
{
    if (!block)
        return;
    char *raw = (char *)block - SMALL_HEAD;
    size_t bytes;
    memcpy(&bytes, raw, sizeof bytes);
    atomic_fetch_sub(&live_bytes, bytes);
    atomic_fetch_sub(&live_blocks, 1);
    free(raw);
}

void *mem_resize(void *block, size_t count, size_t size, struct error *e)
{
    void *fresh = mem_array(count, size, e);
    if (!fresh || !block)
        return fresh;
    size_t old = mem_size(block);
    memcpy(fresh, block, old < count * size ? old : count * size);
    mem_free(block);
    return fresh;
}

void mem_free(void *block)
{
    if (!block)
        return;
    atomic_fetch_sub(&live_bytes, mem_size(block));
    atomic_fetch_sub(&live_blocks, 1);
    free(head_of(block)->raw);
}

char *mem_strdup(const char *s, struct error *e)
{
    size_t n = strlen(s) + 1;
    char *copy = mem_array(n, 1, e);
    return copy ? memcpy(copy, s, n) : NULL;
}

HASTEN_PRINTF(4, 0)
static char *format_with(void *(*alloc)(void *, size_t, struct error *), void *where, struct error *e,
                         const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *s = n < 0 ? NULL : alloc(where, (size_t)n + 1, e);
    if (s)
        vsnprintf(s, (size_t)n + 1, format, args);
    return s;
}

static void *from_heap(void *unused, size_t n, struct error *e)
{
    (void)unused;
    return mem_array(n, 1, e);
}

char *mem_printf(struct error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = format_with(from_heap, NULL, e, format, args);
    va_end(args);
    return s;
}

size_t mem_live(void) { return atomic_load(&live_bytes); }
size_t mem_peak(void) { return atomic_load(&peak_bytes); }
size_t mem_live_blocks(void) { return atomic_load(&live_blocks); }
void mem_limit(size_t bytes) { atomic_store(&limit_bytes, bytes); }

/* ---- arena ---- */

struct arena_block {
    struct arena_block *before;
    size_t used, size;
    char data[];
};

void *arena_alloc(struct arena *a, size_t count, size_t size, struct error *e)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        error_set(e, HASTEN_ENOMEM, "%zu x %zu bytes do not fit into the address space", count, size);
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->last;
    if (!b || b->size - b->used < bytes) {
        size_t room = bytes > 8192 ? bytes : 8192;
        struct arena_block *fresh = mem_array(1, sizeof *fresh + room + 16, e);
        if (!fresh)
            return NULL;
        fresh->before = b;
        fresh->size = room;
        fresh->used = 0;
        a->last = b = fresh;
        a->total += room;
    }
    /* data[] starts 8 bytes off a multiple of 16. */
    char *p = b->data + b->used;
    p += -(uintptr_t)p & 15;
    b->used += bytes;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n, struct error *e)
{
    char *copy = arena_alloc(a, n + 1, 1, e);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s, struct error *e)
{
    return arena_strndup(a, s, strlen(s), e);
}

static void *from_arena(void *arena, size_t n, struct error *e) { return arena_alloc(arena, n, 1, e); }

char *arena_printf(struct arena *a, struct error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *s = format_with(from_arena, a, e, format, args);
    va_end(args);
    return s;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->last; b;) {
        struct arena_block *before = b->before;
        mem_free(b);
        b = before;
    }
    *a = (struct arena){0};
}

/* ---- fault points ---- */

static const struct {
    const char *name;
    int value;
} fault_errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},     {"EDQUOT", EDQUOT}, {"EROFS", EROFS},
                    {"EFBIG", EFBIG},   {"EINTR", EINTR}, {"EACCES", EACCES}, {"EAGAIN", EAGAIN}};

static struct fault {
    char kind[12];
    long at;
    int sticky, error;
    atomic_long calls;
} faults[8];
static int fault_count;
static atomic_int fault_chosen; /* fault_set was called: the environment no longer counts */
static pthread_once_t fault_once = PTHREAD_ONCE_INIT;

static void fault_parse(const char *setting)
{
    fault_count = 0;
    while (setting && *setting && fault_count < 8) {
        struct fault *f = &faults[fault_count];
        *f = (struct fault){.error = EIO};
        char plus = 0, name[12] = "";
        int used = 0;
        if (sscanf(setting, "%11[a-z]:%ld%n", f->kind, &f->at, &used) == 2 && f->at > 0) {
            setting += used;
            if (*setting == '+')
                plus = *setting++;
            if (sscanf(setting, ":%11[A-Z]%n", name, &used) == 1)
                setting += used;
            for (size_t i = 0; i < sizeof fault_errors / sizeof *fault_errors; i++)
                if (!strcmp(name, fault_errors[i].name))
                    f->error = fault_errors[i].value;
            f->sticky = plus == '+';
            fault_count++;
        }
        setting = strchr(setting, ',');
        setting = setting ? setting + 1 : NULL;
    }
}

void fault_set(const char *setting)
{
    atomic_store(&fault_chosen, 1);
    fault_parse(setting);
}

static void fault_from_environment(void)
{
    if (!atomic_load(&fault_chosen))
        fault_parse(getenv("HASTEN_FAULT"));
}

int fault_hit(const char *kind)
{
    pthread_once(&fault_once, fault_from_environment);
    for (int i = 0; i < fault_count; i++) {
        struct fault *f = &faults[i];
        if (strcmp(f->kind, kind))
            continue;
        long call = atomic_fetch_add(&f->calls, 1) + 1;
        if (call == f->at || (f->sticky && call > f->at)) {
            errno = f->error;
            return 1;
        }
    }
    return 0;
}
