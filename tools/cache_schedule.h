/* Inside cache-schedule: what its files share. */
#ifndef HASTEN_TOOLS_CACHE_SCHEDULE_H
#define HASTEN_TOOLS_CACHE_SCHEDULE_H

#include "common/run/cache_schedule.h"
#include "common/run/search.h"
#include "tools/parts.h"
#include "tools/tool.h"

struct schedule_options {
    int64_t steps, interval, calibrate, validate, polish, wide, rounds;
    const char *sampler, *profile, *verify, *import, *action, *svg;
    double guidance, speedup, max_ms, max_error;
    size_t max_cache_bytes;
    int solver, predictor, correct, gain, front, bits, streams;
    struct parts parts;
};

struct work {
    const struct schedule_options *o;
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct sampler_config config;
    struct weights *weights;
    struct measure measure;
    struct candidate list[CANDIDATES];
    int candidates, wides;           /* the wide ones are behind the others */
    double ms[CANDIDATES + 1];       /* of one call: full, then each action */
    double full_ms, wide_ms, one_ms; /* one: of the conditional pass alone */
    struct search x;
    struct front_point *front;
    int points;
    struct cache_schedule s;         /* of --verify and --import */
    struct trajectory_passes passes; /* of one image, scheduled */
};

/* Prices of all actions, w->ms. The profile must have the first `must` of them; what else it lacks (masks of
 * bac's or another tool's own, bits in a profile of before) is timed here, relative to the whole call. */
int schedule_price_actions(struct work *w, int must, struct error *e);
/* The conditional pass of a full call alone, w->one_ms; a profile's milliseconds go with the images. */
int schedule_price_one(struct work *w, struct error *e);

/* The name of a schedule's action, or of all of them. */
const char *schedule_action_name(const struct cache_schedule *s);

/* Time and measure a schedule, store and print its claims; write: the file as well. */
int schedule_report(struct work *w, struct trial *t, struct cache_schedule *s, int write, struct error *e);

#endif
