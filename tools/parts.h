/* Inside tools/: measurements in parts, for the tools whose calibration is sums over images (file/sums.h).
 *
 *     TOOL MODEL --measure-only --shard 0/4 -o part-0.zst      one part; again: only what is missing of it
 *     TOOL --merge part-*.zst -o whole.zst                     the file of one run over all images
 *     TOOL MODEL --calibration whole.zst ...                   used instead of a run
 */
#ifndef HASTEN_TOOLS_PARTS_H
#define HASTEN_TOOLS_PARTS_H

#include "common/file/sums.h"
#include "tools/tool.h"

struct parts {
    const char *shard, *calibration;
    int measure_only, merge;
};

/* Rows of a tool's table of options. */
/* clang-format off */
#define PARTS_OPTIONS(p) \
    {"calibration", 0, "FILE", OPTION_TEXT, &(p).calibration, \
     .help = "go on from these measurements if they are there, and keep them"}, \
    {"measure-only", 0, NULL, OPTION_FLAG, &(p).measure_only, \
     .help = "write the measurements to -o, to be merged, and stop; goes on from what is there"}, \
    {"shard", 0, "I/N", OPTION_TEXT, &(p).shard, \
     .help = "measure part I of N, from 0; auto: as Slurm, Kubernetes, MPI or torchrun say"}, \
    {"merge", 0, NULL, OPTION_FLAG, &(p).merge, \
     .help = "the operands are files of --measure-only: write the whole to -o"}
/* clang-format on */

/* Options that contradict each other, operands that are too many; the shard. HASTEN_EUSAGE. */
int parts_check(struct tool_run *t, const struct parts *p, struct shard *shard,
                struct error *e) HASTEN_CHECKED;
/* The operands of this kind to one file. */
int parts_merge_files(struct tool_run *t, const char *kind, struct error *e) HASTEN_CHECKED;
/* After a part was measured: what is in it. */
int parts_report(struct tool_run *t, const struct sums *s, struct sum_range range,
                 struct error *e) HASTEN_CHECKED;

#endif
