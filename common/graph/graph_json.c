/* Graphs from and to JSON: see graph_json.h. The JSON is strict already (depth, keys, UTF-8); here its
 * meaning is checked, and every message names the node. */
#include "common/graph/graph_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"vector", "tokens", "image"};

/* Names in order, for finding a node by name in n log n. */
struct name_index {
    struct entry {
        const char *name;
        int node;
    } * entry;
    int count, capacity;
};

/* Binary search: the place of `name`, or where it would go. */
static int index_place(const struct name_index *x, const char *name)
{
    int low = 0, high = x->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (strcmp(x->entry[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int index_find(const struct name_index *x, const char *name)
{
    int i = index_place(x, name);
    return i < x->count && !strcmp(x->entry[i].name, name) ? x->entry[i].node : -1;
}

static int index_add(struct name_index *x, const char *name, int node, struct error *e)
{
    if (index_find(x, name) >= 0)
        return error_set(e, HASTEN_EFILE, "two nodes are named '%s'", name);
    if (x->count == x->capacity) {
        int capacity = x->capacity ? 2 * x->capacity : 256;
        struct entry *bigger = mem_resize(x->entry, (size_t)capacity, sizeof *bigger, e);
        if (!bigger)
            return -1;
        x->entry = bigger;
        x->capacity = capacity;
    }
    int at = index_place(x, name);
    memmove(x->entry + at + 1, x->entry + at, (size_t)(x->count - at) * sizeof *x->entry);
    x->entry[at] = (struct entry){name, node};
    x->count++;
    return 0;
}

static const char *text_of(const cJSON *object, const char *key, const char *of, struct error *e)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(v)) {
        error_set(e, HASTEN_EFILE, "%s: '%s' is %s, a string is expected", of, key,
                  v ? "not a string" : "missing");
        return NULL;
    }
    return v->valuestring;
}

static int number_of(const cJSON *object, const char *key, const char *of, int fallback, int *value,
                     struct error *e)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);
    *value = fallback;
    if (!v)
        return 0;
    if (!cJSON_IsNumber(v) || v->valuedouble != floor(v->valuedouble) || v->valuedouble < 1 ||
        v->valuedouble > GRAPH_MAX_SIZE)
        return error_set(e, HASTEN_EFILE, "%s: '%s' must be a whole number from 1 to %d", of, key,
                         GRAPH_MAX_SIZE);
    *value = (int)v->valuedouble;
    return 0;
}

static int read_input(struct graph *g, const cJSON *j, struct name_index *names, struct error *e)
{
    const char *name = text_of(j, "name", "an input", e), *kind = name ? text_of(j, "kind", name, e) : NULL;
    int which = -1, channels, height, width;
    if (!kind)
        return -1;
    for (int i = 0; i < 3; i++)
        if (!strcmp(kind, kinds[i]))
            which = i;
    if (which < 0)
        return error_set(e, HASTEN_EFILE, "input '%s': kind '%s' is none of vector, tokens, image", name,
                         kind);
    if (number_of(j, "channels", name, 1, &channels, e) < 0 ||
        number_of(j, "height", name, 1, &height, e) < 0 || number_of(j, "width", name, 1, &width, e) < 0)
        return -1;
    int n = graph_input(g, name, (enum value_kind)which, channels, height, width, e);
    return n < 0 ? -1 : index_add(names, g->node[n].name, n, e);
}

static int read_attributes(struct graph *g, int n, const cJSON *attr, struct error *e)
{
    const cJSON *a;
    if (attr && !cJSON_IsObject(attr))
        return error_set(e, HASTEN_EFILE, "node '%s': 'attr' must be an object", g->node[n].name);
    cJSON_ArrayForEach(a, attr)
    {
        int status;
        if (cJSON_IsString(a))
            status = graph_choice(g, n, a->string, a->valuestring, e);
        else if (cJSON_IsNumber(a) || cJSON_IsBool(a))
            status = graph_attr(g, n, a->string, cJSON_IsNumber(a) ? a->valuedouble : cJSON_IsTrue(a), e);
        else
            status = error_set(e, HASTEN_EFILE, "node '%s': attribute '%s' must be a number or a word",
                               g->node[n].name, a->string);
        if (status < 0)
            return -1;
    }
    return 0;
}

static int read_node_inputs(const cJSON *j, const char *name, const struct name_index *names, int *in,
                            struct error *e)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j, "in"), *item;
    int inputs = 0;
    if (list && !cJSON_IsArray(list))
        return error_set(e, HASTEN_EFILE, "node '%s': 'in' must be a list of names", name);
    cJSON_ArrayForEach(item, list)
    {
        if (inputs == GRAPH_MAX_INPUTS)
            return error_set(e, HASTEN_EFILE, "node '%s': more than %d inputs", name, GRAPH_MAX_INPUTS);
        if (!cJSON_IsString(item))
            return error_set(e, HASTEN_EFILE, "node '%s': input %d is not a name", name, inputs);
        in[inputs] = index_find(names, item->valuestring);
        if (in[inputs] < 0)
            return error_set(
                e, HASTEN_EFILE,
                "node '%s' reads '%s', which no earlier node is named (missing, misplaced, or a cycle)", name,
                item->valuestring);
        inputs++;
    }
    return inputs;
}

static int read_node(struct graph *g, const cJSON *j, struct name_index *names, struct error *e)
{
    const char *name = text_of(j, "name", "a node", e), *op = name ? text_of(j, "op", name, e) : NULL;
    int in[GRAPH_MAX_INPUTS], inputs;
    if (!op || (inputs = read_node_inputs(j, name, names, in, e)) < 0)
        return -1;
    int n = graph_node(g, op, name, in, inputs, e);
    if (n < 0)
        return -1;
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(j, "version"), *w;
    if (version && (!cJSON_IsNumber(version) || version->valuedouble != g->node[n].op->version))
        return error_set(e, HASTEN_EFILE,
                         "node '%s': this build knows version %d of %s, the file wants another", name,
                         g->node[n].op->version, op);
    if (read_attributes(g, n, cJSON_GetObjectItemCaseSensitive(j, "attr"), e) < 0)
        return -1;
    const cJSON *weights = cJSON_GetObjectItemCaseSensitive(j, "weights");
    if (weights && !cJSON_IsObject(weights))
        return error_set(e, HASTEN_EFILE, "node '%s': 'weights' must be an object", name);
    cJSON_ArrayForEach(w, weights)
    {
        if (!cJSON_IsString(w))
            return error_set(e, HASTEN_EFILE, "node '%s': weight '%s' must name a tensor", name, w->string);
        if (graph_weight(g, n, w->string, w->valuestring, e) < 0)
            return -1;
    }
    return index_add(names, g->node[n].name, n, e);
}

static int read_graph(struct graph *g, const cJSON *json, struct name_index *names, struct error *e)
{
    static const struct {
        const char *key;
        int (*read)(struct graph *, const cJSON *, struct name_index *, struct error *);
    } lists[] = {{"inputs", read_input}, {"nodes", read_node}};
    const cJSON *item;
    for (int i = 0; i < 2; i++) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, lists[i].key);
        if (!cJSON_IsArray(list))
            return error_set(e, HASTEN_EFILE, "'%s' must be a list", lists[i].key);
        cJSON_ArrayForEach(item, list)
        {
            if (!cJSON_IsObject(item))
                return error_set(e, HASTEN_EFILE, "'%s' must hold objects", lists[i].key);
            if (lists[i].read(g, item, names, e) < 0)
                return -1;
        }
    }
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(json, "outputs");
    if (!cJSON_IsObject(outputs) || !outputs->child)
        return error_set(e, HASTEN_EFILE, "'outputs' must be an object with at least one output");
    cJSON_ArrayForEach(item, outputs)
    {
        int node = cJSON_IsString(item) ? index_find(names, item->valuestring) : -1;
        if (node < 0)
            return error_set(e, HASTEN_EFILE, "output '%s' names no node", item->string);
        if (graph_output(g, item->string, node, e) < 0)
            return -1;
    }
    return 0;
}

struct graph *graph_from_json(const char *component, const cJSON *json, struct error *e)
{
    struct name_index names = {0};
    struct graph *g = NULL;
    if (!cJSON_IsObject(json))
        error_set(e, HASTEN_EFILE, "the graph is not an object");
    else
        g = graph_open(component, e);
    if (g && read_graph(g, json, &names, e) < 0) {
        graph_close(g);
        g = NULL;
    }
    mem_free(names.entry);
    if (!g)
        error_under(e, "component '%s'", component);
    return g;
}

/* ---- writing ---- */

static void word_at(const char *choices, int index, char *word, size_t room)
{
    for (; index > 0; index--)
        choices += strcspn(choices, " ") + 1;
    size_t n = strcspn(choices, " ");
    n = n < room - 1 ? n : room - 1;
    memcpy(word, choices, n);
    word[n] = 0;
}

static int write_attributes(cJSON *j, const struct node *n)
{
    cJSON *attr = NULL;
    for (int i = 0; i < GRAPH_MAX_ATTRS && n->op->attr[i].name; i++) {
        const struct op_attr *a = &n->op->attr[i];
        if (n->attr[i] == a->fallback)
            continue;
        if (!attr && !(attr = cJSON_AddObjectToObject(j, "attr")))
            return -1;
        char word[32];
        if (a->choices)
            word_at(a->choices, (int)n->attr[i], word, sizeof word);
        if (!(a->choices ? cJSON_AddStringToObject(attr, a->name, word)
                         : cJSON_AddNumberToObject(attr, a->name, n->attr[i])))
            return -1;
    }
    return 0;
}

static int write_node(cJSON *list, const struct graph *g, const struct node *n)
{
    cJSON *j = cJSON_CreateObject(), *in, *weights = NULL;
    if (!j || !cJSON_AddItemToArray(list, j) || !cJSON_AddStringToObject(j, "name", n->name) ||
        !cJSON_AddStringToObject(j, "op", n->op->name) || !(in = cJSON_AddArrayToObject(j, "in")))
        return -1;
    if (n->op->version != 1 && !cJSON_AddNumberToObject(j, "version", n->op->version))
        return -1;
    for (int i = 0; i < n->inputs; i++) {
        cJSON *name = cJSON_CreateString(g->node[n->in[i]].name);
        if (!name || !cJSON_AddItemToArray(in, name))
            return -1;
    }
    for (int i = 0; i < GRAPH_MAX_WEIGHTS && n->op->weight[i].name; i++) {
        if (!n->weight[i])
            continue;
        if (!weights && !(weights = cJSON_AddObjectToObject(j, "weights")))
            return -1;
        if (!cJSON_AddStringToObject(weights, n->op->weight[i].name, n->weight[i]))
            return -1;
    }
    return write_attributes(j, n);
}

static int write_input(cJSON *list, const struct node *n)
{
    cJSON *j = cJSON_CreateObject();
    if (!j || !cJSON_AddItemToArray(list, j) || !cJSON_AddStringToObject(j, "name", n->name) ||
        !cJSON_AddStringToObject(j, "kind", kinds[n->shape.kind]) ||
        !cJSON_AddNumberToObject(j, "channels", n->shape.channels))
        return -1;
    if (n->shape.kind == VALUE_IMAGE && !cJSON_AddNumberToObject(j, "height", n->shape.height))
        return -1;
    return n->shape.kind != VALUE_VECTOR && !cJSON_AddNumberToObject(j, "width", n->shape.width) ? -1 : 0;
}

cJSON *graph_to_json(const struct graph *g, struct error *e)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *inputs = cJSON_AddArrayToObject(json, "inputs"), *nodes = cJSON_AddArrayToObject(json, "nodes");
    cJSON *outputs = cJSON_AddObjectToObject(json, "outputs");
    int bad = !inputs || !nodes || !outputs;
    for (int i = 0; i < g->count && !bad; i++)
        bad = (node_is(&g->node[i], "input") ? write_input(inputs, &g->node[i])
                                             : write_node(nodes, g, &g->node[i])) < 0;
    for (int i = 0; i < g->outputs && !bad; i++)
        bad = !cJSON_AddStringToObject(outputs, g->output[i].name, g->node[g->output[i].node].name);
    if (!bad)
        return json;
    cJSON_Delete(json);
    error_set(e, HASTEN_ENOMEM, "out of memory while writing the graph");
    return NULL;
}
