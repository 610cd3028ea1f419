/* The model file: components (graphs), the sampler block, the image block, and the tensors.
 *
 *     struct model m;
 *     if (model_open(&m, path, memory, team, e) < 0) ...              // everything verified, tensors loaded
 *     struct graph *g = model_component(&m, "denoiser");               // shapes are those of the default
 * size graph_infer(g, 32, 48, model_find, &m, e);                       // another size model_close(&m);
 *
 * Metadata of a model (hasten-model(5)):
 *   {"kind":"model","version":1,
 *    "components":{"denoiser":{graph}, "decoder":{graph}},
 *    "sampler":{"config":{diffusers' scheduler_config},"steps":50,"guidance":4,"guidance_interval":[0.3,0.7],
 *               "null_class":10,"classes":10,"time_input":"timestep"|"one_minus_sigma"},
 *    "image":{"channels":4,"height":32,"width":32,"low":-1,"high":1,"latent_scale":0.18215,"latent_shift":0},
 *    "labels":["T-shirt",...],"provenance":[{...}],"source":{...},"claims":{...}}
 * Tensor names begin with their component. A tool that changes a model edits the graph and the tensor list
 * and writes both with model_write. */
#ifndef HASTEN_FILE_MODEL_H
#define HASTEN_FILE_MODEL_H

#include "common/file/container.h"
#include "common/graph/graph.h"
#include "common/run/sampler_config.h"

enum { MODEL_MAX_COMPONENTS = 8 };

struct model_sampler {
    int present;
    const cJSON *config; /* inside meta */
    int steps;
    double guidance;     /* 1: none */
    double interval[2];  /* guidance only where the network's time is inside */
    int null_class;      /* -1: none */
    int classes;         /* 0: unconditional */
    int one_minus_sigma; /* the network's time is 1 - sigma */
};

struct model_image {
    int channels, height, width;       /* of the denoiser's latent */
    double low, high;                  /* picture values that become 0 and 255 */
    double latent_scale, latent_shift; /* the decoder sees latent / scale + shift */
};

struct model {
    struct container *file; /* NULL while a model is being made */
    cJSON *meta;
    struct graph *graph[MODEL_MAX_COMPONENTS];
    int components;
    struct model_sampler sampler;
    struct model_image image;
    struct tensor *tensor; /* all tensors; data owned by the file, or by the model where owned[] says so */
    unsigned char *owned;
    int tensors, capacity;
    int *order; /* tensors by name */
    int sorted;
    struct arena names;
    char changed[HASH_HEX]; /* "": as it was opened */
    struct lazy *lazy; /* NULL: all tensors are loaded */
};

/* Read a model; its tensors are loaded (team NULL: with one thread). */
int model_open(struct model *m, const char *path, size_t memory, struct team *team,
               struct error *e) HASTEN_CHECKED;
/* The same, but what is large stays in the file until weights_open wants it, and goes when its last reader
 * has it: memory holds a model's weights as packed, and some megabytes more. A damaged tensor is found then.
 * What can only be read in order (a pipe), or has no id of its own, is loaded whole. team must stay. */
int model_open_lazy(struct model *m, const char *path, size_t memory, struct team *team,
                    struct error *e) HASTEN_CHECKED;
/* struct weights_loader's functions for either; the context is the model. */
int model_tensor_begin(void *model, const struct tensor *t, struct error *e) HASTEN_CHECKED;
void model_tensor_end(void *model, const struct tensor *t);

/* The same without the tensors' data: graphs, blocks, and what tensors there are. */
int model_open_structure(struct model *m, const char *path, struct error *e) HASTEN_CHECKED;
void model_close(struct model *m);

/* Start an empty one (import). */
int model_new(struct model *m, struct error *e) HASTEN_CHECKED;
/* Take a tensor in; owned: data is from mem_array and the model frees it. The name is copied. */
int model_add_tensor(struct model *m, const struct tensor *t, int owned, struct error *e) HASTEN_CHECKED;
/* Replace the data and type of a tensor (what float type it had first is kept for export, in the source's
 * "dtypes"), or drop those that no graph names any more. */
int model_replace_tensor(struct model *m, const char *name, const struct tensor *t, int owned,
                         struct error *e) HASTEN_CHECKED;
void model_drop_unused(struct model *m);
int model_add_component(struct model *m, struct graph *g,
                        struct error *e) HASTEN_CHECKED; /* owned from then on */

struct graph *model_component(const struct model *m, const char *name); /* NULL: none */
/* The one to run when nothing is said: "denoiser", or the only one. */
struct graph *model_main(const struct model *m, struct error *e);
/* graph.h's tensor_find; context is the model. */
const struct tensor *model_find(const void *context, const char *name);

/* Infer g at another latent size. HASTEN_EUSAGE, with a size that is possible, where the graph cannot take it
 * or its output 'sample' is of another size than its input; `what` names the option. */
int model_resize(const struct model *m, struct graph *g, const char *what, int height, int width,
                 struct error *e) HASTEN_CHECKED;

/* Parse sampler and image blocks from meta and verify all graphs at their default size. */
int model_verify(struct model *m, struct error *e) HASTEN_CHECKED;

/* Append a provenance record; options: NULL or an object of what changes content (taken over). */
int model_provenance(struct model *m, const char *tool, const char *version, cJSON *options, struct error *e);

/* Put the graphs into meta and write. id: NULL or gets the content id. */
int model_write(struct model *m, const char *path, struct team *team, char id[HASH_HEX],
                struct error *e) HASTEN_CHECKED;

/* The content id of an opened model; of one that was changed since (lora.h), what it was and the change
 * together. */
const char *model_id(const struct model *m);

#endif
