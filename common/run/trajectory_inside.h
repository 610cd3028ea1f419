/* Inside common/run: a trajectory. trajectory.c makes the steps on the host, trajectory_device.c leaves all
 * of them to the backend. */
#ifndef HASTEN_RUN_TRAJECTORY_INSIDE_H
#define HASTEN_RUN_TRAJECTORY_INSIDE_H

#include "common/base/torch_random.h"
#include "common/run/trajectory.h"

struct device_run;

struct trajectory {
    struct trajectory_options o;
    struct engine *engine;
    struct sampler *sampler;
    int calls, output, channels, out_channels, guided;
    int uncond_stored; /* an unconditional pass has run and filled its caches */
    struct shape shape;
    int64_t size;
    float *times;                                      /* [calls] */
    unsigned char *guide_at;                           /* [calls] */
    float *labels;                                     /* [rows] */
    float *x, *input, *eps, *variance, *noise, *other; /* [batch][size] */
    struct torch_random *random;
    struct device_run *device; /* NULL: the host makes the steps */
};

/* The network runs of one call: stream 0 conditional, stream 1 unconditional, or one run for both. The
 * unconditional pass computes everything the first time it runs. */
struct call_runs {
    int guided, joint, action[2];
};
struct call_runs trajectory_runs(const struct trajectory *t, int call, int count);
/* Noise of each image from its own generator. */
void trajectory_draw(struct trajectory *t, float *x, int count);

/* Leaves t->device NULL where the backend, the sampler or what is watched does not allow it. */
int device_open(struct trajectory *t, struct error *e) HASTEN_CHECKED;
void device_close(struct trajectory *t);
/* After the start: t->x is the noise, without the sampler's first sigma. 0: latents are there, 1: some value
 * was not finite. */
int device_run(struct trajectory *t, int count, float *latents, struct error *e) HASTEN_CHECKED;
size_t device_bytes(const struct trajectory *t);

#endif
