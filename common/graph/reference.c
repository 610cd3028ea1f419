/* Running a graph by the references of its operations. */
#include "common/graph/graph.h"

#include <string.h>

/* The weights of one node as float32; freed by the caller. */
static int load_weights(const struct node *n, struct op_call *call, float **owned, struct error *e)
{
    for (int i = 0; i < GRAPH_MAX_WEIGHTS; i++) {
        const struct tensor *t = n->tensor[i];
        if (!t)
            continue;
        if (!t->data)
            return error_set(e, HASTEN_EFAIL, "tensor '%s' is not loaded", t->name);
        size_t count = t->size / dtype_size(t->dtype);
        owned[i] = mem_array(count, sizeof(float), e);
        if (!owned[i])
            return -1;
        tensor_to_f32(t->dtype, t->data, owned[i], count);
        call->weight[i] = owned[i];
        for (int d = 0; d < 4; d++)
            call->weight_shape[i][d] = d < t->rank ? t->shape[d] : 1;
    }
    return 0;
}

static int run_node(const struct graph *g, const struct node *n, int images, float *const *value, float *out,
                    struct error *e)
{
    struct op_call call = {.node = n, .images = images, .out = out, .out_shape = n->shape};
    float *owned[GRAPH_MAX_WEIGHTS] = {0};
    for (int i = 0; i < n->inputs; i++) {
        call.in[i] = value[n->in[i]];
        call.in_shape[i] = g->node[n->in[i]].shape;
    }
    int status = load_weights(n, &call, owned, e);
    if (status == 0)
        n->op->reference(&call);
    for (int i = 0; i < GRAPH_MAX_WEIGHTS; i++)
        mem_free(owned[i]);
    return status;
}

int graph_reference(const struct graph *g, int images, const float *const *input, float *const *output,
                    graph_tap *tap, void *context, struct error *e)
{
    float **value = mem_array((size_t)g->count + 1, sizeof *value, e);
    int status = value ? 0 : -1, inputs = 0;
    for (int i = 0; i < g->count && status == 0; i++) {
        const struct node *n = &g->node[i];
        size_t size = (size_t)images * (size_t)shape_size(n->shape);
        value[i] = mem_array(size, sizeof(float), e);
        if (!value[i])
            status = -1;
        else if (node_is(n, "input"))
            memcpy(value[i], input[inputs++], size * sizeof(float));
        else
            status = run_node(g, n, images, value, value[i], e);
        if (status == 0 && tap)
            tap(context, n, value[i], images);
    }
    for (int i = 0; i < g->outputs && status == 0; i++)
        memcpy(output[i], value[g->output[i].node],
               (size_t)images * (size_t)shape_size(g->node[g->output[i].node].shape) * sizeof(float));
    for (int i = 0; value && i < g->count; i++)
        mem_free(value[i]);
    mem_free(value);
    return status;
}
