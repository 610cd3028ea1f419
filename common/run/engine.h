/* The engine runs one component for a whole trajectory of network calls: it hoists what does not depend on
 * the latent, compiles one plan for each distinct action, and keeps the caches between calls.
 *
 *     struct engine_options o = {.images = 4, .calls = 50};
 *     struct engine *g = engine_open(graph, weights, &o, e);            // after graph_infer at the wanted
 * size; it runs where the weights are: engine_bind(g, "timestep", times, 1, 0, e);                       //
 * one a call, the same for all images engine_bind(g, "class_labels", labels, 0, 1, e);                  //
 * one an image engine_action(g, 1, served, e);                                   // action 0 is: compute
 * everything engine_ready(g, e); // memory is allocated here, and never later for (call ...) { fill
 * engine_sample(g); // [images][height][width][channels] engine_run(g, call, action[call], 0, 4, e); const
 * float *out = engine_value(g, output_node);              // same layout, until the next run
 *     }
 *     engine_close(g);
 *
 * An action is the set of nodes whose values are served from what earlier calls of this engine stored. A
 * call stores every value that some action serves and that it computes, so the caller must start with action
 * 0. Images may be run in groups (first, count) with different actions: each image has its own cache. Where
 * the last two values of a node are kept, images of one group must have stored it equally often:
 * engine_in_phase. */
#ifndef HASTEN_RUN_ENGINE_H
#define HASTEN_RUN_ENGINE_H

#include "common/run/plan.h"

enum { ENGINE_MAX_ACTIONS = 64 };

struct engine_options {
    int images;                /* most images in one run */
    int calls;                 /* network calls of a trajectory */
    size_t hoist_bytes;        /* for hoisted values; 0: 256 MiB */
    int per_image_time;        /* 1: images of one call may differ in timestep */
    int store_once;            /* 1: only action 0 stores, so that other actions all see what it left */
    const unsigned char *want; /* nodes whose values engine_value must give, beside the outputs; or NULL */
};

struct engine;

struct engine *engine_open(const struct graph *g, const struct weights *w, const struct engine_options *o,
                           struct error *e) HASTEN_CHECKED;
void engine_close(struct engine *g); /* NULL is fine */

/* Values of an input other than the latent: data[call * call_stride + image * image_stride + channel...]
 * (strides in elements; 0: the same). The data must stay; the input must exist. */
int engine_bind(struct engine *g, const char *input, const float *data, int64_t call_stride,
                int64_t image_stride, struct error *e) HASTEN_CHECKED;
int engine_has_input(const struct engine *g, const char *input);
/* What was bound there for one call and image: its first number (a time, a label). */
float engine_bound(const struct engine *g, const char *input, int call, int image);

/* How a served value is made of what is stored. The stored value may be the difference to the value of a base
 * node (of equal shape, before it in the graph), which is added again when it is served; that must be so in
 * all actions. */
struct engine_predictor {
    const float *table; /* [calls][anchors + 1][channels]: a scale for each of the last `anchors` stored
                         * values, newest first, then a bias. NULL: the newest as it is */
    int anchors;        /* 1 or 2 */
    int base;           /* -1: none */
};

/* Declare action `index` (1 ..): served has one entry per node, predictor too (NULL: all plain). Served nodes
 * must be steps of the graph. Before anything was stored twice, the older value is the newest. */
int engine_action(struct engine *g, int index, const unsigned char *served,
                  const struct engine_predictor *predictor, struct error *e) HASTEN_CHECKED;

/* Begin a new trajectory: nothing is stored. */
void engine_restart(struct engine *g);
/* May image a and image b be in one group? */
int engine_in_phase(const struct engine *g, int a, int b);

/* In action `index`, declared before, the layers with wide[node] = 1 read their input as floats although
 * their format rounds it to int8: another number of activation bits over the same weights, at no cost in
 * bytes. */
int engine_wide(struct engine *g, int index, const unsigned char *wide, struct error *e) HASTEN_CHECKED;

/* Lay out and allocate. engine_bytes tells how much afterwards (weights not counted). */
int engine_ready(struct engine *g, struct error *e) HASTEN_CHECKED;
size_t engine_bytes(const struct engine *g);
size_t engine_space_bytes(const struct engine *g, enum space space); /* of one space of plan.h */

float *engine_sample(struct engine *g); /* the latent input of all images, in the host's memory */
const float *engine_last_sample(const struct engine *g); /* the same, to look at */

/* Compile the plan for these images (done by engine_run as well, the first time). Call it for everything
 * before the first timed run. */
struct plan *engine_plan(struct engine *g, int action, int first, int count, struct error *e) HASTEN_CHECKED;

/* One network call for images [first, first + count). milliseconds: NULL or room for plan->calls numbers. */
int engine_run(struct engine *g, int call, int action, int first, int count, double *milliseconds,
               struct error *e) HASTEN_CHECKED;

/* An output's (or wanted node's) value after engine_run, in the host's memory, image `first` first; NULL when
 * that run did not make it. */
const float *engine_value(const struct engine *g, int node);

/* Run the call again kernel by kernel and name the first node whose result is not finite; NULL: none, or an
 * error. */
const char *engine_first_nonfinite(struct engine *g, int call, int action, int first, int count,
                                   struct error *e);

/* The parts of engine_run, for trajectories that stay in the backend's memory. Values for the calls of a
 * chunk are made by engine_hoist at its first call; engine_enqueue runs a plan on the latents that are at
 * engine_sample_address, [images], and leaves the output at engine_value_address, image `first` first; with
 * pretend it does all but run, to compile what will be needed. Addresses hold until engine_generation
 * changes.
 */
int engine_chunk(const struct engine *g); /* calls */
int engine_hoist(struct engine *g, int call, struct error *e) HASTEN_CHECKED;
int engine_enqueue(struct engine *g, int call, int action, int first, int count, int pretend,
                   struct error *e) HASTEN_CHECKED;
float *engine_sample_address(const struct engine *g);
const float *engine_value_address(const struct engine *g, int node);
int engine_generation(const struct engine *g);

/* Does the node's value depend on the latent? Only such nodes can be served. */
int engine_is_step(const struct engine *g, int node);

#endif
