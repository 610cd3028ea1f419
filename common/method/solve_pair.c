/* Exact for predictors that use the last two refreshes: L[s][r][k] is the least error of the calls after s
 * when s is the last refresh, r the one before it, and k calls from s on are computed (s included):
 *
 *     L[s][r][k] = min over j of  sum of error(t, s, r) for s < t < j  +  L[j][s][k - 1]
 *
 * for all k at once, at most T^4 / 24 additions; a segment that alone costs as much as what is known for k
 * and for all larger k is of no use to them, which leaves few (250 calls: tens of milliseconds). Only the
 * least sums are kept (T^3 / 6 of them); the way back looks for the first j that gives the sum, so that the
 * first schedule in the dictionary is found. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

#include <stdlib.h>

struct pairs {
    const struct schedule_problem *p;
    int calls, longest;
    double *least;   /* [s][r][k], k = 1 .. calls - s */
    size_t *begin;   /* of [s][0] */
    double *segment; /* [r][j]: the error of calls s + 1 .. j - 1, of the present s */
};

static double *sums(const struct pairs *x, int s, int r)
{
    return x->least + x->begin[s] + (size_t)r * (size_t)(x->calls - s) - 1; /* [k] from 1 on */
}

static int pairs_open(struct pairs *x, const struct schedule_problem *p, struct error *e)
{
    size_t count = 0;
    *x = (struct pairs){.p = p, .calls = p->calls};
    x->longest = p->max_run && p->max_run < p->calls ? p->max_run + 1 : p->calls;
    x->begin = mem_array((size_t)p->calls, sizeof *x->begin, e);
    for (int s = 0; x->begin && s < p->calls; s++) {
        x->begin[s] = count;
        count += (size_t)(s + 1) * (size_t)(p->calls - s);
    }
    x->least = x->begin ? mem_array(count, sizeof *x->least, e) : NULL;
    x->segment = mem_array((size_t)p->calls, ((size_t)p->calls + 1) * sizeof *x->segment, e);
    return x->least && x->segment ? 0 : -1;
}

static void pairs_free(struct pairs *x)
{
    mem_free(x->least);
    mem_free(x->begin);
    mem_free(x->segment);
}

static double served_cost(const struct pairs *x, int t, int s, int r)
{
    const struct schedule_problem *p = x->p;
    if (p->bytes && p->bytes[1] > p->max_bytes)
        return INFINITY;
    return schedule_pair_cost(p, t, s, r);
}

/* The costs of one s stand in rows of r: read so, and turned. */
static void fill_segments(const struct pairs *x, int s)
{
    size_t stride = (size_t)x->calls + 1;
    for (int r = 0; r <= s; r++)
        x->segment[(size_t)r * stride + (size_t)s + 1] = 0;
    for (int j = s + 1; j < x->calls; j++)
        for (int r = 0; r <= s; r++) {
            double *to = x->segment + (size_t)r * stride + j;
            to[1] = to[0] + served_cost(x, j, s, r);
        }
}

/* out[k] = min(out[k], segment + tail[k]); in blocks, which compilers make vectors of. */
static void prolong(double segment, const double *restrict tail, double *restrict out, int n)
{
    enum { BLOCK = 8 };
    int k = 0;
    for (; k + BLOCK <= n; k += BLOCK)
        for (int i = 0; i < BLOCK; i++) {
            double sum = segment + tail[k + i], old = out[k + i];
            out[k + i] = sum < old ? sum : old;
        }
    for (; k < n; k++) {
        double sum = segment + tail[k];
        out[k] = sum < out[k] ? sum : out[k];
    }
}

static void fill_state(const struct pairs *x, int s, int r)
{
    const double *segment = x->segment + (size_t)r * ((size_t)x->calls + 1);
    double *out = sums(x, s, r);
    int most = x->calls - s; /* what computes more calls than this cannot become better */
    for (int k = 1; k <= x->calls - s; k++)
        out[k] = INFINITY;
    for (int j = s + 1; j <= x->calls && j - s <= x->longest; j++) {
        if (j == x->calls) {
            out[1] = segment[j];
            break;
        }
        const double *tail = sums(x, j, s);
        while (most > 1 && out[most] <= segment[j])
            most--;
        int last = most - 1 < x->calls - j ? most - 1 : x->calls - j;
        prolong(segment[j], tail + 1, out + 2, last);
    }
}

/* Where the segment that begins at s ends; the same sums as in fill_state. */
static int segment_end(const struct pairs *x, int s, int r, int k)
{
    double wanted = sums(x, s, r)[k], segment = 0;
    for (int j = s + 1; j < x->calls; j++) {
        if (k > 1 && k - 1 <= x->calls - j && segment + sums(x, j, s)[k - 1] == wanted)
            return j;
        segment += served_cost(x, j, s, r);
    }
    return x->calls;
}

static int read_pairs(const struct pairs *x, int k, int *action)
{
    if (!isfinite(sums(x, 0, 0)[k]))
        return 0;
    for (int s = 0, r = 0; s < x->calls; k--) {
        int end = segment_end(x, s, r, k);
        action[s] = 0;
        for (int t = s + 1; t < end; t++)
            action[t] = 1;
        r = s;
        s = end;
    }
    return 1;
}

/* All states, from the last call backwards. */
static int pairs_run(struct pairs *x, const struct schedule_problem *p, struct error *e)
{
    if (pairs_open(x, p, e) < 0)
        return -1;
    for (int s = p->calls - 1; s >= 0; s--) {
        fill_segments(x, s);
        for (int r = 0; r <= s; r++)
            if (r < s || s == 0)
                fill_state(x, s, r);
    }
    return 0;
}

int schedule_solve_pair(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    if (schedule_check(p, e) < 0)
        return -1;
    if (!p->pair || p->goal == SCHEDULE_FIXED)
        return error_set(e, HASTEN_EUSAGE, "the solver pair needs errors of two refreshes, and a goal");
    struct pairs x = {0};
    struct schedule_choice choice = {0};
    int *action = mem_array((size_t)p->calls, sizeof *action, e);
    int status = action ? pairs_run(&x, p, e) : -1;
    int only = p->goal == SCHEDULE_REFRESHES ? p->refreshes : 0;
    for (int k = only ? only : 1; status == 0 && k <= (only ? only : p->calls); k++)
        if (read_pairs(&x, k, action))
            status = schedule_offer(&choice, p, action, e);
    pairs_free(&x);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    if (status == 0)
        out->exact = p->goal == SCHEDULE_REFRESHES || schedule_times_are_even(p, 1);
    schedule_drop(&choice);
    mem_free(action);
    return status;
}

static int by_ms(const void *a, const void *b)
{
    const struct schedule *p = a, *q = b;
    if (p->ms != q->ms)
        return p->ms < q->ms ? -1 : 1;
    return (p->error > q->error) - (p->error < q->error);
}

/* Of *count schedules those that no other beats, fastest first; the others are freed. */
static void keep_front(struct schedule *all, int *count)
{
    int kept = 0;
    qsort(all, (size_t)*count, sizeof *all, by_ms);
    for (int i = 0; i < *count; i++) {
        if (kept == 0 || all[i].error < all[kept - 1].error)
            all[kept++] = all[i];
        else
            schedule_free(&all[i]);
    }
    *count = kept;
}

int schedule_pair_front(const struct schedule_problem *p, struct schedule **out, int *count, struct error *e)
{
    struct pairs x = {0};
    size_t calls = (size_t)p->calls;
    struct schedule *all = mem_array(calls, sizeof *all, e);
    int n = 0, exact = schedule_times_are_even(p, 1), status = all ? pairs_run(&x, p, e) : -1;
    for (int k = 1; status == 0 && k <= p->calls; k++) {
        struct schedule s = {.calls = p->calls, .exact = exact};
        s.action = mem_array(calls, sizeof *s.action, e);
        s.refresh = mem_array(calls, sizeof *s.refresh, e);
        int found = s.action && s.refresh ? read_pairs(&x, k, s.action) : -1;
        if (found < 0 ||
            (found && schedule_price(p, s.action, s.refresh, &s.refreshes, &s.error, &s.ms, e) < 0))
            status = -1;
        if (status == 0 && found && schedule_meets(p, s.refreshes, s.error, s.ms))
            all[n++] = s;
        else
            schedule_free(&s);
    }
    pairs_free(&x);
    if (status < 0) {
        schedule_front_free(all, n);
        return -1;
    }
    keep_front(all, &n);
    *out = all;
    *count = n;
    return 0;
}
