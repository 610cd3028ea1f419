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

struct launch_account {
    double total;   /* milliseconds from submission to the end of the last call */
    double tklqt;   /* sum over calls of the mean time from submit to begin */
    double kernel;  /* mean duration of a call's parts */
    double waiting; /* share of the team's time that is not inside a kernel */
};

void launch_account(struct launch_account *a, const struct cpu_log *log, int calls);

#endif
