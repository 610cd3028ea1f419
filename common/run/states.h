/* What a network is asked during trajectories of calibration images: latents, times, labels. Other networks
 * and variants are then asked the same, each call by itself, so that their answers can be compared without a
 * whole trajectory for each.
 *
 *     struct states s;
 *     states_record(&s, &measure, e);                        // steps, count, seed of the measure
 *     struct state_engine *x = states_open(&s, graph, weights, want, e);   // declare actions, then
 *     states_ready(x, e);
 *     for (int call = 0; call < s.calls; call++)
 *         for (int first = 0; first < s.images; first += s.batch)
 *             states_run(x, call, first, action, e);         // then engine_value(x->engine, node)
 *     states_close(x);
 *     states_free(&s);
 *
 * Where a call is guided, its rows are the images' conditional passes, then their unconditional ones. */
#ifndef HASTEN_RUN_STATES_H
#define HASTEN_RUN_STATES_H

#include "common/run/measure.h"

struct states {
    int images, calls, batch; /* batch: images of one run; the last may have fewer */
    int held;                 /* images in the arrays; a copy may use some of them only: states_part */
    int stride;               /* each batch is asked at every stride-th call only, in turns; 0: at all */
    int64_t size;             /* of a latent, channels last */
    float *sample;            /* [calls][held][size] */
    float *time;              /* [calls] */
    unsigned char *guided;    /* [calls] */
    float *label;             /* [held] */
    float null_label;
    double guidance;
};

int states_record(struct states *s, const struct measure *m, struct error *e) HASTEN_CHECKED;
void states_free(struct states *s);
/* A view of images [first, first + count), not to be freed. */
struct states states_part(const struct states *s, int first, int count);
/* Is the batch from image `first` on asked at this call? */
int states_takes(const struct states *s, int call, int first);

struct state_engine {
    const struct states *s;
    const struct graph *graph;
    struct engine *engine;
    float time, *label;
    int output;
    int call, first; /* of the last run with action 0 */
};

/* want: nodes to read afterwards, or NULL. */
struct state_engine *states_open(const struct states *s, const struct graph *g, const struct weights *w,
                                 const unsigned char *want, struct error *e) HASTEN_CHECKED;
int states_ready(struct state_engine *x, struct error *e) HASTEN_CHECKED;
void states_close(struct state_engine *x); /* NULL is fine */
/* Rows of a run: images, twice as many where guided. */
int states_rows(const struct states *s, int call, int first, int *images);
/* Another action than 0 needs action 0 at the same place before. */
int states_run(struct state_engine *x, int call, int first, int action, struct error *e) HASTEN_CHECKED;
/* The prediction of the last run, guidance applied: out[images][size], channels last. */
void states_prediction(const struct state_engine *x, float *out);

#endif
