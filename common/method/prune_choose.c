/* See prune_choose.h. */
#include "common/method/prune_choose.h"
#include "common/base/mem.h"
#include "common/method/prng.h"

#include <math.h>
#include <string.h>

void sketch_add(float *sketch, int dims, int64_t first, const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        struct prng r = {(uint64_t)(first + i) * 0xD1342543DE82EF95u};
        uint64_t h = prng_next(&r);
        sketch[(h >> 32) * (uint64_t)dims >> 32] += h & 1 ? values[i] : -values[i];
    }
}

struct chooser {
    const struct prune_site *site;
    int count, dims;
    int *choice;
    double *sum; /* base + changes of the choice */
    double score, saves;
};

static const struct prune_option *chosen(const struct chooser *c, int site, int option)
{
    static const struct prune_option nothing = {0};
    return option < 0 ? &nothing : &c->site[site].option[option];
}

/* What J becomes more when site s goes from its option to o, and site t to p (t < 0: only one). */
static double change_of(const struct chooser *c, int s, int o, int t, int p)
{
    const struct prune_option *out[2] = {chosen(c, s, c->choice[s]), NULL}, *in[2] = {chosen(c, s, o), NULL};
    if (t >= 0) {
        out[1] = chosen(c, t, c->choice[t]);
        in[1] = chosen(c, t, p);
    }
    double change = 0;
    for (int k = 0; k < 1 + (t >= 0); k++)
        change += in[k]->score - out[k]->score;
    for (int i = 0; i < c->dims; i++) {
        double d = 0;
        for (int k = 0; k < 1 + (t >= 0); k++)
            d += (in[k]->change ? (double)in[k]->change[i] : 0) -
                 (out[k]->change ? (double)out[k]->change[i] : 0);
        change += d * (2 * c->sum[i] + d);
    }
    return change;
}

static void set(struct chooser *c, int s, int o)
{
    const struct prune_option *out = chosen(c, s, c->choice[s]), *in = chosen(c, s, o);
    for (int i = 0; i < c->dims; i++)
        c->sum[i] += (in->change ? (double)in->change[i] : 0) - (out->change ? (double)out->change[i] : 0);
    c->score += in->score - out->score;
    c->saves += in->saves - out->saves;
    c->choice[s] = o;
}

static int grow(struct chooser *c)
{
    int site = -1, option = -1;
    double least = INFINITY;
    for (int s = 0; s < c->count; s++)
        for (int o = c->choice[s] + 1; o < c->site[s].options; o++) {
            double saves = c->site[s].option[o].saves - chosen(c, s, c->choice[s])->saves;
            double key = saves > 0 ? change_of(c, s, o, -1, -1) / saves : INFINITY;
            if (key < least) {
                least = key;
                site = s;
                option = o;
            }
        }
    if (site >= 0)
        set(c, site, option);
    return site >= 0;
}

/* The one best step back or exchange that keeps the target; 0: none lowers J. */
static int improve(struct chooser *c, double target)
{
    int best[4] = {-1, -1, -1, -1};
    double least = 0, spare = c->saves - target;
    for (int s = 0; s < c->count; s++)
        for (int o = -1; o < c->choice[s]; o++) {
            double loses = chosen(c, s, c->choice[s])->saves - chosen(c, s, o)->saves;
            double change = loses <= spare ? change_of(c, s, o, -1, -1) : 0;
            if (change < least) {
                least = change;
                memcpy(best, (int[]){s, o, -1, -1}, sizeof best);
            }
            for (int t = 0; t < c->count; t++)
                for (int p = c->choice[t] + 1; t != s && p < c->site[t].options; p++) {
                    double wins = chosen(c, t, p)->saves - chosen(c, t, c->choice[t])->saves;
                    if (loses - wins > spare || (change = change_of(c, s, o, t, p)) >= least)
                        continue;
                    least = change;
                    memcpy(best, (int[]){s, o, t, p}, sizeof best);
                }
        }
    if (best[0] >= 0)
        set(c, best[0], best[1]);
    if (best[2] >= 0)
        set(c, best[2], best[3]);
    return best[0] >= 0;
}

/* From the other end: everything goes, then what lowers J most for what it gives back returns. */
static void fill(struct chooser *c)
{
    for (int s = 0; s < c->count; s++)
        if (c->site[s].options)
            set(c, s, c->site[s].options - 1);
}

static int shrink(struct chooser *c, double target)
{
    int site = -1, option = -1;
    double most = -INFINITY, spare = c->saves - target;
    for (int s = 0; s < c->count; s++)
        for (int o = -1; o < c->choice[s]; o++) {
            double loses = chosen(c, s, c->choice[s])->saves - chosen(c, s, o)->saves;
            double key = loses > 0 ? -change_of(c, s, o, -1, -1) / loses : 0;
            if (loses <= spare && key > most) {
                most = key;
                site = s;
                option = o;
            }
        }
    if (site >= 0)
        set(c, site, option);
    return site >= 0;
}

static void improve_all(struct chooser *c, double target)
{
    /* Exchanges lower J, so they end; the limit is for what rounding might do. */
    for (int i = 0; i < 8 * c->count && improve(c, target); i++)
        ;
}

/* ---- lists of moves ---- */

struct mover {
    struct chooser c;
    const int *tried;
    int tries;
    struct prune_move *moves;
    int most, found;
};

static int was_tried(const struct mover *m, const struct prune_move *x)
{
    for (int i = 0; i < m->tries; i++) {
        const int *t = m->tried + (size_t)i * (size_t)m->c.count;
        int same = 1;
        for (int s = 0; s < m->c.count && same; s++) {
            int option = s == x->site[0] ? x->option[0] : s == x->site[1] ? x->option[1] : m->c.choice[s];
            same = t[s] == option;
        }
        if (same)
            return 1;
    }
    return 0;
}

static void note_move(struct mover *m, struct prune_move x)
{
    int at = m->found < m->most ? m->found : m->most - 1;
    if ((m->found == m->most && x.damage >= m->moves[at].damage) || was_tried(m, &x))
        return;
    for (; at > 0 && m->moves[at - 1].damage > x.damage; at--)
        m->moves[at] = m->moves[at - 1];
    m->moves[at] = x;
    m->found += m->found < m->most;
}

/* All moves in which site s gives up something. */
static void moves_from(struct mover *m, int s, double target)
{
    const struct chooser *c = &m->c;
    double spare = c->saves - target;
    for (int o = -1; o < c->choice[s]; o++) {
        double loses = chosen(c, s, c->choice[s])->saves - chosen(c, s, o)->saves;
        if (loses <= spare)
            note_move(m, (struct prune_move){{s, -1}, {o, 0}, change_of(c, s, o, -1, -1)});
        for (int t = 0; t < c->count; t++)
            for (int p = c->choice[t] + 1; t != s && p < c->site[t].options; p++) {
                double wins = chosen(c, t, p)->saves - chosen(c, t, c->choice[t])->saves;
                if (loses - wins <= spare)
                    note_move(m, (struct prune_move){{s, t}, {o, p}, change_of(c, s, o, t, p)});
            }
    }
}

static int check(const struct prune_site *sites, int count, struct error *e)
{
    for (int s = 0; s < count; s++)
        for (int o = 0; o < sites[s].options; o++) {
            const struct prune_option *x = &sites[s].option[o];
            if (!isfinite(x->saves) || !(x->score >= 0) || (o && x->saves < x[-1].saves))
                return error_set(e, HASTEN_EFAIL, "internal: option %d of site %d saves %g, score %g", o, s,
                                 x->saves, x->score);
        }
    return 0;
}

static double damage_of(const struct chooser *c)
{
    double damage = c->score;
    for (int i = 0; i < c->dims; i++)
        damage += c->sum[i] * c->sum[i];
    return damage;
}

static int open_chooser(struct chooser *c, const struct prune_site *sites, int count, const float *base,
                        int dims, int *choice, struct error *e)
{
    *c = (struct chooser){.site = sites, .count = count, .dims = dims, .choice = choice};
    c->sum = mem_array((size_t)dims + 1, sizeof *c->sum, e);
    for (int i = 0; c->sum && base && i < dims; i++)
        c->sum[i] = (double)base[i];
    for (int s = 0; s < count; s++)
        choice[s] = -1;
    return c->sum ? 0 : -1;
}

/* Again from the other end, for the better of both; c holds the first and is left with it. */
static int try_back(const struct chooser *c, const float *base, double target, struct prune_result *result,
                    struct error *e)
{
    struct chooser back;
    int *choice = mem_array((size_t)c->count + 1, sizeof *choice, e);
    if (!choice || open_chooser(&back, c->site, c->count, base, c->dims, choice, e) < 0) {
        mem_free(choice);
        return -1;
    }
    fill(&back);
    while (shrink(&back, target))
        ;
    improve_all(&back, target);
    if (back.saves >= target && damage_of(&back) < result->damage) {
        *result = (struct prune_result){damage_of(&back), back.saves};
        memcpy(c->choice, choice, (size_t)c->count * sizeof *choice);
    }
    mem_free(back.sum);
    mem_free(choice);
    return 0;
}

int prune_choose(const struct prune_site *sites, int count, const float *base, int dims, double target,
                 int *choice, struct prune_result *result, struct error *e)
{
    struct chooser c;
    if (check(sites, count, e) < 0 || open_chooser(&c, sites, count, base, dims, choice, e) < 0)
        return -1;
    int reached = 1, status = 0;
    while (c.saves < target && (reached = grow(&c)))
        ;
    if (reached)
        improve_all(&c, target);
    *result = (struct prune_result){damage_of(&c), c.saves};
    if (reached)
        status = try_back(&c, base, target, result, e);
    mem_free(c.sum);
    return reached ? status
                   : error_set(e, HASTEN_EGATE, "%.4g cannot be saved: all that may go saves %.4g", target,
                               c.saves);
}

int prune_moves(const struct prune_site *sites, int count, const float *base, int dims, double target,
                const int *choice, const int *tried, int tries, struct prune_move *moves, int most,
                int *found, struct error *e)
{
    struct mover m = {.tried = tried, .tries = tries, .moves = moves, .most = most};
    int *own = mem_array((size_t)count + 1, sizeof *own, e);
    if (!own || check(sites, count, e) < 0 || open_chooser(&m.c, sites, count, base, dims, own, e) < 0) {
        mem_free(own);
        return -1;
    }
    for (int s = 0; s < count; s++)
        if (choice[s] >= 0)
            set(&m.c, s, choice[s]);
    for (int s = 0; s < count; s++)
        moves_from(&m, s, target);
    for (int i = 0; i < m.found; i++)
        moves[i].damage += damage_of(&m.c);
    *found = m.found;
    mem_free(m.c.sum);
    mem_free(own);
    return 0;
}

double prune_damage(const struct prune_site *sites, int count, const float *base, int dims, const int *choice)
{
    double damage = 0;
    for (int s = 0; s < count; s++)
        damage += choice[s] < 0 ? 0 : sites[s].option[choice[s]].score;
    for (int i = 0; i < dims; i++) {
        double sum = base ? (double)base[i] : 0;
        for (int s = 0; s < count; s++)
            if (choice[s] >= 0 && sites[s].option[choice[s]].change)
                sum += (double)sites[s].option[choice[s]].change[i];
        damage += sum * sum;
    }
    return damage;
}
