/* See front_bounds.h. */
#include "common/method/front_bounds.h"
#include "common/base/mem.h"
#include "common/base/vector.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = FRONT_LANES, STEPS = 24 }; /* STEPS: moves beside a schedule */

static size_t state_index(int t, int s) { return (size_t)t * (size_t)(t - 1) / 2 + (size_t)s; }

static int fill_costs(struct front_bounds *b, struct error *e)
{
    const struct schedule_problem *p = b->p;
    size_t calls = (size_t)p->calls, n = (size_t)p->actions * calls * calls, at = 0;
    b->cost = mem_array(n, sizeof *b->cost, e);
    b->share = mem_array(n + (size_t)p->actions * calls, sizeof *b->share, e);
    if (!b->cost || !b->share)
        return -1;
    for (int a = 0; a < p->actions; a++)
        for (int t = 0; t < p->calls; t++, at += calls)
            for (int s = 0; s < (t ? t : 1); s++) {
                int is_late = t == 0 || (p->max_run && t - s > p->max_run);
                double cost = !schedule_computes(p, a) && is_late ? INFINITY : schedule_cost(p, a, t, s);
                b->cost[at + (size_t)s] = cost;
                b->most = isfinite(cost) && cost > b->most ? cost : b->most;
            }
    for (size_t i = 0; i < n; i++)
        b->share[i] = b->most > 0 ? (float)(b->cost[i] / b->most) : 0;
    for (size_t i = 0; i < (size_t)p->actions * calls; i++)
        b->share[n + i] = (float)b->ms[i];
    return 0;
}

/* What call t takes by the action of least alpha ms + multiplier error, of those that compute or those that
 * serve from refresh s; the least sum of both where several are equal. */
static struct front_point cheapest(const struct front_bounds *b, int t, int s, int computes, double alpha,
                                   double multiplier)
{
    size_t calls = (size_t)b->p->calls, from = computes ? 0 : (size_t)s;
    struct front_point best = {INFINITY, INFINITY};
    double least = INFINITY;
    for (size_t a = 0; a < (size_t)b->p->actions; a++) {
        struct front_point c = {b->ms[a * calls + (size_t)t],
                                b->cost[(a * calls + (size_t)t) * calls + from]};
        if (schedule_computes(b->p, (int)a) != computes || !isfinite(c.error))
            continue;
        double price = alpha * c.ms + multiplier * c.error;
        if (!isfinite(best.ms) || price < least ||
            (price == least && c.ms + c.error < best.ms + best.error)) {
            best = c;
            least = price;
        }
    }
    return best;
}

/* The state of least alpha ms + multiplier error; the least sum of both where several are equal. */
static int least_state(int t, double alpha, double multiplier, const double *ms, const double *error)
{
    int best = t - 1;
    for (int s = 0; s < t; s++) {
        double a = alpha * ms[s] + multiplier * error[s], c = alpha * ms[best] + multiplier * error[best];
        int known = isfinite(ms[best] + error[best]);
        if (isfinite(ms[s] + error[s]) &&
            (!known || a < c || (a == c && ms[s] + error[s] < ms[best] + error[best])))
            best = s;
    }
    return best;
}

/* An end of the front: the schedule of least alpha ms + multiplier error, in doubles. */
static struct front_point find_end(const struct front_bounds *b, double alpha, double multiplier)
{
    int calls = b->p->calls;
    double *ms = b->state, *error = ms + calls;
    struct front_point c = cheapest(b, 0, 0, 1, alpha, multiplier);
    ms[0] = c.ms;
    error[0] = c.error;
    for (int t = 1; t < calls; t++) {
        int from = least_state(t, alpha, multiplier, ms, error);
        c = cheapest(b, t, 0, 1, alpha, multiplier);
        ms[t] = ms[from] + c.ms;
        error[t] = error[from] + c.error;
        for (int s = 0; s < t; s++) {
            c = cheapest(b, t, s, 0, alpha, multiplier);
            ms[s] += c.ms;
            error[s] += c.error;
        }
    }
    int at = least_state(calls, alpha, multiplier, ms, error);
    return (struct front_point){ms[at], error[at]};
}

/* ---- runs of LANES multipliers ---- */

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int integers __attribute__((vector_size(LANES * sizeof(int))));
typedef uint64_t pairs __attribute__((vector_size(LANES * sizeof(int))));

static IN_VECTOR void load(vector *v, const float *x) { memcpy(v, x, sizeof *v); }
static IN_VECTOR void store(float *x, const vector *v) { memcpy(x, v, sizeof *v); }

static IN_VECTOR void keep_less(vector *least, const vector *x)
{
    integers is_less = *x < *least;
    *least = (vector)(((integers)*x & is_less) | ((integers)*least & ~is_less));
}

struct lanes {
    size_t calls;
    int serving, serve[SCHEDULE_ACTIONS_MAX]; /* actions that serve */
    const float *time, *share;                /* of b->share */
    const float *weight;
    const float *full; /* [call][LANES]: computing it */
    float *now;        /* [refresh][LANES] */
    int *from;
};

ANY_VECTOR static void run_forward(const struct lanes *x, float *least)
{
    vector weight, now, best, full;
    load(&weight, x->weight);
    load(&now, x->full);
    store(x->now, &now);
    for (size_t t = 1; t <= x->calls; t++) {
        float *keep = least + state_index((int)t, 0) * LANES;
        integers at = {0}, here = {0};
        load(&best, x->now);
        for (size_t s = 0; s < t; s++, here += 1) {
            vector cost = weight - weight + INFINITY;
            load(&now, x->now + s * LANES);
            integers is_less = now < best;
            at = (here & is_less) | (at & ~is_less);
            keep_less(&best, &now);
            if (t == x->calls)
                continue;
            for (int i = 0; i < x->serving; i++) {
                size_t row = (size_t)x->serve[i] * x->calls + t;
                vector one = x->time[row] + weight * x->share[row * x->calls + s];
                keep_less(&cost, &one);
            }
            store(keep + s * LANES, &now);
            now += cost;
            store(x->now + s * LANES, &now);
        }
        memcpy(x->from + t * LANES, &at, sizeof at);
        if (t < x->calls) {
            load(&full, x->full + t * LANES);
            best += full;
            store(x->now + t * LANES, &best);
        }
    }
}

/* The best move of call t to more milliseconds and less error, or (dearer 0) the other way. */
static int find_move(const struct front_bounds *b, int t, int s, struct front_point now, int dearer,
                     struct front_move *best)
{
    size_t calls = (size_t)b->p->calls;
    int found = 0;
    for (size_t a = 0; a < (size_t)b->p->actions; a++) {
        struct front_move m = {0, b->ms[a * calls + (size_t)t] - now.ms,
                               b->cost[(a * calls + (size_t)t) * calls + (size_t)(t == s ? 0 : s)] -
                                   now.error};
        if (schedule_computes(b->p, (int)a) != (t == s) || !isfinite(m.error) ||
            (dearer ? m.ms <= 0 || m.error >= 0 : m.ms >= 0 || m.error <= 0))
            continue;
        m.ratio = dearer ? -m.ms / m.error : m.error / -m.ms; /* the less the better */
        if (!found || m.ratio < best->ratio)
            *best = m;
        found = 1;
    }
    return found;
}

static int by_ratio(const void *x, const void *y)
{
    const struct front_move *a = x, *b = y;
    return (a->ratio > b->ratio) - (a->ratio < b->ratio);
}

/* The schedule of a lane, in doubles, and beside it on both sides those with ever more calls moved. */
static struct front_point walk(struct front_bounds *b, int lane, double multiplier)
{
    struct front_point sum = {0, 0}, c;
    int moves[2] = {0};
    for (int end = b->p->calls, s; end > 0; end = s) {
        s = b->from[end * LANES + lane];
        for (int t = s; t < end; t++) {
            c = cheapest(b, t, s, t == s, 1, multiplier);
            sum.ms += c.ms;
            sum.error += c.error;
            for (int side = 0; side < 2; side++)
                moves[side] += find_move(b, t, s, c, side, b->move + side * b->p->calls + moves[side]);
        }
    }
    for (int side = 0; side < 2 && isfinite(sum.ms + sum.error); side++) {
        struct front_move *move = b->move + side * b->p->calls;
        struct front_point at = sum;
        qsort(move, (size_t)moves[side], sizeof *move, by_ratio);
        for (int i = 0; i < moves[side] && i < STEPS; i++) {
            at.ms += move[i].ms;
            at.error += move[i].error;
            b->point[b->points++] = at;
        }
    }
    return sum;
}

/* Runs of these multipliers behind the others. */
static void run_lanes(struct front_bounds *b, const double *multiplier)
{
    int calls = b->p->calls;
    size_t at = (size_t)b->runs * state_index(calls, 0);
    size_t actions = (size_t)b->p->actions, table = actions * (size_t)calls * (size_t)calls;
    struct lanes x = {.calls = (size_t)calls, .from = b->from};
    x.time = b->share + table;
    x.share = b->share;
    x.weight = b->weight + b->runs;
    x.full = b->lanes;
    x.now = b->lanes + (calls + 1) * LANES;
    for (int a = 0; a < b->p->actions; a++)
        if (!schedule_computes(b->p, a))
            x.serve[x.serving++] = a;
    for (int l = 0; l < LANES; l++) {
        double of = multiplier[l];
        b->multiplier[b->runs + l] = of;
        b->weight[b->runs + l] = (float)(of * b->most);
        for (int t = 0; t < calls; t++) {
            struct front_point c = cheapest(b, t, 0, 1, 1, of);
            b->lanes[t * LANES + l] = (float)(c.ms + of * c.error);
        }
    }
    run_forward(&x, b->least + at);
}

/* ---- gaps ---- */

static double slope_of(const struct front_gap *g) { return (g[1].ms - g->ms) / (g->error - g[1].error); }

/* The n widest gaps that are not whole, leftmost first; gives how many there are. */
static int widest_gaps(const struct front_bounds *b, int *gap, int n)
{
    unsigned char taken[FRONT_RUNS + 2] = {0};
    int count = 0, kept = 0;
    for (; count < n; count++) {
        int best = -1;
        double most = 0;
        for (int i = 0; i < b->gaps; i++) {
            const struct front_gap *g = &b->gap[i];
            double area = (g[1].ms - g->ms) * (g->error - g[1].error);
            if (!g->whole && !taken[i] && area > most) {
                most = area;
                best = i;
            }
        }
        if (best < 0)
            break;
        taken[best] = 1;
    }
    for (int i = 0; i < b->gaps; i++)
        if (taken[i])
            gap[kept++] = i;
    return kept;
}

/* What a run found between the gap's ends makes two gaps of one. */
static void split(struct front_bounds *b, int i, int run, struct front_point c, int is_slope)
{
    struct front_gap *g = &b->gap[i];
    if (c.ms > g->ms && c.ms < g[1].ms && c.error < g->error && c.error > g[1].error) {
        memmove(g + 2, g + 1, (size_t)(b->gaps - i) * sizeof *g);
        b->gaps++;
        g[1] = (struct front_gap){.ms = c.ms, .error = c.error};
        g[1].run = run;
    } else {
        g->whole |= is_slope;
    }
    g->run = run;
}

/* Number k of a gap's multipliers, 0: its own slope, others before and behind it. Slopes rise along the hull,
 * so what is on it between the gap's ends has slopes between those of its neighbours. */
static double multiplier_of(const struct front_bounds *b, int gap, int k, int most)
{
    double own = slope_of(&b->gap[gap]);
    int next = k < 0 ? gap - 1 : gap + 1;
    if (k == 0 || next < 0 || next == b->gaps)
        return ldexp(own, 2 * k);
    return own * pow(slope_of(&b->gap[next]) / own, abs(k) / (most + 1.0));
}

/* Runs for each of the widest gaps, as many as there is room for. 0: there are no gaps. */
static int refine(struct front_bounds *b)
{
    int gap[LANES], n = widest_gaps(b, gap, LANES), of[LANES];
    double multiplier[LANES];
    if (n == 0)
        return 0;
    for (int l = 0; l < LANES; l++) {
        int k = l * n / LANES, first = (k * LANES + n - 1) / n, end = ((k + 1) * LANES + n - 1) / n;
        of[l] = end - first > 1 ? l - first - (end - first) / 2 : 0;
        multiplier[l] = multiplier_of(b, gap[k], of[l], (end - first) / 2);
        double weight = multiplier[l] * b->most;
        if (!(weight > 1e-30 && weight < 1e30)) /* as a float, times a share */
            return 0;
    }
    run_lanes(b, multiplier);
    /* From the right, so that gaps and points to the left stay where they are. */
    for (int l = LANES - 1; l >= 0; l--)
        split(b, gap[l * n / LANES], b->runs + l, walk(b, l, multiplier[l]), of[l] == 0);
    b->runs += LANES;
    return 1;
}

static void rank_runs(struct front_bounds *b)
{
    for (int r = 0; r < b->runs; r++) {
        int at = r;
        for (; at > 0 && b->multiplier[b->ranked[at - 1]] > b->multiplier[r]; at--)
            b->ranked[at] = b->ranked[at - 1];
        b->ranked[at] = (unsigned char)r;
        b->corner[r] = -INFINITY;
        b->slope[r] = -1 / b->multiplier[r];
    }
    for (int i = 0; i < b->runs; i++)
        b->rank[b->ranked[i]] = (unsigned char)i;
}

static int by_ms(const void *x, const void *y)
{
    const struct front_point *a = x, *b = y;
    if (a->ms != b->ms)
        return a->ms < b->ms ? -1 : 1;
    return (a->error > b->error) - (a->error < b->error);
}

/* Corners of all neighbours, B.ms + multiplier * A.error: a run's is the largest of those in its gaps. */
static void find_corners(struct front_bounds *b)
{
    double widen = 1 + (b->p->calls + 32) * (double)FLT_EPSILON;
    int gap = 0, kept = 0;
    for (int i = 0; i <= b->gaps; i++)
        b->point[b->points++] = (struct front_point){b->gap[i].ms, b->gap[i].error};
    qsort(b->point, (size_t)b->points, sizeof *b->point, by_ms);
    for (int i = 0; i < b->points; i++)
        if (kept == 0 || b->point[i].error < b->point[kept - 1].error)
            b->point[kept++] = b->point[i];
    for (int i = 0; i + 1 < kept; i++) {
        while (gap + 1 < b->gaps && b->gap[gap + 1].ms <= b->point[i].ms)
            gap++;
        int run = b->gap[gap].run;
        double corner = b->point[i + 1].ms + b->multiplier[run] * b->point[i].error;
        b->corner[run] = fmaxf(b->corner[run], (float)(corner * widen));
    }
}

static int open_runs(struct front_bounds *b, struct error *e)
{
    enum { MOST_BYTES = 48 << 20 };
    size_t calls = (size_t)b->p->calls, states = state_index((int)calls, 0);
    size_t fit = MOST_BYTES / (sizeof(float) * LANES * states) * LANES;
    size_t use = (size_t)b->p->actions * 32; /* more actions have more labels to drop */
    use = use < FRONT_RUNS ? use : FRONT_RUNS;
    b->most_runs = fit < LANES ? LANES : fit < use ? (int)fit : (int)use;
    b->least = mem_array((size_t)b->most_runs, states * sizeof *b->least, e);
    b->after = mem_array((size_t)b->most_runs, (calls + 1) * sizeof *b->after, e);
    b->room = mem_array((size_t)b->p->actions * calls, FRONT_RUNS / LANES * sizeof *b->room, e);
    b->lanes = mem_array(2 * (calls + 1), LANES * sizeof *b->lanes, e);
    b->from = mem_array(calls + 1, LANES * sizeof *b->from, e);
    b->move = mem_array(2 * calls, sizeof *b->move, e);
    b->point = mem_array((size_t)b->most_runs * 2 * STEPS + FRONT_RUNS + 2, sizeof *b->point, e);
    return b->least && b->after && b->room && b->lanes && b->from && b->move && b->point ? 0 : -1;
}

int front_bounds_open(struct front_bounds *b, const struct schedule_problem *p, const double *ms,
                      struct error *e)
{
    *b = (struct front_bounds){.p = p, .ms = ms};
    if (p->calls < 3 || p->actions < 2)
        return 0;
    b->state = mem_array(2 * (size_t)p->calls, sizeof *b->state, e);
    if (!b->state || fill_costs(b, e) < 0)
        goto fail;
    struct front_point fast = find_end(b, 1, 0), good = find_end(b, 0, 1);
    if (!(fast.ms < good.ms && fast.error > good.error))
        return 0; /* one schedule is the whole front */
    if (open_runs(b, e) < 0)
        goto fail;
    b->gap[0] = (struct front_gap){.ms = fast.ms, .error = fast.error, .run = -1};
    b->gap[1] = (struct front_gap){.ms = good.ms, .error = good.error, .run = -1};
    b->gaps = 1;
    while (b->runs < b->most_runs && refine(b))
        continue;
    if (b->gap[0].run < 0) /* numbers too far apart for floats */
        b->gaps = 0;
    rank_runs(b);
    if (b->gaps)
        find_corners(b);
    return 0;
fail:
    front_bounds_free(b);
    return -1;
}

void front_bounds_free(struct front_bounds *b)
{
    mem_free(b->cost);
    mem_free(b->share);
    mem_free(b->least);
    mem_free(b->after);
    mem_free(b->room);
    mem_free(b->state);
    mem_free(b->lanes);
    mem_free(b->from);
    mem_free(b->move);
    mem_free(b->point);
    *b = (struct front_bounds){0};
}

/* ---- rows of states, from the last call down ---- */

struct row {
    size_t calls, actions, call;
    const unsigned char *computes;
    const float *time, *share, *weight, *corner;
    const float *least; /* [s][LANES] */
    float *after;       /* [s][LANES], of the row before; becomes that of this row */
    uint8_t *room;      /* every FRONT_RUNS / LANES of them */
};

/* A bit for each lane in which a label of so much leaves room above the least before it. */
static IN_VECTOR uint8_t room_of(const vector *after, const vector *least, const vector *corner)
{
    static const integers bit = {1, 2, 4, 8, 16, 32, 64, 128};
    pairs has_room = (pairs)((*after + *least < *corner) & bit);
    uint64_t bits = has_room[0] | has_room[1] | has_room[2] | has_room[3];
    return (uint8_t)(bits | bits >> 32);
}

ANY_VECTOR static void find_room(const struct row *x)
{
    size_t calls = x->calls, at = x->call;
    vector weight, corner, after, least, computed[SCHEDULE_ACTIONS_MAX], best_computed;
    load(&weight, x->weight);
    load(&corner, x->corner);
    load(&after, x->after + at * LANES);
    best_computed = weight - weight + INFINITY;
    for (size_t a = 0; a < x->actions; a++) {
        computed[a] = x->time[a * calls + at] + weight * x->share[(a * calls + at) * calls] + after;
        if (x->computes[a])
            keep_less(&best_computed, &computed[a]);
    }
    for (size_t s = 0; s < at; s++) {
        vector best = best_computed;
        uint8_t *room = x->room + s * (FRONT_RUNS / LANES);
        load(&least, x->least + s * LANES);
        load(&after, x->after + s * LANES);
        for (size_t a = 0; a < x->actions; a++, room += calls * (FRONT_RUNS / LANES)) {
            if (x->computes[a]) {
                *room = room_of(&computed[a], &least, &corner);
                continue;
            }
            vector one = x->time[a * calls + at] + weight * x->share[(a * calls + at) * calls + s] + after;
            keep_less(&best, &one);
            *room = room_of(&one, &least, &corner);
        }
        store(x->after + s * LANES, &best);
    }
}

void front_bounds_row(struct front_bounds *b, int t)
{
    unsigned char computes[SCHEDULE_ACTIONS_MAX];
    size_t calls = (size_t)b->p->calls, actions = (size_t)b->p->actions, states = state_index((int)calls, 0);
    for (size_t a = 0; a < actions; a++)
        computes[a] = (unsigned char)schedule_computes(b->p, (int)a);
    for (int r = 0; r < b->runs && b->gaps; r += LANES) {
        struct row x = {.calls = calls, .actions = actions, .call = (size_t)t, .computes = computes};
        x.time = b->share + actions * calls * calls;
        x.share = b->share;
        x.weight = b->weight + r;
        x.corner = b->corner + r;
        x.least = b->least + (size_t)r * states + state_index(t, 0) * LANES;
        x.after = b->after + (size_t)r * (calls + 1);
        x.room = b->room + r / LANES;
        find_room(&x);
    }
}

/* Bits of all runs. */
struct runs {
    uint64_t of[FRONT_RUNS / 64];
};

static struct runs room_at(const struct front_bounds *b, int s, int a)
{
    struct runs room;
    memcpy(&room, b->room + ((size_t)a * (size_t)b->p->calls + (size_t)s) * sizeof room, sizeof room);
    return room;
}

int front_bounds_leads(const struct front_bounds *b, int s, int a)
{
    struct runs room = room_at(b, s, a);
    uint64_t any = 0;
    for (int k = 0; k < FRONT_RUNS / 64; k++)
        any |= room.of[k];
    return any != 0;
}

/* The upper envelope of n lines and one more, that falls less than they do. */
static int add_line(struct front_line *line, int n, struct front_line l)
{
    for (; n; n--) {
        const struct front_line *before = &line[n - 1];
        if (l.slope > before->slope)
            l.begin = (before->at_zero - l.at_zero) / (l.slope - before->slope);
        else
            l.begin = l.at_zero > before->at_zero ? -INFINITY : INFINITY;
        if (l.begin > before->begin)
            break;
    }
    l.begin = n ? l.begin : -INFINITY;
    if (l.begin < INFINITY)
        line[n++] = l;
    return n;
}

int front_bounds_lines(const struct front_bounds *b, int t, int s, struct front_line *line)
{
    size_t states = state_index(b->p->calls, 0), here = state_index(t, s);
    struct runs ranks = {0}, room = {0};
    int n = 0;
    if (b->gaps == 0 || t == 0)
        return -1;
    for (int a = 0; a < b->p->actions; a++) {
        struct runs one = room_at(b, s, a);
        for (int k = 0; k < FRONT_RUNS / 64; k++)
            room.of[k] |= one.of[k];
    }
    for (int k = 0; k < FRONT_RUNS / 64; k++)
        for (; room.of[k]; room.of[k] &= room.of[k] - 1) {
            int rank = b->rank[64 * k + __builtin_ctzll(room.of[k])];
            ranks.of[rank / 64] |= (uint64_t)1 << (rank % 64);
        }
    for (int k = 0; k < FRONT_RUNS / 64; k++) /* multipliers rise, slopes as well */
        for (; ranks.of[k]; ranks.of[k] &= ranks.of[k] - 1) {
            size_t r = b->ranked[64 * k + __builtin_ctzll(ranks.of[k])];
            double left = (double)b->corner[r] -
                          (double)b->least[r / LANES * LANES * states + here * LANES + r % LANES];
            n = add_line(line, n, (struct front_line){left * -b->slope[r], b->slope[r], 0});
        }
    return n;
}
