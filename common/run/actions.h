/* The short list of what a cached call may leave out: found by structure (graph/branches.h). The same list
 * serves profile, which prices it, and cache-schedule, which chooses from it.
 *
 *     struct candidate list[CANDIDATES];
 *     int n = candidate_actions(g, list, e);
 *     ... list[i].name, list[i].served[node] ...
 *     candidates_free(list, n);
 *
 * A U-Net: the deeper input of each joint ("up_blocks.2.resnets.1.concat": DeepCache's branches), outermost
 * first. A transformer: nested sets of residual branches, from the outermost blocks inwards (all branches,
 * and attention alone: FORA), and the same blocks as one span: the difference between the stream behind and
 * before them (Delta-DiT; of all blocks it is what TeaCache and MagCache skip). Both: the output.
 *
 * Where layers round what they read to int8, every action exists with more activation bits as well, over the
 * same weights (W8A16 beside W8A8). */
#ifndef HASTEN_RUN_ACTIONS_H
#define HASTEN_RUN_ACTIONS_H

#include "common/graph/graph.h"

enum { CANDIDATES = 32 };

struct candidate {
    char name[96];
    unsigned char *served; /* per node */
    int serves;
    int base;  /* the one served node is stored as its difference to this one; -1: values are stored */
    int probe; /* the node whose features stand for the action's error: a served node, or -1: several */
    int wide;  /* layers read floats where they would round them to int8 */
    int twin;  /* of a wide one: the candidate that is the same otherwise, -1: everything is computed */
};

int candidate_actions(const struct graph *g, struct candidate *list, struct error *e) HASTEN_CHECKED;
/* Behind `count` candidates the wide ones: "full, wide" and, while there is room, those of the candidates
 * that leave a layer to run that rounds. Their number in all: `count` where no layer rounds. */
int candidates_widen(const struct graph *g, struct candidate *list, int count,
                     struct error *e) HASTEN_CHECKED;
void candidates_free(struct candidate *list, int count);

#endif
