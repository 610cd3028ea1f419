/* See model.h. */
#include "common/file/model.h"
#include "common/base/json.h"
#include "common/file/model_lazy.h"
#include "common/file/model_markers.h"
#include "common/graph/graph_json.h"

#include <stdlib.h>
#include <string.h>

/* ---- tensors ---- */

static int grow(struct model *m, struct error *e)
{
    if (m->tensors < m->capacity)
        return 0;
    int capacity = m->capacity ? 2 * m->capacity : 512;
    struct tensor *t = mem_resize(m->tensor, (size_t)capacity, sizeof *t, e);
    if (!t)
        return -1;
    m->tensor = t;
    unsigned char *o = mem_resize(m->owned, (size_t)capacity, 1, e);
    if (!o)
        return -1;
    m->owned = o;
    int *order = mem_resize(m->order, (size_t)capacity, sizeof *order, e);
    if (!order)
        return -1;
    m->order = order;
    m->capacity = capacity;
    return 0;
}

/* Data that the model owns are not those of the file that a tensor of this name came from. */
static void set_tensor(struct model *m, int i, const struct tensor *t, const char *name, int owned)
{
    m->tensor[i] = *t;
    m->tensor[i].name = name;
    if (owned && t->data)
        m->tensor[i].origin = NULL;
    m->owned[i] = (unsigned char)owned;
}

int model_add_tensor(struct model *m, const struct tensor *t, int owned, struct error *e)
{
    char *name = grow(m, e) < 0 ? NULL : arena_strdup(&m->names, t->name, e);
    if (!name)
        return -1;
    set_tensor(m, m->tensors, t, name, owned);
    m->tensors++;
    m->sorted = 0;
    return 0;
}

static int by_name(const void *x, const void *y, void *tensors)
{
    const struct tensor *t = tensors;
    return strcmp(t[*(const int *)x].name, t[*(const int *)y].name);
}

static int find_index(const struct model *m, const char *name)
{
    struct model *w = (struct model *)m; /* the order is a cache */
    if (!m->sorted) {
        for (int i = 0; i < m->tensors; i++)
            w->order[i] = i;
        if (m->tensors)
            qsort_r(w->order, (size_t)m->tensors, sizeof *w->order, by_name, w->tensor);
        w->sorted = 1;
    }
    int low = 0, high = m->tensors;
    while (low < high) {
        int middle = (low + high) / 2, c = strcmp(m->tensor[m->order[middle]].name, name);
        if (c == 0)
            return m->order[middle];
        *(c < 0 ? &low : &high) = c < 0 ? middle + 1 : middle;
    }
    return -1;
}

const struct tensor *model_find(const void *context, const char *name)
{
    const struct model *m = context;
    int i = find_index(m, name);
    return i < 0 ? NULL : &m->tensor[i];
}

static void free_tensor(struct model *m, int i)
{
    if (m->owned[i])
        mem_free(m->tensor[i].data);
    m->tensor[i].data = NULL;
}

/* Where the component came from a directory, export asks what type a tensor had. */
static int keep_dtype(struct model *m, const struct tensor *t, struct error *e)
{
    const cJSON *source = json_get(m->meta, "source");
    cJSON *entries = source ? json_get(source, "components") : NULL, *entry;
    cJSON_ArrayForEach(entry, entries)
    {
        const cJSON *name = json_get(entry, "component");
        size_t n = cJSON_IsString(name) ? strlen(name->valuestring) : 0;
        if (!n || strncmp(t->name, name->valuestring, n) != 0 || t->name[n] != '.')
            continue;
        cJSON *types = json_get(entry, "dtypes");
        if (!types)
            types = json_add_object(entry, "dtypes", e);
        if (!types)
            return -1;
        return json_get(types, t->name) ? 0 : json_add_string(types, t->name, dtype_name(t->dtype), e);
    }
    return 0;
}

int model_replace_tensor(struct model *m, const char *name, const struct tensor *t, int owned,
                         struct error *e)
{
    int i = find_index(m, name);
    if (i < 0) {
        struct tensor named = *t;
        named.name = name;
        return model_add_tensor(m, &named, owned, e);
    }
    if (dtype_is_float(m->tensor[i].dtype) && m->tensor[i].dtype != t->dtype &&
        keep_dtype(m, &m->tensor[i], e) < 0)
        return -1;
    free_tensor(m, i);
    set_tensor(m, i, t, m->tensor[i].name, owned);
    return 0;
}

static int is_named(const struct model *m, const char *name)
{
    for (int c = 0; c < m->components; c++)
        for (int i = 0; i < m->graph[c]->count; i++)
            for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++)
                if (m->graph[c]->node[i].weight[w] && !strcmp(m->graph[c]->node[i].weight[w], name))
                    return 1;
    return 0;
}

void model_drop_unused(struct model *m)
{
    int kept = 0;
    for (int i = 0; i < m->tensors; i++) {
        if (!is_named(m, m->tensor[i].name)) {
            free_tensor(m, i);
            continue;
        }
        m->tensor[kept] = m->tensor[i];
        m->owned[kept++] = m->owned[i];
    }
    m->tensors = kept;
    m->sorted = 0;
}

/* ---- components ---- */

int model_add_component(struct model *m, struct graph *g, struct error *e)
{
    if (m->components == MODEL_MAX_COMPONENTS)
        return error_set(e, HASTEN_EFILE, "more than %d components", MODEL_MAX_COMPONENTS);
    m->graph[m->components++] = g;
    return 0;
}

struct graph *model_component(const struct model *m, const char *name)
{
    for (int i = 0; i < m->components; i++)
        if (!strcmp(m->graph[i]->component, name))
            return m->graph[i];
    return NULL;
}

struct graph *model_main(const struct model *m, struct error *e)
{
    struct graph *g = model_component(m, "denoiser");
    if (!g && m->components == 1)
        g = m->graph[0];
    if (!g)
        error_set(e, HASTEN_EUSAGE, "the model has no component 'denoiser'; name one with --component");
    return g;
}

/* ---- blocks ---- */

static int read_sampler(struct model *m, struct error *e)
{
    struct model_sampler *s = &m->sampler;
    cJSON *block;
    int64_t steps, null_class, classes;
    size_t count = 0;
    double *interval = NULL;
    const char *time;
    *s = (struct model_sampler){.guidance = 1, .interval = {-1e30, 1e30}, .null_class = -1};
    if (json_object_or(m->meta, "sampler", &block, e) < 0 || !block)
        return e->code ? -1 : 0;
    s->present = 1;
    s->config = json_object(block, "config", e);
    if (!s->config || json_int_or(block, "steps", 1, 100000, 50, &steps, e) < 0 ||
        json_double_or(block, "guidance", -1e6, 1e6, 1, &s->guidance, e) < 0 ||
        json_int_or(block, "null_class", -1, 1 << 24, -1, &null_class, e) < 0 ||
        json_int_or(block, "classes", 0, 1 << 24, 0, &classes, e) < 0 ||
        json_string_or(block, "time_input", "timestep", &time, e) < 0)
        return -1;
    if (strcmp(time, "timestep") && strcmp(time, "one_minus_sigma"))
        return error_set(e, HASTEN_EFILE, "time_input '%s' is neither timestep nor one_minus_sigma", time);
    s->steps = (int)steps;
    s->null_class = (int)null_class;
    s->classes = (int)classes;
    s->one_minus_sigma = !strcmp(time, "one_minus_sigma");
    if (json_get(block, "guidance_interval")) {
        if (json_get_doubles(block, "guidance_interval", -1e30, 1e30, &interval, &count, e) < 0)
            return -1;
        if (count == 2)
            memcpy(s->interval, interval, sizeof s->interval);
        mem_free(interval);
        if (count != 2 || !(s->interval[0] < s->interval[1]))
            return error_set(e, HASTEN_EFILE, "guidance_interval needs two numbers, the smaller one first");
    }
    struct sampler_config check;
    if (sampler_config_read(&check, s->config, NULL, e) < 0)
        return -1;
    sampler_config_free(&check);
    return 0;
}

static int read_image(struct model *m, struct error *e)
{
    struct model_image *i = &m->image;
    cJSON *block;
    int64_t channels, height, width;
    *i = (struct model_image){.low = -1, .high = 1, .latent_scale = 1};
    if (json_object_or(m->meta, "image", &block, e) < 0 || !block)
        return e->code ? -1 : 0;
    if (json_int(block, "channels", 1, 4096, &channels, e) < 0 ||
        json_int(block, "height", 1, 16384, &height, e) < 0 ||
        json_int(block, "width", 1, 16384, &width, e) < 0 ||
        json_double_or(block, "low", -1e6, 1e6, -1, &i->low, e) < 0 ||
        json_double_or(block, "high", -1e6, 1e6, 1, &i->high, e) < 0 ||
        json_double_or(block, "latent_scale", -1e6, 1e6, 1, &i->latent_scale, e) < 0 ||
        json_double_or(block, "latent_shift", -1e6, 1e6, 0, &i->latent_shift, e) < 0)
        return -1;
    if (!(i->low < i->high) || i->latent_scale == 0)
        return error_set(e, HASTEN_EFILE, "the value range %g to %g or the latent scale %g makes no sense",
                         i->low, i->high, i->latent_scale);
    i->channels = (int)channels;
    i->height = (int)height;
    i->width = (int)width;
    return 0;
}

static int fits(const struct model *m, struct graph *g, int height, int width, struct error *e)
{
    if (graph_infer(g, height, width, model_find, m, e) < 0)
        return 0;
    int in = graph_find(g, "sample"), out = graph_find_output(g, "sample");
    return in < 0 || out < 0 || g->node[in].shape.kind != VALUE_IMAGE ||
           (g->node[in].shape.height == g->node[out].shape.height &&
            g->node[in].shape.width == g->node[out].shape.width);
}

int model_resize(const struct model *m, struct graph *g, const char *what, int height, int width,
                 struct error *e)
{
    struct error why = {0};
    if (fits(m, g, height, width, &why))
        return 0;
    if (why.code == HASTEN_ENOMEM)
        return error_set(e, why.code, "%s", why.text);
    /* Patches and halvings are of 2^k. */
    for (int step = 2; step <= 256; step *= 2) {
        struct error no = {0};
        int h = (height + step - 1) / step * step, w = (width + step - 1) / step * step;
        if (fits(m, g, h, w, &no))
            return error_set(e, HASTEN_EUSAGE, "%s: the model takes no latents of %dx%d, the next are %dx%d",
                             what, width, height, w, h);
    }
    return error_set(e, HASTEN_EUSAGE, "%s: the model takes no latents of %dx%d, its own are %dx%d", what,
                     width, height, m->image.width, m->image.height);
}

int model_verify(struct model *m, struct error *e)
{
    if (read_sampler(m, e) < 0)
        return error_under(e, "sampler");
    if (read_image(m, e) < 0)
        return error_under(e, "image");
    for (int i = 0; i < m->components; i++)
        if (graph_infer(m->graph[i], 0, 0, model_find, m, e) < 0)
            return -1;
    return 0;
}

/* ---- files ---- */

int model_new(struct model *m, struct error *e)
{
    *m = (struct model){.meta = json_new_object(e)};
    return m->meta ? 0 : -1;
}

static int read_components(struct model *m, struct error *e)
{
    const cJSON *components = json_object(m->meta, "components", e), *c;
    if (!components)
        return -1;
    cJSON_ArrayForEach(c, components)
    {
        struct graph *g = graph_from_json(c->string, c, e);
        if (!g)
            return -1;
        if (model_add_component(m, g, e) < 0) {
            graph_close(g);
            return -1;
        }
    }
    return m->components ? 0 : error_set(e, HASTEN_EFILE, "the model has no component");
}

/* The list of tensors has moved. */
static int bind_again(struct model *m, struct error *e)
{
    for (int i = 0; i < m->components; i++)
        if (graph_infer(m->graph[i], 0, 0, model_find, m, e) < 0)
            return -1;
    return 0;
}

static int read_structure(struct model *m, const char *path, size_t memory, struct error *e)
{
    struct container_options want = {.kind = "model", .memory = memory};
    m->file = container_open(path, &want, e);
    if (!m->file || !(m->meta = json_copy(m->file->meta, e)))
        return -1;
    if (read_components(m, e) < 0)
        return error_in(e, m->file->name);
    for (int i = 0; i < m->file->count; i++)
        if (model_add_tensor(m, &m->file->tensor[i], 0, e) < 0)
            return -1;
    /* Structure first: a wrong graph is refused before gigabytes are read. */
    return model_verify(m, e) < 0 ? error_in(e, m->file->name) : 0;
}

static int read_model(struct model *m, const char *path, size_t memory, struct team *team, int lazy,
                      struct error *e)
{
    if (read_structure(m, path, memory, e) < 0 || (lazy && (lazy = lazy_load_small(m, team, e)) < 0) ||
        (!lazy && container_load(m->file, team, e) < 0))
        return -1;
    for (int i = 0; i < m->file->count; i++)
        m->tensor[i].data = m->file->tensor[i].data;
    return markers_check(m, e) < 0 || bind_again(m, e) < 0 ? error_in(e, m->file->name)
           : lazy                                          ? lazy_start(m, team, e)
                                                           : 0;
}

static int open_model(struct model *m, const char *path, size_t memory, struct team *team, int lazy,
                      struct error *e)
{
    *m = (struct model){0};
    if (read_model(m, path, memory, team, lazy, e) == 0)
        return 0;
    model_close(m);
    return -1;
}

int model_open(struct model *m, const char *path, size_t memory, struct team *team, struct error *e)
{
    return open_model(m, path, memory, team, 0, e);
}

int model_open_lazy(struct model *m, const char *path, size_t memory, struct team *team, struct error *e)
{
    return open_model(m, path, memory, team, 1, e);
}

int model_open_structure(struct model *m, const char *path, struct error *e)
{
    *m = (struct model){0};
    if (read_structure(m, path, 0, e) == 0)
        return 0;
    model_close(m);
    return -1;
}

void model_close(struct model *m)
{
    for (int i = 0; i < m->components; i++)
        graph_close(m->graph[i]);
    for (int i = 0; i < m->tensors; i++)
        free_tensor(m, i);
    lazy_close(m->lazy);
    mem_free(m->tensor);
    mem_free(m->owned);
    mem_free(m->order);
    arena_free(&m->names);
    cJSON_Delete(m->meta);
    container_close(m->file);
    *m = (struct model){0};
}

int model_provenance(struct model *m, const char *tool, const char *version, cJSON *options, struct error *e)
{
    cJSON *list = json_get(m->meta, "provenance"), *record = NULL;
    if (!list)
        list = json_add_array(m->meta, "provenance", e);
    if (list)
        record = json_push_object(list, e);
    const char *parent = m->file ? container_id(m->file) : NULL;
    if (!record || json_add_string(record, "tool", tool, e) < 0 ||
        json_add_string(record, "version", version, e) < 0 ||
        (parent && json_add_string(record, "parent", parent, e) < 0)) {
        cJSON_Delete(options);
        return -1;
    }
    return options ? json_add(record, "options", options, e) : 0;
}

int model_write(struct model *m, const char *path, struct team *team, char id[HASH_HEX], struct error *e)
{
    cJSON *components = json_new_object(e);
    if (!components)
        return -1;
    for (int i = 0; i < m->components; i++) {
        cJSON *g = graph_to_json(m->graph[i], e);
        if (!g || json_add(components, m->graph[i]->component, g, e) < 0) {
            cJSON_Delete(components);
            return -1;
        }
    }
    if (json_add(m->meta, "components", components, e) < 0)
        return -1;
    struct arena arena = {0};
    struct tensor *t = NULL;
    int count = 0, status = bind_again(m, e) < 0 ? -1 : markers_add(m, &arena, &t, &count, e);
    if (status == 0)
        status = container_write(path, "model", m->meta, t, count, NULL, NULL, team, id, e);
    mem_free(t);
    arena_free(&arena);
    return status;
}

const char *model_id(const struct model *m)
{
    return m->changed[0] ? m->changed : m->file ? container_id(m->file) : NULL;
}
