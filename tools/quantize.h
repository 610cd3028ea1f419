/* Inside tools/: the parts of quantize. */
#ifndef HASTEN_TOOLS_QUANTIZE_H
#define HASTEN_TOOLS_QUANTIZE_H

#include "common/base/json.h"
#include "common/run/quantizer.h"
#include "tools/parts.h"

struct layer {
    int node, format, twin; /* twin: a layer before with the same tensor, -1: none */
    int shared;             /* its tensor is another layer's too */
    struct stored_layer stored;
    size_t before;
    double ms_before, ms_after;
};

struct work {
    struct tool_run *t;
    struct model m;
    struct spill *spill; /* what is made, until it is written */
    cJSON *loras; /* what was merged: [{"id", "scale"}], or NULL */
    struct graph *g;
    struct statistics statistics;
    int calibrated;
    int64_t calibrate; /* images that are asked for */
    struct layer *layer;
    signed char *rotated; /* [nodes]: what the quantizer chose */
    int layers, kept;
    char id[HASH_HEX];
    struct quality quality;
    int validated, validate, steps, batch;
    double call_ms[2]; /* of a network call, before and after */
    double predicted_ms;
    cJSON *budget;    /* predicted and measured, or NULL */
    struct buf notes; /* lines of text for the report */
};

struct quantize_limits {
    double bytes, ms, psnr; /* 0: none */
    int type;               /* FORMAT_ that was asked for */
    int batch;              /* of a network call */
    int separate;           /* 1: without what errors of layers do together */
};

/* Formats for all layers, made already: w->layer[].format and .stored. reference: final latents of the
 * validation seeds, `size` numbers each. HASTEN_EGATE: unreachable, and what is nearest. */
int quantize_budget(struct work *w, const struct quantize_limits *limits, const struct quantizer *q,
                    const struct measure *m, const float *reference, int64_t size,
                    struct error *e) HASTEN_CHECKED;

/* Statistics of w->calibrate images, in a file of p->calibration as well; or one part of them, to -o. */
int quantize_calibrate(struct work *w, const struct parts *p, const struct measure *m,
                       struct error *e) HASTEN_CHECKED;
int quantize_measure_part(struct work *w, const struct shard *shard, const struct measure *m,
                          struct error *e) HASTEN_CHECKED;

/* Merge FILE:SCALE (without a scale: 1) one after the other; sets w->loras. */
int quantize_loras(struct work *w, const struct tool_list *list, struct error *e) HASTEN_CHECKED;

extern const char *const quantize_skip_list[];

int quantize_report(struct work *w, struct error *e);

#endif
