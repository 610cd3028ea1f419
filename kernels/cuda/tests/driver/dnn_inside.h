/* Inside the stand-in for cuDNN: dnn.c has descriptors, dnn_run.c graphs and their execution. */
#ifndef HASTEN_TESTS_DNN_INSIDE_H
#define HASTEN_TESTS_DNN_INSIDE_H

#include "kernels/cuda/plugin/dnn.h"
#include "kernels/cuda/tests/driver/driver.h"

#include <string.h>

#define DNN_DEFINE(name, arguments) int name arguments;
DNN_FUNCTIONS(DNN_DEFINE)

enum { ATTRIBUTES = 12, TENSORS = 8, STEPS = 6, DNN_WORKSPACE = 1 << 16 };

struct attribute {
    int name;
    int64_t count;
    void *values;
};

struct descriptor {
    int type, final, count;
    struct attribute attribute[ATTRIBUTES];
};

struct view {
    int64_t id, dims[4], strides[4];
    int bf16;
};

/* A convolution, then steps that each read what the one before gave; or attention. */
struct program {
    const struct descriptor *graph;
    struct program *next;
    int64_t dims[4], pre[2], stride[2]; /* dims: of the results */
    struct view tensor[TENSORS];        /* those that are not virtual: in, weights, others, the last is out */
    int attention;                      /* tensors: q, k, v, scale, out */
    int tensors, steps, parts;          /* parts: in which the sums are taken */
    struct {
        int mode, operand; /* of tensor[]; -1: none */
    } step[STEPS];
};

int dnn_has(const char *word);
const struct attribute *dnn_find(const struct descriptor *x, int name);
const void *dnn_get(const struct descriptor *x, int name, int64_t count);
int dnn_number(const struct descriptor *x, int name);
const struct descriptor *dnn_one(const struct descriptor *x, int name, int type);

void dnn_check_graph(const struct descriptor *graph); /* and makes its program */
struct program *dnn_program(const struct descriptor *graph);
void dnn_execute(const struct program *p, const struct descriptor *pack);
void dnn_forget_programs(void);

#endif
