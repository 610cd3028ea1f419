/* Schedules of other tools: a JSON file with the name of a method and its settings, under the names that its
 * authors use, becomes a schedule for this graph. hasten-schedule(5) lists the methods.
 *
 *     struct cache_schedule s;
 *     if (foreign_read(path, graph, calls, &s, e) < 0) ...    // {"method": "magcache", "mag_ratios": [...]}
 *     cache_schedule_free(&s);
 *
 * What a schedule can say beforehand becomes a list of actions (DeepCache, FORA, cache-dit's step masks,
 * routers of Learning-to-Cache and HarmoniCa, MagCache, ProfilingDiT); what has to be decided while it runs
 * becomes a trigger (TeaCache, EasyCache, DBCache). One method a file: foreign_METHOD.c. */
#ifndef HASTEN_RUN_FOREIGN_H
#define HASTEN_RUN_FOREIGN_H

#include "common/run/cache_schedule.h"

struct foreign {
    const char *path;
    const struct graph *g;
    const cJSON *json;
    struct cache_schedule *s; /* all calls on action 0, and no other action yet */
};

/* *s gets calls, actions, streams and trigger; model, sampler, steps, guidance and size are left to the
 * caller. HASTEN_EFILE: an unknown method, a setting that is missing, wrong or for another number of calls or
 * network. */
int foreign_read(const char *path, const struct graph *g, int calls, struct cache_schedule *s,
                 struct error *e) HASTEN_CHECKED;

int foreign_deepcache(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_fora(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_cache_dit(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_router(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_magcache(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_teacache(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_easycache(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_dbcache(struct foreign *f, struct error *e) HASTEN_CHECKED;
int foreign_profilingdit(struct foreign *f, struct error *e) HASTEN_CHECKED;

/* ---- what the methods share: actions to serve; each gives the action's index ---- */

/* A U-Net's branch, 0 the outermost (DeepCache's cache_branch_id). */
int foreign_serve_branch(struct foreign *f, int branch, struct error *e) HASTEN_CHECKED;
/* The branches (attentions and feed-forwards) of all transformer blocks, as values. */
int foreign_serve_blocks(struct foreign *f, struct error *e) HASTEN_CHECKED;
/* The blocks [first, blocks - last) as the difference that they make. *base: the node before them. */
int foreign_serve_span(struct foreign *f, int first, int last, int *base, struct error *e) HASTEN_CHECKED;
/* By the key "serve": "branch" (with "cache_branch_id"), "blocks", "span" or "output"; without it the given
 * one in a transformer, and the outermost branch in a U-Net. */
int foreign_serve(struct foreign *f, const char *usual, struct error *e) HASTEN_CHECKED;

/* Serve call t by this action, in both streams. */
void foreign_set(struct foreign *f, int call, int action);
/* Serve all calls but the first `first` (at least one) and the last `last`. */
void foreign_set_between(struct foreign *f, int first, int last, int action);

#endif
