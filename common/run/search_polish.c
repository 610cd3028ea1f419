/* Polish: computed calls are moved one by one, and runs of the model judge. Early calls come first: what is
 * served there is worth most (moves ordered by how little they change the price won less). */
#include "common/run/search_inside.h"

#include <string.h>

struct swap {
    int from, to;
};

/* What a polish of one trial knows. */
struct polish {
    struct search *x;
    struct trial *t;
    struct swap *move;
    int moves, *action, *seen, used; /* seen: used x calls, what was run */
    double calibrated;               /* decibels on the calibration images */
};

static size_t row_bytes(const struct polish *p) { return (size_t)p->x->calls * sizeof *p->action; }

static void apply(const struct polish *p, const struct swap *m)
{
    memcpy(p->action, p->t->action, row_bytes(p));
    p->action[m->from] = p->t->action[m->to];
    p->action[m->to] = p->t->action[m->from];
}

/* All moves from where the trial is, those of the first calls first and by little before far. */
static void list_moves(struct polish *p)
{
    static const int by[] = {1, -1, 2, -2};
    p->moves = 0;
    for (int from = 1; from < p->x->calls; from++)
        for (size_t i = 0; i < sizeof by / sizeof *by; i++) {
            int to = from + by[i];
            if (to >= 1 && to < p->x->calls && search_computes(p->x, p->t->action[from]) &&
                !search_computes(p->x, p->t->action[to]))
                p->move[p->moves++] = (struct swap){from, to};
        }
}

static int was_seen(const struct polish *p)
{
    for (int i = 0; i < p->used; i++)
        if (!memcmp(p->seen + (size_t)i * (size_t)p->x->calls, p->action, row_bytes(p)))
            return 1;
    return 0;
}

/* Is the trial with p->action better on the calibration and on the validation images? Else it is as before.
 */
static int try_move(struct polish *p, struct error *e)
{
    struct search *x = p->x;
    struct trial *t = p->t;
    struct quality there = {0}, here;
    int *mine = p->seen + (size_t)p->used++ * (size_t)x->calls, better = 0;
    memcpy(mine, p->action, row_bytes(p));
    memcpy(p->action, t->action, row_bytes(p));
    memcpy(t->action, mine, row_bytes(p));
    int status = search_make_schedule(x, t, e);
    if (status == 0)
        status = search_measure(x, &t->s, CALIBRATION_SEED, x->measure.count, &there, e);
    if (status == 0 && there.psnr > p->calibrated) {
        status = search_measure(x, &t->s, VALIDATION_SEED, x->validate, &here, e);
        better = status == 0 && here.psnr > t->quality.psnr && here.rel_l2 < t->quality.rel_l2;
    }
    if (better) {
        p->calibrated = there.psnr;
        t->quality = here;
        t->exact = 0;
    } else {
        memcpy(t->action, p->action, row_bytes(p));
        if (status == 0)
            status = search_make_schedule(x, t, e);
    }
    return status < 0 ? -1 : better;
}

/* Runs until a move is better or all were tried; 1: there was one. */
static int improve(struct polish *p, int runs, struct error *e)
{
    list_moves(p);
    for (int i = 0; i < p->moves && p->used < runs; i++) {
        apply(p, &p->move[i]);
        if (was_seen(p))
            continue;
        int better = try_move(p, e);
        if (p->x->progress)
            p->x->progress(p->x->context, "polish", p->used, runs);
        if (better)
            return better;
    }
    return 0;
}

int search_polish(struct search *x, struct trial *t, int runs, struct error *e)
{
    struct polish p = {.x = x, .t = t};
    struct quality q = {0};
    size_t calls = (size_t)x->calls;
    if (runs < 1)
        return 0;
    p.move = mem_array(4 * calls, sizeof *p.move, e);
    p.action = mem_array(calls, sizeof *p.action, e);
    p.seen = mem_array((size_t)runs, calls * sizeof *p.seen, e);
    int status = p.move && p.action && p.seen ? 0 : -1, better = 1;
    if (status == 0)
        status = search_measure(x, &t->s, CALIBRATION_SEED, x->measure.count, &q, e);
    p.calibrated = q.psnr;
    while (status == 0 && better > 0 && p.used < runs) {
        better = improve(&p, runs, e);
        status = better < 0 ? -1 : 0;
    }
    if (status == 0 && x->progress)
        x->progress(x->context, "polish", runs, runs);
    mem_free(p.move);
    mem_free(p.action);
    mem_free(p.seen);
    return status;
}
