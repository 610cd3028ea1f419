/* The CPU backend: memory of the process, one kernel call after the other on the whole team. */
#include "common/run/backend.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/run/plan.h"

#include <string.h>

static void *cpu_allocate(struct backend *b, size_t bytes, struct error *e)
{
    (void)b;
    return mem_array(bytes, 1, e);
}

static void cpu_release(struct backend *b, void *block)
{
    (void)b;
    mem_free(block);
}

static int cpu_copy(struct backend *b, void *to, const void *from, size_t bytes, struct error *e)
{
    (void)b, (void)e;
    memcpy(to, from, bytes);
    return 0;
}

static int cpu_wait(struct backend *b, struct error *e)
{
    (void)b, (void)e;
    return 0;
}

struct run_job {
    const struct plan *plan;
    struct backend *b;
    int first, last;
    double *milliseconds;
};

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

/* The log has no room for this call: nothing is noted. */
static double *noted(const struct cpu_log *log, double *where, int call, int part)
{
    return log && call < log->calls && part < log->parts ? &where[call * log->parts + part] : NULL;
}

static void run_all(void *context, int part, int parts)
{
    const struct run_job *job = context;
    const struct cpu_log *log = job->b->context;
    for (int i = job->first; i < job->last; i++) {
        const struct kernel_call *c = &job->plan->call[i];
        double start = log || (job->milliseconds && part == 0) ? clock_ms() : 0;
        double *begin = noted(log, log ? log->begin : NULL, i, part),
               *end = noted(log, log ? log->end : NULL, i, part);
        if (begin)
            *begin = start;
        for (int phase = 0; phase < c->phases; phase++) {
            run_phase(c, job->b->kernels, phase, part, parts);
            if (end)
                *end = clock_ms();
            team_barrier(job->b->team);
        }
        if (job->milliseconds && part == 0)
            job->milliseconds[i] = clock_ms() - start;
    }
}

static int cpu_run(struct backend *b, struct plan *p, int first, int last, double *milliseconds,
                   struct error *e)
{
    struct run_job job = {p, b, first, last, milliseconds};
    struct cpu_log *log = b->context;
    (void)e;
    if (log)
        log->submit = clock_ms();
    team_run(b->team, run_all, &job);
    return 0;
}

static size_t cpu_packed_size(struct backend *b, const struct mm_shape *s, int int8)
{
    return b->kernels->matmul_packed_size(s, int8);
}

size_t backend_cpu_scratch(struct backend *b, const struct kernel_call *c)
{
    if (c->kind == KERNEL_ATTENTION)
        return attention_scratch(&c->attention) * sizeof(float);
    return c->matmul.form == MM_NATIVE ? 0 : b->kernels->matmul_scratch(&c->matmul);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .direct = 1,
    .half = 1,
    .host = 1,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .put = cpu_copy,
    .get = cpu_copy,
    .wait = cpu_wait,
    .pack = weights_pack_cpu,
    .packed_size = cpu_packed_size,
    .scratch = backend_cpu_scratch,
    .run = cpu_run,
};

struct backend backend_cpu(const struct cpu_kernels *kernels, struct team *team)
{
    return (struct backend){&cpu_ops, kernels, team, NULL, NULL};
}
