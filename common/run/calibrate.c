/* See calibrate.h. */
#include "common/run/calibrate.h"

#include <math.h>
#include <string.h>

struct collector {
    struct calibration *c;
    float *features[CALIBRATION_NODES]; /* [calls][rows][channels] */
    int images;
};

static int64_t node_size(const struct graph *g, int node) { return shape_size(g->node[node].shape); }

/* Keep the conditional rows: the first of each run. */
static int collect(void *context, const struct engine *x, int call, int first, int rows, struct error *e)
{
    struct collector *k = context;
    (void)rows, (void)e;
    if (first > 0)
        return 0;
    for (int i = 0; i < k->c->nodes; i++) {
        int64_t n = k->images * node_size(k->c->g, k->c->node[i]);
        memcpy(k->features[i] + call * n, engine_value(x, k->c->node[i]), (size_t)n * sizeof(float));
    }
    return 0;
}

/* The served nodes of all candidates, as many as fit, evenly. */
static void choose_nodes(struct calibration *c, size_t budget, int calls, int images)
{
    int all[1024], n = 0;
    size_t bytes = 0;
    for (int i = 0; i < c->g->count && n < 1024; i++)
        for (int a = 0; a < c->count; a++)
            if (c->list[a].served[i]) {
                all[n++] = i;
                bytes += (size_t)calls * (size_t)images * (size_t)node_size(c->g, i) * sizeof(float);
                break;
            }
    size_t fit = bytes > budget && bytes ? (size_t)n * (budget / 1024) / (bytes / 1024 + 1) : (size_t)n;
    int most = fit < CALIBRATION_NODES ? (int)fit : CALIBRATION_NODES;
    most = most < 1 ? 1 : most;
    for (int i = 0; i < n && n <= most; i++)
        c->node[c->nodes++] = all[i];
    for (int i = 0; i < most && n > most; i++) /* the last, the output, is always among them */
        c->node[c->nodes++] = all[(int64_t)(i + 1) * n / most - 1];
}

static int count_calls(const struct measure *m, int *calls, struct error *e)
{
    struct sampler_config own = {0};
    if (!m->sampler && sampler_config_read(&own, m->model->sampler.config, NULL, e) < 0)
        return -1;
    struct sampler_run run = {.steps = m->steps ? m->steps : m->model->sampler.steps};
    struct sampler *s = sampler_open(m->sampler ? m->sampler : &own, &run, 1, 16, e);
    if (s)
        *calls = sampler_calls(s);
    sampler_close(s);
    sampler_config_free(&own);
    return s ? 0 : -1;
}

int calibration_run(struct calibration *c, const struct measure *m, const struct candidate *list, int count,
                    size_t budget, struct error *e)
{
    struct collector k = {.c = c, .images = m->count};
    unsigned char *want = mem_array((size_t)m->graph->count + 1, 1, e);
    struct trajectory_watch watch = {.context = &k, .network = collect};
    struct measure run = *m;
    int status = -1;
    *c = (struct calibration){.g = m->graph, .list = list, .count = count, .images = m->count};
    if (!want || count_calls(m, &c->calls, e) < 0)
        goto out;
    choose_nodes(c, budget, c->calls, m->count);
    for (int i = 0; i < c->nodes; i++) {
        int channels = m->graph->node[c->node[i]].shape.channels;
        want[c->node[i]] = 1;
        k.features[i] = mem_array(
            (size_t)c->calls * (size_t)m->count * (size_t)node_size(m->graph, c->node[i]), sizeof(float), e);
        if (!k.features[i] || gram_open(c->calls, channels, GRAM_GROUPS, &c->gram[i], e) < 0)
            goto out;
    }
    run.want = want;
    run.watch = &watch;
    run.batch = m->count;
    if (measure_latents(&run, &c->reference, NULL, &c->size, e) < 0)
        goto out;
    for (int i = 0; i < c->nodes; i++) {
        int64_t rows = m->count * shape_rows(m->graph->node[c->node[i]].shape);
        if (gram_add(&c->gram[i], k.features[i], rows, m->backend->team, e) < 0) {
            error_under(e, "'%s'", m->graph->node[c->node[i]].name);
            goto out;
        }
    }
    status = 0;
out:
    mem_free(want);
    for (int i = 0; i < c->nodes; i++)
        mem_free(k.features[i]);
    if (status < 0)
        calibration_free(c);
    return status;
}

void calibration_free(struct calibration *c)
{
    for (int i = 0; i < c->nodes; i++)
        gram_free(&c->gram[i]);
    for (int i = 0; i < CANDIDATES; i++)
        mem_free(c->gain[i]);
    mem_free(c->reference);
    *c = (struct calibration){0};
}

/* Mean over the action's measured edges of their relative errors. */
static int plain_errors(const struct calibration *c, int action, enum gram_predictor predictor, double *error,
                        struct error *e)
{
    size_t n = (size_t)c->calls * (size_t)c->calls;
    double *one = mem_array(n, sizeof *one, e);
    int used = 0, status = one ? 0 : -1;
    memset(error, 0, n * sizeof *error);
    for (int i = 0; status == 0 && i < c->nodes; i++) {
        if (!c->list[action].served[c->node[i]])
            continue;
        status = gram_errors(&c->gram[i], predictor, one, e);
        used++;
        for (int t = 0; status == 0 && t < c->calls; t++) {
            double power = gram_power(&c->gram[i], t);
            for (int s = 0; s < c->calls; s++)
                error[t * c->calls + s] += power > 0 ? one[t * c->calls + s] / power
                                           : s < t   ? 0
                                                     : one[t * c->calls + s];
        }
    }
    for (size_t i = 0; used && i < n; i++)
        error[i] /= used;
    mem_free(one);
    if (status == 0 && !used)
        status = error_set(e, HASTEN_EFAIL, "no edge of action '%s' was measured", c->list[action].name);
    return status;
}

int calibration_errors(const struct calibration *c, int action, enum gram_predictor predictor, double *error,
                       struct error *e)
{
    if (plain_errors(c, action, predictor, error, e) < 0)
        return -1;
    for (int t = 0; c->gain[action] && t < c->calls; t++)
        for (int s = 0; s < t; s++) /* amplitudes add up better than squares (caching.md 7) */
            error[t * c->calls + s] = sqrt(error[t * c->calls + s] * c->gain[action][t]);
    return 0;
}

/* ---- schedules ---- */

int schedule_of_action(struct cache_schedule *s, const struct graph *g, const struct candidate *a, int calls,
                       const int *action, struct error *e)
{
    const char *names[1024];
    int n = 0;
    for (int i = 0; i < g->count && n < 1024; i++)
        if (a->served[i])
            names[n++] = g->node[i].name;
    if (cache_schedule_new(s, calls, e) < 0 || cache_schedule_add(s, a->name, names, n, e) < 0) {
        cache_schedule_free(s);
        return -1;
    }
    for (int t = 0; t < calls; t++)
        s->choice[0][t] = s->choice[1][t] = action[t] != 0;
    return 0;
}

int calibration_correct(const struct calibration *c, int action, const int *refresh, struct cache_schedule *s,
                        int at, struct error *e)
{
    struct cache_action *x = &s->action[at];
    (void)action;
    for (int i = 0; i < x->serves; i++) {
        int node = graph_find(c->g, x->serve[i]), k = 0;
        while (k < c->nodes && c->node[k] != node)
            k++;
        if (k == c->nodes)
            continue;
        int channels = c->g->node[node].shape.channels;
        float *table = mem_array((size_t)c->calls * 2 * (size_t)channels, sizeof *table, e), a[GRAM_GROUPS],
              b[GRAM_GROUPS];
        if (!table)
            return -1;
        for (int t = 0; t < c->calls; t++) {
            float *scale = table + (size_t)t * 2 * (size_t)channels;
            if (refresh[t] != t)
                gram_coefficients(&c->gram[k], t, refresh[t], a, b);
            for (int ch = 0; ch < channels; ch++) {
                scale[ch] = refresh[t] == t ? 1 : a[gram_group(&c->gram[k], ch)];
                scale[channels + ch] = refresh[t] == t ? 0 : b[gram_group(&c->gram[k], ch)];
            }
        }
        mem_free(x->correct[i]);
        x->correct[i] = table;
        x->channels[i] = channels;
        x->anchors[i] = 1;
    }
    return 0;
}

/* ---- gain ---- */

/* Mean square of the final difference when call t alone is served, over that of its edges (relative). */
static int gain_at(struct calibration *c, const struct measure *m, int action, int t, const double *error,
                   double *gain, struct error *e)
{
    struct cache_schedule s = {0};
    struct measure run = *m;
    int *choice = mem_array((size_t)c->calls, sizeof *choice, e), status = -1;
    float *got = NULL;
    if (!choice)
        return -1;
    choice[t] = 1;
    if (schedule_of_action(&s, c->g, &c->list[action], c->calls, choice, e) == 0 &&
        cache_schedule_bind(&s, c->g, e) == 0) {
        s.steps = m->steps ? m->steps : m->model->sampler.steps;
        run.schedule = &s;
        status = measure_latents(&run, &got, NULL, NULL, e);
    }
    if (status == 0) {
        double sum = 0, n = (double)c->images * (double)c->size;
        for (int64_t i = 0; i < c->images * c->size; i++)
            sum += ((double)got[i] - c->reference[i]) * ((double)got[i] - c->reference[i]) / n;
        double relative = error[t * c->calls + t - 1];
        *gain = relative > 0 ? sum / relative : 0;
    }
    mem_free(got);
    mem_free(choice);
    cache_schedule_free(&s);
    return status;
}

int calibration_gain(struct calibration *c, const struct measure *m, int action, int points, struct error *e)
{
    size_t n = (size_t)c->calls;
    double *error = mem_array(n * n, sizeof *error, e), *gain = mem_array(n, sizeof *gain, e),
           before_gain = 0;
    int status = error && gain ? plain_errors(c, action, GRAM_REUSE, error, e) : -1, before = 0;
    points = points < 2 ? 2 : points > c->calls - 1 ? c->calls - 1 : points;
    for (int p = 0; status == 0 && c->calls > 1 && p < points; p++) {
        int t = points > 1 ? 1 + p * (c->calls - 2) / (points - 1) : 1;
        double here = 0;
        status = gain_at(c, m, action, t, error, &here, e);
        here = here > 1e-30 ? here : 1e-30;
        for (int i = before + 1; i <= t; i++) {
            double share = before ? (double)(i - before) / (t - before) : 1;
            gain[i] = before ? exp((1 - share) * log(before_gain) + share * log(here)) : here;
        }
        before = t;
        before_gain = here;
    }
    mem_free(error);
    if (status < 0) {
        mem_free(gain);
        return -1;
    }
    mem_free(c->gain[action]);
    c->gain[action] = gain;
    return 0;
}
