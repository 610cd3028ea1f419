/* A cache schedule: which action each network call of a trajectory takes. hasten-schedule(5) has the file.
 *
 *     struct cache_schedule s;
 *     if (cache_schedule_read(&s, path, e) < 0) ...
 *     if (cache_schedule_bind(&s, graph, e) < 0) ...        // names become nodes
 *     cache_schedule_free(&s);
 *
 * Action 0 computes everything. Another action serves nodes from what the last calls that computed them
 * stored. Each may be predicted per channel: value = a[call] * newest + a2[call] * older + bias[call]; reuse,
 * corrections, Taylor and least squares are tables of this one form. A node with a base is stored as its
 * difference to the base's value. Streams: with guidance the conditional pass (0) and the unconditional one
 * (1) have actions of their own. */
#ifndef HASTEN_RUN_CACHE_SCHEDULE_H
#define HASTEN_RUN_CACHE_SCHEDULE_H

#include "common/file/container.h"
#include "common/run/engine.h"
#include "common/run/trigger.h"

enum { SCHEDULE_MAX_ACTIONS = 33, SCHEDULE_STREAMS = 2 };

struct cache_action {
    char *name;
    int serves;
    char **serve;    /* node names */
    char **base;     /* [serves] node names, or NULL: the value itself is stored */
    float **correct; /* [serves] -> [calls][anchors + 1][channels], or NULL */
    int *anchors;    /* of each table: 1 or 2 */
    int *channels;
    int wide;       /* layers read floats where their format rounds them to int8: more activation bits */
    int difference; /* of the unconditional stream alone: its output is that of the conditional pass of the
                     * same call plus what the outputs differed by at the last calls that computed both */
    unsigned char *served;              /* per node, after cache_schedule_bind */
    struct engine_predictor *predictor; /* per node, after cache_schedule_bind */
};

struct cache_schedule {
    int calls, steps, height, width;
    double guidance;
    char model[HASH_HEX], sampler[32];
    char id[HASH_HEX]; /* of the file that it was read from; else empty */
    struct cache_action action[SCHEDULE_MAX_ACTIONS];
    int actions;
    int *choice[SCHEDULE_STREAMS]; /* [calls] action indices; with a trigger: what may be served */
    struct trigger_rule trigger;   /* signal TRIGGER_NONE: there is none */
    cJSON *claims;                 /* or NULL */
};

/* An empty one with action 0 ("full") and all calls on it. */
int cache_schedule_new(struct cache_schedule *s, int calls, struct error *e) HASTEN_CHECKED;
/* Add an action that serves these nodes; gives its index. */
int cache_schedule_add(struct cache_schedule *s, const char *name, const char *const *serve, int serves,
                       struct error *e) HASTEN_CHECKED;
/* Serve number i of an action as the difference to this node (copied). */
int cache_schedule_base(struct cache_schedule *s, int action, int serve, const char *base,
                        struct error *e) HASTEN_CHECKED;
int cache_schedule_read(struct cache_schedule *s, const char *path, struct error *e) HASTEN_CHECKED;
int cache_schedule_write(const struct cache_schedule *s, const char *path, const cJSON *provenance,
                         struct error *e) HASTEN_CHECKED;
/* The first n calls that compute everything do it with more activation bits, in an action of their own
 * ("full, wide"). */
int cache_schedule_widen(struct cache_schedule *s, int n, struct error *e) HASTEN_CHECKED;
/* The action that predicts the unconditional stream's output from the conditional one's; 0: there is none. */
int cache_schedule_difference(const struct cache_schedule *s);
/* The node that all served nodes of an action have for their base; -1: none. */
int cache_action_base(const struct cache_action *a, const struct graph *g);
int cache_schedule_bind(struct cache_schedule *s, const struct graph *g, struct error *e) HASTEN_CHECKED;
void cache_schedule_free(struct cache_schedule *s);

#endif
