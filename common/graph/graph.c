/* Building, analysing and editing graphs: see graph.h. */
#include "common/graph/graph.h"

#include <math.h>
#include <string.h>

struct graph *graph_open(const char *component, struct error *e)
{
    struct graph *g = mem_array(1, sizeof *g, e);
    if (!g)
        return NULL;
    g->component = arena_strdup(&g->arena, component, e);
    if (!g->component) {
        graph_close(g);
        return NULL;
    }
    return g;
}

void graph_close(struct graph *g)
{
    if (!g)
        return;
    mem_free(g->node);
    arena_free(&g->arena);
    mem_free(g);
}

int op_attr_index(const struct op *op, const char *name)
{
    for (int i = 0; i < GRAPH_MAX_ATTRS && op->attr[i].name; i++)
        if (!strcmp(op->attr[i].name, name))
            return i;
    return -1;
}

int op_weight_index(const struct op *op, const char *name)
{
    for (int i = 0; i < GRAPH_MAX_WEIGHTS && op->weight[i].name; i++)
        if (!strcmp(op->weight[i].name, name))
            return i;
    return -1;
}

const struct op *op_find(const char *name)
{
    const struct op *op;
    for (int i = 0; (op = op_at(i)); i++)
        if (!strcmp(op->name, name))
            return op;
    return NULL;
}

int node_is(const struct node *n, const char *op) { return !strcmp(n->op->name, op); }

int node_reads(const struct node *n, int i)
{
    return !(i == 0 && node_is(n, "position_embedding")) &&
           !(i == 1 && (node_is(n, "upsample") || node_is(n, "grid")));
}

double node_attr(const struct node *n, const char *name)
{
    int i = op_attr_index(n->op, name);
    return i < 0 ? NAN : n->attr[i];
}

const struct tensor *node_weight(const struct node *n, const char *slot)
{
    int i = op_weight_index(n->op, slot);
    return i < 0 ? NULL : n->tensor[i];
}

int graph_find(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->count; i++)
        if (!strcmp(g->node[i].name, name))
            return i;
    return -1;
}

int graph_find_output(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->outputs; i++)
        if (!strcmp(g->output[i].name, name))
            return g->output[i].node;
    return -1;
}

static int add_node(struct graph *g, const struct op *op, const char *name, struct error *e)
{
    if (!*name)
        return error_set(e, HASTEN_EFILE, "a node of component '%s' has an empty name", g->component);
    if (g->count == GRAPH_MAX_NODES)
        return error_set(e, HASTEN_EFILE, "more than %d nodes in component '%s'", GRAPH_MAX_NODES,
                         g->component);
    if (g->count == g->capacity) {
        int capacity = g->capacity ? 2 * g->capacity : 64;
        struct node *bigger = mem_resize(g->node, (size_t)capacity, sizeof *bigger, e);
        if (!bigger)
            return -1;
        g->node = bigger;
        g->capacity = capacity;
    }
    struct node *n = &g->node[g->count];
    *n = (struct node){.op = op, .name = arena_strdup(&g->arena, name, e)};
    if (!n->name)
        return -1;
    for (int i = 0; i < GRAPH_MAX_ATTRS && op->attr[i].name; i++)
        n->attr[i] = op->attr[i].fallback;
    return g->count++;
}

int graph_input(struct graph *g, const char *name, enum value_kind kind, int channels, int height, int width,
                struct error *e)
{
    int n = add_node(g, op_find("input"), name, e);
    if (n >= 0)
        g->node[n].shape = (struct shape){kind, height > 0 ? height : 1, width > 0 ? width : 1, channels};
    return n;
}

int graph_node(struct graph *g, const char *op_name, const char *name, const int *in, int inputs,
               struct error *e)
{
    const struct op *op = op_find(op_name);
    if (!op || node_is(&(struct node){.op = op}, "input"))
        return error_set(e, HASTEN_EFILE, "node '%s': unknown operation '%s'", name, op_name);
    if (inputs < op->min_inputs || inputs > op->max_inputs)
        return error_set(e, HASTEN_EFILE, "node '%s': %s takes %d to %d inputs, %d are given", name, op_name,
                         op->min_inputs, op->max_inputs, inputs);
    for (int i = 0; i < inputs; i++)
        if (in[i] < 0 || in[i] >= g->count)
            return error_set(e, HASTEN_EFILE, "node '%s': input %d does not exist", name, i);
    int n = add_node(g, op, name, e);
    if (n < 0)
        return -1;
    g->node[n].inputs = inputs;
    for (int i = 0; i < inputs; i++)
        g->node[n].in[i] = in[i];
    return n;
}

int graph_attr(struct graph *g, int node, const char *name, double value, struct error *e)
{
    struct node *n = &g->node[node];
    int i = op_attr_index(n->op, name);
    if (i < 0)
        return error_set(e, HASTEN_EFILE, "node '%s': %s has no attribute '%s'", n->name, n->op->name, name);
    const struct op_attr *a = &n->op->attr[i];
    if (!(value >= a->min && value <= a->max) || (a->integer && value != floor(value)))
        return error_set(
            e, HASTEN_EFILE, "node '%s': attribute '%s' of %s is %.9g, expected %s from %.9g to %.9g",
            n->name, name, n->op->name, value, a->integer ? "a whole number" : "a number", a->min, a->max);
    n->attr[i] = value;
    return 0;
}

int graph_choice(struct graph *g, int node, const char *name, const char *choice, struct error *e)
{
    struct node *n = &g->node[node];
    int i = op_attr_index(n->op, name);
    if (i < 0 || !n->op->attr[i].choices)
        return error_set(e, HASTEN_EFILE, "node '%s': %s has no attribute '%s' that takes a word", n->name,
                         n->op->name, name);
    size_t length = strlen(choice);
    int index = 0;
    for (const char *c = n->op->attr[i].choices; c; index++) {
        size_t word = strcspn(c, " ");
        if (word == length && !memcmp(c, choice, word)) {
            n->attr[i] = index;
            return 0;
        }
        c = c[word] ? c + word + 1 : NULL;
    }
    return error_set(e, HASTEN_EFILE, "node '%s': attribute '%s' is '%s', expected one of: %s", n->name, name,
                     choice, n->op->attr[i].choices);
}

int graph_weight(struct graph *g, int node, const char *slot, const char *tensor, struct error *e)
{
    struct node *n = &g->node[node];
    int i = op_weight_index(n->op, slot);
    if (i < 0)
        return error_set(e, HASTEN_EFILE, "node '%s': %s has no weight '%s'", n->name, n->op->name, slot);
    n->weight[i] = arena_strdup(&g->arena, tensor, e);
    return n->weight[i] ? 0 : -1;
}

int graph_output(struct graph *g, const char *name, int node, struct error *e)
{
    if (g->outputs == GRAPH_MAX_OUTPUTS)
        return error_set(e, HASTEN_EFILE, "more than %d outputs", GRAPH_MAX_OUTPUTS);
    if (node < 0 || node >= g->count)
        return error_set(e, HASTEN_EFILE, "output '%s': no such node", name);
    if (graph_find_output(g, name) >= 0)
        return error_set(e, HASTEN_EFILE, "two outputs are named '%s'", name);
    char *copy = arena_strdup(&g->arena, name, e);
    if (!copy)
        return -1;
    g->output[g->outputs++] = (struct graph_output){copy, node};
    return 0;
}

/* ---- shapes and weights ---- */

static int bind_weights(struct node *n, tensor_find *find, const void *context, struct error *e)
{
    for (int i = 0; i < GRAPH_MAX_WEIGHTS && n->op->weight[i].name; i++) {
        n->tensor[i] = NULL;
        if (!n->weight[i]) {
            if (n->op->weight[i].required)
                return error_set(e, HASTEN_EFILE, "%s needs the weight '%s'", n->op->name,
                                 n->op->weight[i].name);
            continue;
        }
        n->tensor[i] = find(context, n->weight[i]);
        if (!n->tensor[i])
            return error_set(e, HASTEN_EFILE, "tensor '%s' is missing", n->weight[i]);
    }
    return 0;
}

static int check_size(struct shape s, struct error *e)
{
    if (s.height < 1 || s.width < 1 || s.channels < 1 || s.height > GRAPH_MAX_SIZE ||
        s.width > GRAPH_MAX_SIZE || s.channels > GRAPH_MAX_SIZE || shape_rows(s) > INT32_MAX / 4 ||
        shape_size(s) > INT64_C(1) << 40)
        return error_set(e, HASTEN_EFILE, "a value of height %d, width %d and %d channels is out of range",
                         s.height, s.width, s.channels);
    return 0;
}

static int infer_node(struct graph *g, struct node *n, tensor_find *find, const void *context,
                      struct error *e)
{
    struct shape in[GRAPH_MAX_INPUTS];
    for (int i = 0; i < n->inputs; i++)
        in[i] = g->node[n->in[i]].shape;
    if (bind_weights(n, find, context, e) < 0)
        return -1;
    if (n->op->infer && n->op->infer(n, in, &n->shape, e) < 0)
        return -1;
    return check_size(n->shape, e);
}

int graph_infer(struct graph *g, int height, int width, tensor_find *find, const void *context,
                struct error *e)
{
    int sized = 0;
    for (int i = 0; i < g->count; i++) {
        struct node *n = &g->node[i];
        /* The first image among the inputs is what the user sizes. */
        if (node_is(n, "input") && n->shape.kind == VALUE_IMAGE && !sized++) {
            n->shape.height = height > 0 ? height : n->shape.height;
            n->shape.width = width > 0 ? width : n->shape.width;
        }
        if (infer_node(g, n, find, context, e) < 0)
            return error_under(e, "node '%s' of component '%s'", n->name, g->component);
    }
    return 0;
}

/* ---- analysis ---- */

void graph_live(const struct graph *g, const int *want, int wants, const unsigned char *served,
                unsigned char *live)
{
    memset(live, 0, (size_t)g->count);
    for (int i = 0; i < wants; i++)
        live[want[i]] = !served || !served[want[i]];
    for (int i = g->count - 1; i >= 0; i--)
        for (int j = 0; live[i] && j < g->node[i].inputs; j++)
            if (node_reads(&g->node[i], j) && (!served || !served[g->node[i].in[j]]))
                live[g->node[i].in[j]] = 1;
}

void graph_depends(const struct graph *g, int on, unsigned char *depends)
{
    for (int i = 0; i < g->count; i++) {
        depends[i] = i == on;
        for (int j = 0; j < g->node[i].inputs; j++)
            depends[i] |= node_reads(&g->node[i], j) && depends[g->node[i].in[j]];
    }
}

void graph_uses(const struct graph *g, int *uses)
{
    memset(uses, 0, (size_t)g->count * sizeof *uses);
    for (int i = 0; i < g->count; i++)
        for (int j = 0; j < g->node[i].inputs; j++)
            uses[g->node[i].in[j]]++;
    for (int i = 0; i < g->outputs; i++)
        uses[g->output[i].node]++;
}

/* ---- editing ---- */

int graph_redirect(struct graph *g, int from, int to, struct error *e)
{
    struct shape a = g->node[from].shape, b = g->node[to].shape;
    if (a.kind != b.kind || a.height != b.height || a.width != b.width || a.channels != b.channels)
        return error_set(e, HASTEN_EFAIL, "'%s' and '%s' differ in shape, one cannot stand for the other",
                         g->node[from].name, g->node[to].name);
    for (int i = 0; i < g->count; i++)
        for (int j = 0; j < g->node[i].inputs; j++)
            if (g->node[i].in[j] == from) {
                if (to >= i)
                    return error_set(e, HASTEN_EFAIL, "'%s' reads '%s' and cannot read the later '%s'",
                                     g->node[i].name, g->node[from].name, g->node[to].name);
                g->node[i].in[j] = to;
            }
    for (int i = 0; i < g->outputs; i++)
        if (g->output[i].node == from)
            g->output[i].node = to;
    return 0;
}

int graph_sweep(struct graph *g, struct error *e)
{
    unsigned char *live = mem_array((size_t)g->count + 1, 1, e);
    int *place = mem_array((size_t)g->count + 1, sizeof *place, e);
    int want[GRAPH_MAX_OUTPUTS], kept = 0, status = -1;
    if (!live || !place)
        goto out;
    for (int i = 0; i < g->outputs; i++)
        want[i] = g->output[i].node;
    graph_live(g, want, g->outputs, NULL, live);
    for (int i = g->count - 1; i >= 0; i--) /* also what gives a shape only */
        for (int j = 0; live[i] && j < g->node[i].inputs; j++)
            live[g->node[i].in[j]] = 1;
    for (int i = 0; i < g->count; i++) {
        if (!live[i] && !node_is(&g->node[i], "input"))
            continue;
        place[i] = kept;
        g->node[kept] = g->node[i];
        for (int j = 0; j < g->node[kept].inputs; j++)
            g->node[kept].in[j] = place[g->node[kept].in[j]];
        kept++;
    }
    for (int i = 0; i < g->outputs; i++)
        g->output[i].node = place[g->output[i].node];
    g->count = kept;
    status = 0;
out:
    mem_free(live);
    mem_free(place);
    return status;
}

static int copy_node(struct graph *to, const struct node *n, struct error *e)
{
    int at = add_node(to, n->op, n->name, e);
    if (at < 0)
        return -1;
    struct node *c = &to->node[at];
    const char *name = c->name;
    *c = *n;
    c->name = name;
    for (int i = 0; i < GRAPH_MAX_WEIGHTS; i++)
        if (n->weight[i] && !(c->weight[i] = arena_strdup(&to->arena, n->weight[i], e)))
            return -1;
    return 0;
}

struct graph *graph_copy(const struct graph *g, struct error *e)
{
    struct graph *to = graph_open(g->component, e);
    if (!to)
        return NULL;
    for (int i = 0; i < g->count; i++)
        if (copy_node(to, &g->node[i], e) < 0)
            goto fail;
    for (int i = 0; i < g->outputs; i++)
        if (graph_output(to, g->output[i].name, g->output[i].node, e) < 0)
            goto fail;
    return to;
fail:
    graph_close(to);
    return NULL;
}
