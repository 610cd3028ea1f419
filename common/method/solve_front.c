/* The exact front of (ms, error) by labels: W[t][s] is the set of non-dominated (ms, error) of calls t ..
 * T-1 when s < t is the last refresh. From the last call backwards, W[t][s] is the best of "compute t" +
 * W[t+1][t] and "serve t by a" + W[t+1][s]; the answer is "compute 0" + W[1][0]. Equal labels keep the
 * smallest action, so that the first schedule in the dictionary is found. Labels that lead to no schedule of
 * the front are dropped (front_bounds.h).
 *
 * Only two rows of labels (t and t + 1) are in memory; of the others four bytes a label stay, its action and
 * the label that follows. Milliseconds are first rounded to a power of two so small that the rounding does
 * not matter (2^-52 of the longest trajectory) and that every sum of them is exact: schedules with the same
 * numbers of equal actions then have equal times, whatever the order, and one of them is dropped. */
#include "common/base/mem.h"
#include "common/method/front_bounds.h"

#include <string.h>

enum {
    LINK_BITS = 26,          /* and six for the action */
    LABELS_TOTAL = 40 << 20, /* x 4 bytes: 160 MB */
    LABELS_LEAST = 32,       /* of a state that are kept in any case */
    LABELS_SHARE = 8,        /* how many times its equal share of what is left a state may take */
};

/* Labels of one call: of refresh s they are label[begin[s]] .. label[begin[s + 1] - 1]. */
struct row {
    struct front_label *label;
    size_t room, *begin;
};

struct front {
    const struct schedule_problem *p;
    double *ms;       /* actions x calls, rounded */
    double *least_ms; /* calls + 1: what the calls before t take at least */
    struct row row[2];
    struct front_label *merged[2];
    size_t merged_room[2];
    struct front_label *more; /* of one action */
    size_t more_room;
    uint32_t *link; /* action << LINK_BITS | link of the tail */
    size_t links, links_room;
    struct front_bounds bounds;
    size_t states; /* still to come */
    int thinned;
};

static void front_free(struct front *f)
{
    for (int i = 0; i < 2; i++) {
        mem_free(f->row[i].label);
        mem_free(f->row[i].begin);
        mem_free(f->merged[i]);
    }
    front_bounds_free(&f->bounds);
    mem_free(f->more);
    mem_free(f->ms);
    mem_free(f->least_ms);
    mem_free(f->link);
}

/* Multiples of unit below 2^53 unit are added without rounding. */
static void round_times(struct front *f)
{
    const struct schedule_problem *p = f->p;
    size_t calls = (size_t)p->calls;
    double longest = 0;
    for (int t = 0; t < p->calls; t++) {
        double most = 0;
        for (int a = 0; a < p->actions; a++)
            most = fmax(most, p->ms[(size_t)a * calls + (size_t)t]);
        longest += most;
    }
    int exponent;
    frexp(longest, &exponent);
    double unit = ldexp(1, exponent - 52);
    for (size_t i = 0; i < (size_t)p->actions * calls; i++)
        f->ms[i] = longest > 0 && unit > 0 ? rint(p->ms[i] / unit) * unit : p->ms[i];
    for (size_t t = 0; t < calls; t++) {
        double least = f->ms[t];
        for (size_t a = 1; a < (size_t)p->actions; a++)
            if (t > 0 || schedule_computes(p, (int)a))
                least = fmin(least, f->ms[a * calls + t]);
        f->least_ms[t + 1] = f->least_ms[t] + least;
    }
}

static int front_open(struct front *f, const struct schedule_problem *p, struct error *e)
{
    size_t calls = (size_t)p->calls, states = calls * (calls - 1) / 2 + 1;
    *f = (struct front){.p = p};
    f->states = states;
    f->ms = mem_array((size_t)p->actions * calls, sizeof *f->ms, e);
    f->least_ms = mem_array(calls + 1, sizeof *f->least_ms, e);
    f->row[0].begin = mem_array(calls + 1, sizeof *f->row[0].begin, e);
    f->row[1].begin = mem_array(calls + 1, sizeof *f->row[1].begin, e);
    if (!f->ms || !f->least_ms || !f->row[0].begin || !f->row[1].begin)
        return -1;
    round_times(f);
    return front_bounds_open(&f->bounds, p, f->ms, e);
}

static int grow(void *block, size_t *room, size_t wanted, size_t size, struct error *e)
{
    void *old, *larger;
    if (wanted <= *room)
        return 0;
    memcpy(&old, block, sizeof old);
    size_t more = wanted > 2 * *room ? wanted + 1024 : 2 * *room;
    if (!(larger = mem_resize(old, more, size, e)))
        return -1;
    memcpy(block, &larger, sizeof larger);
    *room = more;
    return 0;
}

/* Too many: of each of most - 1 equal intervals of ms the last (the least error), and the fastest of all. */
static size_t thin(struct front_label *labels, size_t n, size_t most)
{
    double low = labels[0].ms, width = (labels[n - 1].ms - low) / (double)(most - 1);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (i + 1 == n || floor((labels[i + 1].ms - low) / width) > floor((labels[i].ms - low) / width))
            if (kept < most)
                labels[kept++] = labels[i];
    return kept;
}

/* What a label may have at most: of its own milliseconds and error, and by the bounds of the state. */
struct allowed {
    double ms, error;
    int lines; /* -1: no bounds */
    struct front_line line[FRONT_RUNS];
};

/* Tails prolonged by an action, those that are allowed. Errors fall along the tails and so do bounds: where
 * the last of a block is above the bound of the first, all are. */
static size_t prolong(const struct front_label *tails, size_t count, struct front_label add,
                      const struct allowed *most, struct front_label *out)
{
    enum { BLOCK = 16 };
    size_t kept = 0;
    double last = INFINITY; /* sums may round to the same */
    int at = 0;
    for (size_t k = 0; k < count; k += BLOCK) {
        size_t end = count - k < BLOCK ? count : k + BLOCK;
        double first = tails[k].ms + add.ms, least = tails[end - 1].error + add.error;
        if (first > most->ms)
            break;
        while (at + 1 < most->lines && most->line[at + 1].begin <= first)
            at++;
        const struct front_line *line = &most->line[at];
        if (least > most->error || (most->lines > 0 && least >= line->at_zero + line->slope * first))
            continue;
        for (size_t i = k; i < end; i++) {
            double ms = tails[i].ms + add.ms, error = tails[i].error + add.error;
            while (at + 1 < most->lines && most->line[at + 1].begin <= ms)
                at++;
            double bound = most->lines > 0 ? most->line[at].at_zero + most->line[at].slope * ms : INFINITY;
            out[kept] = (struct front_label){ms, error, tails[i].link, add.action};
            int is_kept = (error < bound) & (error <= most->error) & (ms <= most->ms) & (error < last);
            last = is_kept ? error : last;
            kept += (size_t)is_kept;
        }
    }
    return kept;
}

/* The non-dominated of `old` and `more`, both sorted, into out. Of equal ones the old (of a smaller action)
 * stays. */
static size_t merge(const struct front_label *old, size_t n, const struct front_label *more, size_t count,
                    struct front_label *out)
{
    size_t i = 0, k = 0, kept = 0;
    double least = INFINITY;
    while (i < n && k < count) {
        int first = old[i].ms < more[k].ms || (old[i].ms == more[k].ms && old[i].error <= more[k].error);
        const struct front_label *next = first ? &old[i++] : &more[k++];
        if (next->error < least) {
            least = next->error;
            out[kept++] = *next;
        }
    }
    const struct front_label *rest = i < n ? old + i : more + k, *end = i < n ? old + n : more + count;
    while (rest < end && !(rest->error < least))
        rest++;
    memcpy(out + kept, rest, (size_t)(end - rest) * sizeof *out);
    return kept + (size_t)(end - rest);
}

/* Labels of call t with last refresh s, behind the others of its row; their `link` is still that of the tail.
 */
static int collect(struct front *f, int t, int s, size_t *n, struct error *e)
{
    const struct schedule_problem *p = f->p;
    const struct row *tail = &f->row[(t + 1) & 1];
    struct row *row = &f->row[t & 1];
    int served = t > 0 && (p->max_run == 0 || t - s <= p->max_run);
    struct allowed most; /* its lines are many: left as they are */
    int side = 0;
    *n = 0;
    most.error = p->goal == SCHEDULE_ERROR ? p->limit * (1 + 1e-9) : INFINITY;
    most.ms = p->goal == SCHEDULE_MS ? p->limit * (1 + 1e-9) - f->least_ms[t] : INFINITY;
    most.lines = front_bounds_lines(&f->bounds, t, s, most.line);
    for (int a = 0; a < p->actions; a++) {
        int computes = schedule_computes(p, a);
        if ((!computes && !served) || (most.lines >= 0 && !front_bounds_leads(&f->bounds, s, a)))
            continue;
        size_t at = (size_t)(computes ? t : s), from = tail->begin[at], count = tail->begin[at + 1] - from;
        struct front_label add = {f->ms[(size_t)a * (size_t)p->calls + (size_t)t], schedule_cost(p, a, t, s),
                                  0, (uint32_t)a};
        if (!isfinite(add.error))
            continue;
        struct front_label **to = *n ? &f->more : &f->merged[side]; /* the first needs no merging */
        if (grow(to, *n ? &f->more_room : &f->merged_room[side], count + 1, sizeof **to, e) < 0)
            return -1;
        count = prolong(tail->label + from, count, add, &most, *to);
        if (*n == 0 || count == 0) {
            *n += count;
            continue;
        }
        if (grow(&f->merged[1 - side], &f->merged_room[1 - side], *n + count + 1, sizeof **to, e) < 0)
            return -1;
        *n = merge(f->merged[side], *n, f->more, count, f->merged[1 - side]);
        side = 1 - side;
    }
    if (grow(&row->label, &row->room, row->begin[s] + *n, sizeof(struct front_label), e) < 0)
        return -1;
    if (*n)
        memcpy(row->label + row->begin[s], f->merged[side], *n * sizeof *row->label);
    return 0;
}

/* Labels that the next state may keep. */
static size_t room_for(struct front *f)
{
    size_t left = f->links < LABELS_TOTAL ? LABELS_TOTAL - f->links : 0;
    size_t most = LABELS_SHARE * left / f->states--;
    if (f->p->labels)
        return (size_t)f->p->labels;
    return most > LABELS_LEAST ? most : LABELS_LEAST;
}

static int fill_state(struct front *f, int t, int s, struct error *e)
{
    struct row *row = &f->row[t & 1];
    size_t n, at = row->begin[s], most = room_for(f);
    if (collect(f, t, s, &n, e) < 0)
        return -1;
    struct front_label *labels = row->label + at;
    if (n > most) {
        n = thin(labels, n, most);
        f->thinned = 1;
    }
    if (f->links + n > (size_t)1 << LINK_BITS)
        return error_set(e, HASTEN_ENOMEM, "the front has too many labels");
    if (grow(&f->link, &f->links_room, f->links + n, sizeof *f->link, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        f->link[f->links] = labels[i].action << LINK_BITS | labels[i].link;
        labels[i].link = (uint32_t)f->links++;
    }
    row->begin[s + 1] = at + n;
    return 0;
}

/* All labels of the whole trajectory are then in row 0, fastest first. */
static int run(struct front *f, struct error *e)
{
    const struct schedule_problem *p = f->p;
    struct row *end = &f->row[p->calls & 1];
    size_t calls = (size_t)p->calls;
    if (grow(&end->label, &end->room, calls, sizeof *end->label, e) < 0 ||
        grow(&f->link, &f->links_room, 1, sizeof *f->link, e) < 0)
        return -1;
    f->link[f->links++] = 0; /* after the last call nothing is left, whatever the last refresh */
    for (size_t s = 0; s < calls; s++) {
        end->label[s] = (struct front_label){0};
        end->begin[s + 1] = s + 1;
    }
    for (int t = p->calls - 1; t >= 0; t--) {
        if (t > 0)
            front_bounds_row(&f->bounds, t);
        for (int s = 0; s < (t ? t : 1); s++)
            if (fill_state(f, t, s, e) < 0)
                return -1;
    }
    return 0;
}

static size_t front_size(const struct front *f) { return f->row[0].begin[1]; }

/* Labels first .. first + count - 1 as schedules. Several are followed at once: each step of one waits for
 * the one before. */
static int read_labels(const struct front *f, size_t first, size_t count, struct schedule *out,
                       struct error *e)
{
    enum { CHAINS = 16 };
    const struct schedule_problem *p = f->p;
    uint32_t at[CHAINS];
    for (size_t i = 0, n; i < count; i += n) {
        n = count - i < CHAINS ? count - i : CHAINS;
        for (size_t k = 0; k < n; k++) {
            struct schedule *s = &out[i + k];
            *s = (struct schedule){.calls = p->calls, .exact = !f->thinned && !p->pair};
            s->action = mem_array((size_t)p->calls, sizeof *s->action, e);
            s->refresh = mem_array((size_t)p->calls, sizeof *s->refresh, e);
            if (!s->action || !s->refresh)
                return -1;
            at[k] = f->row[0].label[first + i + k].link;
        }
        for (int t = 0; t < p->calls; t++)
            for (size_t k = 0; k < n; k++) {
                uint32_t link = f->link[at[k]];
                out[i + k].action[t] = (int)(link >> LINK_BITS);
                at[k] = link & (((uint32_t)1 << LINK_BITS) - 1);
            }
        for (struct schedule *s = &out[i]; s < &out[i + n]; s++)
            if (schedule_price(p, s->action, s->refresh, &s->refreshes, &s->error, &s->ms, e) < 0)
                return -1;
    }
    return 0;
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
    if (p->pair && !p->error && p->actions == 2)
        return schedule_pair_front(p, out, count, e);
    int status = front_open(&f, p, e) < 0 ? -1 : run(&f, e);
    struct schedule *all = NULL;
    size_t n = status == 0 ? front_size(&f) : 0;
    if (status == 0 && !(all = mem_array(n, sizeof *all, e)))
        status = -1;
    if (status == 0)
        status = read_labels(&f, 0, n, all, e);
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
    if (status == 0 && front_size(&f) > 0) {
        /* Fastest first: under a limit of ms the last is the best, under a limit of error the first. */
        status = read_labels(&f, p->goal == SCHEDULE_MS ? front_size(&f) - 1 : 0, 1, out, e);
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
