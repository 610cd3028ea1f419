/* See node_cost.h. */
#include "common/run/node_cost.h"

#include <string.h>

static int prepares(const struct kernel_call *c)
{
    return c->kind == KERNEL_IMAGE_QUANTIZE ||
           (c->kind == KERNEL_ROW_NORM && !c->row_norm.norm && !c->row_norm.times_ld);
}

int node_cost(const struct timing *o, double *ms, double *total, struct error *e)
{
    struct timed *t = timed_open(o, NULL, 0, e);
    struct plan *p = t ? engine_plan(timed_engine(t), 0, 0, o->batch, e) : NULL;
    double *each = p ? mem_array((size_t)p->calls + 1, sizeof *each, e) : NULL, before = 0;
    int status = each ? timed_run(t, 0, total, NULL, each, NULL, &p, e) : -1;
    memset(ms, 0, (size_t)o->graph->count * sizeof *ms);
    for (int i = 0; status == 0 && i < p->calls; i++) {
        const struct kernel_call *c = &p->call[i];
        if (prepares(c)) {
            before += each[i];
        } else if (c->kind == KERNEL_MATMUL) {
            ms[c->node] += each[i] + before;
            before = 0;
        }
    }
    mem_free(each);
    timed_close(t);
    return status;
}
