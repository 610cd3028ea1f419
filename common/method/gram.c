/* See gram.h. */
#include "common/method/gram.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

/* The first channel of a group. */
static int64_t first_channel(const struct gram *g, int group)
{
    return (int64_t)group * g->channels / g->groups;
}

int gram_group(const struct gram *g, int channel)
{
    int group =
        (int)((int64_t)channel * g->groups / g->channels); /* never too high, at most one too low */
    return group + 1 < g->groups && first_channel(g, group + 1) <= channel ? group + 1 : group;
}

int gram_group_size(const struct gram *g, int group)
{
    return (int)(first_channel(g, group + 1) - first_channel(g, group));
}

/* Four sums side by side, so that the processor need not wait for each addition. */
static double dot(const float *x, const float *y, int64_t n)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        s0 += (double)x[i] * (double)y[i];
        s1 += (double)x[i + 1] * (double)y[i + 1];
        s2 += (double)x[i + 2] * (double)y[i + 2];
        s3 += (double)x[i + 3] * (double)y[i + 3];
    }
    for (; i < n; i++)
        s0 += (double)x[i] * (double)y[i];
    return (s0 + s1) + (s2 + s3);
}

struct gram_job {
    struct gram *g;
    const float *const *features;
    int t;
    int64_t rows;
};

/* Each pair (t, s) is summed by one part alone, in the order of the rows. room: groups x (calls + 1), the
 * last entry of a group is the sum of the feature itself. */
static void pairs_with_call(void *data, int part, int parts)
{
    struct gram_job *job = data;
    const struct gram *g = job->g;
    const float *now = job->features[job->t];
    struct span span = team_span(job->t + 1, 1, part, parts);
    for (int64_t s = span.begin; s < span.end; s++)
        for (int64_t r = 0; r < job->rows; r++)
            for (int group = 0; group < g->groups; group++) {
                int64_t at = r * g->channels + first_channel(g, group);
                g->room[(size_t)group * (size_t)(g->calls + 1) + (size_t)s] +=
                    dot(now + at, job->features[s] + at, gram_group_size(g, group));
            }
}

static void sum_of_call(struct gram *g, const float *now, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        for (int group = 0; group < g->groups; group++) {
            const float *x = now + r * g->channels + first_channel(g, group);
            double sum = 0;
            for (int i = 0; i < gram_group_size(g, group); i++)
                sum += (double)x[i];
            g->room[(size_t)group * (size_t)(g->calls + 1) + (size_t)g->calls] += sum;
        }
}

int gram_add_call(struct gram *g, int t, const float *const *features, int64_t rows, struct team *team,
                  struct error *e)
{
    struct gram_job job = {g, features, t, rows};
    size_t stride = (size_t)g->calls + 1;
    memset(g->room, 0, (size_t)g->groups * stride * sizeof *g->room);
    if (team)
        team_run(team, pairs_with_call, &job);
    else
        pairs_with_call(&job, 0, 1);
    sum_of_call(g, features[t], rows);
    for (int group = 0; group < g->groups; group++) /* squares of floats cannot overflow a double */
        if (!isfinite(g->room[(size_t)group * stride + (size_t)t]))
            return error_set(e, HASTEN_EFAIL, "the feature at call %d is not finite", t);
    for (size_t group = 0; group < (size_t)g->groups; group++) {
        double *row = g->cross + (group * (size_t)g->calls + (size_t)t) * (size_t)g->calls;
        for (size_t s = 0; s <= (size_t)t; s++)
            row[s] += g->room[group * stride + s];
        g->sum[group * (size_t)g->calls + (size_t)t] += g->room[group * stride + (size_t)g->calls];
    }
    g->rows[t] += rows;
    return 0;
}

int gram_add(struct gram *g, const float *features, int64_t rows, struct team *team, struct error *e)
{
    const float **calls = mem_array((size_t)g->calls, sizeof *calls, e);
    int status = calls ? 0 : -1;
    for (int t = 0; t < g->calls && status == 0; t++) {
        calls[t] = features + (int64_t)t * rows * g->channels;
        status = gram_add_call(g, t, calls, rows, team, e);
    }
    mem_free(calls);
    return status;
}

struct correct_sums gram_sums(const struct gram *g, int group, int t, int s)
{
    size_t calls = (size_t)g->calls, base = (size_t)group * calls;
    const double *cross = g->cross + base * calls;
    return (struct correct_sums){
        .n = (double)g->rows[t] * gram_group_size(g, group),
        .x = g->sum[base + (size_t)s],
        .y = g->sum[base + (size_t)t],
        .xx = cross[(size_t)s * calls + (size_t)s],
        .xy = cross[(size_t)t * calls + (size_t)s],
        .yy = cross[(size_t)t * calls + (size_t)t],
    };
}

double gram_power(const struct gram *g, int t)
{
    double sum = 0;
    for (int group = 0; group < g->groups; group++)
        sum += gram_sums(g, group, t, t).yy;
    return g->rows[t] ? sum / ((double)g->rows[t] * g->channels) : 0;
}
