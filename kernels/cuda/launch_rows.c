/* Launches of what works on rows and single numbers. */
#include "kernels/cuda/launch_inside.h"

enum { THREADS = 256, ROW_WARPS = 4, MOST_SHARED = 96 << 10, PLAIN_SHARED = 48 << 10 };

/* A thread for each item. Kernels number them in 32 bits: more are not launched. */
static void add_items(struct cuda_launches *l, const char *kernel, int64_t items, const void *args,
                      size_t args_size)
{
    l->count = 0;
    if (items <= UINT32_MAX - THREADS)
        add_launch(l, kernel, divide_up(items, THREADS), THREADS, 0, args, args_size);
}

void cuda_row_norm(const struct row_norm *r, struct cuda_launches *l)
{
    struct row_norm_args a = {.r = *r, .cached = 1, .padded = (r->channels + 3) / 4 * 4};
    size_t row = (size_t)a.padded * sizeof(float);
    int warps = row * ROW_WARPS <= PLAIN_SHARED ? ROW_WARPS : 1;
    if (row > MOST_SHARED) {
        a.cached = a.padded = 0;
        warps = ROW_WARPS;
        row = 0;
    }
    l->count = 0;
    if (r->rotate && !a.cached)
        return;
    add_launch(l, "row_norm_rows", divide_up((int64_t)r->images * r->rows_per_image, warps),
               (unsigned)warps * 32, row * (size_t)warps, &a, sizeof a);
}

void cuda_image_quantize(const struct image_quantize *q, struct cuda_launches *l)
{
    int64_t blocks = q->images * divide_up(q->rows_per_image, GROUP_NORM_BLOCK);
    size_t shared = THREADS / 32 * 2 * sizeof(float);
    l->count = 0;
    add_launch(l, "image_extremes", blocks, THREADS, shared, q, sizeof *q);
    add_launch(l, "image_codes", blocks, THREADS, shared, q, sizeof *q);
}

void cuda_elementwise(const struct elementwise *e, struct cuda_launches *l)
{
    int64_t items = (int64_t)e->images * e->rows_per_image * divide_up(e->channels, 4);
    add_items(l, "elementwise_rows", items, e, sizeof *e);
}

void cuda_cache_read(const struct cache_read *c, struct cuda_launches *l)
{
    int64_t items = (int64_t)c->images * c->rows_per_image * divide_up(c->channels, 4);
    add_items(l, "cache_read_rows", items, c, sizeof *c);
}

void cuda_move(const struct move *m, struct cuda_launches *l)
{
    int64_t wide = m->kind == MOVE_DEPTH_TO_SPACE ? m->channels / (m->block * m->block) : m->channels;
    int64_t items = (int64_t)m->images * m->out_height * m->out_width * wide;
    add_items(l, "move_rows", items, m, sizeof *m);
}

void cuda_step(const struct cuda_step *s, struct cuda_launches *l)
{
    int64_t items = (int64_t)s->images * s->pixels * s->channels;
    add_items(l, "sampler_step", items, s, sizeof *s);
}

void cuda_layout(const struct cuda_layout *c, struct cuda_launches *l)
{
    int64_t items = (int64_t)c->images * c->pixels * c->channels;
    add_items(l, "change_layout", items, c, sizeof *c);
}
