/* Inside common/run: the engine. engine.c has classes of nodes, actions and plans, engine_memory.c what lies
 * outside the arena and the way of values between the host and the backend. */
#ifndef HASTEN_RUN_ENGINE_INSIDE_H
#define HASTEN_RUN_ENGINE_INSIDE_H

#include "common/run/engine.h"

enum { MAX_INPUTS = 8, MAX_PLANS = 256 };

struct bound {
    int node;
    const float *data;
    int64_t call_stride, image_stride;
};

struct action {
    int declared;
    unsigned char *served;
    struct place *correct;  /* per node, buffer indices into engine->given */
    unsigned char *anchors; /* per node: values that its predictor reads */
    unsigned char *wide;    /* per node, or NULL */
};

struct compiled {
    int action, first, count;
    unsigned char *stores; /* per node */
    struct plan *plan;
};

enum { CLASS_CONSTANT, CLASS_HOISTED, CLASS_STEP };

struct engine {
    const struct graph *g;
    const struct weights *w;
    struct backend *b; /* the weights' */
    struct engine_options o;
    int sample; /* the latent input's node, -1: none */
    unsigned char *class_of;
    unsigned char *hoist_keep; /* constant or hoisted, and read by a step or an output */
    unsigned char *cached;     /* served by some action: how many values are kept */
    int *base;                 /* per node: what is stored is the difference to this node; -1: the value */
    unsigned char *output;     /* outputs that steps compute */
    struct bound input[MAX_INPUTS];
    int inputs;
    struct action action[ENGINE_MAX_ACTIONS];
    struct buffer *given; /* buffers outside the arena, for all plans */
    int given_count, given_capacity;
    struct place *given_place; /* of hoisted, constant, cached and input nodes; image 0 */
    struct place *older_place; /* of cached nodes of which two values are kept: the one before */
    int *stored;               /* [images][node]: how often it was stored since the restart */
    size_t *turn;              /* [2 * node]: bytes to its newest and its older slot */
    int rows;                  /* hoisted rows of one call: images, or 1 */
    int chunk, chunk_first;    /* calls in memory; -1: none */
    struct plan *hoist, *constant;
    struct compiled plan[MAX_PLANS];
    int plans;
    size_t space_size[SPACES];
    struct plan_memory memory;
    float **host; /* per node, where the host cannot read the backend's memory: the latent input, outputs */
    float *host_input;
    const struct plan *last;
    int ready, generation;
};

/* engine_memory.c */
int engine_lay_out(struct engine *x, struct error *e);
int engine_allocate(struct engine *x, enum space space, struct error *e);
int engine_make_host_copies(struct engine *x, struct error *e);
int engine_give_table(struct engine *x, struct place *at, const float *table, int rows, int channels,
                      struct error *e);
/* Point every ring of a run of these images to the slots it writes or reads; note what it has stored. */
int engine_turn(struct engine *x, const struct compiled *c, struct error *e);
void engine_note_stored(struct engine *x, const struct compiled *c);
void engine_release_memory(struct engine *x);
/* Values of the inputs for the calls from first_call on; latents of some images; values that the last run
 * gave. */
int engine_fill_inputs(struct engine *x, int first_call, struct error *e);
int engine_put_sample(struct engine *x, int first, int count, struct error *e);
int engine_get_values(struct engine *x, int count, struct error *e);

#endif
