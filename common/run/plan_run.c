/* Running a plan: patch the pointers, then one kernel call after the other on the whole team. */
#include "common/run/plan.h"

#include <math.h>
#include <string.h>
#include <time.h>

struct run_job {
    const struct plan *plan;
    const struct cpu_kernels *k;
    struct team *team;
    double *milliseconds;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void run_phase(const struct kernel_call *c, const struct cpu_kernels *k, int phase, int part,
                      int parts)
{
    switch (c->kind) {
    case KERNEL_MATMUL:
        k->matmul(&c->matmul, part, parts);
        break;
    case KERNEL_ROW_NORM:
        k->row_norm(&c->row_norm, part, parts);
        break;
    case KERNEL_GROUP_NORM:
        k->group_norm(&c->group_norm, phase, part, parts);
        break;
    case KERNEL_IMAGE_QUANTIZE:
        k->image_quantize(&c->image_quantize, phase, part, parts);
        break;
    case KERNEL_ATTENTION:
        k->attention(&c->attention, part, parts);
        break;
    case KERNEL_ELEMENTWISE:
        k->elementwise(&c->elementwise, part, parts);
        break;
    case KERNEL_CACHE_READ:
        k->cache_read(&c->cache_read, part, parts);
        break;
    case KERNEL_MOVE:
        move_run(&c->move, part, parts);
        break;
    case KERNEL_REFERENCE:
        if (part == 0)
            c->reference.node->op->reference(&c->reference);
        break;
    }
}

static void run_all(void *context, int part, int parts)
{
    const struct run_job *job = context;
    for (int i = 0; i < job->plan->calls; i++) {
        const struct kernel_call *c = &job->plan->call[i];
        double start = job->milliseconds && part == 0 ? now_ms() : 0;
        for (int phase = 0; phase < c->phases; phase++) {
            run_phase(c, job->k, phase, part, parts);
            team_barrier(job->team);
        }
        if (job->milliseconds && part == 0)
            job->milliseconds[i] = now_ms() - start;
    }
}

static uintptr_t address(const struct buffer *b, const struct plan_memory *m, size_t offset)
{
    size_t call = (size_t)(b->space == SPACE_HOISTED ? m->hoisted_call : m->call);
    return (uintptr_t)m->base[b->space] + b->offset + call * b->call_stride + offset;
}

static void patch_all(struct plan *p, const struct plan_memory *m)
{
    for (int i = 0; i < p->patches; i++) {
        const struct patch *patch = &p->patch[i];
        uintptr_t at = address(&p->buffer[patch->buffer], m, patch->offset);
        memcpy((char *)&p->call[patch->call] + patch->field, &at, sizeof at);
    }
}

void plan_run(struct plan *p, const struct cpu_kernels *k, struct team *team, const struct plan_memory *m,
              double *milliseconds)
{
    struct run_job job = {p, k, team, milliseconds};
    patch_all(p, m);
    team_run(team, run_all, &job);
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

struct one_call {
    const struct kernel_call *call;
    const struct cpu_kernels *k;
    struct team *team;
};

static void run_one(void *context, int part, int parts)
{
    const struct one_call *job = context;
    for (int phase = 0; phase < job->call->phases; phase++) {
        run_phase(job->call, job->k, phase, part, parts);
        team_barrier(job->team);
    }
}

int plan_find_nonfinite(struct plan *p, const struct cpu_kernels *k, struct team *team,
                        const struct plan_memory *m)
{
    patch_all(p, m);
    for (int i = 0; i < p->calls; i++) {
        struct one_call job = {&p->call[i], k, team};
        int64_t rows = 0, ld = 0;
        int channels = 0;
        team_run(team, run_one, &job);
        const float *x = result_of(job.call, &rows, &channels, &ld);
        for (int64_t r = 0; x && r < rows; r++)
            for (int c = 0; c < channels; c++)
                if (!isfinite(x[r * ld + c]))
                    return i;
    }
    return -1;
}

const float *plan_value(const struct plan *p, int node, const struct plan_memory *m)
{
    struct place at = p->place[node];
    return at.buffer < 0 ? NULL : (const float *)address(&p->buffer[at.buffer], m, at.offset);
}

const char *kernel_kind_name(enum kernel_kind kind)
{
    static const char *const names[] = {"product",     "norm",       "group norm", "quantize", "attention",
                                        "elementwise", "cache read", "move",       "reference"};
    return names[kind];
}
