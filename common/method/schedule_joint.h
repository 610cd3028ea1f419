/* Schedules of several cached objects at once: each action serves some objects, makes the others anew, and so
 * refreshes them for later calls. Depths of a U-Net, nested masks of a transformer's blocks, and the same at
 * several bit-widths are one problem.
 *
 *     // objects: 0 the inner blocks, 1 the outer ones; actions: full, inner served, all served, full in 4
 * bits uint32_t serves[] = {0, 1, 3, 0}; struct joint_problem p = {.calls = 50, .actions = 4, .objects = 2,
 * .ms = ms, .error = error, .own = own, .serves = serves, .limit_ms = 0.5 * full_ms}; struct joint *front;
 * int count; if (schedule_joint(&p, &front, &count, e) < 0) return -1;
 *     // front[i].action[t], fastest first
 *     schedule_joint_free(front, count);
 *
 * Labels (ms, error) are set forward per (call, last refresh of each object, objects cached so far); those
 * that another label of the same state dominates are dropped. Exact for the additive model: an action costs
 * its milliseconds and adds own[action][t] plus error[object][t][last refresh of the object] for each object
 * that it serves. With so many labels that they must be thinned, exact is 0. Between equal labels the one
 * whose list of actions comes first in the dictionary stays. */
#ifndef HASTEN_METHOD_SCHEDULE_JOINT_H
#define HASTEN_METHOD_SCHEDULE_JOINT_H

#include "common/base/error.h"
#include <stddef.h>
#include <stdint.h>

enum { JOINT_OBJECTS_MAX = 8, JOINT_ACTIONS_MAX = 64, JOINT_CALLS_MAX = 1024 };

struct joint_problem {
    int calls, actions, objects;
    const uint32_t *serves; /* actions: bit o: object o is served; the others are computed. serves[0] is 0 */
    const double *ms;       /* actions x calls, finite, >= 0 */
    const double *own;      /* actions x calls, >= 0: what the action adds by itself (fewer bits); NULL: 0 */
    const double *error;    /* objects x calls x calls: [o][t][s] for s < t, >= 0, INFINITY: not allowed */
    double limit_ms;        /* > 0: nothing slower; 0: no limit */
    int max_run;            /* most calls in a row that serve something; 0: any number */
    const size_t *bytes;    /* objects: what its cache holds; NULL: no matter */
    size_t max_bytes;       /* of all objects that are ever served */
    size_t labels;          /* most labels of one call; 0: 2^20 / actions */
};

struct joint {
    int *action; /* calls */
    double ms, error;
    uint32_t cached; /* objects that are served at some call */
    int exact;
};

/* The front, fastest first, in an array from mem_array. The first call takes an action that serves nothing.
 * HASTEN_EGATE: there is no schedule within the limits; HASTEN_EUSAGE, HASTEN_EFILE: bad numbers. */
int schedule_joint(const struct joint_problem *p, struct joint **out, int *count,
                   struct error *e) HASTEN_CHECKED;
void schedule_joint_free(struct joint *front, int count);

#endif
