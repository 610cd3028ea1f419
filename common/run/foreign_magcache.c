/* MagCache (arXiv 2506.09045), which decides by numbers that are known beforehand, so that it can be
 * replayed: the ratios of magnitudes multiply up since the last computed call, what the product is off 1 adds
 * up, and a call is served while the sum is at most magcache_thresh and no more than magcache_K calls were
 * served in a row; the first retention_ratio of the calls are computed. mag_ratios: one a call (or all but
 * the first), or two (conditional, unconditional); another number is stretched to the nearest. */
#include "common/base/json.h"
#include "common/method/schedule.h"
#include "common/run/foreign.h"

#include <math.h>

/* What stands for call t of `calls` in a list of n. */
static double nearest(const double *ratio, size_t n, int t, int calls)
{
    double at = calls > 1 ? (double)t * ((double)n - 1) / (calls - 1) : (double)n - 1;
    return ratio[(size_t)nearbyint(at)];
}

static double ratio_at(const double *ratio, size_t n, int t, int calls, int stream)
{
    if (n == (size_t)calls)
        return ratio[t];
    if (n == (size_t)calls - 1)
        return t ? ratio[t - 1] : 1;
    if (n == 2 * (size_t)calls)
        return ratio[2 * t + stream];
    return nearest(ratio, n, t, calls);
}

static int replay(struct foreign *f, const struct magcache *m, const double *ratio, size_t n, int stream,
                  int action, struct error *e)
{
    int calls = f->s->calls;
    double *at = mem_array((size_t)calls, sizeof *at, e);
    for (int t = 0; at && t < calls; t++)
        at[t] = ratio_at(ratio, n, t, calls, stream);
    if (at)
        magcache_replay(at, calls, m, action, f->s->choice[stream]);
    mem_free(at);
    return at ? 0 : -1;
}

int foreign_magcache(struct foreign *f, struct error *e)
{
    struct magcache m;
    int64_t most;
    int status = 0;
    double *ratio;
    size_t n;
    int action = foreign_serve(f, "span", e);
    if (action < 0 || json_double(f->json, "magcache_thresh", 0, 1e6, &m.threshold, e) < 0 ||
        json_double_or(f->json, "retention_ratio", 0, 1, 0.2, &m.retention, e) < 0 ||
        json_int_or(f->json, "magcache_K", 0, 1000000, 2, &most, e) < 0 ||
        json_get_doubles(f->json, "mag_ratios", 0, 1e6, &ratio, &n, e) < 0)
        return -1;
    m.most = (int)most;
    for (int i = 0; i < SCHEDULE_STREAMS && n && status == 0; i++)
        status = replay(f, &m, ratio, n, i, action, e);
    mem_free(ratio);
    return n ? status : error_set(e, HASTEN_EFILE, "mag_ratios is empty");
}
