/* See launch.h. */
#include "common/run/launch.h"

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
