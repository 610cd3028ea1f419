/* The thread team: one set of threads that runs one function at a time, pinned where it has every CPU.
 *
 *     struct team *t = team_open(0, e);                  // 0: as many as this process may use
 *     team_run(t, work, &job);                           // work(&job, part, parts) on every thread
 *     team_close(t);
 *
 *     static void work(void *job, int part, int parts)   // part 0 is the calling thread
 *     {
 *         ...; team_barrier(t); ...                      // all parts meet
 *     }
 *
 * The split of work must not change results: a part takes whole rows or whole fixed-size blocks. */
#ifndef HASTEN_BASE_TEAM_H
#define HASTEN_BASE_TEAM_H

#include "common/base/error.h"
#include <stdint.h>

struct team;
typedef void team_fn(void *job, int part, int parts);

/* Bytes of stack that a part may use: the CPU kernels keep some hundred KiB of sums there. The caller, who is
 * part 0, sees to its own. */
enum { TEAM_STACK = 2 << 20 };

/* Cores that affinity mask and cgroup quota leave to this process, at least 1. */
int team_cores(void);

/* A team of `threads` (0: team_cores()), the caller included. NULL and an error when a thread cannot start.
 */
struct team *team_open(int threads, struct error *e) HASTEN_CHECKED;
void team_close(struct team *t); /* NULL is fine */
int team_size(const struct team *t);

void team_run(struct team *t, team_fn *fn, void *job);
void team_barrier(struct team *t); /* inside a running function, by all parts */

/* The half-open range of part `part` of n items in chunks of `chunk`; empty when there is nothing left. */
struct span {
    int64_t begin, end;
};
struct span team_span(int64_t n, int64_t chunk, int part, int parts);

#endif
