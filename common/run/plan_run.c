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

/* Where a call's result lies: rows of `channels`, ld apart, as float or as bfloat16. Neither: there is none
 * to look at. */
struct result {
    const float *x;
    const uint16_t *half;
    int64_t rows, ld;
    int channels;
};

static struct result result_at(const float *x, int64_t ld, const uint16_t *half, int64_t half_ld,
                               int64_t rows, int channels)
{
    return (struct result){x, x ? NULL : half, rows, x ? ld : half_ld, channels};
}

static struct result result_of_scales(const struct code_scale *s, int64_t n)
{
    return result_at((const float *)s, sizeof *s / sizeof(float), NULL, 0, n, 1);
}

static struct result result_of(const struct kernel_call *c)
{
    const struct matmul *m = &c->matmul;
    const struct row_norm *r = &c->row_norm;
    const struct group_norm *g = &c->group_norm;
    const struct attention *a = &c->attention;
    const struct elementwise *e = &c->elementwise;
    const struct cache_read *k = &c->cache_read;
    switch (c->kind) {
    case KERNEL_MATMUL:
        return result_at(m->out, m->out_ld, m->out_bf16, m->out_bf16_ld,
                         (int64_t)m->images * m->out_height * m->out_width, m->n);
    case KERNEL_ROW_NORM: /* of codes, the scale is not a number when a value is not finite */
        return r->codes ? result_of_scales(r->row_scale, (int64_t)r->images * r->rows_per_image)
                        : result_at(r->out, r->out_ld, r->out_bf16, r->out_bf16_ld,
                                    (int64_t)r->images * r->rows_per_image, r->channels);
    case KERNEL_GROUP_NORM:
        return g->codes[0] ? result_of_scales(g->image_scale[0], g->images)
                           : result_at(g->out, g->out_ld, g->out_bf16, g->out_bf16_ld,
                                       (int64_t)g->images * g->pixels, g->channels[0] + g->channels[1]);
    case KERNEL_ATTENTION: /* rows of one image; the others follow the same way */
        return result_at(a->out, a->out_ld, a->out_bf16, a->out_ld, a->queries, a->heads * a->head_dim);
    case KERNEL_ELEMENTWISE:
        return result_at(e->out, e->out_ld, e->out_bf16, e->out_bf16_ld,
                         (int64_t)e->images * e->rows_per_image, e->channels);
    case KERNEL_CACHE_READ:
        return result_at(k->out, k->out_ld, NULL, 0, (int64_t)k->images * k->rows_per_image, k->channels);
    default: /* moved values have been looked at */
        return (struct result){0};
    }
}

/* Is the result finite? Rows are fetched one by one from a memory that is not the host's. */
static int all_finite(struct backend *b, const struct result *of, float *row, struct error *e)
{
    for (int64_t r = 0; r < of->rows; r++) {
        const float *at = of->half ? NULL : of->x + r * of->ld;
        if (row && b->ops->get(b, row, at, (size_t)of->channels * sizeof *row, e) < 0)
            return 1;
        for (int c = 0; c < of->channels; c++)
            if (of->half ? (of->half[r * of->ld + c] & 0x7f80) == 0x7f80 : !isfinite(row ? row[c] : at[c]))
                return 0;
    }
    return 1;
}

int plan_find_nonfinite(struct plan *p, const struct plan_memory *m, struct error *e)
{
    struct backend *b = p->backend;
    patch_all(p, m);
    for (int i = 0; i < p->calls; i++) {
        if (b->ops->run(b, p, i, i + 1, NULL, e) < 0)
            return -1;
        struct result r = result_of(&p->call[i]);
        float *row = r.x && !b->ops->direct ? mem_array((size_t)r.channels, sizeof *row, e) : NULL;
        int finite = (!r.x && !r.half) || (!row && !b->ops->direct) || all_finite(b, &r, row, e);
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
