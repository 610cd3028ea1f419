/* See roofline.h: what a device can do, in kernels that its backend times itself. Sizes double until one run
 * takes long enough for its clock, or WALL on the host's: a device gets to the largest, an emulated one not.
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/run/plan.h"
#include "common/run/roofline.h"

enum { STEPS = 8, RUNS = 5, COPY_STEPS = 16, COPY_CHANNELS = 1024, BLOCKS = 6 };
enum { WALL = 20 }; /* ms */

struct blocks {
    struct backend *b;
    void *at[BLOCKS];
    int count;
};

static void drop(struct blocks *x)
{
    for (int i = 0; i < x->count; i++)
        x->b->ops->release(x->b, x->at[i]);
    x->count = 0;
}

static void *take(struct blocks *x, size_t bytes, struct error *e)
{
    void *p = x->b->ops->allocate(x->b, bytes, e);
    return p ? x->at[x->count++] = p : NULL;
}

/* With numbers between -1 and 1 of either float type (a float's upper half is one too), bytes of any kind: a
 * device is faster on zeros than on numbers. */
static void *take_numbers(struct blocks *x, size_t bytes, struct error *e)
{
    void *p = take(x, bytes, e);
    uint32_t *host = p ? mem_array(bytes / 4, 4, e) : NULL, state = 1;
    for (size_t i = 0; host && i < bytes / 4; i++) {
        state =
            state * 1664525u + 1013904223u; /* signs and fractions of both halves, exponents of 1/4 to 1 */
        host[i] = (state & 0x80ff80ffu) | 0x3e803e80u | (state >> 8 & 0x007f007fu);
    }
    int status = host ? x->b->ops->put(x->b, p, host, bytes / 4 * 4, e) : -1;
    mem_free(host);
    return status == 0 ? p : NULL;
}

/* Milliseconds of the call, the best of some runs; *wall of one on the host's clock. */
static int time_call(struct backend *b, struct kernel_call *c, double *best, double *wall, struct error *e)
{
    struct plan one = {.call = c, .calls = 1, .backend = b};
    double ms = 0;
    *best = 0;
    for (int i = 0; i < 2; i++) { /* the first one may load something */
        double start = clock_ms();
        if (b->ops->run(b, &one, 0, 1, &ms, e) < 0)
            return -1;
        *wall = clock_ms() - start;
    }
    for (int i = 0; i < RUNS; i++) {
        *best = i == 0 || ms < *best ? ms : *best;
        if (*wall < WALL && b->ops->run(b, &one, 0, 1, &ms, e) < 0)
            return -1;
    }
    return 0;
}

static int product_at(struct blocks *x, int roof, int step, double *rate, double *wall, struct error *e)
{
    struct backend *b = x->b;
    int side = 64 << step, depth = 32 << step, int8 = roof == ROOF_INT8, bf16 = roof == ROOF_BF16;
    depth = depth < 64 ? 64 : depth;
    size_t count = (size_t)side * (size_t)depth;
    struct mm_shape s = {side, 1, 1, {depth, 0}};
    struct kernel_call c = {.kind = KERNEL_MATMUL, .phases = 1, .format = bf16};
    struct matmul *m = &c.matmul;
    *m = (struct matmul){.images = 1,
                         .out_height = 1,
                         .out_width = side,
                         .n = side,
                         .kernel_h = 1,
                         .kernel_w = 1,
                         .stride = 1,
                         .sources = 1,
                         .source = {{NULL, depth, depth, (int64_t)count, 1, side, 1, NULL}},
                         .int8 = int8,
                         .bf16 = bf16,
                         .scale_per_row = 1,
                         .out_ld = side,
                         .out_bf16_ld = side};
    m->scratch_ld = b->ops->scratch(b, &c);
    m->source[0].data = take_numbers(x, count * 4, e);
    m->weights = m->source[0].data ? take_numbers(x, b->ops->packed_size(b, &s, int8), e) : NULL;
    void *out = m->weights ? take(x, (size_t)side * (size_t)side * 4, e) : NULL;
    void *scales = out ? take(x, (size_t)side * 8, e) : NULL;
    m->scratch = scales && m->scratch_ld ? take(x, m->scratch_ld, e) : NULL;
    if (!scales || (m->scratch_ld && !m->scratch))
        return -1;
    m->source[0].scale = scales;
    m->column_scale = int8 ? scales : NULL;
    m->out = bf16 ? NULL : out;
    m->out_bf16 = bf16 ? out : NULL;
    double ms;
    int status = time_call(b, &c, &ms, wall, e);
    double now = status == 0 && ms > 0 ? 2.0 * side * (double)count / ms * 1e-6 : 0;
    *rate = now > *rate ? now : *rate;
    return status;
}

static int copy_at(struct blocks *x, int step, double *rate, double *wall, struct error *e)
{
    int rows = 4 << step;
    size_t bytes = (size_t)rows * COPY_CHANNELS * sizeof(float);
    struct kernel_call c = {.kind = KERNEL_ELEMENTWISE, .phases = 1};
    float *from = take(x, bytes, e), *to = from ? take(x, bytes, e) : NULL;
    double ms;
    if (!to)
        return -1;
    c.elementwise = (struct elementwise){.a = from,
                                         .a_ld = COPY_CHANNELS,
                                         .images = 1,
                                         .rows_per_image = rows,
                                         .channels = COPY_CHANNELS,
                                         .out = to,
                                         .out_ld = COPY_CHANNELS};
    int status = time_call(x->b, &c, &ms, wall, e);
    if (status == 0 && ms > 0)
        *rate = 2.0 * (double)bytes / ms * 1e-6; /* of the largest: smaller ones stay in the caches */
    return status;
}

int roofline_measure_device(struct roofline *r, struct backend *b, struct error *e)
{
    *r = (struct roofline){.copy_gbs = 0};
    for (int roof = 0; roof <= ROOFS; roof++) {
        double wall = 0;
        for (int step = 0; step < (roof < ROOFS ? STEPS : COPY_STEPS) && wall < WALL; step++) {
            struct blocks x = {.b = b};
            int status = roof < ROOFS ? product_at(&x, roof, step, &r->gflops[roof], &wall, e)
                                      : copy_at(&x, step, &r->copy_gbs, &wall, e);
            drop(&x);
            if (status < 0 && step > 0 && e && e->code == HASTEN_ENOMEM) {
                *e = (struct error){0}; /* the largest that fits will do */
                break;
            }
            if (status < 0)
                return -1;
        }
    }
    return 0;
}
