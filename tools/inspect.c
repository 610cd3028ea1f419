/* inspect: what is inside any of our files, or a plain safetensors file. The report is made as JSON; the text
 * for people is drawn from it. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/file/container.h"
#include "common/file/model.h"
#include "common/graph/graph_json.h"
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

static struct {
    int verify;
} o;

static const struct tool_option options[] = {
    {"verify", 0, NULL, OPTION_FLAG, &o.verify, .help = "read everything and check every hash"},
    {0}};

static const struct tool tool = {
    "inspect", "FILE",        "Show what is inside a file of hasten, or a plain safetensors file.",
    options,   TOOL_COMPUTES, "quantize big.model.zst | inspect --json | jq .components"};

/* ---- the report ---- */

static int add_shape(cJSON *report, const int64_t *shape, int rank, struct error *e)
{
    return json_add(report, "shape", json_ints(shape, (size_t)rank, e), e);
}

static int add_tensors(cJSON *report, const struct container *c, struct error *e)
{
    cJSON *list = json_add_array(report, "tensors", e);
    for (int i = 0; list && i < c->count; i++) {
        const struct tensor *t = &c->tensor[i];
        cJSON *j = json_push_object(list, e);
        if (!j || json_add_string(j, "name", t->name, e) < 0 ||
            json_add_string(j, "dtype", dtype_name(t->dtype), e) < 0 ||
            add_shape(j, t->shape, t->rank, e) < 0 || json_add_int(j, "bytes", (int64_t)t->size, e) < 0)
            return -1;
    }
    return list ? 0 : -1;
}

/* Elements of all tensors that the graph names, each counted once. */
static int add_parameters(cJSON *report, const struct container *c, const struct graph *g, struct error *e)
{
    unsigned char *seen = mem_array((size_t)c->count, 1, e);
    int64_t parameters = 0;
    if (!seen)
        return -1;
    for (int i = 0; i < g->count; i++)
        for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++) {
            int k = g->node[i].weight[w] ? container_index(c, g->node[i].weight[w]) : -1;
            if (k >= 0 && !seen[k]++)
                parameters += (int64_t)c->tensor[k].count;
        }
    mem_free(seen);
    return json_add_int(report, "parameters", parameters, e);
}

/* How often each operation occurs; the input nodes by name and shape. */
static int add_nodes(cJSON *report, const struct graph *g, struct error *e)
{
    static const char *const kinds[] = {"vector", "tokens", "image"};
    cJSON *inputs = json_add_array(report, "inputs", e), *ops = json_add_object(report, "ops", e);
    for (int i = 0; inputs && ops && i < g->count; i++) {
        const struct node *n = &g->node[i];
        const cJSON *before = json_get(ops, n->op->name);
        if (!node_is(n, "input")) {
            if (json_add_int(ops, n->op->name, before ? (int64_t)before->valuedouble + 1 : 1, e) < 0)
                return -1;
            continue;
        }
        cJSON *j = json_push_object(inputs, e);
        if (!j || json_add_string(j, "name", n->name, e) < 0 ||
            json_add_string(j, "kind", kinds[n->shape.kind], e) < 0 ||
            add_shape(j, (int64_t[]){n->shape.channels, n->shape.height, n->shape.width}, 3, e) < 0)
            return -1;
    }
    return inputs && ops ? json_add_int(report, "nodes", g->count, e) : -1;
}

static int add_component(cJSON *components, const struct container *c, const struct graph *g, struct error *e)
{
    cJSON *j = json_add_object(components, g->component, e),
          *outputs = j ? json_add_array(j, "outputs", e) : NULL;
    for (int i = 0; outputs && i < g->outputs; i++)
        if (json_push_string(outputs, g->output[i].name, e) < 0)
            return -1;
    return outputs && add_nodes(j, g, e) == 0 ? add_parameters(j, c, g, e) : -1;
}

/* The structure of a model, checked as every tool checks it, without its data. */
static int add_components(cJSON *report, struct model *m, const struct container *c, struct error *e)
{
    const cJSON *list = json_object(c->meta, "components", e), *j;
    cJSON *components = json_add_object(report, "components", e);
    if (!list || !components || !(m->meta = json_copy(c->meta, e)))
        return -1;
    cJSON_ArrayForEach(j, list)
    {
        struct graph *g = graph_from_json(j->string, j, e);
        if (!g)
            return -1;
        if (model_add_component(m, g, e) < 0) {
            graph_close(g);
            return -1;
        }
    }
    for (int i = 0; i < c->count; i++)
        if (model_add_tensor(m, &c->tensor[i], 0, e) < 0)
            return -1;
    if (model_verify(m, e) < 0)
        return -1;
    for (int i = 0; i < m->components; i++)
        if (add_component(components, c, m->graph[i], e) < 0)
            return -1;
    return 0;
}

/* Everything but the components, which are told in short; a foreign file's metadata stays apart. */
static cJSON *make_report(const struct container *c, struct error *e)
{
    int foreign = container_is_foreign(c);
    cJSON *report = foreign ? json_new_object(e) : json_copy(c->meta, e);
    if (!report)
        return NULL;
    json_remove(report, "components");
    if ((foreign && json_add(report, "metadata", json_copy(c->meta, e), e) < 0) ||
        json_add_string(report, "kind", foreign ? "safetensors" : c->kind, e) < 0 ||
        json_add_string(report, "id", container_id(c), e) < 0 ||
        json_add_int(report, "bytes", (int64_t)c->bytes, e) < 0 ||
        json_add_bool(report, "hashed", c->verified, e) < 0 || add_tensors(report, c, e) < 0) {
        cJSON_Delete(report);
        return NULL;
    }
    return report;
}

/* ---- text ---- */

static void put_bytes(struct buf *b, double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; bytes >= 1024 && u < 4; u++)
        bytes /= 1024;
    buf_printf(b, NULL, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

/* A value on one line, cut when it is long. */
static void put_value(struct buf *b, const cJSON *j)
{
    struct buf v = {0};
    if (cJSON_IsString(j))
        buf_text(b, j->valuestring, NULL);
    else if (json_write(&v, j, NULL) == 0)
        buf_printf(b, NULL, v.size > 400 ? "%.400s ..." : "%s", v.data);
    buf_free(&v);
}

static void put_components(struct buf *b, const cJSON *components)
{
    const cJSON *c, *i;
    if (components)
        buf_text(b, "\ncomponents\n", NULL);
    cJSON_ArrayForEach(c, components)
    {
        buf_printf(b, NULL, "  %s: %.0f nodes, %.3f million parameters\n", c->string,
                   json_get(c, "nodes")->valuedouble, json_get(c, "parameters")->valuedouble / 1e6);
        cJSON_ArrayForEach(i, json_get(c, "inputs"))
        {
            const cJSON *shape = json_get(i, "shape");
            buf_printf(b, NULL, "    input   %s: %s, %d channels", json_get(i, "name")->valuestring,
                       json_get(i, "kind")->valuestring, cJSON_GetArrayItem(shape, 0)->valueint);
            if (cJSON_GetArrayItem(shape, 2)->valueint > 1)
                buf_printf(b, NULL, ", %d x %d", cJSON_GetArrayItem(shape, 1)->valueint,
                           cJSON_GetArrayItem(shape, 2)->valueint);
            buf_text(b, "\n", NULL);
        }
        cJSON_ArrayForEach(i, json_get(c, "outputs")) buf_printf(b, NULL, "    output  %s\n", i->valuestring);
        buf_text(b, "    ops    ", NULL);
        cJSON_ArrayForEach(i, json_get(c, "ops")) buf_printf(b, NULL, " %s %.0f", i->string, i->valuedouble);
        buf_text(b, "\n", NULL);
    }
}

/* A schedule as a strip: a letter for each network call, # where everything is computed. */
static void put_strip(struct buf *b, const cJSON *streams, const cJSON *actions)
{
    static const char letters[] = "#abcdefghijklmnopqrstuvwxyzABCDEFGH";
    const cJSON *s, *c, *a;
    int index = 0;
    buf_text(b, "\nnetwork calls\n", NULL);
    cJSON_ArrayForEach(s, streams)
    {
        buf_text(b, "  ", NULL);
        cJSON_ArrayForEach(c, s)
        {
            int known = cJSON_IsNumber(c) && c->valueint >= 0 && c->valueint < (int)sizeof letters - 1;
            buf_add(b, known ? &letters[c->valueint] : "?", 1, NULL);
        }
        buf_text(b, "\n", NULL);
    }
    cJSON_ArrayForEach(a, actions)
    {
        const cJSON *name = json_get(a, "name");
        buf_printf(b, NULL, "  %c = %s", letters[index % ((int)sizeof letters - 1)],
                   cJSON_IsString(name) ? name->valuestring : "?");
        buf_printf(b, NULL, ", serves %d\n", cJSON_GetArraySize(json_get(a, "serve")));
        index++;
    }
}

static void put_tensors(struct buf *b, const cJSON *tensors)
{
    const cJSON *t, *n;
    if (tensors->child)
        buf_text(b, "\ntensors\n", NULL);
    cJSON_ArrayForEach(t, tensors)
    {
        char shape[TENSOR_SHAPE_TEXT] = "[";
        size_t used = 1;
        cJSON_ArrayForEach(n, json_get(t, "shape")) used +=
            (size_t)snprintf(shape + used, sizeof shape - used, used > 1 ? ", %.0f" : "%.0f", n->valuedouble);
        snprintf(shape + used, sizeof shape - used, "]");
        buf_printf(b, NULL, "  %-7s %-20s %12.0f  %s\n", json_get(t, "dtype")->valuestring, shape,
                   json_get(t, "bytes")->valuedouble, json_get(t, "name")->valuestring);
    }
}

/* Names come from the file: no control characters reach the terminal. The lines' own ends stay. */
static void mask_lines(char *text)
{
    for (char *line = text, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end = 0;
        text_mask(line);
        if (end)
            *end++ = '\n';
    }
}

static void put_report(struct buf *b, const cJSON *report, const char *name, int count)
{
    static const char *const told[] = {"kind", "version", "id", "bytes", "hashed", "verified", "tensors",
                                       "components", "streams", "actions", NULL};
    const cJSON *id = json_get(report, "id"), *streams = json_get(report, "streams"), *j;
    buf_printf(b, NULL, "%s: %s, %d tensors, ", name, json_get(report, "kind")->valuestring, count);
    put_bytes(b, json_get(report, "bytes")->valuedouble);
    if (cJSON_IsString(id))
        buf_printf(b, NULL, ", id %s", id->valuestring);
    buf_text(b, cJSON_IsTrue(json_get(report, "hashed")) ? "\n" : ", without hashes\n", NULL);
    cJSON_ArrayForEach(j, report)
    {
        int i = 0;
        while (told[i] && strcmp(told[i], j->string))
            i++;
        if (told[i])
            continue;
        buf_printf(b, NULL, "%s: ", j->string);
        put_value(b, j);
        buf_text(b, "\n", NULL);
    }
    put_components(b, json_get(report, "components"));
    if (cJSON_IsArray(streams))
        put_strip(b, streams, json_get(report, "actions"));
    put_tensors(b, json_get(report, "tensors"));
}

/* ---- the run ---- */

static int show(struct tool_run *t, struct container *c, int in_order, struct error *e)
{
    struct model m = {0};
    struct error wrong = {0};
    struct buf text = {0};
    int is_model = !strcmp(c->kind, "model");
    /* A pipe is read to its end: whoever writes it should not die of SIGPIPE. */
    if ((o.verify || in_order) && container_verify(c, t->team, e) < 0)
        return -1;
    cJSON *report = make_report(c, e);
    if (!report)
        return -1;
    /* What a broken model holds is shown all the same, before the error. */
    if (is_model && add_components(report, &m, c, &wrong) < 0)
        json_remove(report, "components");
    int status = json_add_bool(report, "verified", o.verify && !wrong.code, e);
    put_report(&text, report, c->name, c->count);
    if (text.data)
        mask_lines(text.data);
    if (status == 0)
        status = text.failed ? error_set(e, HASTEN_ENOMEM, "out of memory")
                             : tool_report(t, text.data, report, 0, e);
    if (status == 0 && wrong.code)
        status = error_set(e, wrong.code, "%s: %s", c->name, wrong.text);
    if (status == 0 && o.verify)
        tool_note(t, "%s: everything was read and %s", c->name,
                  c->verified ? "is as it was written" : "is well-formed");
    buf_free(&text);
    model_close(&m);
    cJSON_Delete(report);
    return status;
}

static int run(struct tool_run *t, struct error *e)
{
    struct container_options want = {.foreign = 1, .memory = t->memory};
    const char *path = tool_input(t, e);
    struct container *c = path ? container_open(path, &want, e) : NULL;
    if (!c)
        return -1;
    int status = show(t, c, container_in_order(c), e);
    container_close(c);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    if (tool_start(&t, &tool, argc, argv, &e) == 0)
        run(&t, &e);
    return tool_finish(&t, &e);
}
