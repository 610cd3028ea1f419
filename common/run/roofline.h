/* What this machine, or its device, can do at best, measured in the run that asks.
 *
 *     struct roofline r;
 *     roofline_measure(&r, kernels, team, e);            // a third of a second
 *     share = flops / (ms * 1e6) / r.gflops[ROOF_F32];
 *
 * Rates are of the whole team: multiply-adds count twice; bandwidth is of a copy, bytes read plus bytes
 * written. */
#ifndef HASTEN_RUN_ROOFLINE_H
#define HASTEN_RUN_ROOFLINE_H

#include "common/base/error.h"
#include "common/base/team.h"
#include "common/run/backend.h"
#include "kernels/cpu/cpu.h"

enum { ROOF_F32, ROOF_INT8, ROOF_BF16, ROOFS }; /* as a kernel call's precision in plan.h */

struct roofline {
    double gflops[ROOFS]; /* a matrix product whose operands fit into the caches, best of several runs */
    double copy_gbs;      /* of blocks far larger than the caches */
};

int roofline_measure(struct roofline *r, const struct cpu_kernels *kernels, struct team *team,
                     struct error *e) HASTEN_CHECKED;

/* Of a backend that is not direct, by its own clock: the largest of products up to 8192 x 4096 x 8192, a copy
 * of up to 512 MiB. Takes up to 1 GiB of its memory for some tenths of a second. */
int roofline_measure_device(struct roofline *r, struct backend *b, struct error *e) HASTEN_CHECKED;

#endif
