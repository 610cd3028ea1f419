/* A recipe: everything that the images of one batch have in common, resolved against a model. A command line
 * has one, a list of jobs has several.
 *
 *     struct recipe_wish w = {.steps = 20, .schedule = "fast.zst", .dash = "--"};
 *     struct recipe r;
 *     if (recipe_open(&r, &model, &w, e) < 0) ...               // settings only: cheap
 *     struct trajectory *t = recipe_trajectory(&r, weights, 4, NULL, e);
 *     struct recipe_image i = {.seed = 7, .label = 3};
 *     cJSON *what = recipe_describe(&r, &i, e);                  // for notes and manifests
 *     recipe_close(&r);                                          // after the trajectory
 *
 * Two images with equal descriptions are equal to the last bit. */
#ifndef HASTEN_RUN_RECIPE_H
#define HASTEN_RUN_RECIPE_H

#include "common/run/trajectory.h"

/* As asked for. NULL, 0: not said, so the schedule's or the model's own. */
struct recipe_wish {
    const char *schedule, *sampler, *sampler_config, *size; /* two files, a name, "WxH" */
    int64_t steps;
    int has_guidance, single_generator;
    double guidance, eta;
    const char *dash; /* before the names of settings in messages: "--" or "" */
};

struct recipe {
    struct model *model;
    struct graph *graph; /* a copy of the denoiser, inferred at the size */
    struct sampler_config config;
    char config_id[HASH_HEX]; /* of a sampler_config that is not the model's; else empty */
    struct cache_schedule schedule;
    int has_schedule, single_generator;
    int steps, height, width; /* of the latent */
    double guidance, eta;
};

struct recipe_image {
    uint64_t seed;
    int label, has_negative, negative;
    int own_noise; /* starts from noise that the description does not name */
};

/* HASTEN_EUSAGE for wishes that do not fit the model, HASTEN_EFILE for files that do not. On failure nothing
 * is to be closed. The model must stay. */
int recipe_open(struct recipe *r, struct model *m, const struct recipe_wish *w,
                struct error *e) HASTEN_CHECKED;
void recipe_close(struct recipe *r);

/* Weights are of the denoiser at any size: all recipes of a model share them. watch: NULL or kept. */
struct trajectory *recipe_trajectory(struct recipe *r, const struct weights *w, int batch,
                                     const struct trajectory_watch *watch, struct error *e) HASTEN_CHECKED;

/* Milliseconds of one image's network calls by the prices of a profile of this model: guidance counts as a
 * second image in every call. HASTEN_EFILE when the profile is of another model or lacks an action. */
int recipe_price(const struct recipe *r, const struct trajectory *t, const char *profile, double *ms,
                 struct error *e) HASTEN_CHECKED;

/* {"class","guidance","model","sampler","seed","size","steps"}, where they matter "negative", "schedule",
 * "eta", "sampler_config", "single_generator", "own_noise". The seed is a string beyond 2^53. */
cJSON *recipe_describe(const struct recipe *r, const struct recipe_image *i, struct error *e) HASTEN_CHECKED;

/* The same as "seed 7, class 3, steps 50, ...", for a picture's note: to be freed. */
char *recipe_text(const struct recipe *r, const struct recipe_image *i, struct error *e) HASTEN_CHECKED;

#endif
