/* Running a plan: patch the pointers, then one kernel call after the other on the whole team. */
#include "common/run/plan.h"

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

static void run_phase(const struct kernel_call *c, const struct cpu_kernels *k, int phase, int part, int parts)
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

void plan_run(struct plan *p, const struct cpu_kernels *k, struct team *team, const struct plan_memory *m,
              double *milliseconds)
{
    for (int i = 0; i < p->patches; i++) {
        const struct patch *patch = &p->patch[i];
        uintptr_t at = address(&p->buffer[patch->buffer], m, patch->offset);
        memcpy((char *)&p->call[patch->call] + patch->field, &at, sizeof at);
    }
    struct run_job job = {p, k, team, milliseconds};
    team_run(team, run_all, &job);
}

const float *plan_value(const struct plan *p, int node, const struct plan_memory *m)
{
    struct place at = p->place[node];
    return at.buffer < 0 ? NULL : (const float *)address(&p->buffer[at.buffer], m, at.offset);
}

const char *kernel_kind_name(enum kernel_kind kind)
{
    static const char *const names[] = {"product",   "norm",       "group norm", "quantize", "attention",
                                        "elementwise", "cache read", "move",       "reference"};
    return names[kind];
}
