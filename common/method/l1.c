/* See l1.h. */
#include "common/method/l1.h"

#include <math.h>

struct l1_job {
    struct l1_pairs *p;
    const float *const *features;
    int t, reach;
    int64_t n;
};

static void differences(void *data, int part, int parts)
{
    struct l1_job *job = data;
    const float *now = job->features[job->t];
    struct span span = team_span(job->reach, 1, part, parts);
    for (int64_t d = span.begin; d < span.end; d++) {
        const float *then = job->features[job->t - d];
        double s0 = 0, s1 = 0;
        int64_t i = 0;
        for (; i + 2 <= job->n; i += 2) {
            s0 += fabs((double)now[i] - (double)then[i]);
            s1 += fabs((double)now[i + 1] - (double)then[i + 1]);
        }
        if (i < job->n)
            s0 += fabs((double)now[i] - (double)then[i]);
        job->p->room[d] = s0 + s1;
    }
}

int l1_add_call(struct l1_pairs *p, int t, const float *const *features, int64_t n, struct team *team,
                struct error *e)
{
    struct l1_job job = {p, features, t, t + 1 < p->window ? t + 1 : p->window, n};
    if (team)
        team_run(team, differences, &job);
    else
        differences(&job, 0, 1);
    for (int d = 0; d < job.reach; d++) /* d = 0: x - x is NaN where x is NaN or Inf */
        if (!isfinite(p->room[d]))
            return error_set(e, HASTEN_EFAIL, "the feature at call %d is not finite", t - d);
    for (int d = 0; d < job.reach; d++)
        p->sum[(size_t)t * (size_t)p->window + (size_t)d] += p->room[d];
    return 0;
}

void l1_errors(const struct l1_pairs *p, double *error)
{
    for (int t = 0; t < p->calls; t++)
        for (int s = 0; s < p->calls; s++)
            error[(size_t)t * (size_t)p->calls + (size_t)s] =
                s <= t && t - s < p->window ? p->sum[(size_t)t * (size_t)p->window + (size_t)(t - s)]
                                            : INFINITY;
}
