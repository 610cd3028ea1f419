/* Pictures of a measured plan.
 *
 *     profile_chrome_trace(&text, graph, plan, &log, e);     // open it in chrome://tracing or Perfetto
 *     profile_flame(&text, graph, plan, kernel_ms, "dit.zst", e);        // an SVG page of its own
 *
 * The trace has a row for each thread. The flame's levels are the parts of the nodes' names, its widths
 * milliseconds. */
#ifndef HASTEN_RUN_PROFILE_TRACE_H
#define HASTEN_RUN_PROFILE_TRACE_H

#include "common/base/buf.h"
#include "common/run/plan.h"
#include "kernels/cuda/trace.h"

int profile_chrome_trace(struct buf *out, const struct graph *g, const struct plan *p,
                         const struct cpu_log *log, struct error *e) HASTEN_CHECKED;
/* Of a device: its kernels, and each one's wait from its launch. */
int profile_device_trace(struct buf *out, const struct cuda_trace *kernel, int count,
                         struct error *e) HASTEN_CHECKED;
int profile_flame(struct buf *out, const struct graph *g, const struct plan *p, const double *kernel_ms,
                  const char *title, struct error *e) HASTEN_CHECKED;

/* Bytes of a node's name up to the end of its level-th part (from 0); a number belongs to the word before it:
 * "transformer_blocks.3" is the first part of "transformer_blocks.3.attn1.to_q". 0: it has no such part. */
size_t name_prefix(const char *name, int level);

#endif
