/* Inside the tool profile: what its modes share. profile.c has options and the ordinary run, profile_text.c
 * and profile_json.c say it, profile_modes.c has --plan, --sweep and --compare,
 * profile_predict.c has --predict and --learn. */
#ifndef HASTEN_TOOLS_PROFILE_H
#define HASTEN_TOOLS_PROFILE_H

#include "common/file/model.h"
#include "common/run/actions.h"
#include "common/run/activations.h"
#include "common/run/launch.h"
#include "common/run/measure.h"
#include "common/run/predict.h"
#include "common/run/roofline.h"
#include "tools/tool.h"

enum { FORMAT_TABLE, FORMAT_AS_JSON, FORMAT_CSV, FORMAT_MD };
enum { SWEEP_BATCH = 1, SWEEP_THREADS, SWEEP_SIZE };

struct profile_options {
    int64_t batch, repeat, steps, activations;
    int format, actions, plan, sweep, by_block;
    double guidance;
    const char *schedule, *size, *compare, *trace, *svg, *predict;
    struct tool_list learn;
    int merge;
};

struct profile {
    struct tool_run *t;
    const struct profile_options *o;
    struct model m;
    struct graph *g;
    struct weights *weights;
    struct candidate list[CANDIDATES];
    int candidates;
    struct timed *timed;
    struct plan *plan;
    double full, spread, *kernel, sum; /* milliseconds: of the call, of its kernels, their sum */
    double *kernel_spread;             /* behind the kernels' milliseconds */
    double ms[CANDIDATES], action_spread[CANDIDATES];
    struct roofline roof;
    struct cpu_log log;
    struct launch_account launch;
    struct launch_trace trace;                    /* of a device */
    struct kernel_sample sample[PREDICT_SAMPLES]; /* of this machine */
    int samples;
    int height, width; /* of the latent */
    struct activations activations;
};

double percent_of_peak(const struct profile *p, const struct kernel_call *c, double ms);
int profile_text(const struct profile *p, struct buf *b, struct error *e);
cJSON *profile_json(const struct profile *p, struct error *e);

/* Each opens the model on its own and reports. */
int profile_plan(struct profile *p, const char *path, struct error *e);
int profile_sweep(struct profile *p, const char *path, struct error *e);
int profile_compare(struct profile *p, const char *path, struct error *e);

int profile_predict(struct profile *p, const char *path, struct error *e);
int profile_learn(struct profile *p, struct error *e);

/* --size, or the model's. */
int profile_read_size(struct profile *p, const struct model *m, struct error *e);

#endif
