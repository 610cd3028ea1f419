/* Whole blocks that pruning left out: a family that is a row of equal blocks has what is left as a model with
 * fewer blocks, numbered anew.
 *
 *     struct block_map m;
 *     block_map_open(&m, family, config, stored, e);
 *     block_map_old(&m, "transformer_blocks.3.norm3", &arena, e);     // "transformer_blocks.4.norm3"
 *     block_map_new(&m, "transformer_blocks.4.norm3", &arena, e);     // and back; NULL: is gone
 *     ... m.config ...                                                // says how many blocks there are
 *     block_map_close(&m);
 */
#ifndef HASTEN_FILE_DIFFUSERS_BLOCKS_H
#define HASTEN_FILE_DIFFUSERS_BLOCKS_H

#include "common/families/family.h"

struct block_map {
    const char *module; /* "transformer_blocks"; NULL: nothing is numbered anew */
    int *old, count;    /* block i was old[i] */
    cJSON *config;      /* a copy */
};

/* The first block has to be there: it holds what all blocks share. Where a block is there in part it counts
 * as there, and what is missing shows when graphs are compared. */
int block_map_open(struct block_map *m, const struct family *f, const cJSON *config,
                   const struct graph *stored, struct error *e) HASTEN_CHECKED;
void block_map_close(struct block_map *m);

/* The name itself where it belongs to no block. NULL with an error: no memory. */
const char *block_map_old(const struct block_map *m, const char *name, struct arena *a, struct error *e);
const char *block_map_new(const struct block_map *m, const char *name, struct arena *a, struct error *e);

#endif
