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

void plan_run(struct plan *p, const struct cpu_kernels *k, struct team *team, char *const base[SPACES], int call,
              double *milliseconds)
{
    for (int i = 0; i < p->patches; i++) {
        const struct patch *patch = &p->patch[i];
        const struct buffer *b = &p->buffer[patch->buffer];
        char *at = base[b->space] + b->offset + (size_t)call * b->call_stride + patch->offset;
        memcpy((char *)&p->call[patch->call] + patch->field, &at, sizeof at);
    }
    struct run_job job = {p, k, team, milliseconds};
    team_run(team, run_all, &job);
}

const float *plan_value(const struct plan *p, int node, char *const base[SPACES], int call)
{
    struct place at = p->place[node];
    if (at.buffer < 0)
        return NULL;
    const struct buffer *b = &p->buffer[at.buffer];
    return (const float *)(base[b->space] + b->offset + (size_t)call * b->call_stride + at.offset);
}

const char *kernel_kind_name(enum kernel_kind kind)
{
    static const char *const names[] = {"product",   "norm",       "group norm", "quantize", "attention",
                                        "elementwise", "cache read", "move",       "reference"};
    return names[kind];
}
