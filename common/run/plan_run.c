/* Running a plan: patch the pointers, and leave the rest to the backend; looking at values. */
#include "common/run/plan.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

static uintptr_t address(const struct buffer *b, const struct plan_memory *m, size_t offset)
{
    size_t call = (size_t)(b->space == SPACE_HOISTED ? m->hoisted_call : m->call);
    size_t turn = b->ring ? m->turn[b->ring - 1] : 0;
    return (uintptr_t)m->base[b->space] + b->offset + call * b->call_stride + turn + offset;
}

static void patch_all(struct plan *p, const struct plan_memory *m)
{
    for (int i = 0; i < p->patches; i++) {
        const struct patch *patch = &p->patch[i];
        uintptr_t at = address(&p->buffer[patch->buffer], m, patch->offset);
        memcpy((char *)&p->call[patch->call] + patch->field, &at, sizeof at);
    }
}

int plan_enqueue(struct plan *p, const struct plan_memory *m, struct error *e)
{
    patch_all(p, m);
    return p->backend->ops->run(p->backend, p, 0, p->calls, NULL, e);
}

/* What was run with these addresses before, or a new entry for them; NULL: there is no room, or an error. */
static struct plan_recording *find_recording(struct plan *p, const struct plan_memory *m, struct error *e)
{
    size_t n = (size_t)p->patches;
    if (!p->addresses && !(p->addresses = mem_array(n + 1, sizeof *p->addresses, e)))
        return NULL;
    for (size_t i = 0; i < n; i++)
        p->addresses[i] = address(&p->buffer[p->patch[i].buffer], m, p->patch[i].offset);
    for (int i = 0; i < p->recordings; i++)
        if (!memcmp(p->recorded[i].address, p->addresses, n * sizeof *p->addresses))
            return &p->recorded[i];
    if (p->recordings == PLAN_RECORDINGS)
        return NULL;
    p->recorded[p->recordings].address = p->addresses;
    p->addresses = NULL;
    return &p->recorded[p->recordings++];
}

/* The first run with some addresses is run, the second recorded, and replayed like all later ones. */
static int run_recorded(struct plan *p, const struct plan_memory *m, struct error *e)
{
    const struct backend_ops *ops = p->backend->ops;
    int before = p->recordings;
    struct plan_recording *r = find_recording(p, m, e);
    if (!r && e->code)
        return -1;
    if (!r || p->recordings > before)
        return plan_enqueue(p, m, e);
    if (!r->recording) {
        if (ops->record(p->backend, e) < 0)
            return -1;
        int status = plan_enqueue(p, m, e);
        r->recording = ops->recorded(p->backend, e);
        if (status < 0 || !r->recording)
            return -1;
    }
    return ops->replay(p->backend, r->recording, e);
}

int plan_run(struct plan *p, const struct plan_memory *m, double *milliseconds, struct error *e)
{
    const struct backend_ops *ops = p->backend->ops;
    if (ops->record && !milliseconds && !plan_needs_host(p))
        return run_recorded(p, m, e);
    patch_all(p, m);
    return ops->run(p->backend, p, 0, p->calls, milliseconds, e);
}

/* Where a call's float result lies: rows of `channels`, ld apart. NULL: it has codes only. */
static const float *result_of(const struct kernel_call *c, int64_t *rows, int *channels, int64_t *ld)
{
    switch (c->kind) {
    case KERNEL_MATMUL:
        *rows = (int64_t)c->matmul.images * c->matmul.out_height * c->matmul.out_width;
        *channels = c->matmul.n;
        *ld = c->matmul.out_ld;
        return c->matmul.out;
    case KERNEL_ROW_NORM: /* of codes, the scale is not a number when a value is not finite */
        *rows = (int64_t)c->row_norm.images * c->row_norm.rows_per_image;
        *channels = c->row_norm.codes ? 1 : c->row_norm.channels;
        *ld = c->row_norm.codes ? 1 : c->row_norm.out_ld;
        return c->row_norm.codes ? c->row_norm.row_scale : c->row_norm.out;
    case KERNEL_GROUP_NORM:
        *rows = c->group_norm.codes[0] ? c->group_norm.images
                                       : (int64_t)c->group_norm.images * c->group_norm.pixels;
        *channels = c->group_norm.codes[0] ? 1 : c->group_norm.channels[0] + c->group_norm.channels[1];
        *ld = c->group_norm.codes[0] ? 1 : c->group_norm.out_ld;
        return c->group_norm.codes[0] ? c->group_norm.image_scale[0] : c->group_norm.out;
    case KERNEL_ATTENTION:
        *rows = c->attention.queries;
        *channels = c->attention.heads * c->attention.head_dim;
        *ld = c->attention.out_ld;
        return c->attention.out;
    case KERNEL_ELEMENTWISE:
        *rows = (int64_t)c->elementwise.images * c->elementwise.rows_per_image;
        *channels = c->elementwise.channels;
        *ld = c->elementwise.out_ld;
        return c->elementwise.out;
    case KERNEL_CACHE_READ:
        *rows = (int64_t)c->cache_read.images * c->cache_read.rows_per_image;
        *channels = c->cache_read.channels;
        *ld = c->cache_read.out_ld;
        return c->cache_read.out;
    default: /* moved values have been looked at */
        return NULL;
    }
}

/* Are `rows` rows of x finite? They are fetched one by one from a memory that is not the host's. */
static int all_finite(struct backend *b, const float *x, int64_t rows, int channels, int64_t ld, float *row,
                      struct error *e)
{
    for (int64_t r = 0; r < rows; r++) {
        const float *at = x + r * ld;
        if (row && b->ops->get(b, row, at, (size_t)channels * sizeof *row, e) < 0)
            return 1;
        for (int c = 0; c < channels; c++)
            if (!isfinite(row ? row[c] : at[c]))
                return 0;
    }
    return 1;
}

int plan_find_nonfinite(struct plan *p, const struct plan_memory *m, struct error *e)
{
    struct backend *b = p->backend;
    patch_all(p, m);
    for (int i = 0; i < p->calls; i++) {
        int64_t rows = 0, ld = 0;
        int channels = 0;
        if (b->ops->run(b, p, i, i + 1, NULL, e) < 0)
            return -1;
        const float *x = result_of(&p->call[i], &rows, &channels, &ld);
        float *row = x && !b->ops->direct ? mem_array((size_t)channels, sizeof *row, e) : NULL;
        int finite = !x || (!row && !b->ops->direct) || all_finite(b, x, rows, channels, ld, row, e);
        mem_free(row);
        if (!finite)
            return i;
    }
    return -1;
}

const float *plan_value(const struct plan *p, int node, const struct plan_memory *m)
{
    struct place at = p->place[node];
    return at.buffer < 0 ? NULL : (const float *)address(&p->buffer[at.buffer], m, at.offset);
}

int plan_needs_host(const struct plan *p)
{
    for (int i = 0; i < p->calls; i++)
        if (p->call[i].kind == KERNEL_REFERENCE)
            return 1;
    return 0;
}

const char *kernel_kind_name(enum kernel_kind kind)
{
    static const char *const names[] = {"product",     "norm",       "group norm", "quantize", "attention",
                                        "elementwise", "cache read", "move",       "reference"};
    return names[kind];
}
