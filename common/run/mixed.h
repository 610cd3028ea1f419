/* Mixed precision on a real model: every layer in every candidate format, what each costs, and what each
 * alone does to the final latents of a few images (allocate.h takes it from there).
 *
 *     struct mixed x = {.measure = &m, .quantizer = &q, .layers = n, .node = nodes, .formats = 3,
 *                       .format = {FORMAT_PLAIN, FORMAT_W8A8, FORMAT_W4A8}, .allowed = allowed};
 *     mixed_open(&x, progress, context, e);
 *     struct allocation a = mixed_allocation(&x);
 *     ... choice ...
 *     mixed_change(&x, choice, &relative, e);      // of those latents, really run
 *     mixed_latents(&x, choice, &latents, e);      // final latents of the validation seeds
 *     mixed_close(&x);
 *
 * The images: MIXED_IMAGES of seeds from ALLOCATION_SEED on, in trajectories of MIXED_STEPS steps. Latents
 * count and not single outputs of the network, since later calls enlarge what earlier ones do wrong and make
 * up for it, layer by layer differently: formats chosen by outputs left as much error at the same bytes, or
 * 15 to 60 % more, while trajectories of 5 steps were as good as ones of 20
 * (scripts/bench/results/quantizers.md). */
#ifndef HASTEN_RUN_MIXED_H
#define HASTEN_RUN_MIXED_H

#include "common/method/allocate.h"
#include "common/run/quantizer.h"

enum { MIXED_IMAGES = 8, MIXED_STEPS = 5, MIXED_SKETCH = 1024 };

struct mixed {
    const struct measure *measure;
    const struct quantizer *quantizer;
    int layers, formats;
    const int *node;
    int format[ALLOCATE_FORMATS]; /* the first is FORMAT_PLAIN */
    const unsigned char *allowed; /* [layers][formats] */
    int batch;                    /* of the timed call */
    int separate;                 /* 1: without terms between layers */
    /* made by mixed_open: */
    struct stored_layer *stored; /* [layers][formats] */
    struct graph *graph[ALLOCATE_FORMATS];
    struct weights *weights[ALLOCATE_FORMATS];
    double *bytes, *ms; /* [layers][formats] */
    double call_ms;     /* of the exact model, all of it */
    float *exact;       /* [MIXED_IMAGES][size]: latents of the exact model */
    int64_t size;
    int sketch;                  /* numbers that are kept of a change of an image */
    float *change;               /* [layers][formats][MIXED_IMAGES][sketch] */
    double weight[MIXED_IMAGES]; /* of the images */
    double *products, kept;      /* of changes; share of terms between layers (allocate.h) */
};

int mixed_open(struct mixed *x, void (*progress)(void *context, int done, int of), void *context,
               struct error *e) HASTEN_CHECKED;
void mixed_close(struct mixed *x);
struct allocation mixed_allocation(const struct mixed *x);
/* Relative L2 change of those latents, predicted (by J) and really run. */
double mixed_predicted(const struct mixed *x, const int *choice);
int mixed_change(const struct mixed *x, const int *choice, double *change, struct error *e) HASTEN_CHECKED;
int mixed_latents(const struct mixed *x, const int *choice, float **latents, struct error *e) HASTEN_CHECKED;

#endif
