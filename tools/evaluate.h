/* Inside the tool evaluate: sets of pictures or latents, what is measured on them, and parts of a
 * measurement. */
#ifndef HASTEN_TOOLS_EVALUATE_H
#define HASTEN_TOOLS_EVALUATE_H

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/shard.h"
#include "common/image/pixels.h"
#include "tools/tool.h"

/* Pictures [count][channels][height][width]; bytes as 0 .. 255. Of a set of `total` those of one shard. */
struct set {
    float *x;
    int64_t count, size, total;
    double range;                          /* max - min of latents, over the whole set */
    int64_t *index;                        /* [count] their places in the whole set */
    int channels, height, width, pictures; /* pictures: from PNG files */
    char **name;
    double *mean, *covariance; /* a stored reference of features */
    int dim;
    int64_t stored_count;
};

/* A folder of PNG files, a samples file or stored statistics. s must be empty; free it in every case. */
int set_read(struct set *s, const char *path, const struct shard *shard, struct error *e) HASTEN_CHECKED;
void set_free(struct set *s);

/* Everything that the report is made of, image by image: whatever split it was measured in, the sums are
 * taken over this in the order of the images. */
struct measured {
    int64_t total, count; /* images of the whole set; of them measured */
    int64_t *index;       /* [count] */
    int paired, has_ssim, dim;
    double *psnr, *ssim, *rel_l2, *identical; /* [count] each where paired, else NULL */
    float *got, *reference;                   /* [count][dim] features, or NULL */
    char model[HASH_HEX];                     /* content id of the model of the features */
};

/* b against a (a->mean: a stored reference, nothing is paired). features: a model file or NULL. */
int measure(struct measured *m, struct tool_run *t, const struct set *a, const struct set *b,
            const char *features, struct error *e) HASTEN_CHECKED;
void measured_free(struct measured *m);

/* A part as a file of kind "measurement", and all parts of one measurement as the whole. */
int part_write(const struct measured *m, const char *path, struct team *team, struct error *e) HASTEN_CHECKED;
int parts_merge(struct measured *m, const char *const *path, int parts, struct error *e) HASTEN_CHECKED;

#endif
