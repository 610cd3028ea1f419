/* Launch accounting: how long work waits between being asked for and being begun (SKIP's TKLQT, Vellaisamy et
 * al. 2025), on the thread team. A kernel call is asked for when the last part has ended the one before it
 * (the first: when the run was asked for); each part begins it a little later, and the early parts wait for
 * the late ones at the end.
 *
 *     struct launch_account a;
 *     launch_account(&a, &log, plan->calls);              // of backend_cpu's log of one run
 *
 * When waiting is flat while the batch grows, starting work is the limit; see profile --sweep batch. */
#ifndef HASTEN_RUN_LAUNCH_H
#define HASTEN_RUN_LAUNCH_H

#include "common/run/backend.h"
#include "common/run/engine.h"
#include "kernels/cuda/trace.h"

struct launch_account {
    double total;   /* milliseconds from submission to the end of the last call */
    double tklqt;   /* sum over calls of the mean time from submit to begin */
    double kernel;  /* mean duration of a call's parts */
    double waiting; /* share of the team's time that is not inside a kernel */
};

void launch_account(struct launch_account *a, const struct cpu_log *log, int calls);

/* The same of a device: kernels in the order in which they began, each waiting from the host's call that
 * launched it. Kernels of a graph all wait from its launch: their tklqt says nothing, `waiting` is what a
 * graph leaves idle.
 *
 *     struct launch_trace t;
 *     if (launch_trace(&t, engine, backend, images, e) == 0 && t.count > 0) ...     // of action 0, which has
 * run before mem_free(t.kernel);
 */
void launch_account_device(struct launch_account *a, const struct cuda_trace *kernel, int count);

struct launch_trace {
    /* Kernel by kernel; as the recording that engine_run replays, total 0 when there is none. */
    struct launch_account calls, graph;
    struct cuda_trace *kernel; /* of the first, from mem_array */
    int count;                 /* 0: the backend cannot tell */
};
int launch_trace(struct launch_trace *t, struct engine *x, struct backend *b, int images,
                 struct error *e) HASTEN_CHECKED;

#endif
