/* Importing: components, blocks, what was not needed. See diffusers.h. */
#include "common/file/diffusers_inside.h"
#include "common/base/json.h"
#include "common/families/family.h"
#include "common/graph/graph_json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- what was not needed ---- */

static const struct tensor *twin_of(const struct model *m, const struct tensor *t, const unsigned char *named)
{
    /* The same path in block 0: "transformer_blocks.7.x" -> "transformer_blocks.0.x". */
    char name[1400];
    const char *at = strstr(t->name, "transformer_blocks.");
    const char *rest = at ? strchr(at + 19, '.') : NULL;
    if (!rest)
        return NULL;
    snprintf(name, sizeof name, "%.*s0%s", (int)(at + 19 - t->name), t->name, rest);
    const struct tensor *first = model_find(m, name);
    int i = first ? (int)(first - m->tensor) : -1;
    return i >= 0 && named[i] && first->dtype == t->dtype && first->size == t->size &&
                   !memcmp(first->data, t->data, t->size)
               ? first
               : NULL;
}

/* entry: NULL, or the component's record, which gets what the way back needs. */
static int sort_out(struct model *m, const struct graph *g, const struct family *f, const char *prefix,
                    cJSON *entry, struct import_report *r, struct error *e)
{
    cJSON *aliases = entry ? json_add_object(entry, "aliases", e) : NULL;
    int before = r->ignored;
    unsigned char *named = mem_array((size_t)m->tensors + 1, 1, e);
    int status = named && (aliases || !entry) ? 0 : -1;
    for (int i = 0; named && i < g->count; i++)
        for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++) {
            const struct tensor *t = g->node[i].weight[w] ? model_find(m, g->node[i].weight[w]) : NULL;
            if (t)
                named[t - m->tensor] = 1;
        }
    for (int i = 0; status == 0 && i < m->tensors; i++) {
        const struct tensor *t = &m->tensor[i], *twin;
        if (strncmp(t->name, prefix, strlen(prefix)))
            continue;
        const char *name = t->name + strlen(prefix);
        if (named[i]) {
            r->used++;
        } else if ((twin = twin_of(m, t, named))) {
            r->shared++;
            status = aliases ? json_add_string(aliases, t->name, twin->name, e) : 0;
        } else if (f && f->ignores && f->ignores(name)) {
            r->ignored++;
        } else {
            r->unused++;
            status = buf_printf(&r->unused_names, e, "%s\n", t->name);
        }
    }
    mem_free(named);
    return status == 0 && entry ? json_add_int(entry, "ignored", r->ignored - before, e) : status;
}

/* ---- components ---- */

static const struct family *family_of(const cJSON *config, struct error *e)
{
    const char *class_name;
    if (json_string(config, "_class_name", &class_name, e) < 0)
        return NULL;
    if (c_get(config, "quantization_config")) {
        error_set(e, HASTEN_EFILE, "quantization_config: weights that are quantized already are not read");
        return NULL;
    }
    const struct family *f = family_find(class_name);
    if (!f)
        error_set(e, HASTEN_EFILE,
                  "the class '%s' is not known (known: UNet2DModel, UNet2DConditionModel, "
                  "DiTTransformer2DModel, Transformer2DModel with ada_norm_zero, AutoencoderKL)",
                  class_name);
    return f;
}

/* The graph, once the tensors are there. When some do not fit, all that is wrong goes into the report. */
static int build(struct model *m, struct graph *g, const struct family *f, const char *prefix,
                 const cJSON *config, cJSON *entry, struct import_report *r, struct error *e)
{
    struct builder b = {.g = g, .prefix = prefix, .find = model_find, .context = m, .e = e};
    struct error ignored = {0};
    int status = family_build(f, &b, config);
    if (status == 0 && (status = graph_infer(g, 0, 0, model_find, m, e)) == 0)
        status = sort_out(m, g, f, prefix, entry, r, e);
    else if (b.wrong && sort_out(m, g, f, prefix, NULL, r, &ignored) == 0)
        buf_add(&r->defects, b.defects.data, b.defects.size, &ignored);
    builder_free(&b);
    return status;
}

/* part: the component's name in the pipeline, "" where there is no pipeline. */
static int import_component(struct model *m, const char *folder, const char *part, cJSON *source,
                            enum import_dtype dtype, struct import_report *r, struct error *e)
{
    char path[4096], prefix[32];
    snprintf(path, sizeof path, "%s/config.json", folder);
    cJSON *config = json_read_file(path, e), *entry = config ? json_push_object(source, e) : NULL;
    if (json_add(entry, "config", config, e) < 0) /* takes config over in any case */
        return -1;
    const struct family *f = family_of(config, e);
    if (!f)
        return error_in(e, path);
    if (*part && !strcmp(part, "vae") != !strcmp(f->component, "decoder"))
        return error_set(e, HASTEN_EFILE, "%s: a %s does not belong here", path, f->class_name);
    if (model_component(m, f->component))
        return error_set(e, HASTEN_EFILE, "%s: the pipeline has a second %s", path, f->component);
    struct graph *g = graph_open(f->component, e);
    if (!g || model_add_component(m, g, e) < 0) {
        graph_close(g);
        return -1;
    }
    snprintf(prefix, sizeof prefix, "%s.", f->component);
    struct intake to = {m, prefix, dtype, json_add_object(entry, "renamed", e)};
    if (!to.renamed || json_add_string(entry, "component", f->component, e) < 0 ||
        json_add_string(entry, "folder", part, e) < 0 || intake_folder(&to, folder, e) < 0)
        return -1;
    return build(m, g, f, prefix, config, entry, r, e) < 0 ? error_in(e, path) : 0;
}

/* ---- blocks ---- */

static int is_pipeline(const cJSON *index, const char *word)
{
    const cJSON *name = index ? cJSON_GetObjectItemCaseSensitive(index, "_class_name") : NULL;
    return cJSON_IsString(name) && strstr(name->valuestring, word) != NULL;
}

static int add_sampler(struct model *m, cJSON *config, const cJSON *index, const cJSON *denoiser,
                       struct error *e)
{
    int classes = 0, null_class = -1, steps = 50;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(denoiser, "_class_name");
    const cJSON *train = cJSON_GetObjectItemCaseSensitive(config, "num_train_timesteps");
    const struct family *f = cJSON_IsString(name) ? family_find(name->valuestring) : NULL;
    if (is_pipeline(index, "DDPM")) /* its default, as far as there are that many */
        steps = cJSON_IsNumber(train) && train->valuedouble < 1000 ? train->valueint : 1000;
    cJSON *block = json_add_object(m->meta, "sampler", e);
    if (json_add(block, "config", config, e) < 0) /* takes config over in any case */
        return -1;
    if (f && f->classes)
        f->classes(denoiser, &classes, &null_class);
    if (json_add_int(block, "steps", steps, e) < 0 || json_add_int(block, "classes", classes, e) < 0)
        return -1;
    if (null_class >= 0 && (json_add_int(block, "null_class", null_class, e) < 0 ||
                            json_add_double(block, "guidance", 4, e) < 0))
        return -1;
    return 0;
}

static int add_image(struct model *m, const cJSON *decoder, struct error *e)
{
    struct graph *g = model_component(m, "denoiser"), *d = model_component(m, "decoder");
    struct shape s = (g ? g : m->graph[0])->node[0].shape;
    cJSON *block = json_add_object(m->meta, "image", e);
    if (!block || json_add_int(block, "channels", s.channels, e) < 0 ||
        json_add_int(block, "height", s.height, e) < 0 || json_add_int(block, "width", s.width, e) < 0)
        return -1;
    if (!d)
        return 0;
    if (d->node[0].shape.channels != s.channels)
        return error_set(e, HASTEN_EFILE, "the decoder takes latents of %d channels, the denoiser has %d",
                         d->node[0].shape.channels, s.channels);
    const cJSON *scale = c_get(decoder, "scaling_factor"), *shift = c_get(decoder, "shift_factor");
    if (json_add_double(block, "latent_scale", cJSON_IsNumber(scale) ? scale->valuedouble : 0.18215, e) < 0 ||
        (cJSON_IsNumber(shift) && json_add_double(block, "latent_shift", shift->valuedouble, e) < 0))
        return -1;
    return graph_infer(d, s.height, s.width, model_find, m, e); /* at the denoiser's size */
}

static int add_labels(struct model *m, const cJSON *index, struct error *e)
{
    const cJSON *names = index ? c_get(index, "id2label") : NULL;
    cJSON *list = names ? json_add_array(m->meta, "labels", e) : NULL;
    for (int i = 0; list && i < cJSON_GetArraySize(names); i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(names, key);
        if (json_push_string(list, cJSON_IsString(v) ? v->valuestring : "", e) < 0)
            return -1;
    }
    return e->code ? -1 : 0;
}

/* A component's folder inside the pipeline, or the root where the files lie flat. */
static void folder_of(const char *root, const char *name, const char *file, char out[4096])
{
    char path[4608];
    snprintf(out, 4096, "%s/%s", root, name);
    snprintf(path, sizeof path, "%s/%s", out, file);
    if (!exists(path))
        snprintf(out, 4096, "%s", root);
}

static const cJSON *config_of(const cJSON *source, const char *component)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, source)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(entry, "component");
        if (cJSON_IsString(name) && !strcmp(name->valuestring, component))
            return cJSON_GetObjectItemCaseSensitive(entry, "config");
    }
    return NULL;
}

/* Components whose class is null are not there; these two do not change pictures. */
static int is_absent(const cJSON *part)
{
    return !cJSON_IsArray(part) || !cJSON_IsString(cJSON_GetArrayItem(part, 1)) ||
           !strcmp(part->string, "safety_checker") || !strcmp(part->string, "feature_extractor");
}

static int import_parts(struct model *m, const char *root, const cJSON *index, cJSON *source,
                        enum import_dtype dtype, struct import_report *r, struct error *e)
{
    char folder[4096];
    const cJSON *part;
    cJSON_ArrayForEach(part, index)
    {
        const char *name = part->string;
        if (is_absent(part) || !strcmp(name, "scheduler"))
            continue;
        if (strcmp(name, "unet") && strcmp(name, "transformer") && strcmp(name, "vae"))
            return error_set(e, HASTEN_EFILE,
                             "%s/model_index.json: the component '%s' (%s) is not supported, only unet, "
                             "transformer, vae and scheduler are",
                             root, name, cJSON_GetArrayItem(part, 1)->valuestring);
        folder_of(root, name, "config.json", folder);
        if (import_component(m, folder, name, source, dtype, r, e) < 0)
            return -1;
    }
    return m->components
               ? 0
               : error_set(e, HASTEN_EFILE, "%s/model_index.json names no unet, transformer or vae", root);
}

static int import_all(struct model *m, const char *root, const cJSON *index, cJSON *source,
                      enum import_dtype dtype, struct import_report *r, struct error *e)
{
    char folder[4096], path[4608];
    int status = index ? import_parts(m, root, index, source, dtype, r, e)
                       : import_component(m, root, "", source, dtype, r, e);
    if (status < 0)
        return -1;
    folder_of(root, "scheduler", "scheduler_config.json", folder);
    snprintf(path, sizeof path, "%s/scheduler_config.json", folder);
    const cJSON *denoiser = config_of(source, "denoiser");
    if (denoiser && exists(path)) {
        cJSON *config = json_read_file(path, e);
        if (!config || add_sampler(m, config, index, denoiser, e) < 0)
            return -1;
    }
    return add_image(m, config_of(source, "decoder"), e) < 0 || add_labels(m, index, e) < 0 ? -1 : 0;
}

int diffusers_import(struct model *m, const char *root, enum import_dtype dtype, struct import_report *r,
                     struct error *e)
{
    char path[4096], config[4096];
    snprintf(path, sizeof path, "%s/model_index.json", root);
    snprintf(config, sizeof config, "%s/config.json", root);
    if (!exists(path) && !exists(config))
        return error_set(e, HASTEN_EFAIL, "%s holds neither model_index.json nor config.json", root);
    cJSON *index = exists(path) ? json_read_file(path, e) : NULL;
    cJSON *source = e->code ? NULL : json_add_object(m->meta, "source", e);
    cJSON *components = source ? json_add_array(source, "components", e) : NULL;
    int status = components ? import_all(m, root, index, components, dtype, r, e) : -1;
    if (index && status == 0)
        status = json_add(source, "model_index", index, e);
    else
        cJSON_Delete(index);
    if (status == 0 && r->used == 0)
        status = error_set(e, HASTEN_EFILE, "%s: none of the tensors is used", root);
    if (status == 0)
        model_drop_unused(m);
    return status == 0 ? model_verify(m, e) : -1;
}

int graph_file_import(struct model *m, const char *tensors, const char *graph, enum import_dtype dtype,
                      struct import_report *r, struct error *e)
{
    cJSON *json = json_read_file(graph, e), *components = json ? json_object(json, "components", e) : NULL,
          *c;
    struct intake to = {m, "", dtype, NULL};
    int status = components ? intake_file(&to, tensors, e) : -1;
    if (json) {
        cJSON_Delete(m->meta);
        m->meta = json;
    }
    cJSON_ArrayForEach(c, components)
    {
        struct graph *g = status == 0 ? graph_from_json(c->string, c, e) : NULL;
        if (!g || model_add_component(m, g, e) < 0) {
            graph_close(g);
            status = -1;
            break;
        }
        if ((status = sort_out(m, g, NULL, "", NULL, r, e)) < 0)
            break;
    }
    if (status == 0 && r->used == 0)
        status = error_set(e, HASTEN_EFILE, "none of the tensors of %s is named by %s", tensors, graph);
    if (status < 0)
        return error_in(e, graph);
    model_drop_unused(m);
    return model_verify(m, e);
}
