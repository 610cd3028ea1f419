/* Writing a model as a diffusers directory: see diffusers.h. The family's graph is built again from the
 * stored configuration, with fewer blocks where pruning left out whole ones; where the model's own graph
 * still is that one, its tensors fit the family. */
#include "common/base/json.h"
#include "common/families/family.h"
#include "common/file/dequantize.h"
#include "common/file/diffusers.h"
#include "common/file/diffusers_blocks.h"
#include "common/file/output.h"
#include "common/graph/ops.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct part {
    struct model *m;
    const cJSON *config, *aliases, *renamed, *dtypes;
    const char *component, *folder, *class_name;
    struct graph *stored, *fresh;
    struct block_map blocks; /* of fresh, numbered without gaps, and of stored */
    struct arena names;
    struct tensor *out;      /* names and headers; data NULL where numbers are made while writing */
    struct tensor *unpacked; /* headers of 4-bit weights with the shapes of what they stand for */
    int unpacked_count;
    const struct node **codes;    /* the layer whose weight becomes floats */
    const struct tensor **source; /* of other tensors */
    int count;
};

static const char *text_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : NULL;
}

/* A name of the fresh graph as the model has it. */
static const char *old_name(const struct part *p, const char *name, struct error *e)
{
    return block_map_old(&p->blocks, name, (struct arena *)&p->names, e);
}

/* graph.h's tensor_find: the model's tensors, and those that import stored under another block's name. */
static const struct tensor *find(const void *context, const char *fresh)
{
    const struct part *p = context;
    const char *name = old_name(p, fresh, NULL);
    if (!name)
        return NULL;
    const struct tensor *t = model_find(p->m, name);
    const char *twin = t ? NULL : text_of(p->aliases, name);
    t = twin ? model_find(p->m, twin) : t;
    for (int i = 0; t && i < p->unpacked_count; i++)
        if (!strcmp(p->unpacked[i].name, t->name))
            return &p->unpacked[i];
    return t;
}

static int unpack_headers(struct part *p, struct error *e)
{
    const struct graph *g = p->stored;
    p->unpacked = mem_array((size_t)g->count + 1, sizeof *p->unpacked, e);
    for (int i = 0; p->unpacked && i < g->count; i++) {
        if (!node_is_int4(&g->node[i]))
            continue;
        struct tensor *t = &p->unpacked[p->unpacked_count++];
        *t = *node_weight(&g->node[i], "weight");
        t->shape[1] *= 2;
        if (tensor_measure(t, e) < 0)
            return -1;
    }
    return p->unpacked ? 0 : -1;
}

static int read_part(struct part *p, struct model *m, const cJSON *entry, struct error *e)
{
    *p = (struct part){.m = m,
                       .config = json_object(entry, "config", e),
                       .aliases = json_get(entry, "aliases"),
                       .renamed = json_get(entry, "renamed"),
                       .dtypes = json_get(entry, "dtypes")};
    if (!p->config || json_string(p->config, "_class_name", &p->class_name, e) < 0 ||
        json_string(entry, "component", &p->component, e) < 0 ||
        json_string(entry, "folder", &p->folder, e) < 0)
        return -1;
    if (strchr(p->folder, '/') || !strcmp(p->folder, ".."))
        return error_set(e, HASTEN_EFILE, "'%s' is not the name of a folder", p->folder);
    p->stored = model_component(m, p->component);
    if (!p->stored)
        return error_set(e, HASTEN_EFILE, "the model has no component '%s' any more", p->component);
    return unpack_headers(p, e);
}

/* ---- is it still what the family builds? ---- */

static int same_text(const char *x, const char *y) { return !strcmp(x ? x : "", y ? y : ""); }

/* Files hold numbers to nine digits. */
static int same_number(double x, double y) { return fabs(x - y) <= 1e-8 * fabs(x); }

/* Node x of what is stored against node y of what the family has, but for how weights are stored. */
static int same_node(const struct part *p, const struct node *x, const struct node *y)
{
    const struct graph *g = p->stored, *h = p->fresh;
    if (x->op != y->op || x->inputs != y->inputs)
        return 0;
    for (int i = 0; i < x->inputs; i++)
        if (!same_text(g->node[x->in[i]].name, old_name(p, h->node[y->in[i]].name, NULL)))
            return 0;
    for (int i = 0; i < GRAPH_MAX_ATTRS && x->op->attr[i].name; i++) {
        const char *name = x->op->attr[i].name;
        if (strcmp(name, "format") && strcmp(name, "split") && strcmp(name, "rotate") &&
            !same_number(x->attr[i], y->attr[i]))
            return 0;
    }
    for (int i = 0; i < GRAPH_MAX_WEIGHTS && x->op->weight[i].name; i++)
        if (strncmp(x->op->weight[i].name, "weight_", 7) &&
            !same_text(x->weight[i], y->weight[i] ? old_name(p, y->weight[i], NULL) : NULL))
            return 0;
    return 1;
}

/* The order of the nodes may differ (a file has the inputs first). */
static int same_graph(struct part *p, struct error *e)
{
    const struct graph *s = p->stored, *f = p->fresh;
    for (int i = 0; i < f->count; i++) {
        const char *name = old_name(p, f->node[i].name, e);
        int at = name ? graph_find(s, name) : -1;
        if (!name)
            return -1;
        if (at < 0 || !same_node(p, &s->node[at], &f->node[i]))
            return error_set(e, HASTEN_EFILE, "'%s' was %s the %s, and a %s cannot express that", name,
                             at < 0 ? "left out of" : "changed in", p->component, p->class_name);
    }
    for (int i = 0; i < s->count; i++) {
        const char *name = block_map_new(&p->blocks, s->node[i].name, &p->names, e);
        if (!name || graph_find(f, name) < 0)
            return error_set(e, HASTEN_EFILE, "'%s' of the %s is nothing that a %s has", s->node[i].name,
                             p->component, p->class_name);
    }
    return 0;
}

static int check_part(struct part *p, struct error *e)
{
    char prefix[64];
    struct error why = {0};
    const struct family *f = family_find(p->class_name);
    if (!f || strcmp(f->component, p->component))
        return error_set(e, HASTEN_EFILE, "'%s' is not a family whose %s is known", p->class_name,
                         p->component);
    snprintf(prefix, sizeof prefix, "%s.", p->component);
    p->fresh = graph_open(p->component, e);
    if (!p->fresh)
        return -1;
    struct builder b = {.g = p->fresh, .prefix = prefix, .find = find, .context = p, .e = &why};
    if (block_map_open(&p->blocks, f, p->config, p->stored, e) < 0)
        return -1;
    int status = family_build(f, &b, p->blocks.config);
    /* What was pruned shows best in the nodes; defects of tensors come after. */
    if (status < 0 && !b.wrong)
        error_set(e, why.code, "%s", why.text);
    else if (same_graph(p, e) == 0 && status < 0)
        error_set(e, why.code, "%s", why.text);
    builder_free(&b);
    return e->code ? -1 : 0;
}

/* ---- tensors ---- */

/* The quantized layer whose weight this is; NULL: none. */
static const struct node *layer_of(const struct graph *g, const char *tensor)
{
    for (int i = 0; i < g->count; i++)
        if ((node_is(&g->node[i], "linear") || node_is(&g->node[i], "conv2d")) &&
            (int)node_attr(&g->node[i], "format") != FORMAT_PLAIN && !strcmp(g->node[i].weight[0], tensor))
            return &g->node[i];
    return NULL;
}

/* The type that a tensor came with, if another is stored: models of before do not say, and give float32. */
static enum dtype first_dtype(const struct part *p, const struct tensor *t)
{
    const char *name = text_of(p->dtypes, t->name);
    int found = name ? dtype_find(name) : -1;
    return found >= 0 && dtype_is_float((enum dtype)found)   ? (enum dtype)found
           : dtype_is_float(t->dtype) && !p->codes[p->count] ? t->dtype
                                                             : DTYPE_F32;
}

/* One tensor under the name and with the type that it had in the source. */
static int add_tensor(struct part *p, const char *full, const struct tensor *t, struct error *e)
{
    struct tensor *out = &p->out[p->count];
    const char *now = old_name(p, full, e), *old = now == full ? text_of(p->renamed, full) : NULL;
    *out = *t;
    out->name = old ? old : full + strlen(p->component) + 1;
    p->codes[p->count] = layer_of(p->stored, t->name);
    p->source[p->count] = t;
    if (!p->codes[p->count] && t->dtype == DTYPE_I8)
        return error_set(e, HASTEN_EFILE, "tensor '%s' holds codes without a scale", full);
    out->dtype = first_dtype(p, t);
    if (p->codes[p->count] || out->dtype != t->dtype) {
        out->data = NULL;
        if (tensor_measure(out, e) < 0)
            return -1;
    }
    p->count++;
    return 0;
}

/* Two nodes may read one tensor. */
static int is_listed(const struct part *p, const struct tensor *t)
{
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->source[i]->name, t->name))
            return 1;
    return 0;
}

static int collect(struct part *p, struct error *e)
{
    size_t most = (size_t)p->fresh->count * GRAPH_MAX_WEIGHTS + (size_t)cJSON_GetArraySize(p->aliases) + 1;
    const cJSON *alias;
    p->out = mem_array(most, sizeof *p->out, e);
    p->codes = mem_array(most, sizeof *p->codes, e);
    p->source = mem_array(most, sizeof *p->source, e);
    if (!p->out || !p->codes || !p->source)
        return -1;
    for (int i = 0; i < p->fresh->count; i++)
        for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++) {
            const char *full = p->fresh->node[i].weight[w];
            const struct tensor *t = full ? find(p, full) : NULL;
            if (t && !is_listed(p, t) && add_tensor(p, full, t, e) < 0)
                return -1;
        }
    cJSON_ArrayForEach(alias, p->aliases)
    {
        const char *name = block_map_new(&p->blocks, alias->string, &p->names, e);
        const struct tensor *t = name ? find(p, name) : NULL;
        if (!name && !e->code)
            continue; /* of a block that is gone */
        if (!t || strlen(alias->string) <= strlen(p->component) + 1)
            return error_set(e, HASTEN_EFILE, "the source of tensor '%s' is missing", alias->string);
        if (add_tensor(p, name, t, e) < 0)
            return -1;
    }
    return 0;
}

/* container.h's container_fill: the weights that codes stand for, and what another type stands for. */
static int fill(void *context, int index, const struct tensor *t, void *data, struct error *e)
{
    const struct part *p = context;
    float *wide = t->dtype == DTYPE_F32 ? data : mem_array(t->count, sizeof *wide, e);
    if (!wide)
        return -1;
    if (p->codes[index])
        node_dequantize(p->codes[index], wide);
    else
        tensor_to_f32(p->source[index]->dtype, p->source[index]->data, wide, t->count);
    if (wide != data) {
        tensor_from_f32(t->dtype, wide, data, t->count);
        mem_free(wide);
    }
    return 0;
}

/* ---- files ---- */

static int make_folder(const char *path, struct error *e)
{
    struct stat s;
    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &s) == 0 && S_ISDIR(s.st_mode))
        return 0;
    return error_errno(e, HASTEN_EFAIL, "cannot make the folder '%s'", path);
}

static int write_json(const char *folder, const char *name, const cJSON *json, struct error *e)
{
    struct buf b = {0};
    char path[4608];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int status = json_write_pretty(&b, json, e) < 0 || output_whole(path, 0, b.data, b.size, e) < 0 ? -1 : 0;
    buf_free(&b);
    return status;
}

static int write_part(struct part *p, const char *root, struct team *team, struct error *e)
{
    char folder[4096], path[4608];
    snprintf(folder, sizeof folder, "%s%s%s", root, *p->folder ? "/" : "", p->folder);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    if (make_folder(folder, e) < 0 ||
        container_write(path, "weights", NULL, p->out, p->count, fill, p, team, NULL, e) < 0)
        return -1;
    return write_json(folder, "config.json", p->blocks.config, e);
}

static void free_part(struct part *p)
{
    graph_close(p->fresh);
    block_map_close(&p->blocks);
    arena_free(&p->names);
    mem_free(p->out);
    mem_free(p->unpacked);
    mem_free((void *)p->codes);
    mem_free((void *)p->source);
}

/* The scheduler's configuration; import had made null of an infinity, which is that key's default. */
static int write_scheduler(const struct model *m, const char *root, struct error *e)
{
    char folder[4096];
    if (!m->sampler.present)
        return 0;
    cJSON *config = json_copy(m->sampler.config, e);
    snprintf(folder, sizeof folder, "%s/scheduler", root);
    if (config && cJSON_IsNull(json_get(config, "lambda_min_clipped")))
        json_remove(config, "lambda_min_clipped");
    int status =
        !config || make_folder(folder, e) < 0 || write_json(folder, "scheduler_config.json", config, e) < 0
            ? -1
            : 0;
    cJSON_Delete(config);
    return status;
}

/* Components that the model does not hold become [null, null], as diffusers writes absent ones. */
static int write_index(const struct model *m, const cJSON *source, const char *root, struct error *e)
{
    const cJSON *stored = json_get(source, "model_index"), *part;
    cJSON *index = stored ? json_copy(stored, e) : NULL, *item;
    if (!stored)
        return 0;
    cJSON_ArrayForEach(item, index)
    {
        int held = !strcmp(item->string, "scheduler") && m->sampler.present;
        cJSON_ArrayForEach(part, json_get(source, "components"))
        {
            const char *folder = text_of(part, "folder");
            held |= folder && !strcmp(folder, item->string);
        }
        for (cJSON *v = cJSON_IsArray(item) && !held ? item->child : NULL; v; v = v->next) {
            cJSON_free(v->valuestring);
            v->valuestring = NULL;
            v->type = cJSON_NULL;
        }
    }
    int status = index ? write_json(root, "model_index.json", index, e) : -1;
    cJSON_Delete(index);
    return status;
}

int diffusers_export(struct model *m, const char *root, struct team *team, int *tensors, struct error *e)
{
    struct part part[MODEL_MAX_COMPONENTS] = {{0}};
    const cJSON *source = json_get(m->meta, "source"), *entry;
    const cJSON *entries = source ? json_get(source, "components") : NULL;
    int count = 0, status = 0;
    *tensors = 0;
    if (!cJSON_IsArray(entries) || !entries->child)
        return error_set(e, HASTEN_EFILE, "the model does not come from a diffusers directory");
    cJSON_ArrayForEach(entry, entries)
    {
        if (status < 0)
            break;
        if (count == MODEL_MAX_COMPONENTS)
            status = error_set(e, HASTEN_EFILE, "more than %d components", MODEL_MAX_COMPONENTS);
        else if ((status = read_part(&part[count], m, entry, e)) == 0) {
            status = check_part(&part[count], e) < 0 || collect(&part[count], e) < 0 ? -1 : 0;
            count++;
        }
    }
    /* Nothing is written before everything is known to fit. */
    if (status == 0)
        status = make_folder(root, e);
    for (int i = 0; status == 0 && i < count; i++) {
        status = write_part(&part[i], root, team, e);
        *tensors += part[i].count;
    }
    if (status == 0)
        status = write_scheduler(m, root, e) < 0 || write_index(m, source, root, e) < 0 ? -1 : 0;
    for (int i = 0; i < count; i++)
        free_part(&part[i]);
    return status;
}
