/* See launch.h. */
#include "common/run/launch.h"
#include "common/base/mem.h"
#include "common/run/plan.h"

void launch_account(struct launch_account *a, const struct cpu_log *log, int calls)
{
    double asked = log->submit, busy = 0;
    *a = (struct launch_account){0};
    for (int i = 0; i < calls && i < log->calls; i++) {
        double last = asked;
        for (int p = 0; p < log->parts; p++) {
            double begin = log->begin[i * log->parts + p], end = log->end[i * log->parts + p];
            a->tklqt += (begin - asked) / log->parts;
            busy += end - begin;
            last = end > last ? end : last;
        }
        asked = last;
    }
    a->total = asked - log->submit;
    a->kernel = calls > 0 ? busy / log->parts / calls : 0;
    a->waiting = a->total > 0 ? 1 - busy / log->parts / a->total : 0;
}

void launch_account_device(struct launch_account *a, const struct cuda_trace *kernel, int count)
{
    double busy = 0, last = 0;
    *a = (struct launch_account){0};
    for (int i = 0; i < count; i++) {
        a->tklqt += kernel[i].begin - kernel[i].asked;
        busy += kernel[i].end - kernel[i].begin;
        last = kernel[i].end > last ? kernel[i].end : last;
    }
    if (count > 0) {
        a->total = last - kernel[0].asked;
        a->kernel = busy / count;
        a->waiting = a->total > 0 ? 1 - busy / a->total : 0;
    }
}

/* One call into t->kernel; how many kernels, 0: nobody can tell. */
static int trace_call(struct launch_trace *t, struct engine *x, struct backend *b, int images, int as_graph,
                      struct error *e)
{
    struct error late = {0};
    int status = b->ops->trace(b, e), count;
    if (status != 0)
        return status < 0 ? -1 : 0;
    status = as_graph ? engine_run(x, 0, 0, 0, images, NULL, e) : engine_enqueue(x, 0, 0, 0, images, 0, e);
    count = b->ops->traced(b, t->kernel, status < 0 ? &late : e);
    return status < 0 ? -1 : count;
}

int launch_trace(struct launch_trace *t, struct engine *x, struct backend *b, int images, struct error *e)
{
    *t = (struct launch_trace){.count = 0};
    if (!b->ops->trace)
        return 0;
    t->kernel = mem_array(CUDA_TRACE_MOST, sizeof *t->kernel, e);
    const struct plan *p = t->kernel ? engine_plan(x, 0, 0, images, e) : NULL;
    int count = p ? 0 : -1;
    if (p && !plan_needs_host(p))
        count = trace_call(t, x, b, images, 1, e);
    launch_account_device(&t->graph, t->kernel, count);
    if (count >= 0)
        count = trace_call(t, x, b, images, 0, e);
    if (count > 0)
        launch_account_device(&t->calls, t->kernel, t->count = count);
    return count < 0 ? -1 : 0;
}
