/* Diffusers directories: reading one into a model, and writing one back.
 *
 *     struct import_report r = {0};
 *     if (diffusers_import(&m, "DIR", IMPORT_KEEP, &r, e) < 0) ...   // nested, flat, sharded, fp16 variant
 *     diffusers_export(&m, "OUT", team, &count, e);
 *
 * A pipeline directory (model_index.json; components in folders or in the root) or a single component's
 * directory. The source's configs and the names that were stored twice are kept in the metadata under
 * "source", for the way back. */
#ifndef HASTEN_FILE_DIFFUSERS_H
#define HASTEN_FILE_DIFFUSERS_H

#include "common/base/buf.h"
#include "common/file/model.h"

enum import_dtype { IMPORT_KEEP, IMPORT_F32, IMPORT_F16, IMPORT_BF16 };

struct import_report {
    int used, shared, ignored; /* tensors */
    int unused;
    struct buf unused_names; /* one a line */
    struct buf defects;      /* tensors that are missing or have another shape, one a line */
};

/* m: from model_new. Errors name the file or the tensor. The report is filled on failure too, as far as
 * things got; its bufs are the caller's to free. */
int diffusers_import(struct model *m, const char *path, enum import_dtype dtype, struct import_report *r,
                     struct error *e) HASTEN_CHECKED;
/* A .safetensors or .gguf file with a graph file {"components":{...},"sampler":...,"image":...}. */
int graph_file_import(struct model *m, const char *tensors, const char *graph, enum import_dtype dtype,
                      struct import_report *r, struct error *e) HASTEN_CHECKED;

/* Into a new or existing folder; quantized weights become floats, tensors that were stored once are written
 * as often as they were. HASTEN_EFILE when the model has no diffusers source or has become something that the
 * family cannot express; then nothing is written. tensors: how many were written. */
int diffusers_export(struct model *m, const char *folder, struct team *team, int *tensors,
                     struct error *e) HASTEN_CHECKED;

/* A JSON file of at most 16 MiB. */
cJSON *json_read_file(const char *path, struct error *e) HASTEN_CHECKED;

#endif
