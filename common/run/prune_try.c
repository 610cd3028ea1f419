/* Sets of parts tried for real: what the joint score chose, what LD-Pruner's score and magnitudes would have
 * chosen at the same budget, and exchanges from the best of them, each cut, refitted and sampled from noise
 * to the end on seeds of its own. The least error of the final latents wins, so that a score that misjudges a
 * network costs time and not quality. See prune_inside.h. */
#include "common/base/clock.h"
#include "common/graph/ops.h"
#include "common/method/prune_choose.h"
#include "common/run/prune_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Neither the calibration's nor the validation's. */
#define TRY_SEED (VALIDATION_SEED + (UINT64_C(1) << 19))

/* images: times those of calibration; rounds: of a refit that need not be the last */
enum { TRY_IMAGES = 2, TRY_ROUNDS = 2, MOST_TRIES = 24 };

static const double try_flops = 5e11; /* of all trials of a package, beside the first three */

struct trials {
    struct pruner *p;
    const struct site_list *s;
    float *full; /* final latents of the original */
    int64_t size;
    int images;
    int *tried, count; /* [MOST_TRIES + 3][s->count] */
    int *best;         /* [s->count] */
    double error;
};

/* ---- a network on trial ---- */

static void close_variant(struct pruner *q)
{
    for (int i = 0; q->kept && i < q->cuts.count; i++)
        mem_free(q->kept[i].channel);
    mem_free(q->kept);
    weights_close(q->weights);
    graph_close(q->g);
    graph_close(q->plain);
    overlay_close(&q->over);
    overlay_close(&q->plain_over);
    prune_report_free(q->r);
}

static int copy_kept(const struct pruner *p, struct pruner *q, struct error *e)
{
    q->kept = mem_array((size_t)p->cuts.count + 1, sizeof *q->kept, e);
    for (int i = 0; q->kept && i < p->cuts.count; i++) {
        const struct kept *from = &p->kept[i];
        q->kept[i].count = from->count;
        if (!(q->kept[i].channel = mem_array((size_t)from->count + 1, sizeof(int), e)))
            return -1;
        memcpy(q->kept[i].channel, from->channel, (size_t)from->count * sizeof(int));
    }
    return q->kept ? 0 : -1;
}

/* A copy of p that may be cut while p stays; lists, states and the original are p's. */
static int open_variant(const struct pruner *p, struct pruner *q, struct prune_report *r, struct error *e)
{
    *q = *p;
    *r = (struct prune_report){.steps = p->r->steps};
    q->r = r;
    q->profile_ms = NULL;
    q->weights = NULL;
    q->g = q->plain = NULL;
    q->over = (struct overlay){.below = &p->over};
    q->plain_over = (struct overlay){.below = &p->plain_over};
    q->quiet = 1;
    return copy_kept(p, q, e) < 0 || !(q->g = graph_copy(p->g, e)) || !(q->plain = graph_copy(p->plain, e))
               ? -1
               : 0;
}

static int latents_of(const struct trials *t, const struct graph *g, float **out, int64_t *size,
                      struct error *e)
{
    struct measure m = {.model = t->p->m,
                        .graph = g,
                        .backend = t->p->b,
                        .count = t->images,
                        .steps = t->p->r->steps,
                        .seed = TRY_SEED};
    return measure_latents(&m, out, NULL, size, e);
}

static int error_of(const struct trials *t, const int *choice, double *error, struct error *e)
{
    struct pruner q;
    struct prune_report r;
    struct quality quality;
    float *got = NULL;
    int64_t size;
    int status = open_variant(t->p, &q, &r, e);
    int few = TRY_IMAGES * t->p->o->images;
    if (q.states.images > few)
        q.states = states_part(&t->p->states, 0, few);
    if (status == 0)
        status = prune_take_out(&q, t->s, choice, e);
    if (status == 0 && t->p->o->compensate)
        status = prune_refit(&q, TRY_ROUNDS, e);
    if (status == 0)
        status = latents_of(t, t->p->o->compensate ? q.g : q.plain, &got, &size, e);
    if (status == 0) {
        measure_quality(t->full, got, t->images, size, &quality);
        *error = quality.rel_l2;
    }
    mem_free(got);
    close_variant(&q);
    return status;
}

/* ---- trials ---- */

static int seen(const struct trials *t, const int *choice)
{
    size_t n = (size_t)t->s->count;
    for (int i = 0; i < t->count; i++)
        if (!memcmp(t->tried + (size_t)i * n, choice, n * sizeof *choice))
            return 1;
    return 0;
}

/* 1: tried and better than what was. */
static int try_choice(struct trials *t, const int *choice, const char *what, struct error *e)
{
    size_t n = (size_t)t->s->count;
    double error = 0;
    char text[128];
    if (seen(t, choice))
        return 0;
    memcpy(t->tried + (size_t)t->count++ * n, choice, n * sizeof *choice);
    if (error_of(t, choice, &error, e) < 0)
        return -1;
    int better = t->count == 1 || error < t->error;
    if (better) {
        memcpy(t->best, choice, n * sizeof *choice);
        t->error = error;
        snprintf(text, sizeof text, "%s: relative L2 %.4f on %d seeds", what, error, t->images);
        if (t->p->o->note && t->count > 1)
            t->p->o->note(t->p->o->context, text);
    }
    return better;
}

/* Multiply-adds of products twice, of one image. */
static double flops_of(const struct graph *g)
{
    double flops = 0;
    for (int i = 0; i < g->count; i++)
        if (node_is(&g->node[i], "linear") || node_is(&g->node[i], "conv2d"))
            flops += 2.0 * (double)node_weight(&g->node[i], "weight")->count *
                     (double)shape_rows(g->node[i].shape);
    return flops;
}

/* As many as the work allows: the same on every machine. */
static int most_trials(const struct trials *t)
{
    const struct states *s = &t->p->states;
    const struct prune_settings *o = t->p->o;
    double rows = (double)t->images * t->p->r->steps;
    if (o->compensate)
        rows += 2.0 * TRY_ROUNDS * TRY_IMAGES * o->images * s->calls / REFIT_STRIDE;
    double flops = flops_of(t->p->original) * rows * (s->calls && s->guided[0] ? 2 : 1);
    return flops > 0 && try_flops / flops < MOST_TRIES ? (int)(try_flops / flops) : MOST_TRIES;
}

/* From the time that the first one took. */
static void note_time(const struct trials *t, double first_ms)
{
    char text[128];
    int more = 2 + most_trials(t);
    snprintf(text, sizeof text, "trying up to %d other sets of parts takes about %.0f s", more,
             ceil(more * first_ms / 1000));
    if (t->p->o->note)
        t->p->o->note(t->p->o->context, text);
}

static void apply(const struct prune_move *m, int *choice)
{
    for (int k = 0; k < 2; k++)
        if (m->site[k] >= 0)
            choice[m->site[k]] = m->option[k];
}

/* Exchanges in the order of what the joint score makes of them; the first that helps is taken. */
static int exchange(struct trials *t, struct prune_problem *j, double target, struct error *e)
{
    struct prune_move *moves = mem_array(MOST_TRIES, sizeof *moves, e);
    int *choice = mem_array((size_t)t->s->count + 1, sizeof *choice, e), status = moves && choice ? 0 : -1;
    int most = most_trials(t), done = 0, better = 1;
    while (status == 0 && better && done < most) {
        int count = 0;
        better = 0;
        status = prune_moves(j->site, j->count, j->base, j->dims, target, t->best, t->tried, t->count, moves,
                             MOST_TRIES, &count, e);
        for (int i = 0; status == 0 && i < count && !better && done < most; i++, done++) {
            memcpy(choice, t->best, (size_t)t->s->count * sizeof *choice);
            apply(&moves[i], choice);
            better = try_choice(t, choice, "an exchange is better", e);
            status = better < 0 ? -1 : 0;
            if (t->p->o->progress)
                t->p->o->progress(t->p->o->context, "try", done + 1, most);
        }
    }
    mem_free(moves);
    mem_free(choice);
    return status;
}

int prune_try(struct pruner *p, const struct site_list *s, struct prune_problem *joint, double target,
              int *choice, struct error *e)
{
    static const struct {
        enum prune_score score;
        const char *what;
    } others[] = {{PRUNE_LATENT, "the latent score chooses better"},
                  {PRUNE_MAGNITUDE, "magnitudes choose better"}};
    size_t n = (size_t)s->count + 1;
    struct trials t = {.p = p, .s = s, .images = TRY_IMAGES * p->o->images, .best = choice};
    int *other = mem_array(n, sizeof *other, e);
    t.tried = mem_array((MOST_TRIES + 3) * n, sizeof *t.tried, e);
    int status = other && t.tried ? latents_of(&t, p->original, &t.full, &t.size, e) : -1;
    if (status == 0) {
        double start = clock_ms();
        memcpy(other, choice, (size_t)s->count * sizeof *other);
        status = try_choice(&t, other, "joint", e);
        note_time(&t, clock_ms() - start);
    }
    for (int k = 0; status >= 0 && k < 2; k++) {
        struct prune_problem q;
        status = prune_problem(p, s, others[k].score, &q, e);
        if (status == 0)
            status = prune_solve(p, &q, target, other, e);
        if (status == 0)
            status = try_choice(&t, other, others[k].what, e);
        prune_problem_free(&q);
    }
    if (status >= 0)
        status = exchange(&t, joint, target, e);
    mem_free(other);
    mem_free(t.tried);
    mem_free(t.full);
    return status < 0 ? -1 : 0;
}
