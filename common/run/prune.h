/* Pruning a denoiser without training: heads, neurons and inner channels are cut, branches are left out, and
 * what is left is refitted by least squares (specs: OBS-Diff, LD-Pruner, EfficientFormer's loop;
 * method/obs.h, method/prune_choose.h).
 *
 *     struct prune_settings o = {.score = PRUNE_JOINT, .images = 16, .calls = 10, .packages = 2, .speedup
 * = 1.15}; struct prune_report r; if (prune_model(&model, &backend, &o, &r, e) < 0) ...          // the model
 * is smaller now
 *     ... r.before_ms, r.predicted_ms, r.after_ms, r.quality ...
 *     prune_report_free(&r);
 *
 * Parts go in packages: each package is scored on the network as it is by then, chosen, cut and refitted.
 * Calibration uses seeds from CALIBRATION_SEED, validation from VALIDATION_SEED. With milliseconds from a
 * profile the same settings give the same bytes; without one they are measured, which may differ. */
#ifndef HASTEN_RUN_PRUNE_H
#define HASTEN_RUN_PRUNE_H

#include "common/run/measure.h"

enum prune_score { PRUNE_JOINT, PRUNE_LATENT, PRUNE_MAGNITUDE, PRUNE_RANDOM };

struct prune_settings {
    enum prune_score score;
    int compensate;
    int images, calls;         /* of calibration: seeds and sampling steps */
    int packages;              /* scored anew after each */
    int validate;              /* validation images, 0: none */
    uint64_t seed;             /* of PRUNE_RANDOM */
    double speedup;            /* of one call, or */
    double max_ms, max_bytes;  /* the most that may stay, or */
    double min_psnr;           /* (none of these) as much as keeps this PSNR on the validation images, or */
    const char *const *remove; /* branches that are to go, by pattern */
    int removes;
    const char *const *keep; /* parts that stay as they are, by pattern */
    int keeps;
    const char *profile; /* milliseconds of the model's kernels; NULL: measured */
    int force;           /* else more than 30 % of the milliseconds is refused with HASTEN_EGATE */
    void (*progress)(void *context, const char *what, double done, double total);
    void (*note)(void *context, const char *text); /* warnings and estimates of time */
    void *context;
};

struct prune_part {
    char name[128], what[64]; /* "transformer_blocks.3.ff.net.2", "768 -> 576 neurons" */
    double ms, bytes, damage; /* saved as predicted; joint or other score by itself */
};

struct prune_report {
    struct prune_part *part;
    int parts;
    double before_ms, predicted_ms, after_ms; /* one call of one image; after: measured beside before */
    double before_bytes, after_bytes;         /* of the denoiser's weights */
    int validated, steps;
    struct quality quality, plain; /* of what was kept; plain: without the refit */
    int compensated;               /* the refit was kept */
};

int prune_model(struct model *m, struct backend *b, const struct prune_settings *o, struct prune_report *r,
                struct error *e) HASTEN_CHECKED;
void prune_report_free(struct prune_report *r);

#endif
