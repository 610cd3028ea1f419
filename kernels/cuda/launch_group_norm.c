/* Launches of group norm: sums, moments, values, and codes where they are wanted. */
#include "kernels/cuda/launch_inside.h"

enum { THREADS = 256 };

void cuda_group_norm(const struct group_norm *g, struct cuda_launches *l)
{
    int channels = g->channels[0] + g->channels[1];
    struct group_norm_args a = {.g = *g,
                                .blocks = (int)divide_up(g->pixels, GROUP_NORM_BLOCK),
                                .bundles = (int)divide_up(g->groups, GROUP_NORM_WARPS),
                                .splits = (int)divide_up(channels, GROUP_NORM_CHANNELS),
                                .moments = g->workspace};
    int64_t blocks = (int64_t)g->images * a.blocks;
    size_t shared = THREADS / 32 * 2 * sizeof(float);
    /* 2 (blocks + images) groups floats and 4 blocks splits, of which the sizes have room for 3 (blocks +
     * images) channels and 4 blocks: a split more is 256 channels more. */
    a.extremes = g->workspace ? g->workspace + 2 * (blocks + g->images) * g->groups : NULL;
    l->count = 0;
    add_launch(l, "group_norm_sums", blocks * a.bundles, THREADS, 0, &a, sizeof a);
    add_launch(l, "group_norm_moments", (int64_t)g->images * g->groups, 32, 0, &a, sizeof a);
    add_launch(l, "group_norm_apply", blocks * a.splits, THREADS, shared, &a, sizeof a);
    if (g->codes[0])
        add_launch(l, "group_norm_codes", blocks, THREADS, shared, &a, sizeof a);
}
