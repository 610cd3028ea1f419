/* generate --once: one run of one component on named inputs, as a diffusers forward. */
#include "common/base/json.h"
#include "common/run/engine.h"
#include "common/run/trajectory.h"
#include "tools/generate.h"

#include <stdio.h>
#include <string.h>

struct once {
    struct container *in;
    struct graph *g;
    float *value[GRAPH_MAX_INPUTS]; /* inputs as float32, in graph order */
    int images, height, width;
};

/* The image input decides batch and size. */
static int read_size(struct once *o, struct error *e)
{
    for (int i = 0; i < o->g->count; i++) {
        const struct node *n = &o->g->node[i];
        if (!node_is(n, "input") || n->shape.kind != VALUE_IMAGE)
            continue;
        const struct tensor *t = container_find(o->in, n->name);
        if (!t)
            return error_set(e, HASTEN_EFILE, "%s has no tensor '%s'", o->in->name, n->name);
        if (t->rank != 4 || t->shape[1] != n->shape.channels || t->shape[0] < 1 || t->shape[0] > 65536 ||
            t->shape[2] < 1 || t->shape[3] < 1 || t->shape[2] > GRAPH_MAX_SIZE ||
            t->shape[3] > GRAPH_MAX_SIZE)
            return error_set(e, HASTEN_EFILE, "tensor '%s' must be [batch,%d,height,width]", n->name,
                             n->shape.channels);
        o->images = (int)t->shape[0];
        o->height = (int)t->shape[2];
        o->width = (int)t->shape[3];
        return 0;
    }
    return error_set(e, HASTEN_EFILE, "component '%s' has no image input", o->g->component);
}

/* Tokens come in any number: [batch,tokens,channels]. */
static void read_tokens(struct once *o)
{
    for (int i = 0; i < o->g->count; i++) {
        struct node *n = &o->g->node[i];
        const struct tensor *t =
            node_is(n, "input") && n->shape.kind == VALUE_TOKENS ? container_find(o->in, n->name) : NULL;
        if (t && t->rank == 3 && t->shape[1] >= 1 && t->shape[1] <= GRAPH_MAX_SIZE)
            n->shape.width = (int)t->shape[1];
    }
}

/* Any other input: one row an image, or one for all. */
static float *read_rows(const struct once *o, const struct node *n, struct error *e)
{
    const struct tensor *t = container_find(o->in, n->name);
    int64_t size = shape_size(n->shape);
    if (!t) {
        error_set(e, HASTEN_EFILE, "%s has no tensor '%s'", o->in->name, n->name);
        return NULL;
    }
    int64_t rows = (int64_t)t->count / size;
    if ((int64_t)t->count % size || (rows != 1 && rows != o->images)) {
        error_set(e, HASTEN_EFILE, "tensor '%s' has %zu numbers, %lld for each of %d images are expected",
                  n->name, t->count, (long long)size, o->images);
        return NULL;
    }
    float *x = mem_array((size_t)(o->images * size), sizeof *x, e);
    for (int i = 0; x && i < o->images; i++)
        tensor_to_f32(t->dtype,
                      (const char *)t->data + (size_t)(rows > 1 ? i * size : 0) * dtype_size(t->dtype),
                      x + i * size, (size_t)size);
    return x;
}

static int fill_inputs(struct once *o, struct engine *x, struct error *e)
{
    int count = 0;
    for (int i = 0; i < o->g->count; i++) {
        const struct node *n = &o->g->node[i];
        if (!node_is(n, "input"))
            continue;
        float *rows = o->value[count++] = read_rows(o, n, e);
        if (!rows)
            return -1;
        if (n->shape.kind != VALUE_IMAGE) {
            if (engine_bind(x, n->name, rows, 0, shape_size(n->shape), e) < 0)
                return -1;
            continue;
        }
        for (int k = 0; k < o->images; k++)
            to_channels_last(rows + k * shape_size(n->shape), engine_sample(x) + k * shape_size(n->shape),
                             shape_rows(n->shape), n->shape.channels);
    }
    return 0;
}

static int write_outputs(const struct tool_run *t, const struct once *o, const struct engine *x,
                         struct error *e)
{
    struct tensor out[GRAPH_MAX_OUTPUTS] = {{0}};
    int status = 0;
    for (int i = 0; i < o->g->outputs && status == 0; i++) {
        struct shape s = o->g->node[o->g->output[i].node].shape;
        const float *v = engine_value(x, o->g->output[i].node);
        int image = s.kind == VALUE_IMAGE;
        out[i] = (struct tensor){.name = o->g->output[i].name,
                                 .dtype = DTYPE_F32,
                                 .rank = image                    ? 4
                                         : s.kind == VALUE_TOKENS ? 3
                                                                  : 2};
        int64_t shape[4] = {o->images,
                            image                    ? s.channels
                            : s.kind == VALUE_TOKENS ? s.width
                                                     : s.channels,
                            image ? s.height : s.channels, s.width};
        memcpy(out[i].shape, shape, sizeof shape);
        status = tensor_measure(&out[i], e);
        float *to = status == 0 ? mem_array(out[i].count, sizeof(float), e) : NULL;
        out[i].data = to;
        status = to ? 0 : -1;
        for (int k = 0; to && k < o->images; k++)
            if (image)
                to_channels_first(v + k * shape_size(s), to + k * shape_size(s), shape_rows(s), s.channels,
                                  s.channels);
            else
                memcpy(to + k * shape_size(s), v + k * shape_size(s), (size_t)shape_size(s) * sizeof *to);
    }
    if (status == 0)
        status =
            container_write(t->output, "samples", NULL, out, o->g->outputs, NULL, NULL, t->team, NULL, e);
    for (int i = 0; i < o->g->outputs; i++)
        mem_free(out[i].data);
    return status;
}

static int run_once(struct tool_run *t, struct model *m, struct once *o, struct error *e)
{
    if (read_size(o, e) < 0)
        return -1;
    read_tokens(o);
    if (graph_infer(o->g, o->height, o->width, model_find, m, e) < 0)
        return -1;
    struct engine_options options = {.images = o->images, .calls = 1, .per_image_time = 1};
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, m};
    struct weights *w = weights_open(o->g, &t->backend, &loader, e);
    struct engine *x = w ? engine_open(o->g, w, &options, e) : NULL;
    int status = x && engine_ready(x, e) == 0 && fill_inputs(o, x, e) == 0
                     ? engine_run(x, 0, 0, 0, o->images, NULL, e)
                     : -1;
    if (status == 0)
        status = write_outputs(t, o, x, e);
    engine_close(x);
    weights_close(w);
    return status;
}

int generate_once(struct tool_run *t, struct model *m, const char *component, const char *in, struct error *e)
{
    struct once o = {.g = component ? model_component(m, component) : model_main(m, e)};
    struct container_options any = {.foreign = 1};
    if (!o.g)
        return component ? error_set(e, HASTEN_EUSAGE, "the model has no component '%s'", component) : -1;
    if (!t->output)
        return error_set(e, HASTEN_EUSAGE, "--once needs -o OUT.safetensors");
    o.in = container_open(in, &any, e);
    int status = o.in && container_load(o.in, t->team, e) == 0 ? run_once(t, m, &o, e) : -1;
    for (int i = 0; i < GRAPH_MAX_INPUTS; i++)
        mem_free(o.value[i]);
    container_close(o.in);
    return status;
}
