/* Milliseconds of what pruning may do: see prune_inside.h. */
#include "common/run/profile.h"
#include "common/run/prune_inside.h"

#include <math.h>
#include <string.h>

enum { TIME_REPEATS = 9, PAIR_ROUNDS = 7, PAIR_REPEATS = 5 };

static struct timed *open_timed(const struct graph *g, struct backend *b, int repeats,
                                struct weights **weights, struct error *e)
{
    *weights = weights_open(g, b, NULL, e);
    struct timing t = {.graph = g, .weights = *weights, .batch = 1, .repeats = repeats};
    return *weights ? timed_open(&t, NULL, 0, e) : NULL;
}

/* The sum of the kernels' medians, which a disturbance in one place hardly moves. */
static int time_once(struct timed *t, double *ms_of_node, double *total, struct error *e)
{
    struct plan *plan = engine_plan(timed_engine(t), 0, 0, 1, e);
    double *kernel = plan ? mem_array((size_t)plan->calls + 1, sizeof *kernel, e) : NULL, call;
    int status = kernel ? timed_run(t, 0, &call, NULL, kernel, NULL, NULL, e) : -1;
    *total = 0;
    for (int c = 0; status == 0 && c < plan->calls; c++) {
        *total += kernel[c];
        if (ms_of_node)
            ms_of_node[plan->call[c].node] += kernel[c];
    }
    mem_free(kernel);
    return status;
}

int prune_time_nodes(const struct graph *g, struct backend *b, int repeats, double *ms, double *total,
                     struct error *e)
{
    struct weights *w;
    struct timed *t = open_timed(g, b, repeats, &w, e);
    int status = t ? time_once(t, ms, total, e) : -1;
    timed_close(t);
    weights_close(w);
    return status;
}

int prune_time_ratio(const struct graph *a, const struct graph *b, struct backend *backend, double *ratio,
                     struct error *e)
{
    struct weights *wa, *wb = NULL;
    struct timed *ta = open_timed(a, backend, PAIR_REPEATS, &wa, e);
    struct timed *tb = ta ? open_timed(b, backend, PAIR_REPEATS, &wb, e) : NULL;
    double ratios[PAIR_ROUNDS], x, y;
    int status = tb ? 0 : -1;
    for (int i = 0; status == 0 && i < PAIR_ROUNDS; i++) {
        status = time_once(ta, NULL, &x, e) < 0 || time_once(tb, NULL, &y, e) < 0 ? -1 : 0;
        ratios[i] = y / x;
    }
    if (status == 0)
        *ratio = median_of(ratios, PAIR_ROUNDS);
    timed_close(ta);
    timed_close(tb);
    weights_close(wa);
    weights_close(wb);
    return status;
}

/* ---- levels ---- */

static double sum_of(const double *ms, const unsigned char *marks, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += marks[i] ? ms[i] : 0;
    return sum;
}

/* The network with every site at this level (or its last one) in one go: cuts do not share kernels. */
static int time_level(struct pruner *p, const struct site_list *s, int level, double *ms, struct error *e)
{
    struct overlay o = {.below = &p->over};
    struct graph *g = graph_copy(p->g, e);
    int *kept = NULL, status = g ? 0 : -1;
    double total;
    for (int i = 0; status == 0 && i < s->count; i++) {
        const struct site *x = &s->site[i];
        const struct cut *c = x->cut >= 0 ? &s->cuts.cut[x->cut] : NULL;
        if (!c || level >= x->levels || !x->level[level].quanta)
            continue;
        if (!(kept = mem_array((size_t)c->channels, sizeof *kept, e)))
            status = -1;
        else
            status = narrow_cut(g, &o, c, kept, site_kept(s, x, level, kept), e);
        mem_free(kept);
    }
    if (status == 0 && (graph_infer(g, 0, 0, overlay_find, &o, e) < 0 ||
                        prune_time_nodes(g, p->b, TIME_REPEATS, ms, &total, e) < 0))
        status = -1;
    graph_close(g);
    overlay_close(&o);
    return status;
}

double prune_left(const struct pruner *p, const struct cut *c, int node, int gone)
{
    const struct node *n = &p->g->node[node];
    int weight = op_weight_index(n->op, "weight"), makes = 0, columns = n->shape.channels;
    for (int i = 0; weight >= 0 && i < c->edits; i++)
        makes += c->edit[i].node == node && c->edit[i].slot == weight;
    if (!makes || !(node_is(n, "linear") || node_is(n, "conv2d")))
        return 1 - (double)gone / c->channels;
    return ceil((double)(columns - makes * gone) / p->panel) / ceil((double)columns / p->panel);
}

/* What a level saves by the profile. */
static double saved(const struct pruner *p, const struct cut *c, const double *base,
                    const unsigned char *marks, int gone)
{
    double sum = 0;
    for (int i = 0; i < p->g->count; i++)
        sum += marks[i] ? base[i] * (1 - prune_left(p, c, i, gone)) : 0;
    return sum;
}

static int most_levels(const struct site_list *s)
{
    int most = 0;
    for (int i = 0; i < s->count; i++)
        for (int l = 0; l < s->site[i].levels; l++)
            most = s->site[i].level[l].quanta && l + 1 > most ? l + 1 : most;
    return most;
}

/* Measured: base less level; from a profile: in proportion to the channels that go, of a product that makes
 * them to the panels that go. */
static int price_cuts(struct pruner *p, struct site_list *s, const double *base, unsigned char *marks,
                      struct error *e)
{
    int n = p->g->count;
    double *ms = mem_array((size_t)n + 1, sizeof *ms, e);
    int status = ms ? 0 : -1;
    for (int l = 0; status == 0 && l < most_levels(s); l++) {
        memset(ms, 0, (size_t)n * sizeof *ms);
        if (!p->profile_ms && (status = time_level(p, s, l, ms, e)) < 0)
            break;
        for (int i = 0; i < s->count; i++) {
            struct site *x = &s->site[i];
            if (x->cut < 0 || l >= x->levels || !x->level[l].quanta)
                continue;
            const struct cut *c = &s->cuts.cut[x->cut];
            cut_nodes(p->g, c, marks);
            x->level[l].ms = p->profile_ms
                                 ? saved(p, c, base, marks, x->level[l].quanta * c->block * c->groups)
                                 : sum_of(base, marks, n) - sum_of(ms, marks, n);
        }
    }
    mem_free(ms);
    return status;
}

/* A level that takes more and saves no more than the one before, within the noise, is no choice. */
static void drop_unrewarded(struct site *x)
{
    int kept = 0;
    for (int l = 0; l < x->levels; l++) {
        double before = kept ? x->level[kept - 1].ms : 0;
        if (x->level[l].ms > before * 1.02 + 1e-9) {
            struct site_level one = x->level[l];
            x->level[l] = x->level[kept];
            x->level[kept++] = one;
        }
    }
    for (int l = kept; l < x->levels; l++)
        mem_free(x->level[l].keep);
    x->levels = kept;
}

int prune_price(struct pruner *p, struct site_list *s, struct error *e)
{
    int n = p->g->count, status = 0;
    double *base = mem_array((size_t)n + 1, sizeof *base, e), total = 0;
    unsigned char *marks = mem_array((size_t)n + 1, 1, e);
    if (!base || !marks)
        status = -1;
    for (int i = 0; status == 0 && p->profile_ms && i < n; i++)
        base[i] = p->profile_ms[graph_find(p->original, p->g->node[i].name)];
    if (status == 0 && !p->profile_ms)
        status = prune_time_nodes(p->g, p->b, TIME_REPEATS, base, &total, e);
    if (status == 0)
        status = price_cuts(p, s, base, marks, e);
    for (int i = 0; status == 0 && i < s->count; i++) {
        struct site *x = &s->site[i];
        struct site_level *last = x->levels ? &x->level[x->levels - 1] : NULL;
        if (x->branch >= 0 && last && !last->quanta) {
            status = prune_gone(p->g, &s->branches.branch[x->branch], marks, e);
            last->ms = sum_of(base, marks, n);
        }
        drop_unrewarded(x);
    }
    mem_free(base);
    mem_free(marks);
    return status;
}
