/* See prune_select.h. */
#include "common/method/prune_select.h"

#include <math.h>
#include <string.h>

static int check(const struct prune_unit *units, int count, struct error *e)
{
    if (count < 0)
        return error_set(e, HASTEN_EFILE, "%d units", count);
    for (int i = 0; i < count; i++) {
        const struct prune_unit *u = &units[i];
        if (!(u->score >= 0) || !isfinite(u->ms))
            return error_set(e, HASTEN_EFILE, "unit %d has score %g and takes %g ms", i, u->score, u->ms);
        if (u->parent < -1 || u->parent >= count || (u->parent >= 0 && units[u->parent].parent >= 0))
            return error_set(e, HASTEN_EFILE, "unit %d cannot be a part of unit %d", i, u->parent);
    }
    return 0;
}

/* What removing unit i now would add: its own numbers less those of the children that are gone already. */
static struct prune_unit added(const struct prune_unit *units, int count, const unsigned char *removed,
                               int i)
{
    struct prune_unit u = units[i];
    for (int k = 0; k < count; k++)
        if (removed[k] && units[k].parent == i) {
            u.score -= units[k].score;
            u.ms -= units[k].ms;
        }
    u.score = fmax(u.score, 0);
    return u;
}

static int may_go(const struct prune_unit *units, const unsigned char *removed, int i)
{
    int parent = units[i].parent;
    return !removed[i] && isfinite(units[i].score) && !(parent >= 0 && removed[parent]);
}

/* The unit with the least score per millisecond, -1 when nothing is left. */
static int cheapest(const struct prune_unit *units, int count, const unsigned char *removed)
{
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < count; i++) {
        if (!may_go(units, removed, i))
            continue;
        struct prune_unit u = added(units, count, removed, i);
        if (u.ms > 0 && u.score / u.ms < least) {
            least = u.score / u.ms;
            best = i;
        }
    }
    return best;
}

static void take_out(const struct prune_unit *units, int count, unsigned char *removed, int i)
{
    for (int k = 0; k < count; k++)
        if (units[k].parent == i)
            removed[k] = 0;
    removed[i] = 1;
}

static struct prune_choice sum(const struct prune_unit *units, int count, const unsigned char *removed)
{
    struct prune_choice c = {0};
    for (int i = 0; i < count; i++)
        if (removed[i]) {
            c.score += units[i].score;
            c.ms += units[i].ms;
            c.count++;
        }
    return c;
}

/* The last step may overshoot: put back the unit with the highest score that the target does not need, as
 * often as possible. */
static void put_back(const struct prune_unit *units, int count, double target_ms, unsigned char *removed)
{
    for (;;) {
        double saved = sum(units, count, removed).ms;
        int worst = -1;
        for (int i = 0; i < count; i++)
            if (removed[i] && saved - units[i].ms >= target_ms &&
                (worst < 0 || units[i].score > units[worst].score))
                worst = i;
        if (worst < 0)
            return;
        removed[worst] = 0;
    }
}

int prune_select(const struct prune_unit *units, int count, double target_ms, unsigned char *removed,
                 struct prune_choice *choice, struct error *e)
{
    if (check(units, count, e) < 0)
        return -1;
    memset(removed, 0, (size_t)count);
    while (sum(units, count, removed).ms < target_ms) {
        int i = cheapest(units, count, removed);
        if (i < 0)
            return error_set(e, HASTEN_EGATE,
                             "%.4g ms cannot be saved: everything that may be removed takes %.4g ms",
                             target_ms, sum(units, count, removed).ms);
        take_out(units, count, removed, i);
    }
    put_back(units, count, target_ms, removed);
    *choice = sum(units, count, removed);
    return 0;
}
