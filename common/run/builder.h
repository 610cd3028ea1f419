/* Inside common/run: what the parts of the planner share. plan_build.c visits the nodes, plan_chain.c decides
 * what an epilogue takes in, plan_emit.c makes the kernel calls, plan_half.c those of bfloat16, plan_memory.c
 * keeps buffers and patches. */
#ifndef HASTEN_RUN_BUILDER_H
#define HASTEN_RUN_BUILDER_H

#include "common/run/plan.h"

#include <stddef.h>

/* int8 codes of a value: one scale a row (side 0), or one an image and side. */
struct codes {
    int made, rotate;        /* rows: of blocks rotated so */
    int buffer[2], scale[2]; /* codes and their scales */
    int64_t ld[2];
    int channels[2]; /* of the sides; channels[1] = 0: one side */
};

/* A value with its blocks rotated, as float. */
struct rotated {
    int rotate; /* 0: not made */
    struct place at;
};

enum lazy { LAZY_NO, LAZY_CONCAT, LAZY_UPSAMPLE, LAZY_GATE }; /* the last: its only reader makes it */

struct builder {
    const struct plan_request *r;
    const struct graph *g;
    struct plan *p;
    struct error *e;
    struct codes *row_codes, *image_codes; /* per node */
    struct rotated *rotated;               /* per node */
    struct place *half;  /* per node: as bfloat16, of which its distances count; buffer -1: not made */
    unsigned char *lazy; /* per node: enum lazy */
    unsigned char *done; /* per node: covered by a call already */
    unsigned char *in_difference; /* per node: read as float by a difference that is kept or served */
    int *readers, *reader;        /* per node: how many computed nodes read it, and the last of them */
};

/* plan_memory.c */
int add_buffer(struct builder *b, enum space space, size_t size);
struct kernel_call *add_call(struct builder *b, enum kernel_kind kind, int node);
/* An elementwise call over the node's rows that reads a; what it does with them is the caller's. */
struct kernel_call *add_elementwise(struct builder *b, int node, struct place a);
int point(struct builder *b, const struct kernel_call *c, const void *field, int buffer, size_t offset);
/* The newest call's scratch, when all its other pointers are there: bytes a part, 0 when it wants none. */
int add_scratch(struct builder *b, struct kernel_call *c, const void *field, size_t *bytes);
int cover(struct builder *b, struct kernel_call *c, int node);
int assign_arena(struct plan *p, struct error *e);

/* plan_chain.c: the epilogue that starts with the value of `node`. */
enum stage { STAGE_START, STAGE_IMAGE_BIAS, STAGE_ACT, STAGE_GATE, STAGE_RESIDUAL, STAGE_SCALE };
struct chain {
    int last;                            /* the node whose value comes out */
    int node[8], nodes;                  /* covered after the first */
    int image_bias, gate, residual, tap; /* nodes, -1: none */
    enum activation act;
    float scale;
};
struct chain find_chain(const struct builder *b, int node, enum stage from);
enum activation activation_of(const struct node *n); /* ACT_NONE: it is no activation */
int is_ready(const struct builder *b, int node);

/* plan_emit.c: places of values */
int is_vector(const struct builder *b, int node);
int place_value(struct builder *b, int node);                    /* where a computed value goes */
int float_place(struct builder *b, int node, struct place *at);  /* as float, any strides */
int row_place(struct builder *b, int node, struct place *at);    /* images directly behind one another */
int packed_place(struct builder *b, int node, struct place *at); /* without any gap */
int reads_codes(const struct builder *b, const struct node *n);  /* does this layer read int8 codes? */
int need_row_codes(struct builder *b, int node, int rotate);
int need_rotated(struct builder *b, int node, int rotate, struct place *at);
int need_image_codes(struct builder *b, int node, int split);
int new_row_codes(struct builder *b, int node, int rotate);
int new_image_codes(struct builder *b, int node, int split);
int fill_epilogue(struct builder *b, struct kernel_call *c, struct mm_epilogue *ep,
                  const struct chain *chain);
int emit_copy(struct builder *b, const struct place *from, const struct place *to, int node, int height,
              int width, int channels);

/* plan_half.c: values as bfloat16 */
int product_is_half(const struct builder *b, const struct node *n); /* does it read its input so? */
int attention_is_half(const struct builder *b, const struct node *n);
int wants_half(const struct builder *b, int node, int *wants_float); /* do readers of this node? */
int new_half(struct builder *b, int node);
int need_half(struct builder *b, int node, struct place *at);

/* plan_build.c, plan_product.c, plan_norm.c: one node each */
int emit_product(struct builder *b, int node);
int emit_layer_norm(struct builder *b, int node);
int emit_group_norm(struct builder *b, int node);
int is_gate(const struct builder *b,
            int node); /* an activation that only the product of rows behind it reads */
int emit_gated(struct builder *b, int node);
int wants_codes(const struct builder *b, int node, const char *op, int form, int *wants_float);

#endif
