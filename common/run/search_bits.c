/* Bits as part of the action: calls with more activation bits than the model's own, chosen with the schedule.
 *
 * What rounding at call t does to the final latent is measured as the gains are, with runs in which all other
 * calls are wide; between the calls that were measured it is log-linear. Single calls' noise adds up neither
 * as amplitudes nor as squares, so all of it is scaled to sum to what rounding at every call does. A served
 * call rounds in the layers that are left to it, so each candidate has noise of its own. */
#include "common/run/search_inside.h"

#include <math.h>
#include <string.h>

enum { POINTS = 8, IMAGES = 2, SWEPT = 32 };

int search_wide_of(const struct search *x, int action)
{
    for (int i = x->count; i < x->count + x->wides; i++)
        if (x->list[i].twin == action - 1)
            return i + 1;
    return -1;
}

static double square_of(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]) / (double)n;
    return sum;
}

/* Final latents of the first images when call t takes this action and all others are computed wide. */
static int latents_with(struct search *x, int action, int t, int images, float **latents, struct error *e)
{
    struct cache_schedule s = {0};
    struct measure run = x->measure;
    int *choice = mem_array((size_t)x->calls, sizeof *choice, e), status = -1;
    for (int i = 0; choice && i < x->calls; i++)
        choice[i] = i == t ? action : search_wide_of(x, 0);
    if (choice && schedule_of_actions(&s, x->c.g, x->list, x->calls, choice, e) == 0) {
        s.steps = x->measure.steps;
        run.schedule = &s;
        run.count = run.batch = images;
        status = measure_latents(&run, latents, NULL, NULL, e);
    }
    cache_schedule_free(&s);
    mem_free(choice);
    return status;
}

static int noise_at(struct search *x, int action, int t, int images, double *square, struct error *e)
{
    float *narrow = NULL, *wide = NULL;
    int status = latents_with(x, action, t, images, &narrow, e);
    if (status == 0 && action)
        status = latents_with(x, search_wide_of(x, action), t, images, &wide, e);
    if (status == 0)
        *square = square_of(narrow, action ? wide : x->calibrated_reference, images * x->c.size);
    mem_free(narrow);
    mem_free(wide);
    return status;
}

/* noise[t] of the calls from `first` on, as amplitudes. */
static int measure_noise(struct search *x, int action, int first, int points, double *noise, struct error *e)
{
    int images = x->c.images < IMAGES ? x->c.images : IMAGES, before = -1, room = x->calls - first;
    double before_log = 0, here = 0;
    points = points < room ? points : room;
    for (int p = 0; p < points; p++) {
        int t = points > 1 ? first + p * (room - 1) / (points - 1) : first;
        if (noise_at(x, action, t, images, &here, e) < 0)
            return -1;
        double log_here = log(here > 1e-60 ? here : 1e-60) / 2;
        for (int i = before < 0 ? t : before + 1; i <= t; i++) {
            double share = before < 0 ? 1 : (double)(i - before) / (t - before);
            noise[i] = exp((1 - share) * before_log + share * log_here);
        }
        before = t;
        before_log = log_here;
        if (x->progress)
            x->progress(x->context, "bits", p + 1, points);
    }
    return 0;
}

int search_want_noise(struct search *x, int action, struct error *e)
{
    size_t n = (size_t)x->calls;
    if (!x->wides || x->noise[action])
        return 0;
    double *noise = mem_array(n, sizeof *noise, e), sum = 0;
    if (!noise)
        return -1;
    if (action &&
        search_wide_of(x, action) < 0) { /* little or nothing is left to run: its share of the time */
        for (size_t t = 0; t < n; t++)
            noise[t] = x->noise[0][t] * fmin(1, x->ms[action] / x->ms[0]);
    } else if (measure_noise(x, action, action > 0, action ? POINTS / 2 : POINTS, noise, e) < 0) {
        mem_free(noise);
        return -1;
    }
    for (size_t t = 0; t < n && !action; t++)
        sum += noise[t];
    if (!action)
        x->noise_scale =
            sum > 0 ? sqrt(square_of(x->c.reference, x->calibrated_reference, x->c.images * x->c.size)) / sum
                    : 1;
    for (size_t t = 0; t < n && (!action || search_wide_of(x, action) >= 0); t++)
        noise[t] *= x->noise_scale;
    x->noise[action] = noise;
    return 0;
}

double search_noise(const struct search *x, const int *action)
{
    double sum = 0;
    for (int t = 0; t < x->calls && x->wides; t++)
        if (x->noise[action[t]])
            sum += x->noise[action[t]][t];
    return sum;
}

/* ---- widths of a given schedule ---- */

/* A schedule that stays as it is, each call narrow or wide: actions 0, 1, and the same wide. */
struct widths {
    double *ms, *error;
    int code[4], actions;
    unsigned char computes[4];
    struct schedule_problem problem;
};

static void widths_close(struct widths *w)
{
    mem_free(w->ms);
    mem_free(w->error);
}

static int widths_open(struct search *x, const struct priced *priced, const struct schedule *s,
                       struct widths *w, struct error *e)
{
    size_t n = (size_t)x->calls;
    int serve = priced->action + 1, last = 0, before = 0;
    *w = (struct widths){.code = {0, serve, search_wide_of(x, 0), search_wide_of(x, serve)},
                         .computes = {1, 0, 1, 0}};
    w->actions = w->code[3] < 0 ? 3 : 4;
    w->ms = mem_array(4 * n, sizeof *w->ms, e);
    w->error = mem_array(4 * n, n * sizeof *w->error, e);
    if (!w->ms || !w->error) {
        widths_close(w);
        return -1;
    }
    for (size_t i = 0; i < 4 * n * n; i++)
        w->error[i] = INFINITY;
    for (int t = 0; t < x->calls; t++) {
        int served = s->action[t] != 0;
        if (!served)
            before = last, last = t;
        double error = !served                ? 0
                       : priced->problem.pair ? priced->problem.pair[schedule_pair_index(t, last, before)]
                                              : priced->problem.error[(n + (size_t)t) * n + (size_t)last];
        for (int a = 0; a < w->actions; a++) {
            size_t from = served ? (size_t)last : 0;
            w->ms[(size_t)a * n + (size_t)t] = x->ms[w->code[a]];
            if ((a & 1) == served)
                w->error[((size_t)a * n + (size_t)t) * n + from] =
                    error + (a < 2 ? x->noise[w->code[a]][t] : 0);
        }
    }
    w->problem = (struct schedule_problem){.calls = x->calls,
                                           .actions = w->actions,
                                           .ms = w->ms,
                                           .error = w->error,
                                           .computes = w->computes,
                                           .goal = SCHEDULE_MS,
                                           .limit = x->limit};
    return 0;
}

/* One refresh is enough: bits and schedule in one exact program, of all of these schedules' own action. Two
 * refreshes: the best schedule for every number of computed calls, and for each the exact choice of bits. */
int search_each_width(struct search *x, int a, enum predictor p,
                      int (*each)(void *context, const struct schedule *s, const int *code, struct error *e),
                      void *context, struct error *e)
{
    struct priced priced;
    struct schedule *narrow = NULL;
    int count = 0, status;
    if (search_want_gain(x, a, p, e) < 0 || search_want_noise(x, a + 1, e) < 0 ||
        search_priced_open(x, &priced, a, p, e) < 0)
        return -1;
    status = schedule_front(&priced.problem, &narrow, &count, e);
    for (int i = 0; status == 0 && i < count; i += count / SWEPT + 1) {
        struct schedule *front = NULL;
        struct widths w;
        int points = 0;
        status = widths_open(x, &priced, &narrow[i], &w, e);
        if (status < 0)
            break;
        status = schedule_front(&w.problem, &front, &points, e);
        for (int k = 0; status == 0 && k < points; k++)
            status = each(context, &front[k], w.code, e);
        schedule_front_free(front, points);
        widths_close(&w);
    }
    schedule_front_free(narrow, count);
    search_priced_free(&priced);
    return status;
}

/* The best for the limit. */
struct best {
    struct search *x;
    int *action;
    double error;
};

static int keep_best(void *context, const struct schedule *s, const int *code, struct error *e)
{
    struct best *b = context;
    (void)e;
    if (s->error >= b->error || s->ms > b->x->limit * (1 + 1e-9))
        return 0;
    b->error = s->error;
    for (int t = 0; t < b->x->calls; t++)
        b->action[t] = code[s->action[t]];
    return 0;
}

int search_bits(struct search *x, int a, enum predictor p, struct error *e)
{
    if (predict_anchors(p) == 1)
        return search_together(x, "bits", p, a, e);
    struct best b = {x, mem_array((size_t)x->calls, sizeof *b.action, e), INFINITY};
    int status = b.action ? search_each_width(x, a, p, keep_best, &b, e) : -1;
    if (status == 0 && isfinite(b.error))
        status = search_add_trial(x, "bits", p, b.action, b.error, 0, e);
    mem_free(b.action);
    return status;
}
