/* Inside the tool generate: one run of a component (--once), pictures and where they are kept, jobs. */
#ifndef HASTEN_TOOLS_GENERATE_H
#define HASTEN_TOOLS_GENERATE_H

#include "common/base/shard.h"
#include "common/file/manifest.h"
#include "common/image/pixels.h"
#include "common/run/recipe.h"
#include "tools/tool.h"

/* Run a component once on the inputs in a safetensors file; write its outputs. */
int generate_once(struct tool_run *t, struct model *m, const char *component, const char *in,
                  struct error *e);

/* Latents [channels][height][width] to a picture, through the decoder where the model has one. One at a time:
 * the decoder's graph takes the size. */
struct painter;
struct painter *painter_open(struct tool_run *t, struct model *m, int height, int width, struct error *e);
void painter_close(struct painter *p);
int painter_paint(struct painter *p, const float *latent, struct image *picture, struct error *e);

/* Write one PNG whole or not at all; notes: its parameters, or NULL. */
int picture_write(const char *path, const struct image *picture, const char *parameters, struct error *e);

/* Where finished pictures are kept: the files, and a manifest that says what was made from what. */
struct gallery {
    struct manifest *manifest; /* or NULL */
    int no_metadata;
};

/* A picture of a gallery: its file, its name in the manifest, what it is to be. */
struct exhibit {
    const char *path, *name;
    const struct recipe *recipe;
    struct recipe_image image;
};

/* 1: the file is there and was made of exactly this (then the manifest gets its line if it lacks one); 0; -1.
 */
int gallery_has(struct gallery *g, const struct exhibit *x, struct error *e) HASTEN_CHECKED;
/* Write the picture, then its line. hash: NULL, or gets the file's XXH3-128. */
int gallery_put(struct gallery *g, const struct exhibit *x, const struct image *picture, char hash[HASH_HEX],
                struct error *e) HASTEN_CHECKED;

/* The manifest beside a folder or a file of jobs: BASE.manifest.jsonl, or BASE.manifest-I-of-N.jsonl. */
char *manifest_beside(const char *base, const struct shard *s, struct error *e) HASTEN_CHECKED;

/* --jobs: what the command line says for all of them. */
struct jobs_options {
    const char *path, *folder;
    struct recipe_wish wish;
    const int64_t *classes; /* for jobs that name none; or NULL */
    size_t class_count;
    int batch;
    struct shard shard;
    struct gallery *gallery;
};
int generate_jobs(struct tool_run *t, struct model *m, const struct jobs_options *o, struct error *e);

/* --slo: images of --count, each by the best branch of a table that keeps to `limit` milliseconds an image.
 */
struct slo_options {
    double limit;
    const char *branches, *folder;
    struct recipe_wish wish; /* but for what a branch says */
    const int64_t *classes;
    size_t class_count;
    int64_t count;
    struct shard shard;
    struct gallery *gallery;
};
int generate_slo(struct tool_run *t, struct model *m, const struct slo_options *o, struct error *e);

#endif
