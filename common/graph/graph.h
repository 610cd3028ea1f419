/* The graph of one component (denoiser, decoder, classifier): a list of layer-level nodes in running order.
 *
 *     struct graph *g = graph_open("denoiser", e);
 *     int x = graph_input(g, "sample", VALUE_IMAGE, 4, 32, 32, e);
 *     int t = graph_input(g, "timestep", VALUE_VECTOR, 1, 0, 0, e);
 *     int h = graph_node(g, "conv2d", "conv_in", (int[]){x}, 1, e);         // -1 on error
 *     graph_attr(g, h, "pad", 1, e);                                        // pads all four sides
 *     graph_weight(g, h, "weight", "denoiser.conv_in.weight", e);
 *     graph_output(g, "sample", h, e);
 *     graph_infer(g, &sizes, find, find_data, e);                           // shapes and weights verified
 *     graph_close(g);
 *
 * A node has one output, and the edge that leaves it bears the node's name: its module path in the source
 * model
 * ("transformer_blocks.3.attn1.to_q"). Names survive every tool. A node may only read nodes before it, so a
 * graph cannot have a cycle and the list is the order of running.
 *
 * Values are float32 and channels-last; the batch is not part of a shape:
 *   VALUE_VECTOR  [images][channels]                  (a timestep or a class label is a vector of 1 channel)
 *   VALUE_TOKENS  [images][tokens][channels]          (height 1, width = tokens)
 *   VALUE_IMAGE   [images][height][width][channels]
 * Operations on rows (linear, norms, attention, elementwise) take any kind and keep it: a transformer may run
 * on the image of its patches. Weights keep PyTorch's shapes and order. ops.c defines what each operation
 * means. */
#ifndef HASTEN_GRAPH_GRAPH_H
#define HASTEN_GRAPH_GRAPH_H

#include "common/base/error.h"
#include "common/base/mem.h"
#include "common/file/tensor.h"

enum value_kind { VALUE_VECTOR, VALUE_TOKENS, VALUE_IMAGE };

struct shape {
    enum value_kind kind;
    int height, width, channels; /* height = width = 1 for a vector; height = 1 for tokens */
};

enum {
    GRAPH_MAX_INPUTS = 8,
    GRAPH_MAX_ATTRS = 10,
    GRAPH_MAX_WEIGHTS = 8,
    GRAPH_MAX_OUTPUTS = 8,
    GRAPH_MAX_NODES = 1 << 16,
    GRAPH_MAX_SIZE = 1 << 20, /* of a height, a width or a channel count */
};

struct node;

/* What a reference implementation gets: everything for `images` pictures, float32, packed without gaps. */
struct op_call {
    const struct node *node;
    int images;
    const float *in[GRAPH_MAX_INPUTS];
    struct shape in_shape[GRAPH_MAX_INPUTS];
    const float *weight[GRAPH_MAX_WEIGHTS]; /* as float32; NULL when absent */
    int64_t weight_shape[GRAPH_MAX_WEIGHTS][4];
    float *out;
    struct shape out_shape;
};

struct op_attr {
    const char *name;
    double fallback, min, max;
    const char *choices; /* "channels tokens": the value is an index into this list; NULL: a number */
    int integer;
};

struct op_weight {
    const char *name;
    int required;
};

/* One operation. The table in ops.c is the closed set; an unknown name or version is refused. */
struct op {
    const char *name;
    int version;
    int min_inputs, max_inputs;
    struct op_attr attr[GRAPH_MAX_ATTRS];       /* ends with a NULL name */
    struct op_weight weight[GRAPH_MAX_WEIGHTS]; /* ends with a NULL name */
    /* Output shape from input shapes, with the weights' shapes checked; -1 and a reason without the node's
     * name. */
    int (*infer)(const struct node *n, const struct shape *in, struct shape *out, struct error *e);
    void (*reference)(const struct op_call *c); /* NULL for input */
};

const struct op *op_find(const char *name);
const struct op *op_at(int index);                          /* NULL behind the last */
int op_attr_index(const struct op *op, const char *name);   /* -1: none */
int op_weight_index(const struct op *op, const char *name); /* -1: none */

struct node {
    const char *name;
    const struct op *op;
    int inputs;
    int in[GRAPH_MAX_INPUTS];
    double attr[GRAPH_MAX_ATTRS];                   /* in the order of op->attr */
    const char *weight[GRAPH_MAX_WEIGHTS];          /* tensor names, NULL when absent */
    const struct tensor *tensor[GRAPH_MAX_WEIGHTS]; /* set by graph_infer */
    struct shape shape;                             /* set by graph_infer */
};

struct graph_output {
    const char *name;
    int node;
};

struct graph {
    struct arena arena; /* owns all strings and nodes */
    const char *component;
    struct node *node;
    int count, capacity;
    struct graph_output output[GRAPH_MAX_OUTPUTS];
    int outputs;
};

struct graph *graph_open(const char *component, struct error *e) HASTEN_CHECKED;
void graph_close(struct graph *g); /* NULL is fine */

/* Building. Each gives the new node's index, or -1. Strings are copied. */
int graph_input(struct graph *g, const char *name, enum value_kind kind, int channels, int height, int width,
                struct error *e) HASTEN_CHECKED;
int graph_node(struct graph *g, const char *op, const char *name, const int *in, int inputs,
               struct error *e) HASTEN_CHECKED;
int graph_attr(struct graph *g, int node, const char *name, double value, struct error *e) HASTEN_CHECKED;
int graph_choice(struct graph *g, int node, const char *name, const char *choice,
                 struct error *e) HASTEN_CHECKED;
int graph_weight(struct graph *g, int node, const char *slot, const char *tensor,
                 struct error *e) HASTEN_CHECKED;
int graph_output(struct graph *g, const char *name, int node, struct error *e) HASTEN_CHECKED;

int graph_find(const struct graph *g, const char *name);        /* -1: none */
int graph_find_output(const struct graph *g, const char *name); /* the node, -1: none */
double node_attr(const struct node *n, const char *name);       /* the name must be one of the op's */
const struct tensor *node_weight(const struct node *n,
                                 const char *slot); /* NULL: absent (after graph_infer) */
int node_is(const struct node *n, const char *op);
/* Does the node read the values of its input `i`, and not its shape alone? */
int node_reads(const struct node *n, int i);

/* Shapes of all values and existence, dtype and shape of all weights. height, width: the size of the image
 * input `sample`/`latent` (0: as the graph says). find gives a tensor's header (data not needed) or NULL. */
typedef const struct tensor *tensor_find(const void *context, const char *name);
int graph_infer(struct graph *g, int height, int width, tensor_find *find, const void *context,
                struct error *e) HASTEN_CHECKED;

/* ---- analysis ---- */

/* live[i] = 1 for every node that must run to produce the nodes in want[] when the nodes with served[i] != 0
 * are taken from elsewhere (served may be NULL). A served node itself is not live. Arrays have g->count
 * entries. */
void graph_live(const struct graph *g, const int *want, int wants, const unsigned char *served,
                unsigned char *live);

/* depends[i] = 1 for every node that depends on the input node `on`. */
void graph_depends(const struct graph *g, int on, unsigned char *depends);

/* uses[i] = how many inputs and outputs read node i. */
void graph_uses(const struct graph *g, int *uses);

/* ---- editing ---- */

/* All readers of `from` (outputs too) read `to` instead, which must come before them and have the same shape.
 */
int graph_redirect(struct graph *g, int from, int to, struct error *e) HASTEN_CHECKED;
/* Remove nodes that no output needs (inputs stay). Indices change; names do not. */
int graph_sweep(struct graph *g, struct error *e) HASTEN_CHECKED;
struct graph *graph_copy(const struct graph *g, struct error *e) HASTEN_CHECKED;

/* ---- reference ---- */

/* Run the whole graph with the scalar reference of every operation: the oracle for everything faster.
 * input[i] belongs to the i-th input node in graph order, output[i] to g->output[i]; buffers hold
 * images * height * width * channels floats. Tensors must be loaded. tap, if not NULL, sees every value. */
typedef void graph_tap(void *context, const struct node *n, const float *value, int images);
int graph_reference(const struct graph *g, int images, const float *const *input, float *const *output,
                    graph_tap *tap, void *context, struct error *e) HASTEN_CHECKED;

static inline int64_t shape_rows(struct shape s) { return (int64_t)s.height * s.width; }
static inline int64_t shape_size(struct shape s) { return shape_rows(s) * s.channels; }

#endif
