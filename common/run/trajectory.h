/* A trajectory: noise to latents through sampler, network, guidance and cache schedule.
 *
 *     struct trajectory_options o = {.graph = g, .weights = w, .sampler = &config, .model = &model.sampler,
 *                                    .run = {.steps = 50}, .batch = 8, .guidance = 4};
 *     struct trajectory *x = trajectory_open(&o, e);
 *     trajectory_run(x, images, count, latents, e);      // latents [count][channels][height][width]
 *     trajectory_close(x);
 *
 * Images do not influence each other: image i with seed s gives the same bits in any batch. */
#ifndef HASTEN_RUN_TRAJECTORY_H
#define HASTEN_RUN_TRAJECTORY_H

#include "common/file/model.h"
#include "common/run/engine.h"
#include "common/run/sampler.h"
#include "common/run/cache_schedule.h"

/* Sees every network call; the values stay valid until the next. NULL where not wanted. */
struct trajectory_watch {
    void *context;
    /* Before call `call`: the latents that it starts from, [count][size], which may be replaced. */
    int (*state)(void *context, int call, float *x, int count, struct error *e);
    /* The latents after call `call`: [count][size]. */
    int (*latents)(void *context, int call, const float *x, int count, struct error *e);
    /* After the network ran for rows [first, first + rows) of the engine: taps may be read with engine_value.
     */
    int (*network)(void *context, const struct engine *g, int call, int first, int rows, struct error *e);
    void (*progress)(void *context, int call, int calls);
};

struct trajectory_options {
    const struct graph *graph;     /* inferred at the wanted size */
    const struct weights *weights; /* on the backend that it runs on */
    const struct sampler_config *sampler;
    const struct model_sampler *model;
    struct sampler_run run;
    int batch;                             /* most images at once */
    double guidance;                       /* 1: none */
    const struct cache_schedule *schedule; /* bound to the graph, or NULL */
    const unsigned char *want;             /* nodes to keep readable for watch->network, or NULL */
    const struct trajectory_watch *watch;
    int single_generator;
    size_t hoist_bytes;
};

struct trajectory_image {
    uint64_t seed;
    int label;        /* of a conditional model */
    int has_negative; /* 1: guidance leads away from class `negative` instead of the null class */
    int negative;
    const float *noise; /* the start instead of drawing it, or NULL */
};

struct trajectory;

struct trajectory *trajectory_open(const struct trajectory_options *o, struct error *e) HASTEN_CHECKED;
void trajectory_close(struct trajectory *t);
int trajectory_run(struct trajectory *t, const struct trajectory_image *images, int count, float *latents,
                   struct error *e) HASTEN_CHECKED;

/* Network passes of one image and stream since trajectory_open. tried: served ones that a trigger on a node
 * ran to see that value, and then did not take. */
struct trajectory_passes {
    int64_t computed, served, tried;
};
struct trajectory_passes trajectory_passes(const struct trajectory *t);
/* The largest batch for this schedule: with a trigger no more than TRIGGER_IMAGES. */
int trajectory_batch(const struct cache_schedule *s, int batch);

int trajectory_calls(const struct trajectory *t);
int64_t trajectory_size(const struct trajectory *t); /* numbers of one latent */
struct shape trajectory_shape(const struct trajectory *t);
struct engine *trajectory_engine(const struct trajectory *t);
size_t trajectory_bytes(const struct trajectory *t);

/* Between channels-last [rows][channels] and channels-first. */
void to_channels_first(const float *in, float *out, int64_t rows, int channels, int take);
void to_channels_last(const float *in, float *out, int64_t rows, int channels);

#endif
