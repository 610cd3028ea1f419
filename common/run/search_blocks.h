/* Schedules in which every branch of a transformer has its own updates.
 *
 *     struct cache_schedule s = {0};
 *     search_blocks(&x, 10, 3, &s, e);      // x: after search_open; 10 updates a branch, union of 3 noisy
 * ones
 *
 * Block-wise adaptive caching (arXiv 2506.13456), see method/schedule_blocks.h; errors are relative squares
 * of reuse from the Gram matrices of the given model. */
#ifndef HASTEN_RUN_SEARCH_BLOCKS_H
#define HASTEN_RUN_SEARCH_BLOCKS_H

#include "common/graph/branches.h"
#include "common/run/search.h"

/* An action for each different set of served branches, both streams. compute: branches x calls, 1 where a
 * branch is computed, all of them at call 0. More than 32 sets that serve something are united: compute
 * grows. */
int schedule_of_masks(struct cache_schedule *s, const struct graph *g, const struct branch_list *b,
                      unsigned char *compute, struct error *e) HASTEN_CHECKED;

/* *s gets calls, actions and streams. HASTEN_EFILE: the network has no transformer blocks, or more branches
 * than are measured. */
int search_blocks(struct search *x, int updates, int bubble, struct cache_schedule *s,
                  struct error *e) HASTEN_CHECKED;

#endif
