/* The plan: one straight list of fused kernel calls for a part of a graph, at one batch and one size, over
 * memory that is laid out beforehand. engine.h makes plans and runs them; this header is for the engine, the
 * profiler and the tests.
 *
 * Memory is in spaces. A buffer lies in one space at a fixed offset; kernel arguments are patched with
 * base + offset before a run, so plans share memory and a hoisted value moves on from call to call.
 *
 *   SPACE_ARENA     values of one call; buffers whose lives do not meet share bytes
 *   SPACE_CONSTANT  values that depend on no input, for every image of the batch
 *   SPACE_HOISTED   values that depend on no latent, [call][image]
 *   SPACE_CACHE     values kept from one call to the next by a cache schedule, [slot][image]
 *   SPACE_INPUT     the component's latent input, channels last
 *   SPACE_ABSOLUTE  tables of corrections: the offset is an address, the base 0
 *
 * Fusion: a matrix product takes what follows it into its epilogue as long as each value has one reader; a
 * norm takes the modulation, the activation and the quantization for int8 readers; concatenations and nearest
 * upsampling are read in place. Products with bfloat16 weights read bfloat16, which what comes before them
 * writes (plan_half.c); residuals, norms and everything else stay float. A value that a schedule keeps is
 * stored by the same kernel (one extra store).
 */
#ifndef HASTEN_RUN_PLAN_H
#define HASTEN_RUN_PLAN_H

#include "common/graph/graph.h"
#include "common/run/weights.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/move.h"

enum space { SPACE_ABSOLUTE, SPACE_ARENA, SPACE_CONSTANT, SPACE_HOISTED, SPACE_CACHE, SPACE_INPUT, SPACES };

enum kernel_kind {
    KERNEL_MATMUL,
    KERNEL_ROW_NORM,
    KERNEL_GROUP_NORM,
    KERNEL_IMAGE_QUANTIZE,
    KERNEL_ATTENTION,
    KERNEL_ELEMENTWISE,
    KERNEL_CACHE_READ,
    KERNEL_MOVE,
    KERNEL_REFERENCE,
};

struct kernel_call {
    enum kernel_kind kind;
    int phases; /* parts of the team meet after each */
    int format; /* the weights': of a product its own, of attention the highest of all (weights.h) */
    union {
        struct matmul matmul;
        struct row_norm row_norm;
        struct group_norm group_norm;
        struct image_quantize image_quantize;
        struct attention attention;
        struct elementwise elementwise;
        struct cache_read cache_read;
        struct move move;
        struct op_call reference;
    };
    int node;            /* the first node covered; its name stands for the call */
    int covers, covered; /* nodes covered: plan->cover[covers .. covers + covered) */
    double flops, bytes; /* of one run: 2 per multiply-add; weights and activations read and written once */
    enum { PRECISION_F32, PRECISION_INT8 /* e4m3 too */, PRECISION_BF16 } precision;
};

struct buffer {
    enum space space;
    size_t size, offset;
    size_t call_stride; /* SPACE_HOISTED: bytes from one call to the next */
    int ring;           /* SPACE_CACHE: 1 + which of plan_memory's turns is added; 0: none */
    int first, last;    /* kernel calls between which it must live (arena) */
};

/* A pointer inside a kernel call that is base + offset. */
struct patch {
    int call;
    unsigned field; /* byte offset in struct kernel_call */
    int buffer;
    size_t offset;
};

/* Where a node's value is. Rows of one image are ld apart, images image_ld (in elements). For a vector ld is
 * not used. image_ld = 0: all images share it. */
struct place {
    int buffer; /* -1: not stored as float */
    size_t offset;
    int64_t ld, image_ld;
};

enum { PLAN_RECORDINGS = 256 };

struct plan {
    int images;
    struct kernel_call *call;
    int calls, call_capacity;
    struct buffer *buffer;
    int buffers, buffer_capacity;
    struct patch *patch;
    int patches, patch_capacity;
    int *cover;
    int cover_count, cover_capacity;
    struct place *place; /* of every node of the graph */
    int nodes;
    size_t arena_size;
    struct backend *backend; /* of the weights */
    struct plan_recording {
        uintptr_t *address; /* of every patch: what the recording was made with */
        void *recording;    /* of the backend; NULL before the second such run */
    } recorded[PLAN_RECORDINGS];
    int recordings;
    uintptr_t *addresses; /* of a run that is being looked up */
};

/* What a plan must do. Arrays have one entry per node of the graph. */
struct plan_request {
    const struct graph *graph;
    const struct weights *weights;
    int images;
    const unsigned char *run;  /* compute this node */
    const struct place *given; /* where values from outside the plan are (buffer: index into given_buffer) */
    const unsigned char *is_given; /* the node's value comes from there */
    const struct buffer *given_buffer;
    int given_buffers;
    const unsigned char *keep;   /* store the node's value into given[] (hoisted results, caches) */
    const unsigned char *output; /* the value must be there at the end */
    const unsigned char *wide;   /* layers of int8 activations that read floats all the same; NULL: none */
    const struct place *correct; /* of a given node: [channels] scale, then [channels] bias; buffer -1: none.
                                  * NULL: no node is corrected */
    const struct place *older;   /* of a corrected node: an older value, whose [channels] scale comes second;
                                  * buffer -1: none. NULL with correct */
    const int *base; /* -1, or a node whose value is added to a given value, and taken off when it is kept;
                      * such a node is in `difference`, not in keep. NULL: none */
    const unsigned char *difference;
};

struct plan *plan_build(const struct plan_request *r, struct error *e) HASTEN_CHECKED;
void plan_free(struct plan *p);

/* Where a run finds its memory: one base a space, the number of the network call, and its number among those
 * whose hoisted values are in memory. */
struct plan_memory {
    char *base[SPACES];
    int call, hoisted_call;
    const size_t *turn; /* of each ring: bytes to the slot in turn */
};

/* On the backend of the weights. milliseconds, if not NULL, gets the time of each kernel call. A backend that
 * records replays what it has run before with the same addresses. */
int plan_run(struct plan *p, const struct plan_memory *m, double *milliseconds,
             struct error *e) HASTEN_CHECKED;

/* Kernel call by kernel call, for recordings of more than a plan. */
int plan_enqueue(struct plan *p, const struct plan_memory *m, struct error *e) HASTEN_CHECKED;

/* The same, looking at each result: the index of the first kernel call that gives a value that is not finite,
 * -1: none, or an error. */
int plan_find_nonfinite(struct plan *p, const struct plan_memory *m, struct error *e);

/* A node's value in the backend's memory, as after plan_run. */
const float *plan_value(const struct plan *p, int node, const struct plan_memory *m);

/* Does it hold a call that only the host can compute? */
int plan_needs_host(const struct plan *p);

const char *kernel_kind_name(enum kernel_kind kind);

#endif
