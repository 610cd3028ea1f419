/* Where plans run: memory, packed weights, kernels. The engine and the trajectory know this interface only.
 *
 *     struct backend b = backend_cpu(cpu_kernels(level), team);     // nothing to close
 *     struct weights *w = weights_open(graph, &b, NULL, e);         // weights live on it
 *     struct engine *x = engine_open(graph, w, &options, e);        // and so does what runs with them
 *
 * Work is in order: a run sees what was put before it, get sees what was run before. All of it may be late:
 * put and run return before they are done, get and wait do not, so an error of the device can come from
 * either. One backend is for one thread at a time.
 *
 * Memory comes zeroed, aligned to 64 bytes. On a `direct` backend the host may read and write it as its own.
 *
 * Recording: what is run, stepped, laid out and moved between record and recorded is not done but kept, with
 * all its pointers, and done as often as wanted by replay. Nothing may be put, got, waited for, allocated or
 * timed in between. A backend has all of the functions from record on, or none (NULL). */
#ifndef HASTEN_RUN_BACKEND_H
#define HASTEN_RUN_BACKEND_H

#include "common/base/team.h"
#include "common/file/tensor.h"
#include "kernels/cpu/cpu.h"

struct packed;
struct node;
struct plan;
struct kernel_call;
struct move;
struct cuda_step;
struct cuda_layout;
struct cuda_trace;
struct backend;

struct backend_ops {
    const char *name;
    void (*close)(struct backend *b); /* NULL: nothing to do */
    int direct;
    int sizes_only; /* nothing is held or run: tensors need no data (backend_sizes.h) */
    int half;  /* plans may hold bfloat16 (MM_BF16 weights, values between kernels) and row_norm's `times` */
    int host;  /* `kernels` runs the plans: they follow what its level does best (MM_WINOGRAD; attention) */
    int parts; /* of a kernel that need scratch of their own; 0: as many as the team has */
    void *(*allocate)(struct backend *b, size_t bytes, struct error *e);
    void (*release)(struct backend *b, void *block); /* NULL is fine */
    int (*put)(struct backend *b, void *to, const void *from, size_t bytes, struct error *e);
    int (*get)(struct backend *b, void *to, const void *from, size_t bytes, struct error *e);
    int (*wait)(struct backend *b, struct error *e);
    /* The weights of a product into p->product and p->product_size; p->shape and p->form are set, p->group is
     * for MM_INT4. The node's tensors are in memory. */
    int (*pack)(struct backend *b, struct packed *p, const struct node *n, struct error *e);
    /* Bytes of a product's weights. */
    size_t (*packed_size)(struct backend *b, const struct mm_shape *s, int int8);
    /* Bytes of scratch that a part of a product or of attention wants, at a multiple of 4; 0 for none. Of the
     * call's pointers only their presence and their place in 64 bytes is known. */
    size_t (*scratch)(struct backend *b, const struct kernel_call *c);
    /* Kernel calls [first, last) of a plan whose pointers are patched. milliseconds: NULL, or [last] numbers
     * of which [first, last) are set; then the run is done on return. */
    int (*run)(struct backend *b, struct plan *p, int first, int last, double *milliseconds, struct error *e);
    int (*record)(struct backend *b, struct error *e);
    void *(*recorded)(struct backend *b, struct error *e); /* ends the recording in any case */
    int (*replay)(struct backend *b, void *recording, struct error *e);
    void (*drop)(struct backend *b, void *recording);
    /* What a trajectory does between network calls, on the backend's memory: kernels/cuda/launch.h. */
    int (*step)(struct backend *b, const struct cuda_step *s, struct error *e);
    int (*layout)(struct backend *b, const struct cuda_layout *l, struct error *e);
    int (*move)(struct backend *b, const struct move *m, struct error *e);
    /* NULL, or the kernels that run between trace (1: nobody can tell) and traced, which waits for them and
     * gives how many there were, at most CUDA_TRACE_MOST, 0: some were lost. See kernels/cuda/trace.h. */
    int (*trace)(struct backend *b, struct error *e);
    int (*traced)(struct backend *b, struct cuda_trace *kernels, struct error *e);
};

struct backend {
    const struct backend_ops *ops;
    const struct cpu_kernels *kernels; /* of the host, for what is done there */
    struct team *team;                 /* the host's threads */
    void *context;                     /* the backend's own; of the CPU: NULL, or a struct cpu_log */
    /* NULL, or asked when weights do not fit: 1 when *b is another backend now, so that it is worth a try. */
    int (*give_way)(struct backend *b, const struct error *why);
};

/* When each part of the team began and ended each kernel call of the last run, in clock_ms's milliseconds. */
struct cpu_log {
    int parts, calls; /* room: [calls][parts] */
    double *begin, *end;
    double submit; /* when the run was asked for */
};

struct backend backend_cpu(const struct cpu_kernels *kernels, struct team *team);
size_t backend_cpu_scratch(struct backend *b, const struct kernel_call *c); /* the CPU's `scratch` */

static inline void backend_close(struct backend *b)
{
    if (b->ops && b->ops->close)
        b->ops->close(b);
}

static inline int backend_parts(const struct backend *b)
{
    return b->ops->parts ? b->ops->parts : team_size(b->team);
}

#endif
