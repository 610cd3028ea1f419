/* Mixed precision on a real model: every layer in every candidate format, what each costs, and what each
 * alone does to the network's output on fixed inputs from the exact model's trajectories (allocate.h takes it
 * from there).
 *
 *     struct mixed x = {.measure = &m, .quantizer = &q, .layers = n, .node = nodes, .formats = 3,
 *                       .format = {FORMAT_PLAIN, FORMAT_W8A8, FORMAT_W4A8}, .allowed = allowed};
 *     mixed_open(&x, progress, context, e);
 *     struct allocation a = mixed_allocation(&x);
 *     ... choice ...
 *     mixed_change(&x, choice, &relative, e);      // of the network's output, really run
 *     mixed_latents(&x, choice, &latents, e);      // final latents of the validation seeds
 *     mixed_close(&x);
 *
 * The inputs: PROBE_CALLS network calls, evenly spread, of the trajectories of PROBE_IMAGES calibration
 * images. */
#ifndef HASTEN_RUN_MIXED_H
#define HASTEN_RUN_MIXED_H

#include "common/method/allocate.h"
#include "common/run/quantizer.h"

enum { PROBE_CALLS = 5, PROBE_IMAGES = 4, SKETCH = 2048 };

struct probe {
    int calls, images;
    int64_t in_size, out_size; /* of an image */
    float *samples;            /* [calls][images][in_size] */
    float times[PROBE_CALLS], labels[PROBE_IMAGES];
    float *exact; /* [calls][images][out_size]: of the exact model */
    double power; /* its sum of squares */
};

struct mixed {
    const struct measure *measure;
    const struct quantizer *quantizer;
    int layers, formats;
    const int *node;
    int format[ALLOCATE_FORMATS]; /* the first is FORMAT_PLAIN */
    const unsigned char *allowed; /* [layers][formats] */
    int batch;                    /* of the timed call */
    /* made by mixed_open: */
    struct stored_layer *stored; /* [layers][formats] */
    struct graph *graph[ALLOCATE_FORMATS];
    struct weights *weights[ALLOCATE_FORMATS];
    double *bytes, *ms; /* [layers][formats] */
    double call_ms;     /* of the exact model, all of it */
    float *sketch;      /* [layers][formats][SKETCH] */
    struct probe probe;
};

int mixed_open(struct mixed *x, void (*progress)(void *context, int done, int of), void *context,
               struct error *e) HASTEN_CHECKED;
void mixed_close(struct mixed *x);
struct allocation mixed_allocation(const struct mixed *x);
/* Relative L2 change of the network's outputs, predicted (by J) and really run. */
double mixed_predicted(const struct mixed *x, const int *choice);
int mixed_change(const struct mixed *x, const int *choice, double *change, struct error *e) HASTEN_CHECKED;
int mixed_latents(const struct mixed *x, const int *choice, float **latents, struct error *e) HASTEN_CHECKED;

#endif
