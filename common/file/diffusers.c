/* Reading diffusers directories: see diffusers.h. Layouts: specs of huggingface/diffusers 0.42. */
#include "common/file/diffusers.h"
#include "common/base/json.h"
#include "common/families/family.h"
#include "common/graph/graph_json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Python writes infinities that JSON does not have ("lambda_min_clipped": -Infinity in every DPM-Solver
 * config): they become null, which means "not set" there. */
static void drop_infinities(char *text, size_t size)
{
    static const char *const words[] = {"-Infinity", "Infinity"};
    int inside = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            inside = !inside;
        else if (inside && text[i] == '\\')
            i++;
        for (size_t w = 0; !inside && w < 2; w++) {
            size_t n = strlen(words[w]);
            if (size - i < n || memcmp(text + i, words[w], n))
                continue;
            memcpy(text + i, "null     ", n);
            i += n - 1;
            break;
        }
    }
}

cJSON *json_read_file(const char *path, struct error *e)
{
    struct buf b = {.max = 16 << 20};
    cJSON *json = NULL;
    FILE *f = fopen(path, "rbe");
    if (!f) {
        error_errno(e, HASTEN_EFAIL, "%s", path);
        return NULL;
    }
    char piece[65536];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && buf_add(&b, piece, n, e) == 0)
        ;
    if (ferror(f))
        error_errno(e, HASTEN_EFAIL, "cannot read");
    fclose(f);
    if (b.data)
        drop_infinities(b.data, b.size);
    if (!e->code)
        json = json_parse(b.data ? b.data : "", b.size, e);
    buf_free(&b);
    if (!json)
        error_under(e, "%s", path);
    return json;
}

/* ---- tensors ---- */

/* Names of attention weights before diffusers 0.13, and what they are called now. */
static const char *modern_name(const char *name, char out[1200])
{
    static const char *const old[][2] = {
        {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
    for (size_t i = 0; i < 4; i++) {
        const char *at = strstr(name, old[i][0]);
        if (at && strstr(name, "attentions.")) {
            snprintf(out, 1200, "%.*s%s%s", (int)(at - name), name, old[i][1], at + strlen(old[i][0]));
            return out;
        }
    }
    return name;
}

static int convert(struct tensor *t, enum import_dtype dtype, struct error *e)
{
    static const enum dtype targets[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    if (dtype == IMPORT_KEEP || !dtype_is_float(t->dtype) || t->dtype == targets[dtype])
        return 0;
    struct tensor fresh = *t;
    fresh.dtype = targets[dtype];
    float *wide = tensor_measure(&fresh, e) < 0 ? NULL : mem_array(t->count, sizeof *wide, e);
    fresh.data = wide ? mem_array(fresh.size, 1, e) : NULL;
    if (fresh.data) {
        tensor_to_f32(t->dtype, t->data, wide, t->count);
        tensor_from_f32(fresh.dtype, wide, fresh.data, t->count);
        mem_free(t->data);
        *t = fresh;
    }
    mem_free(wide);
    return fresh.data ? 0 : -1;
}

static int take_tensors(struct model *m, struct container *c, const char *prefix, enum import_dtype dtype,
                        struct error *e)
{
    for (int i = 0; i < c->count; i++) {
        char name[1200], full[1400];
        if (container_tensor_load(c, i, NULL, e) < 0)
            return -1;
        struct tensor t = c->tensor[i];
        snprintf(full, sizeof full, "%s%s", prefix, modern_name(t.name, name));
        t.name = full;
        if (model_find(m, full))
            return error_set(e, HASTEN_EFILE, "tensor '%s' is there twice", full);
        t.data = container_tensor_take(c, i);
        if (convert(&t, dtype, e) < 0 || model_add_tensor(m, &t, 1, e) < 0) {
            mem_free(t.data);
            return -1;
        }
    }
    return 0;
}

static int read_tensors(struct model *m, const char *path, const char *prefix, enum import_dtype dtype,
                        struct error *e)
{
    struct container_options any = {.foreign = 1};
    struct container *c = container_open(path, &any, e);
    int status = c ? take_tensors(m, c, prefix, dtype, e) : -1;
    container_close(c);
    return status;
}

static int exists(const char *path) { return access(path, F_OK) == 0; }

static int read_shards(struct model *m, const char *folder, const char *index, const char *prefix,
                       enum import_dtype dtype, struct error *e)
{
    cJSON *json = json_read_file(index, e), *map = json ? json_object(json, "weight_map", e) : NULL, *item,
          *before;
    int status = map ? 0 : -1;
    cJSON_ArrayForEach(item, map)
    {
        char path[4096];
        int seen = 0;
        if (!cJSON_IsString(item) || strchr(item->valuestring, '/')) {
            status = error_set(e, HASTEN_EFILE, "%s: '%s' names no file of this folder", index, item->string);
            break;
        }
        for (before = map->child; before != item; before = before->next)
            seen |= !strcmp(before->valuestring, item->valuestring);
        snprintf(path, sizeof path, "%s/%s", folder, item->valuestring);
        if (!seen && (status = read_tensors(m, path, prefix, dtype, e)) < 0)
            break;
    }
    cJSON_Delete(json);
    return status;
}

/* The weight files of a component, the full ones before the fp16 variant. */
static int read_weights(struct model *m, const char *folder, const char *prefix, enum import_dtype dtype,
                        struct error *e)
{
    static const char *const names[] = {"diffusion_pytorch_model.safetensors",
                                        "diffusion_pytorch_model.safetensors.index.json",
                                        "diffusion_pytorch_model.fp16.safetensors",
                                        "diffusion_pytorch_model.safetensors.index.fp16.json",
                                        "diffusion_pytorch_model.fp16.safetensors.index.json",
                                        "model.safetensors"};
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (exists(path))
            return strstr(names[i], "index") ? read_shards(m, folder, path, prefix, dtype, e)
                                             : read_tensors(m, path, prefix, dtype, e);
    }
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.bin", folder);
    if (exists(path))
        return error_set(e, HASTEN_EFILE,
                         "%s is a pickle, which is not read; save it with safe_serialization=True", path);
    return error_set(e, HASTEN_EFAIL, "%s: there is no diffusion_pytorch_model.safetensors", folder);
}

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

static int sort_out(struct model *m, const struct graph *g, const struct family *f, const char *prefix,
                    cJSON *aliases, struct import_report *r, struct error *e)
{
    unsigned char *named = mem_array((size_t)m->tensors + 1, 1, e);
    int status = named ? 0 : -1;
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
    return status;
}

/* ---- components ---- */

static int import_component(struct model *m, const char *folder, const char *name, cJSON *source,
                            enum import_dtype dtype, struct import_report *r, struct error *e)
{
    char path[4096], prefix[32];
    const char *class_name;
    snprintf(path, sizeof path, "%s/config.json", folder);
    cJSON *config = json_read_file(path, e), *entry = config ? json_push_object(source, e) : NULL;
    if (json_add(entry, "config", config, e) < 0) /* takes config over in any case */
        return -1;
    if (json_string(config, "_class_name", &class_name, e) < 0)
        return error_under(e, "%s", path);
    if (c_get(config, "quantization_config"))
        return error_set(e, HASTEN_EFILE,
                         "%s: quantization_config: weights that are quantized already are not read", path);
    const struct family *f = family_find(class_name);
    if (!f)
        return error_set(e, HASTEN_EFILE,
                         "%s: the class '%s' is not known (known: UNet2DModel, DiTTransformer2DModel, "
                         "Transformer2DModel with "
                         "ada_norm_zero, AutoencoderKL)",
                         path, class_name);
    snprintf(prefix, sizeof prefix, "%s.", f->component);
    struct graph *g = graph_open(f->component, e);
    if (!g || model_add_component(m, g, e) < 0) {
        graph_close(g);
        return -1;
    }
    struct builder b = {.g = g, .prefix = prefix, .find = model_find, .context = m, .e = e};
    cJSON *aliases = json_add_object(entry, "aliases", e);
    if (!aliases || json_add_string(entry, "component", f->component, e) < 0 ||
        json_add_string(entry, "folder", name, e) < 0 || read_weights(m, folder, prefix, dtype, e) < 0)
        return -1;
    if (f->build(&b, config) < 0 || graph_infer(g, 0, 0, model_find, m, e) < 0)
        return error_under(e, "%s", path);
    return sort_out(m, g, f, prefix, aliases, r, e);
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
    int classes = 0, null_class = -1;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(denoiser, "_class_name");
    const struct family *f = cJSON_IsString(name) ? family_find(name->valuestring) : NULL;
    cJSON *block = json_add_object(m->meta, "sampler", e);
    if (json_add(block, "config", config, e) < 0) /* takes config over in any case */
        return -1;
    if (f && f->classes)
        f->classes(denoiser, &classes, &null_class);
    if (json_add_int(block, "steps", is_pipeline(index, "DDPM") ? 1000 : 50, e) < 0 ||
        json_add_int(block, "classes", classes, e) < 0)
        return -1;
    if (null_class >= 0 && (json_add_int(block, "null_class", null_class, e) < 0 ||
                            json_add_double(block, "guidance", 4, e) < 0))
        return -1;
    return 0;
}

static int add_image(struct model *m, const cJSON *decoder, struct error *e)
{
    const struct graph *g = model_component(m, "denoiser");
    if (!g)
        g = m->graph[0];
    struct shape s = g->node[0].shape;
    cJSON *block = json_add_object(m->meta, "image", e);
    if (!block || json_add_int(block, "channels", s.channels, e) < 0 ||
        json_add_int(block, "height", s.height, e) < 0 || json_add_int(block, "width", s.width, e) < 0)
        return -1;
    const cJSON *scale = decoder ? c_get(decoder, "scaling_factor") : NULL,
                *shift = decoder ? c_get(decoder, "shift_factor") : NULL;
    if (decoder &&
        json_add_double(block, "latent_scale", cJSON_IsNumber(scale) ? scale->valuedouble : 0.18215, e) < 0)
        return -1;
    return cJSON_IsNumber(shift) ? json_add_double(block, "latent_shift", shift->valuedouble, e) : 0;
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

static int import_all(struct model *m, const char *root, const cJSON *index, cJSON *source,
                      enum import_dtype dtype, struct import_report *r, struct error *e)
{
    static const char *const parts[] = {"unet", "transformer", "vae"};
    char folder[4096], path[4608];
    int count = 0;
    for (size_t i = 0; index && i < sizeof parts / sizeof *parts; i++) {
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(index, parts[i]);
        if (!cJSON_IsArray(v) || !cJSON_IsString(cJSON_GetArrayItem(v, 1)))
            continue;
        folder_of(root, parts[i], "config.json", folder);
        count++;
        if (import_component(m, folder, strcmp(folder, root) ? parts[i] : "", source, dtype, r, e) < 0)
            return -1;
    }
    if (!index && import_component(m, root, "", source, dtype, r, e) < 0)
        return -1;
    if (index && !count)
        return error_set(e, HASTEN_EFILE, "%s/model_index.json names no unet, transformer or vae", root);
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
    char path[4096];
    snprintf(path, sizeof path, "%s/model_index.json", root);
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
    int status = components ? read_tensors(m, tensors, "", dtype, e) : -1;
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
        return error_under(e, "%s", graph);
    model_drop_unused(m);
    return model_verify(m, e);
}
