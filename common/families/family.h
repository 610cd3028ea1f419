/* The model families that import and export know: from a diffusers config to a graph. After import no tool
 * knows a family's name. A new family is one file with a `build` function and one row in family.c's table.
 *
 *     const struct family *f = family_find(class_name);
 *     struct builder b = {.g = graph, .prefix = "denoiser.", .find = model_find, .context = &model, .e = e};
 *     if (family_build(f, &b, config) < 0) ...      // nodes named by module path; e names what is wrong
 *     builder_free(&b);                             // b.defects has lists all wrong tensors, one a line
 *
 * Building: each function adds nodes and gives the index of the last; after the first failure all do nothing.
 * Weights are the tensors "prefix + name + .weight" and ".bias", with the shapes that the config implies: the
 * builder remembers the channels of every value. Tensors that are missing or have another shape are collected
 * and make family_build fail at the end. */
#ifndef HASTEN_FAMILIES_FAMILY_H
#define HASTEN_FAMILIES_FAMILY_H

#include "common/base/buf.h"
#include "common/graph/graph.h"
#include <cjson/cJSON.h>

struct builder {
    struct graph *g;
    const char *prefix;
    tensor_find *find;
    const void *context;
    struct error *e;
    int failed;
    int *width; /* channels of every node's value */
    int room;
    int wrong; /* tensors that are missing or have another shape */
    struct buf defects;
};

struct family {
    const char *class_name;
    const char *component; /* "denoiser" or "decoder" */
    int (*build)(struct builder *b, const cJSON *config);
    /* 1: the tensor is known to be of no use here (an encoder beside a decoder, a stored position table) */
    int (*ignores)(const char *name);
    /* The number of classes (0: none) and of the null class (-1: none). */
    void (*classes)(const cJSON *config, int *classes, int *null_class);
    /* A row of equal blocks: their module path before the number, and the config's key of how many. NULL: it
     * is none, or blocks cannot be left out. */
    const char *blocks, *blocks_key;
};

const struct family *family_find(const char *class_name); /* NULL: not known */
int family_build(const struct family *f, struct builder *b, const cJSON *config);
void builder_free(struct builder *b);

extern const struct family family_unet2d, family_unet2d_condition;
extern const struct family family_dit, family_transformer2d, family_vae;

/* ---- nodes: build.c ---- */

int b_fail(struct builder *b, const char *format, ...) HASTEN_PRINTF(2, 3); /* always 0 */
/* printf into a name that lives as long as the graph. */
const char *b_name(struct builder *b, const char *format, ...) HASTEN_PRINTF(2, 3);
/* The tensor of that name (without prefix); NULL: none. */
const struct tensor *b_find(struct builder *b, const char *tensor);
/* Note a defect unless the tensor is there with that shape (the rank is where the sizes end with 0). A matrix
 * may be stored as a convolution of one pixel. */
void b_expect(struct builder *b, const char *tensor, const int shape[5]);

int b_input(struct builder *b, const char *name, enum value_kind kind, int channels, int height, int width);
int b_node(struct builder *b, const char *op, const char *name, int a, int c, int d); /* -1: no input */
void b_attr(struct builder *b, int node, const char *name, double value);
void b_choice(struct builder *b, int node, const char *name, const char *word);
/* A weight that is a tensor of that shape (as for b_expect). */
void b_weight(struct builder *b, int node, const char *slot, const char *tensor, const int shape[5]);
void b_output(struct builder *b, const char *name, int node);
int b_width(const struct builder *b, int node);

int b_linear(struct builder *b, const char *name, int in, int width); /* with bias */
int b_matrix(struct builder *b, const char *name, int in, int width); /* without */
int b_conv(struct builder *b, const char *name, int in, int width, int kernel, int stride, int pad,
           int pad_end);
int b_same_conv(struct builder *b, const char *name, int in, int width, int kernel); /* stride 1, same size */
int b_group_norm(struct builder *b, const char *name, int in, int groups, double eps);
int b_layer_norm(struct builder *b, const char *name, int in, double eps, int affine);
int b_act(struct builder *b, const char *name, const char *act, int in); /* diffusers' name of it */
int b_slice(struct builder *b, const char *name, int in, int begin, int length);
int b_scale(struct builder *b, const char *name, int in, double factor); /* in itself when factor is 1 */
int b_embedding(struct builder *b, const char *name, const char *tensor, int label, int rows, int width);

/* ---- diffusers' modules: blocks.c ---- */

struct time_embedding {
    int dim, flip, width; /* of the sinusoid, of the result */
    double shift;
};
/* Sinusoid, linear_1, SiLU, linear_2 under `name`. */
int b_time_embedding(struct builder *b, const char *sinusoid, const char *name, int time,
                     const struct time_embedding *t);
/* ResnetBlock2D. temb -1: none. */
struct resnet {
    int groups;
    double eps, scale; /* scale: output_scale_factor */
    const char *act;
    int scale_shift; /* time embedding as scale and shift */
    int down, up;    /* resampling inside */
    int up_like;     /* up: the image to be as large as; -1: twice */
    int temb;
};
int b_resnet(struct builder *b, const char *name, int in, int width, const struct resnet *r);
/* Attention with group norm and residual, over the pixels. groups 0: without norm; head_dim 0: one head. */
struct pixel_attention {
    int groups;
    double eps, scale; /* scale: rescale_output_factor */
    int head_dim;
};
int b_pixel_attention(struct builder *b, const char *name, int in, const struct pixel_attention *a);

/* ---- config values: config.c. diffusers' defaults for what is missing ---- */

int c_int(struct builder *b, const cJSON *config, const char *key, int fallback, int min, int max);
double c_double(struct builder *b, const cJSON *config, const char *key, double fallback);
int c_bool(struct builder *b, const cJSON *config, const char *key, int fallback);
const char *c_text(struct builder *b, const cJSON *config, const char *key,
                   const char *fallback);                 /* null: the fallback */
const cJSON *c_get(const cJSON *config, const char *key); /* NULL when missing or null */
/* A list of 1 to `most` whole numbers, or of words; gives how many. Missing: the fallback's, which end with 0
 * or NULL. */
int c_ints(struct builder *b, const cJSON *config, const char *key, const int *fallback, int *out, int most);
int c_words(struct builder *b, const cJSON *config, const char *key, const char *const *fallback,
            const char **out, int most);
/* sample_size: a number or [height, width]. */
void c_size(struct builder *b, const cJSON *config, const char *key, int fallback, int *height, int *width);
/* Refuse when the key is there with another value than this word ("null", "false", "true", a string or a
 * number). */
void c_only(struct builder *b, const cJSON *config, const char *key, const char *value);

#endif
