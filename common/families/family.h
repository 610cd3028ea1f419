/* The model families that import and export know: from a diffusers config to a graph. After import no tool
 * knows a family's name. A new family is one file with a `build` function and one row in family.c's table.
 *
 *     const struct family *f = family_find(class_name);
 *     struct builder b = {.g = graph, .prefix = "denoiser.", .find = model_find, .context = &model, .e = e};
 *     f->build(&b, config);                        // nodes named by module path; b.failed tells
 *
 * Building: each function adds nodes and gives the index of the last; after the first failure all do nothing.
 * Weights are the tensors "prefix + name + .weight" and, where there is one, ".bias". */
#ifndef HASTEN_FAMILIES_FAMILY_H
#define HASTEN_FAMILIES_FAMILY_H

#include "common/graph/graph.h"
#include <cjson/cJSON.h>

struct builder {
    struct graph *g;
    const char *prefix;
    tensor_find *find;
    const void *context;
    struct error *e;
    int failed;
};

struct family {
    const char *class_name;
    const char *component; /* "denoiser" or "decoder" */
    int (*build)(struct builder *b, const cJSON *config);
    /* 1: the tensor is known to be of no use here (an encoder beside a decoder, a stored position table) */
    int (*ignores)(const char *name);
    /* The number of classes (0: none) and of the null class (-1: none). */
    void (*classes)(const cJSON *config, int *classes, int *null_class);
};

const struct family *family_find(const char *class_name); /* NULL: not known */

extern const struct family family_unet2d, family_dit, family_transformer2d, family_vae;

/* ---- builder ---- */

int b_fail(struct builder *b, const char *format, ...) HASTEN_PRINTF(2, 3); /* always 0 */
int b_has(const struct builder *b, const char *tensor);
/* printf into a name that lives as long as the graph. */
const char *b_name(struct builder *b, const char *format, ...) HASTEN_PRINTF(2, 3);

int b_input(struct builder *b, const char *name, enum value_kind kind, int channels, int height, int width);
int b_node(struct builder *b, const char *op, const char *name, int a, int c, int d); /* -1: no input */
void b_attr(struct builder *b, int node, const char *name, double value);
void b_choice(struct builder *b, int node, const char *name, const char *word);
void b_weight(struct builder *b, int node, const char *slot,
              const char *tensor); /* without prefix; must exist */
void b_output(struct builder *b, const char *name, int node);

int b_linear(struct builder *b, const char *name, int in);
int b_conv(struct builder *b, const char *name, int in, int stride, int pad, int pad_end);
int b_group_norm(struct builder *b, const char *name, int in, int groups, double eps);
int b_layer_norm(struct builder *b, const char *name, int in, double eps);
int b_act(struct builder *b, const char *name, const char *act,
          int in); /* diffusers' name of the activation */
int b_slice(struct builder *b, const char *name, int in, int begin, int length);
int b_scale(struct builder *b, const char *name, int in, double factor); /* in itself when factor is 1 */
/* Sinusoid, linear_1, SiLU, linear_2 under `name`. */
int b_time_embedding(struct builder *b, const char *sinusoid, const char *name, int time, int dim, int flip,
                     double shift, const char *act);
/* A diffusers ResnetBlock2D. temb -1: none. */
struct resnet {
    int groups;
    double eps, scale; /* scale: output_scale_factor */
    const char *act;
    int scale_shift; /* time embedding as scale and shift */
    int down, up;    /* resampling inside */
    int temb;
};
int b_resnet(struct builder *b, const char *name, int in, const struct resnet *r);
/* A diffusers Attention with group norm and residual, over the pixels. head_dim 0: one head. */
int b_pixel_attention(struct builder *b, const char *name, int in, int groups, double eps, int head_dim,
                      double scale);

/* ---- config values: diffusers' defaults for what is missing ---- */
int c_int(struct builder *b, const cJSON *config, const char *key, int fallback);
double c_double(struct builder *b, const cJSON *config, const char *key, double fallback);
int c_bool(struct builder *b, const cJSON *config, const char *key, int fallback);
const char *c_text(struct builder *b, const cJSON *config, const char *key,
                   const char *fallback);                 /* null: NULL */
const cJSON *c_get(const cJSON *config, const char *key); /* NULL when missing or null */
/* Refuse when the key is there with another value than this word ("null", "false", "true" or a string or
 * number). */
void c_only(struct builder *b, const cJSON *config, const char *key, const char *value);

#endif
