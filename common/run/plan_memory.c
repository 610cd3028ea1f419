/* Buffers, patches and the arena of a plan. */
#include "common/run/builder.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* Make room for one more element. */
static int grow(void **array, int count, int *capacity, size_t size, struct error *e)
{
    if (count < *capacity)
        return 0;
    int bigger = *capacity ? 2 * *capacity : 128;
    void *fresh = mem_resize(*array, (size_t)bigger, size, e);
    if (!fresh)
        return -1;
    *array = fresh;
    *capacity = bigger;
    return 0;
}

int add_buffer(struct builder *b, enum space space, size_t size)
{
    struct plan *p = b->p;
    if (grow((void **)&p->buffer, p->buffers, &p->buffer_capacity, sizeof *p->buffer, b->e) < 0)
        return -1;
    p->buffer[p->buffers] = (struct buffer){
        .space = space, .size = (size + ALIGN - 1) / ALIGN * ALIGN, .first = p->calls, .last = p->calls};
    return p->buffers++;
}

struct kernel_call *add_call(struct builder *b, enum kernel_kind kind, int node)
{
    struct plan *p = b->p;
    if (grow((void **)&p->call, p->calls, &p->call_capacity, sizeof *p->call, b->e) < 0)
        return NULL;
    struct kernel_call *c = &p->call[p->calls++];
    memset(c, 0, sizeof *c);
    c->kind = kind;
    c->phases = 1;
    c->node = node;
    c->covers = p->cover_count;
    return c;
}

/* Note that `field` (inside the newest call c) points to offset bytes into the buffer, which thus lives until
 * c. */
int point(struct builder *b, const struct kernel_call *c, const void *field, int buffer, size_t offset)
{
    struct plan *p = b->p;
    int call = (int)(c - p->call);
    if (grow((void **)&p->patch, p->patches, &p->patch_capacity, sizeof *p->patch, b->e) < 0)
        return -1;
    p->patch[p->patches++] =
        (struct patch){call, (unsigned)((const char *)field - (const char *)c), buffer, offset};
    if (p->buffer[buffer].first > call)
        p->buffer[buffer].first = call;
    if (p->buffer[buffer].last < call)
        p->buffer[buffer].last = call;
    return 0;
}

int add_scratch(struct builder *b, struct kernel_call *c, const void *field, size_t *bytes)
{
    struct plan *p = b->p;
    struct kernel_call seen = *c; /* with pointers into memory that begins at ALIGN */
    int call = (int)(c - p->call);
    for (int i = p->patches - 1; i >= 0 && p->patch[i].call == call; i--) {
        uintptr_t at = ALIGN + p->patch[i].offset;
        memcpy((char *)&seen + p->patch[i].field, &at, sizeof at);
    }
    *bytes = p->backend->ops->scratch(p->backend, &seen);
    if (*bytes == 0)
        return 0;
    int buffer = add_buffer(b, SPACE_ARENA, (size_t)backend_parts(p->backend) * *bytes);
    if (buffer < 0)
        return -1;
    p->buffer[buffer].first = p->buffer[buffer].last = call;
    return point(b, c, field, buffer, 0);
}

struct kernel_call *add_elementwise(struct builder *b, int node, struct place a)
{
    struct shape s = b->g->node[node].shape;
    struct kernel_call *c = add_call(b, KERNEL_ELEMENTWISE, node);
    if (!c)
        return NULL;
    c->elementwise = (struct elementwise){
        .a_ld = a.ld, .images = b->r->images, .rows_per_image = (int)shape_rows(s), .channels = s.channels};
    return point(b, c, &c->elementwise.a, a.buffer, a.offset) < 0 ? NULL : c;
}

int cover(struct builder *b, struct kernel_call *c, int node)
{
    struct plan *p = b->p;
    if (grow((void **)&p->cover, p->cover_count, &p->cover_capacity, sizeof *p->cover, b->e) < 0)
        return -1;
    p->cover[p->cover_count++] = node;
    c->covered++;
    b->done[node] = 1;
    return 0;
}

struct interval {
    const struct plan *plan;
    int buffer;
};

/* Larger buffers first, then earlier ones: they are the hardest to place. */
static int by_size(const void *x, const void *y)
{
    const struct interval *a = x, *b = y;
    const struct buffer *p = &a->plan->buffer[a->buffer], *q = &b->plan->buffer[b->buffer];
    if (p->size != q->size)
        return p->size < q->size ? 1 : -1;
    return (a->buffer > b->buffer) - (a->buffer < b->buffer);
}

static int overlap(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset where buffer `it` hits none of the placed[] ones that live at the same time. */
static size_t lowest_gap(const struct plan *p, const struct buffer *it, const struct interval *placed,
                         int count)
{
    size_t offset = 0;
    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < count; i++) {
            const struct buffer *other = &p->buffer[placed[i].buffer];
            if (overlap(it, other) && offset < other->offset + other->size &&
                other->offset < offset + it->size) {
                offset = other->offset + other->size;
                moved = 1;
            }
        }
    }
    return offset;
}

int assign_arena(struct plan *p, struct error *e)
{
    struct interval *order = mem_array((size_t)p->buffers + 1, sizeof *order, e);
    int count = 0;
    if (!order)
        return -1;
    for (int i = 0; i < p->buffers; i++)
        if (p->buffer[i].space == SPACE_ARENA)
            order[count++] = (struct interval){p, i};
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        struct buffer *it = &p->buffer[order[i].buffer];
        it->offset = lowest_gap(p, it, order, i);
        if (it->offset + it->size > p->arena_size)
            p->arena_size = it->offset + it->size;
    }
    mem_free(order);
    return 0;
}
