/* The weights of one component as the kernels want them: packed once, shared by all plans.
 *
 *     struct weights *w = weights_open(graph, backend, &loader, e);   // after graph_infer
 *     const struct packed *p = &w->node[i];
 *
 * Weights are packed for matrix products as float32, bfloat16, int8 or less (float16 becomes float32, once),
 * those of 3x3 convolutions of float32 turned for Winograd's products where that pays, in 16/9 of the bytes,
 * and those of int8, in 32/9, where no instruction multiplies int8; biases, norms and tables are plain
 * float32. All of them are in the backend's memory. */
#ifndef HASTEN_RUN_WEIGHTS_H
#define HASTEN_RUN_WEIGHTS_H

#include "common/graph/graph.h"
#include "common/run/backend.h"

struct packed {
    void *product; /* of linear and conv2d */
    size_t product_size;
    int format; /* of the product, as the backend's pack says; the backend's own */
    struct mm_shape shape;
    int narrow;                      /* the product rounds its rows to 8 bits though they are floats */
    enum mm_weights form;            /* with float sources; with codes MM_INT8 is read as MM_NATIVE */
    int group;                       /* MM_INT4 */
    float *plain[GRAPH_MAX_WEIGHTS]; /* the node's other weights as float32 */
};

struct weights {
    struct backend *backend;
    struct packed *node; /* one entry per node of the graph */
    int nodes;
    int format; /* the highest of the products' */
    size_t bytes;
};

/* Data of tensor t must be in memory between begin and end; end may be NULL. Errors as usual. */
struct weights_loader {
    int (*begin)(void *context, const struct tensor *t, struct error *e);
    void (*end)(void *context, const struct tensor *t);
    void *context;
};

/* loader NULL: all tensors are in memory. The backend must stay. */
struct weights *weights_open(const struct graph *g, struct backend *b, const struct weights_loader *loader,
                             struct error *e) HASTEN_CHECKED;
void weights_close(struct weights *w);

/* Channels of the first of the two sources that node n's product reads (a concatenation, or the sides of an
 * int8 split); 0 when it reads one. */
int weights_split(const struct graph *g, const struct node *n);

/* Pack an array [n][channels][kernel_h][kernel_w] of p->shape, floats or bytes, with this table's functions
 * into a block from mem_array; and the CPU backend's pack. */
int weights_pack_array(const struct cpu_kernels *k, struct team *team, struct packed *p, const void *array,
                       int bytes, struct error *e) HASTEN_CHECKED;
int weights_pack_cpu(struct backend *b, struct packed *p, const struct node *n,
                     struct error *e) HASTEN_CHECKED;
/* What it will take on the CPU: p->product_size and p->group, from headers alone. */
void weights_measure(const struct cpu_kernels *k, struct packed *p, const struct node *n);

#endif
