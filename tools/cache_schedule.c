/* cache-schedule: which network calls to compute and which to serve from a cache. */
#include "common/base/json.h"
#include "common/method/schedule.h"
#include "common/run/calibrate.h"
#include "common/run/profile.h"
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

enum { SOLVER_AUTO, SOLVER_DP, SOLVER_CACHEQUANT, SOLVER_UNIFORM };

static struct {
    int64_t steps, interval, calibrate, validate;
    const char *sampler, *profile, *verify, *action;
    double guidance, speedup, max_ms, max_error;
    int solver, correct, gain;
} o = {.calibrate = 4, .validate = 4, .correct = 1, .gain = 1};

static const struct tool_option options[] = {
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 1024,
     .help = "sampling steps (default: the model's)"},
    {"sampler", 0, "NAME", OPTION_TEXT, &o.sampler, .help = "as of generate"},
    {"guidance", 0, "W", OPTION_DOUBLE, &o.guidance, .min = -1000, .max = 1000, .help = "as of generate"},
    {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 1000,
     .help = "reach this speed-up of the whole trajectory"},
    {"max-ms", 0, "MS", OPTION_DOUBLE, &o.max_ms, .min = 0, .max = 1e12,
     .help = "... or this many milliseconds"},
    {"max-error", 0, "E", OPTION_DOUBLE, &o.max_error, .min = 0, .max = 1e9,
     .help = "... or the fastest with this relative L2 (measured)"},
    {"profile", 0, "FILE", OPTION_TEXT, &o.profile,
     .help = "milliseconds of the actions (default: measured here)"},
    {"solver", 0, "NAME", OPTION_CHOICE, &o.solver, .choices = "auto dp cachequant uniform",
     .help = "auto (all, the best measured), dp, cachequant or uniform"},
    {"interval", 0, "K", OPTION_INT, &o.interval, .min = 1, .max = 1024,
     .help = "compute every K-th call (uniform, cachequant)"},
    {"action", 0, "NAME", OPTION_TEXT, &o.action, .help = "only this action (inspect and profile list them)"},
    {"correct", 0, "on|off", OPTION_CHOICE, &o.correct, .choices = "off on",
     .help = "correct served values per channel (default on)"},
    {"gain", 0, "on|off", OPTION_CHOICE, &o.gain, .choices = "off on",
     .help = "weigh errors by what they do to the result (default on)"},
    {"calibrate", 0, "N", OPTION_INT, &o.calibrate, .min = 1, .max = 1024,
     .help = "calibration images (default 4)"},
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 1, .max = 10000,
     .help = "held-out images (default 4)"},
    {"verify", 0, "FILE", OPTION_TEXT, &o.verify, .help = "measure an existing schedule again"},
    {0}};

static const struct tool tool = {"cache-schedule",
                                 "MODEL",
                                 "Choose which network calls to serve from a cache.",
                                 options,
                                 TOOL_OUTPUT | TOOL_COMPUTES,
                                 "cache-schedule model.zst --steps 50 --speedup 2 -o fast.schedule.zst"};

struct trial {
    struct cache_schedule s;
    const char *solver;
    int action, exact, computed;
    double ms, predicted; /* of the additive model */
    struct quality quality;
};

enum { MOST_TRIALS = 160 };

struct work {
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct sampler_config config;
    struct weights *weights;
    struct measure measure;
    struct candidate list[CANDIDATES];
    int candidates, calls;
    struct calibration c;
    double ms[CANDIDATES + 1]; /* of one call: full, then each action */
    double full_ms, limit;
    struct trial trial[MOST_TRIALS];
    int trials;
    float *reference;
    int64_t size;
};

/* ---- prices ---- */

static int streams(const struct work *w) { return w->measure.guidance != 1 ? 2 : 1; }

static int price_actions(struct work *w, struct error *e)
{
    if (o.profile)
        return profile_prices(o.profile, model_id(&w->m), w->list, w->candidates, streams(w), w->ms, e);
    unsigned char *served[CANDIDATES];
    for (int i = 0; i < w->candidates; i++)
        served[i] = w->list[i].served;
    struct timing t = {.graph = w->g, .weights = w->weights, .batch = streams(w), .repeats = 5};
    struct timed *x = timed_open(&t, w->candidates, served, e);
    int status = x ? 0 : -1;
    for (int a = 0; status == 0 && a <= w->candidates; a++)
        status = timed_run(x, a, &w->ms[a], NULL, NULL, NULL, e);
    timed_close(x);
    return status;
}

/* ---- trials ---- */

static int add_trial(struct work *w, const char *solver, int action, const struct schedule *found,
                     double predicted, int correct, struct error *e)
{
    if (w->trials == MOST_TRIALS)
        return 0;
    struct trial *t = &w->trial[w->trials];
    *t = (struct trial){.solver = solver, .action = action, .exact = found->exact, .predicted = predicted};
    if (schedule_of_action(&t->s, w->g, &w->list[action], w->calls, found->action, e) < 0)
        return -1;
    w->trials++;
    t->ms = 0;
    for (int i = 0; i < w->calls; i++) {
        t->computed += found->action[i] == 0;
        t->ms += w->ms[found->action[i] ? action + 1 : 0];
    }
    t->s.steps = w->measure.steps;
    t->s.guidance = w->measure.guidance;
    t->s.height = w->m.image.height;
    t->s.width = w->m.image.width;
    snprintf(t->s.model, sizeof t->s.model, "%s", model_id(&w->m));
    snprintf(t->s.sampler, sizeof t->s.sampler, "%s", sampler_short_name(w->config.kind));
    if (correct && calibration_correct(&w->c, action, found->refresh, &t->s, 1, e) < 0)
        return -1;
    return cache_schedule_bind(&t->s, w->g, e);
}

/* One solver for one action. A goal that this action cannot reach is no error: others may. */
static int try_solver(struct work *w, const char *name, int action, struct error *e)
{
    size_t n = (size_t)w->calls * (size_t)w->calls;
    double *ms = mem_array(2 * (size_t)w->calls, sizeof *ms, e), *error = mem_array(2 * n, sizeof *error, e);
    struct schedule found = {0};
    struct error why = {0};
    int status = ms && error ? 0 : -1;
    /* CacheQuant's program knows no gain: its own table is the plain distance of features. */
    double *gain = w->c.gain[action];
    if (!strcmp(name, "cachequant"))
        w->c.gain[action] = NULL;
    if (status == 0)
        status = calibration_errors(&w->c, action,
                                    o.correct && strcmp(name, "cachequant") ? GRAM_CORRECTED : GRAM_REUSE,
                                    error + n, e);
    w->c.gain[action] = gain;
    for (int i = 0; status == 0 && i < w->calls; i++) {
        ms[i] = w->ms[0];
        ms[w->calls + i] = w->ms[action + 1];
    }
    struct schedule_problem p = {.calls = w->calls,
                                 .actions = 2,
                                 .ms = ms,
                                 .error = error,
                                 .serve = 1,
                                 .goal = o.interval && strcmp(name, "dp") ? SCHEDULE_FIXED : SCHEDULE_MS,
                                 .limit = w->limit,
                                 .interval = strcmp(name, "dp") ? (int)o.interval : 0};
    if (status == 0 && schedule_solver_find(name)->run(&p, &found, &why) < 0) {
        if (why.code != HASTEN_EGATE && why.code != HASTEN_EUSAGE)
            status = error_set(e, why.code, "%s", why.text);
    } else if (status == 0) {
        status = add_trial(w, name, action, &found, found.error, o.correct, e);
    }
    schedule_free(&found);
    mem_free(ms);
    mem_free(error);
    return status;
}

static int measure_trial(struct work *w, struct trial *t, struct error *e)
{
    struct measure run = w->measure;
    float *got;
    run.schedule = &t->s;
    run.count = (int)o.validate;
    run.seed = VALIDATION_SEED;
    run.batch = 0;
    if (measure_latents(&run, &got, NULL, NULL, e) < 0)
        return -1;
    measure_quality(w->reference, got, run.count, w->size, &t->quality);
    mem_free(got);
    return 0;
}

/* ---- the whole ---- */

static int open_model(struct work *w, struct error *e)
{
    const char *path = tool_input(w->t, e);
    if (!path || model_open(&w->m, path, w->t->memory, w->t->team, e) < 0)
        return -1;
    const struct model_sampler *s = &w->m.sampler;
    w->g = model_component(&w->m, "denoiser");
    if (!w->g || !s->present)
        return error_set(e, HASTEN_EFILE, "%s has no denoiser with a sampler", path);
    if (sampler_config_read(&w->config, s->config, o.sampler, e) < 0)
        return -1;
    if (tool_given(w->t, "guidance") && o.guidance > 1 && s->null_class < 0)
        return error_set(e, HASTEN_EUSAGE, "--guidance %g: the model has no null class", o.guidance);
    w->measure = (struct measure){.model = &w->m,
                                  .graph = w->g,
                                  .backend = &w->t->backend,
                                  .sampler = &w->config,
                                  .steps = o.steps ? (int)o.steps : s->steps,
                                  .count = (int)o.calibrate,
                                  .seed = CALIBRATION_SEED,
                                  .guidance = s->null_class < 0              ? 1
                                              : tool_given(w->t, "guidance") ? o.guidance
                                                                             : s->guidance};
    w->weights = weights_open(w->g, &w->t->backend, NULL, e);
    w->measure.weights = w->weights;
    return w->weights ? 0 : -1;
}

static int reference_of(struct work *w, struct error *e)
{
    struct measure run = w->measure;
    run.count = (int)o.validate;
    run.seed = VALIDATION_SEED;
    return measure_latents(&run, &w->reference, &w->calls, &w->size, e);
}

static int solve(struct work *w, struct error *e)
{
    static const char *const names[] = {"dp", "cachequant", "uniform"};
    int wanted = -1;
    for (int a = 0; a < w->candidates; a++)
        if (o.action && !strcmp(o.action, w->list[a].name))
            wanted = a;
    if (o.action && wanted < 0)
        return error_set(e, HASTEN_EUSAGE, "--action: the model has no '%s'", o.action);
    for (int a = 0; a < w->candidates; a++) {
        if (wanted >= 0 && a != wanted)
            continue;
        if (o.gain && o.solver != SOLVER_UNIFORM && o.solver != SOLVER_CACHEQUANT && w->calls > 2) {
            struct measure small = w->measure;
            small.batch = small.count;
            if (calibration_gain(&w->c, &small, a, 8, e) < 0)
                return -1;
        }
        for (int s = 0; s < 3; s++)
            if ((o.solver == SOLVER_AUTO || o.solver == s + 1) && try_solver(w, names[s], a, e) < 0)
                return -1;
        tool_progress(w->t, "solve", a + 1, w->candidates);
    }
    tool_progress_end(w->t);
    if (w->trials)
        return 0;
    double least = w->ms[1];
    for (int a = 1; a <= w->candidates; a++)
        least = w->ms[a] < least ? w->ms[a] : least;
    return error_set(e, HASTEN_EGATE,
                     "no schedule takes at most %.2f ms; with one computed call the fastest possible takes "
                     "%.2f ms (full: %.2f)",
                     w->limit, w->ms[0] + (w->calls - 1) * least, w->full_ms);
}

static struct trial *best_of(struct work *w, struct error *e)
{
    struct trial *best = NULL;
    for (int i = 0; i < w->trials; i++) {
        struct trial *t = &w->trial[i];
        if (measure_trial(w, t, e) < 0)
            return NULL;
        tool_note(w->t, "%s %s: %d of %d computed, %.2f ms, relative L2 %.4f", t->solver,
                  w->list[t->action].name, t->computed, w->calls, t->ms, t->quality.rel_l2);
        int fits = o.max_error <= 0 || t->quality.rel_l2 <= o.max_error;
        if (fits &&
            (!best || (o.max_error > 0 ? t->ms < best->ms : t->quality.rel_l2 < best->quality.rel_l2)))
            best = t;
        tool_progress(w->t, "validate", i + 1, w->trials);
    }
    tool_progress_end(w->t);
    return best;
}

/* Trials for every third of the possible speed-ups, when the error is what is given. */
static int sweep_limits(struct work *w, struct error *e)
{
    static const double shares[] = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        w->limit = shares[i] * w->full_ms;
        if (solve(w, e) < 0) {
            if (e->code != HASTEN_EGATE)
                return -1;
            *e = (struct error){0};
        }
    }
    return w->trials ? 0 : error_set(e, HASTEN_EGATE, "no schedule is faster than computing every call");
}

/* Wall milliseconds of the whole trajectory, full and scheduled in turn; medians. */
static int time_both(struct work *w, const struct cache_schedule *s, double *full, double *fast,
                     struct error *e)
{
    double a[3], b[3];
    for (int i = 0; i < 3; i++)
        for (int which = 0; which < 2; which++) {
            struct measure run = w->measure;
            float *got;
            run.count = run.batch = 1;
            run.schedule = which ? s : NULL;
            double start = clock_ms();
            if (measure_latents(&run, &got, NULL, NULL, e) < 0)
                return -1;
            (which ? b : a)[i] = clock_ms() - start;
            mem_free(got);
        }
    *full = median_of(a, 3);
    *fast = median_of(b, 3);
    return 0;
}

static cJSON *claims_of(struct work *w, const struct trial *t, double full, double fast, struct error *e)
{
    cJSON *j = json_new_object(e);
    if (j && json_add_string(j, "solver", t->solver, e) == 0 &&
        json_add_string(j, "action", w->list[t->action].name, e) == 0 &&
        json_add_bool(j, "exact", t->exact, e) == 0 && json_add_int(j, "computed", t->computed, e) == 0 &&
        json_add_int(j, "calls", w->calls, e) == 0 && json_add_double(j, "predicted_ms", t->ms, e) == 0 &&
        json_add_double(j, "full_ms", w->full_ms, e) == 0 &&
        json_add_double(j, "predicted_error", t->predicted, e) == 0 &&
        json_add_double(j, "measured_ms", fast, e) == 0 &&
        json_add_double(j, "measured_full_ms", full, e) == 0 &&
        json_add_double(j, "measured_speedup", full / fast, e) == 0 &&
        json_add_double(j, "rel_l2", t->quality.rel_l2, e) == 0 &&
        json_add_double(j, "psnr_db", t->quality.psnr, e) == 0 &&
        json_add_int(j, "calibration_images", o.calibrate, e) == 0 &&
        json_add_int(j, "validation_images", o.validate, e) == 0 &&
        json_add_bool(j, "corrected", o.correct, e) == 0)
        return j;
    cJSON_Delete(j);
    return NULL;
}

static int finish(struct work *w, struct trial *t, int write, struct error *e)
{
    double full, fast;
    char text[512];
    if (time_both(w, &t->s, &full, &fast, e) < 0)
        return -1;
    cJSON *claims = claims_of(w, t, full, fast, e);
    if (!claims)
        return -1;
    snprintf(text, sizeof text,
             "%s, %s: %d of %d calls computed; %.1f ms of %.1f predicted; measured %.1f ms of %.1f (%.2fx), "
             "relative L2 %.4f, PSNR %.2f dB\n",
             t->solver, w->list[t->action].name, t->computed, w->calls, t->ms, w->full_ms, fast, full,
             full / fast, t->quality.rel_l2, t->quality.psnr);
    cJSON_Delete(t->s.claims);
    t->s.claims = claims;
    if (write && cache_schedule_write(&t->s, w->t->output, NULL, e) < 0)
        return -1;
    return tool_report(w->t, text, claims, write && tool_stdout_is_data(w->t), e);
}

/* An existing schedule: the same checks as generate's, then measured as new ones are. */
static int verify(struct work *w, struct error *e)
{
    struct trial *t = &w->trial[w->trials++];
    *t = (struct trial){.solver = "verify"};
    if (cache_schedule_read(&t->s, o.verify, e) < 0)
        return -1;
    if (strcmp(t->s.model, model_id(&w->m)))
        return error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s", o.verify, t->s.model,
                         model_id(&w->m));
    if (strcmp(t->s.sampler, sampler_short_name(w->config.kind)))
        return error_set(e, HASTEN_EFILE, "%s was made for the sampler %s, this is %s", o.verify,
                         t->s.sampler, sampler_short_name(w->config.kind));
    if (o.steps && o.steps != t->s.steps)
        return error_set(e, HASTEN_EFILE, "%s is for %d steps, --steps says %lld", o.verify, t->s.steps,
                         (long long)o.steps);
    w->measure.steps = t->s.steps;
    if (!tool_given(w->t, "guidance"))
        w->measure.guidance = t->s.guidance;
    if (cache_schedule_bind(&t->s, w->g, e) < 0 || reference_of(w, e) < 0)
        return -1;
    /* Prices: the served sets of the file, by their own names. */
    for (int a = 1; a < t->s.actions; a++) {
        w->list[a - 1] = (struct candidate){.served = mem_array((size_t)w->g->count + 1, 1, e), .probe = -1};
        if (!w->list[a - 1].served)
            return -1;
        w->candidates++;
        memcpy(w->list[a - 1].served, t->s.action[a].served, (size_t)w->g->count);
        snprintf(w->list[a - 1].name, sizeof w->list[a - 1].name, "%s", t->s.action[a].name);
    }
    if (price_actions(w, e) < 0)
        return -1;
    w->full_ms = w->ms[0] * w->calls;
    for (int i = 0; i < w->calls; i++) {
        t->computed += t->s.choice[0][i] == 0;
        t->ms += w->ms[t->s.choice[0][i]];
    }
    return measure_trial(w, t, e) < 0 ? -1 : finish(w, t, 0, e);
}

static int run(struct work *w, struct error *e)
{
    int budgets = (o.speedup > 0) + (o.max_ms > 0) + (o.max_error > 0) + (o.interval > 0);
    if (!o.verify && tool_stdout_is_data(w->t) && tool_claim_stdout(w->t, 1, e) < 0)
        return -1;
    if (!o.verify && budgets != 1)
        return error_set(e, HASTEN_EUSAGE, "give one of --speedup, --max-ms, --max-error and --interval");
    if (o.interval && o.solver == SOLVER_DP)
        return error_set(e, HASTEN_EUSAGE, "--interval is for the solvers uniform and cachequant");
    if (open_model(w, e) < 0)
        return -1;
    if (o.verify)
        return verify(w, e);
    w->candidates = candidate_actions(w->g, w->list, e);
    if (w->candidates < 0 || reference_of(w, e) < 0 || price_actions(w, e) < 0)
        return -1;
    if (w->candidates == 0)
        return error_set(e, HASTEN_EFILE, "nothing in this model can be cached");
    w->full_ms = w->ms[0] * w->calls;
    w->limit = o.speedup > 0 ? w->full_ms / o.speedup : o.max_ms > 0 ? o.max_ms : w->full_ms;
    if (calibration_run(&w->c, &w->measure, w->list, w->candidates, (size_t)1 << 30, e) < 0)
        return -1;
    if ((o.max_error > 0 ? sweep_limits(w, e) : solve(w, e)) < 0)
        return -1;
    struct trial *best = best_of(w, e);
    if (!best)
        return error_set(e, HASTEN_EGATE, "no schedule keeps the relative L2 below %g", o.max_error);
    return finish(w, best, 1, e);
}

static void release(struct work *w)
{
    for (int i = 0; i < w->trials; i++)
        cache_schedule_free(&w->trial[i].s);
    calibration_free(&w->c);
    candidates_free(w->list, w->candidates > 0 ? w->candidates : 0);
    mem_free(w->reference);
    weights_close(w->weights);
    sampler_config_free(&w->config);
    model_close(&w->m);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    static struct work w;
    w.t = &t;
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        release(&w);
    }
    return tool_finish(&t, &e);
}
