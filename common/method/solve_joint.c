/* See schedule_joint.h. */
#include "common/method/schedule_joint.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS = 1 << 20 }; /* before dominated ones are dropped: 2 x 64 MiB */

struct label {
    double ms, error;
    uint32_t cached, tail;                   /* the index among the labels of the call before */
    int16_t refresh[JOINT_OBJECTS_MAX], run; /* served calls in a row */
    uint16_t action;
};

struct back {
    uint32_t tail;
    uint16_t action;
};

struct layer {
    struct back *back;
    size_t count;
};

struct joint_run {
    const struct joint_problem *p;
    double *ms;          /* rounded, see solve_front.c */
    double *ms_after;    /* calls + 1: what the calls from t on take at least */
    struct label *label; /* of the present call */
    struct label *next;
    size_t count, room, most;
    struct layer *layer; /* calls */
    int thinned;
};

static int check(const struct joint_problem *p, struct error *e)
{
    if (p->calls < 1 || p->calls > JOINT_CALLS_MAX || p->actions < 1 || p->actions > JOINT_ACTIONS_MAX ||
        p->objects < 0 || p->objects > JOINT_OBJECTS_MAX)
        return error_set(e, HASTEN_EUSAGE, "%d calls, %d actions, %d objects: at most %d, %d and %d",
                         p->calls, p->actions, p->objects, JOINT_CALLS_MAX, JOINT_ACTIONS_MAX,
                         JOINT_OBJECTS_MAX);
    if (!(p->limit_ms >= 0) || p->max_run < 0 || p->serves[0])
        return error_set(e, HASTEN_EUSAGE, "a limit of %g ms, runs of %d; action 0 serves %#x", p->limit_ms,
                         p->max_run, p->serves[0]);
    for (int a = 0; a < p->actions; a++) {
        if (p->serves[a] >> p->objects)
            return error_set(e, HASTEN_EUSAGE, "action %d serves an object that there is not", a);
        for (int t = 0; t < p->calls; t++) {
            double ms = p->ms[a * p->calls + t], own = p->own ? p->own[a * p->calls + t] : 0;
            if (!isfinite(ms) || ms < 0 || !(own >= 0))
                return error_set(e, HASTEN_EFILE, "action %d at call %d takes %g ms and has error %g", a, t,
                                 ms, own);
        }
    }
    for (int o = 0; o < p->objects; o++)
        for (int t = 0; t < p->calls; t++)
            for (int s = 0; s < t; s++) {
                double error =
                    p->error[((size_t)o * (size_t)p->calls + (size_t)t) * (size_t)p->calls + (size_t)s];
                if (!(error >= 0))
                    return error_set(e, HASTEN_EFILE, "object %d at call %d with refresh %d has error %g", o,
                                     t, s, error);
            }
    return 0;
}

static void joint_close(struct joint_run *x)
{
    for (int t = 0; x->layer && t < x->p->calls; t++)
        mem_free(x->layer[t].back);
    mem_free(x->layer);
    mem_free(x->label);
    mem_free(x->next);
    mem_free(x->ms);
    mem_free(x->ms_after);
}

static int joint_open(struct joint_run *x, const struct joint_problem *p, struct error *e)
{
    size_t calls = (size_t)p->calls, n = (size_t)p->actions * calls;
    *x = (struct joint_run){.p = p, .most = p->labels ? p->labels : LABELS / (size_t)p->actions};
    x->ms = mem_array(n, sizeof *x->ms, e);
    x->ms_after = mem_array(calls + 1, sizeof *x->ms_after, e);
    x->layer = mem_array(calls, sizeof *x->layer, e);
    if (!x->ms || !x->ms_after || !x->layer)
        return -1;
    double longest = 0;
    for (size_t i = 0; i < n; i++)
        longest = fmax(longest, p->ms[i] * (double)p->calls);
    int exponent;
    frexp(longest, &exponent);
    double unit = ldexp(1, exponent - 52);
    for (size_t i = 0; i < n; i++)
        x->ms[i] = longest > 0 && unit > 0 ? rint(p->ms[i] / unit) * unit : p->ms[i];
    for (size_t t = calls; t-- > 0;) {
        double least = x->ms[t];
        for (size_t a = 1; a < (size_t)p->actions; a++)
            least = fmin(least, x->ms[a * calls + t]);
        x->ms_after[t] = x->ms_after[t + 1] + least;
    }
    return 0;
}

static size_t bytes_of(const struct joint_problem *p, uint32_t cached)
{
    size_t sum = 0;
    for (int o = 0; p->bytes && o < p->objects; o++)
        if (cached >> o & 1)
            sum = p->bytes[o] > SIZE_MAX - sum ? SIZE_MAX : sum + p->bytes[o];
    return sum;
}

/* One more call by this action; 0 when that is not allowed. */
static int prolong(const struct joint_run *x, const struct label *from, size_t index, int t, int a,
                   struct label *to)
{
    const struct joint_problem *p = x->p;
    size_t calls = (size_t)p->calls, at = (size_t)a * calls + (size_t)t;
    uint32_t serves = p->serves[a];
    *to = *from;
    to->tail = (uint32_t)index;
    to->action = (uint16_t)a;
    to->ms += x->ms[at];
    to->error += p->own ? p->own[at] : 0;
    to->cached |= serves;
    to->run = serves ? (int16_t)(from->run + 1) : 0;
    for (int o = 0; o < p->objects; o++) {
        if (serves >> o & 1)
            to->error += p->error[((size_t)o * calls + (size_t)t) * calls + (size_t)from->refresh[o]];
        else
            to->refresh[o] = (int16_t)t;
    }
    if (!p->max_run)
        to->run = 0;
    return isfinite(to->error) && (!p->max_run || to->run <= p->max_run) &&
           (!p->bytes || bytes_of(p, to->cached) <= p->max_bytes) &&
           (p->limit_ms == 0 || to->ms + x->ms_after[t + 1] <= p->limit_ms * (1 + 1e-9));
}

static int by_state(const struct label *x, const struct label *y)
{
    int c = memcmp(x->refresh, y->refresh, sizeof x->refresh);
    if (c == 0)
        c = (x->cached > y->cached) - (x->cached < y->cached);
    return c ? c : (x->run > y->run) - (x->run < y->run);
}

/* Labels of one call are kept in the order of the dictionary before they are sorted, so a smaller tail, then
 * a smaller action, comes first in it. */
static int by_price(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    int c = by_state(x, y);
    if (c)
        return c;
    if (x->ms != y->ms)
        return x->ms < y->ms ? -1 : 1;
    if (x->error != y->error)
        return x->error < y->error ? -1 : 1;
    if (x->tail != y->tail)
        return x->tail < y->tail ? -1 : 1;
    return (x->action > y->action) - (x->action < y->action);
}

static int by_dictionary(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    if (x->tail != y->tail)
        return x->tail < y->tail ? -1 : 1;
    return (x->action > y->action) - (x->action < y->action);
}

static int by_milliseconds(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    return x->ms != y->ms ? (x->ms < y->ms ? -1 : 1) : by_dictionary(a, b);
}

static size_t drop_dominated(struct label *label, size_t n)
{
    size_t kept = 0;
    qsort(label, n, sizeof *label, by_price);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_state(&label[i], &label[kept - 1]) || label[i].error < label[kept - 1].error)
            label[kept++] = label[i];
    return kept;
}

static int by_error(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    return x->error != y->error ? (x->error < y->error ? -1 : 1) : by_dictionary(a, b);
}

/* Too many: of equal intervals of ms the labels with least error, as many from each. */
static size_t thin(struct label *label, size_t n, size_t most)
{
    size_t bins = most < 64 ? most : 64, kept = 0, each = most / bins;
    qsort(label, n, sizeof *label, by_milliseconds);
    double low = label[0].ms, width = (label[n - 1].ms - low) / (double)bins;
    for (size_t i = 0, bin = 0, end = 0; i < n; bin++, i = end) {
        while (end < n && (bin + 1 == bins || label[end].ms <= low + (double)(bin + 1) * width))
            end++;
        qsort(label + i, end - i, sizeof *label, by_error);
        for (size_t k = i; k < end && k < i + each; k++)
            label[kept++] = label[k];
    }
    return kept;
}

static int grow(struct joint_run *x, size_t wanted, struct error *e)
{
    if (wanted <= x->room)
        return 0;
    struct label *a = mem_resize(x->label, wanted, sizeof *a, e);
    if (a)
        x->label = a;
    struct label *b = a ? mem_resize(x->next, wanted, sizeof *b, e) : NULL;
    if (!b)
        return -1;
    x->next = b;
    x->room = wanted;
    return 0;
}

static int advance(struct joint_run *x, int t, struct error *e)
{
    const struct joint_problem *p = x->p;
    size_t n = 0;
    if (grow(x, x->count * (size_t)p->actions + 1, e) < 0)
        return -1;
    for (size_t i = 0; i < x->count; i++)
        for (int a = 0; a < p->actions; a++)
            if ((t > 0 || p->serves[a] == 0) && prolong(x, &x->label[i], i, t, a, &x->next[n]))
                n++;
    n = drop_dominated(x->next, n);
    if (n > x->most) {
        n = thin(x->next, n, x->most);
        x->thinned = 1;
    }
    qsort(x->next, n, sizeof *x->next, by_dictionary);
    struct layer *l = &x->layer[t];
    if (!(l->back = mem_array(n + 1, sizeof *l->back, e)))
        return -1;
    for (size_t i = 0; i < n; i++)
        l->back[i] = (struct back){x->next[i].tail, x->next[i].action};
    l->count = n;
    struct label *swap = x->label;
    x->label = x->next;
    x->next = swap;
    x->count = n;
    return 0;
}

/* The last labels as one state: the front, fastest first. */
static int read_front(struct joint_run *x, struct joint **out, int *count, struct error *e)
{
    const struct joint_problem *p = x->p;
    for (size_t i = 0; i < x->count; i++) { /* the order of the dictionary is now the index */
        x->label[i].tail = (uint32_t)i;
        memset(x->label[i].refresh, 0, sizeof x->label[i].refresh);
        x->label[i].run = 0;
        x->next[i].cached = x->label[i].cached;
        x->label[i].cached = 0;
    }
    size_t n = drop_dominated(x->label, x->count);
    struct joint *front = mem_array(n + 1, sizeof *front, e);
    for (size_t i = 0; front && i < n; i++) {
        struct joint *j = &front[i];
        uint32_t at = x->label[i].tail;
        *j = (struct joint){.error = x->label[i].error, .cached = x->next[at].cached, .exact = !x->thinned};
        if (!(j->action = mem_array((size_t)p->calls, sizeof *j->action, e))) {
            schedule_joint_free(front, (int)n);
            return -1;
        }
        for (int t = p->calls - 1; t >= 0; t--) {
            j->action[t] = x->layer[t].back[at].action;
            at = x->layer[t].back[at].tail;
        }
        for (int t = 0; t < p->calls; t++)
            j->ms += p->ms[j->action[t] * p->calls + t];
    }
    *out = front;
    *count = (int)n;
    return front ? 0 : -1;
}

int schedule_joint(const struct joint_problem *p, struct joint **out, int *count, struct error *e)
{
    struct joint_run x;
    if (check(p, e) < 0)
        return -1;
    int status = joint_open(&x, p, e) < 0 || grow(&x, 1, e) < 0 ? -1 : 0;
    if (status == 0)
        x.label[x.count++] = (struct label){0};
    for (int t = 0; status == 0 && t < p->calls; t++)
        status = advance(&x, t, e);
    if (status == 0 && x.count == 0)
        status =
            p->limit_ms > 0 && p->limit_ms < x.ms_after[0]
                ? error_set(e, HASTEN_EGATE, "no schedule takes at most %.6g ms, the fastest takes %.6g ms",
                            p->limit_ms, x.ms_after[0])
                : error_set(e, HASTEN_EGATE, "no schedule is within the limits");
    if (status == 0)
        status = read_front(&x, out, count, e);
    joint_close(&x);
    return status;
}

void schedule_joint_free(struct joint *front, int count)
{
    for (int i = 0; front && i < count; i++)
        mem_free(front[i].action);
    mem_free(front);
}
