/* A backend that holds nothing and runs nothing, but counts: what a model would need in memory, known before
 * a byte of its tensors is read. Blocks are addresses that nobody follows. */
#include "common/run/backend_sizes.h"
#include "common/run/weights.h"

enum { ALIGNMENT = 64 };

static void *take(struct backend *b, size_t bytes)
{
    struct backend_count *count = b->context;
    size_t at = count->bytes + ALIGNMENT; /* never NULL */
    count->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return (void *)(uintptr_t)at;
}

static void *sizes_allocate(struct backend *b, size_t bytes, struct error *e)
{
    (void)e;
    return take(b, bytes);
}

static void sizes_release(struct backend *b, void *block) { (void)b, (void)block; }

static int sizes_put(struct backend *b, void *to, const void *from, size_t bytes, struct error *e)
{
    (void)b, (void)to, (void)from, (void)bytes, (void)e;
    return 0;
}

static int sizes_get(struct backend *b, void *to, const void *from, size_t bytes, struct error *e)
{
    (void)b, (void)to, (void)from, (void)bytes;
    return error_set(e, HASTEN_EFAIL, "internal: a value was asked of a backend that only counts");
}

static int sizes_wait(struct backend *b, struct error *e)
{
    (void)b, (void)e;
    return 0;
}

static int sizes_pack(struct backend *b, struct packed *p, const struct node *n, struct error *e)
{
    (void)e;
    weights_measure(b->kernels, p, n);
    p->product = take(b, p->product_size);
    return 0;
}

static int sizes_run(struct backend *b, struct plan *p, int first, int last, double *milliseconds,
                     struct error *e)
{
    (void)b, (void)p, (void)e;
    for (int i = first; milliseconds && i < last; i++)
        milliseconds[i] = 0;
    return 0;
}

struct backend backend_sizes(const struct backend *like, struct backend_count *count)
{
#define OPS(half_, host_)                                                                           \
    {                                                                                               \
        .name = "sizes", .sizes_only = 1, .half = half_, .host = host_, .allocate = sizes_allocate, \
        .release = sizes_release, .put = sizes_put, .get = sizes_get, .wait = sizes_wait,           \
        .pack = sizes_pack, .run = sizes_run, .scratch = backend_cpu_scratch                        \
    }
    static const struct backend_ops ops[2][2] = {{OPS(0, 0), OPS(0, 1)}, {OPS(1, 0), OPS(1, 1)}};
#undef OPS
    const struct backend_ops *o = &ops[like->ops->half != 0][like->ops->host != 0];
    return (struct backend){o, like->kernels, like->team, count, NULL};
}
