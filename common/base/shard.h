/* Shards: work with numbered items, split over processes that do not know each other. Shard i of n does the
 * items whose number leaves the remainder i, so that any count is spread evenly and a stream of unknown
 * length can be split as well.
 *
 *     struct shard s;
 *     if (shard_parse("auto", read_environment, NULL, &s, e) < 0) ...
 *     for (int64_t i = 0; i < count; i++)
 *         if (shard_has(&s, i)) ...
 */
#ifndef HASTEN_BASE_SHARD_H
#define HASTEN_BASE_SHARD_H

#include "common/base/error.h"
#include <stdint.h>

enum { SHARD_MOST = 1000000 };

struct shard {
    int64_t index, count; /* 0 <= index < count */
    const char *source;   /* where that was found, for messages */
};

/* The value of an environment variable, NULL: not set. */
typedef const char *shard_lookup(const char *name, void *context);

/* text: "i/n" counted from 0, or "auto": the variables that batch systems set, the first pair in this order:
 *   Slurm array        SLURM_ARRAY_TASK_ID, _MIN, _STEP, _COUNT
 *   Kubernetes         JOB_COMPLETION_INDEX, and HASTEN_SHARDS as Kubernetes does not tell the number
 *   Open MPI           OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE
 *   MPICH, Intel MPI   PMI_RANK, PMI_SIZE
 *   torchrun           RANK, WORLD_SIZE
 *   srun               SLURM_PROCID, SLURM_NTASKS; not those of a batch script, which is no step
 * In a Slurm array whose elements are job steps of several tasks (srun or mpirun inside), the element and the
 * rank together are the shard: element * size + rank. Half a pair, numbers that do not fit and two systems
 * that contradict each other are refused. HASTEN_EUSAGE. */
int shard_parse(const char *text, shard_lookup *lookup, void *context, struct shard *out,
                struct error *e) HASTEN_CHECKED;

/* Which of the processes that were started together on this machine this one is, from 0; 0 when nothing says.
 * Open MPI OMPI_COMM_WORLD_LOCAL_RANK, MPICH and Intel MPI MPI_LOCALRANKID, torchrun LOCAL_RANK, srun
 * SLURM_LOCALID. */
int shard_local(shard_lookup *lookup, void *context);

static inline int shard_has(const struct shard *s, int64_t item) { return item % s->count == s->index; }

#endif
