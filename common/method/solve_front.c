/* The exact front of (ms, error) by labels: W[t][s] is the set of non-dominated (ms, error) of calls t ..
 * T-1 when s < t is the last refresh. From the last call backwards, W[t][s] is the best of "compute t" +
 * W[t+1][t] and "serve t by a" + W[t+1][s]; the answer is "compute 0" + W[1][0]. Equal labels keep the
 * smallest action, so that the first schedule in the dictionary is found. */
#include "common/base/mem.h"
#include "common/method/schedule_parts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LABELS_TOTAL = 8 << 20, /* x 24 bytes: about 200 MB, shared by all states */
    LABELS_LEAST = 64, /* in a state, before thinning starts */
};

struct label {
    double ms, error;
    int32_t tail; /* the label of the next call; -1 at the end */
    int32_t action;
};

struct front {
    const struct schedule_problem *p;
    struct label *labels;
    size_t count, room;
    size_t *begin, *size; /* per state */
    struct label *merged; /* candidates of one state */
    size_t merged_room;
    size_t most; /* labels in a state */
    int thinned;
};

/* States of call t (s = 0 .. t - 1) lie behind each other; call T's states are one: nothing left. */
static size_t state(const struct front *f, int t, int s)
{
    return t == f->p->calls ? (size_t)t * (size_t)(t - 1) / 2
                            : (size_t)t * (size_t)(t - 1) / 2 + (size_t)s;
}

static int front_open(struct front *f, const struct schedule_problem *p, struct error *e)
{
    size_t states = (size_t)p->calls * (size_t)(p->calls - 1) / 2 + 1;
    *f = (struct front){.p = p};
    f->most = LABELS_TOTAL / states > LABELS_LEAST ? LABELS_TOTAL / states : LABELS_LEAST;
    if (p->labels)
        f->most = (size_t)p->labels;
    f->begin = mem_array(states, sizeof *f->begin, e);
    f->size = mem_array(states, sizeof *f->size, e);
    return f->begin && f->size ? 0 : -1;
}

static void front_free(struct front *f)
{
    mem_free(f->labels);
    mem_free(f->begin);
    mem_free(f->size);
    mem_free(f->merged);
}

static int grow(struct label **labels, size_t *room, size_t wanted, struct error *e)
{
    if (wanted <= *room)
        return 0;
    size_t more = wanted > 2 * *room ? wanted : 2 * *room;
    struct label *larger = mem_resize(*labels, more, sizeof **labels, e);
    if (!larger)
        return -1;
    *labels = larger;
    *room = more;
    return 0;
}

static int by_price(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    if (x->ms != y->ms)
        return x->ms < y->ms ? -1 : 1;
    if (x->error != y->error)
        return x->error < y->error ? -1 : 1;
    return (x->action > y->action) - (x->action < y->action);
}

/* Sorted candidates: keep those with less error than all that are faster. */
static size_t drop_dominated(struct label *labels, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || labels[i].error < labels[kept - 1].error)
            labels[kept++] = labels[i];
    return kept;
}

/* Too many: of each of most - 1 equal intervals of ms the last (the least error), and the fastest of all. */
static size_t thin(struct label *labels, size_t n, size_t most)
{
    double low = labels[0].ms, width = (labels[n - 1].ms - low) / (double)(most - 1);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (i + 1 == n || floor((labels[i + 1].ms - low) / width) > floor((labels[i].ms - low) / width))
            if (kept < most)
                labels[kept++] = labels[i];
    return kept;
}

/* How much of the goal's limit the calls before t use at least. */
static double least_before(const struct schedule_problem *p, const double *least_ms, int t)
{
    return p->goal == SCHEDULE_MS ? least_ms[t] : 0;
}

static int add_candidates(struct front *f, int t, int s, int action, double used, size_t *n,
                          struct error *e)
{
    const struct schedule_problem *p = f->p;
    size_t from = state(f, t + 1, action ? s : t), count = f->size[from];
    double error = schedule_cost(p, action, t, s),
           ms = p->ms[(size_t)action * (size_t)p->calls + (size_t)t];
    if (!isfinite(error) || grow(&f->merged, &f->merged_room, *n + count, e) < 0)
        return isfinite(error) ? -1 : 0;
    for (size_t i = 0; i < count; i++) {
        const struct label *tail = &f->labels[f->begin[from] + i];
        struct label next = {ms + tail->ms, error + tail->error, (int32_t)(f->begin[from] + i), action};
        int limited = p->goal == SCHEDULE_MS || p->goal == SCHEDULE_ERROR;
        if (!limited || schedule_meets(p, 0, next.error, next.ms + used))
            f->merged[(*n)++] = next;
    }
    return 0;
}

static int fill_state(struct front *f, int t, int s, const double *least_ms, struct error *e)
{
    size_t n = 0;
    int served = f->p->max_run == 0 || t - s <= f->p->max_run;
    for (int a = 0; a < f->p->actions && (a == 0 || (served && t > 0)); a++)
        if (add_candidates(f, t, s, a, least_before(f->p, least_ms, t), &n, e) < 0)
            return -1;
    if (n > 0) {
        qsort(f->merged, n, sizeof *f->merged, by_price);
        n = drop_dominated(f->merged, n);
    }
    if (n > f->most) {
        n = thin(f->merged, n, f->most);
        f->thinned = 1;
    }
    if (f->count + n > INT32_MAX)
        return error_set(e, HASTEN_ENOMEM, "the front has too many labels");
    if (grow(&f->labels, &f->room, f->count + n, e) < 0)
        return -1;
    if (n > 0)
        memcpy(f->labels + f->count, f->merged, n * sizeof *f->merged);
    size_t at = t ? state(f, t, s) : 0; /* call 0 comes last and takes W[1][0]'s place */
    f->begin[at] = f->count;
    f->size[at] = n;
    f->count += n;
    return 0;
}

/* All labels of the whole trajectory are then in state 0. */
static int run(struct front *f, struct error *e)
{
    const struct schedule_problem *p = f->p;
    double *least_ms = mem_array((size_t)p->calls + 1, sizeof *least_ms, e);
    if (!least_ms || grow(&f->labels, &f->room, 1024, e) < 0) {
        mem_free(least_ms);
        return -1;
    }
    for (int t = 0; t < p->calls; t++) {
        double least = p->ms[t];
        for (int a = 1; a < p->actions && t > 0; a++)
            least = fmin(least, p->ms[(size_t)a * (size_t)p->calls + (size_t)t]);
        least_ms[t + 1] = least_ms[t] + least;
    }
    size_t end = state(f, p->calls, 0);
    f->labels[f->count++] = (struct label){0, 0, -1, 0};
    f->begin[end] = 0;
    f->size[end] = 1;
    int status = 0;
    for (int t = p->calls - 1; t >= 0 && status == 0; t--)
        for (int s = 0; s < (t ? t : 1) && status == 0; s++)
            status = fill_state(f, t, s, least_ms, e);
    mem_free(least_ms);
    return status;
}

static int read_label(const struct front *f, size_t index, struct schedule *out, struct error *e)
{
    size_t calls = (size_t)f->p->calls;
    *out = (struct schedule){.calls = f->p->calls, .exact = !f->thinned};
    out->action = mem_array(calls, sizeof *out->action, e);
    out->refresh = mem_array(calls, sizeof *out->refresh, e);
    if (!out->action || !out->refresh)
        return -1;
    const struct label *l = &f->labels[index];
    for (size_t t = 0; t < calls; t++) {
        out->action[t] = l->action;
        l = &f->labels[l->tail >= 0 ? l->tail : 0];
    }
    return schedule_price(f->p, out->action, out->refresh, &out->refreshes, &out->error, &out->ms, e);
}

void schedule_front_free(struct schedule *schedules, int count)
{
    for (int i = 0; schedules && i < count; i++)
        schedule_free(&schedules[i]);
    mem_free(schedules);
}

int schedule_front(const struct schedule_problem *p, struct schedule **out, int *count, struct error *e)
{
    struct front f;
    if (schedule_check(p, e) < 0)
        return -1;
    int status = front_open(&f, p, e) < 0 ? -1 : run(&f, e);
    struct schedule *all = NULL;
    size_t n = status == 0 ? f.size[0] : 0;
    if (status == 0 && !(all = mem_array(n, sizeof *all, e)))
        status = -1;
    for (size_t i = 0; i < n && status == 0; i++)
        status = read_label(&f, f.begin[0] + i, &all[i], e);
    front_free(&f);
    if (status < 0) {
        schedule_front_free(all, (int)n);
        return -1;
    }
    *out = all;
    *count = (int)n;
    return 0;
}

/* Nothing is within the limit: offer the fastest or the best of all, so that the error can name it. */
static int offer_ends(const struct schedule_problem *p, struct schedule_choice *choice, struct error *e)
{
    struct schedule_problem free_of_limit = *p;
    free_of_limit.goal = SCHEDULE_FIXED;
    struct schedule *all;
    int count, status = 0;
    if (schedule_front(&free_of_limit, &all, &count, e) < 0)
        return -1;
    for (int i = 0; i < count && status == 0; i++)
        status = schedule_offer(choice, p, all[i].action, e);
    schedule_front_free(all, count);
    return status;
}

int schedule_solve_front(const struct schedule_problem *p, struct schedule *out, struct error *e)
{
    struct front f;
    if (schedule_check(p, e) < 0)
        return -1;
    if (p->goal != SCHEDULE_MS && p->goal != SCHEDULE_ERROR)
        return error_set(e, HASTEN_EUSAGE, "the solver front needs a limit of milliseconds or of error");
    int status = front_open(&f, p, e) < 0 ? -1 : run(&f, e);
    if (status == 0 && f.size[0] > 0) {
        /* Fastest first: under a limit of ms the last is the best, under a limit of error the first. */
        status = read_label(&f, f.begin[0] + (p->goal == SCHEDULE_MS ? f.size[0] - 1 : 0), out, e);
        if (status < 0)
            schedule_free(out);
        front_free(&f);
        return status;
    }
    front_free(&f);
    struct schedule_choice choice = {0};
    if (status == 0)
        status = offer_ends(p, &choice, e);
    if (status == 0)
        status = schedule_choose(&choice, p, out, e);
    schedule_drop(&choice);
    return status;
}
