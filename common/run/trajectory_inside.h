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
    int difference;    /* the schedule's action that predicts the unconditional output; 0: none */
    int differences;   /* how many were kept */
    float *kept[2];    /* [batch][size] what the streams' outputs differed by: the last, the one before */
    struct shape shape;
    int64_t size;
    float *times;                                      /* [calls] */
    unsigned char *guide_at;                           /* [calls] */
    float *labels;                                     /* [rows] */
    float *x, *input, *eps, *variance, *noise, *other; /* [batch][size] */
    struct torch_random *random;
    struct trigger *trigger; /* NULL: the schedule says it all */
    unsigned char *serve;    /* [batch] the trigger's decisions */
    unsigned char *want;     /* nodes that stay readable */
    float *probe;            /* [batch] values of the trigger's node */
    int rest;                /* the action that computes what is behind that node; 0: none */
    int64_t probe_size;
    struct trajectory_passes passes;
    struct device_run *device; /* NULL: the host makes the steps */
};

/* The network runs of one call: stream 0 conditional, stream 1 unconditional, or one run for both. The
 * unconditional pass computes everything the first time it runs. */
struct call_runs {
    int guided, joint, action[2];
};
struct call_runs trajectory_runs(const struct trajectory *t, int call, int count);
/* Network rows [first, first + rows) with this action, on the host's steps. Rows below `count` are
 * conditional: their first `channels` go to eps, the others to variance; those from there on are
 * unconditional and go to other. */
int trajectory_network(struct trajectory *t, int call, int action, int first, int rows, int count,
                       struct error *e) HASTEN_CHECKED;
/* Trigger, decisions and what must stay readable, before the engine is opened. */
int triggered_open(struct trajectory *t, struct error *e) HASTEN_CHECKED;
/* The action `rest`, when the engine has the schedule's. */
int triggered_actions(struct trajectory *t, struct error *e) HASTEN_CHECKED;
/* One call: cond and uncond (-1: none) are the actions that may serve. */
int triggered_predict(struct trajectory *t, int call, int cond, int uncond, int count,
                      struct error *e) HASTEN_CHECKED;
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
