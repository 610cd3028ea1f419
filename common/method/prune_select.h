/* Which parts to take out of a network so that it gets faster by a given number of milliseconds at a low
 * total score.
 *
 *     struct prune_unit units[] = {{.score = 3.1, .ms = 1.2, .parent = 2},      // attention of block 0
 *                                  {.score = 0.7, .ms = 1.5, .parent = 2},      // its feed-forward part
 *                                  {.score = 3.5, .ms = 2.8, .parent = -1}};    // the whole block
 *     struct prune_choice c;
 *     if (prune_select(units, 3, 1.0, removed, &c, e) < 0) return -1;           // removed = {0, 1, 0}
 *
 * Greedy: again and again the unit with the least score per millisecond. A unit goes with its parent:
 * once a parent is chosen its children are covered; while only children are gone, a parent counts with
 * the score and milliseconds that it adds to theirs. At the end whatever the target can do without is put
 * back, the worst first. Scores are taken to be additive, which they are not quite: measure the result.
 * Deterministic, the unit with the lower index wins a tie. */
#ifndef HASTEN_METHOD_PRUNE_SELECT_H
#define HASTEN_METHOD_PRUNE_SELECT_H

#include "common/base/error.h"

struct prune_unit {
    double score; /* damage, >= 0; INFINITY: protected */
    double ms; /* saved when it is removed; units that save nothing are never chosen */
    int parent; /* index of the unit that contains this one, or -1; parents have no parents */
};

struct prune_choice {
    double score, ms; /* sums over what is removed */
    int count;
};

/* removed: count bytes, 1 where a unit is removed; children of a removed parent are 0. HASTEN_EGATE: the
 * target cannot be reached, the text says what can. HASTEN_EFILE: a bad unit. */
int prune_select(const struct prune_unit *units, int count, double target_ms, unsigned char *removed,
                 struct prune_choice *choice, struct error *e) HASTEN_CHECKED;

#endif
