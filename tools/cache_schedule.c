/* cache-schedule: which network calls to compute and which to serve from a cache. */
#include "tools/cache_schedule.h"

#include "common/run/foreign.h"
#include "common/run/search_blocks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What --solver names: a program, and the predictors that go with it unless --predictor says otherwise. */
static const struct method {
    const char *name;
    const char *solver[8];
    unsigned predictors;
    int gain, max_run;
} methods[] = {
    {"auto",
     {"dp", "dp-squares", "dp-flat", "joint", "cachequant", "uniform"},
     1u << PREDICT_TWO | 1u << PREDICT_CORRECTED | 1u << PREDICT_TAYLOR,
     1,
     0},
    {"dp", {"dp"}, 1u << PREDICT_TWO | 1u << PREDICT_CORRECTED, 1, 0},
    {"joint", {"joint"}, 1u << PREDICT_CORRECTED, 1, 0},
    {"minimax", {"minimax"}, 1u << PREDICT_CORRECTED, 1, 0},
    {"lemica", {"lemica"}, 1u << PREDICT_REUSE, 1, 0},
    {"uniform", {"uniform"}, 1u << PREDICT_TWO | 1u << PREDICT_CORRECTED, 0, 0},
    {"cachequant", {"cachequant"}, 1u << PREDICT_CORRECTED, 0, 0},
    {"bac", {"blocks"}, 1u << PREDICT_REUSE, 0, 0},
    {"deepcache", {"uniform"}, 1u << PREDICT_REUSE, 0, 0},
    {"power", {"power"}, 1u << PREDICT_REUSE, 0, 0},
    {"fora", {"uniform"}, 1u << PREDICT_REUSE, 0, 0},
    {"taylorseer", {"uniform"}, 1u << PREDICT_TAYLOR, 0, 0},
    {"magcache", {"magcache"}, 1u << PREDICT_REUSE, 0, 0},
    {"cem", {"dp"}, 1u << PREDICT_REUSE, 0, 9},
    {"coordinate", {"dp"}, 1u << PREDICT_TWO | 1u << PREDICT_CORRECTED, 1, 0},
    {"spsa", {"dp"}, 1u << PREDICT_TWO | 1u << PREDICT_CORRECTED, 1, 0},
};

static struct schedule_options o = {.calibrate = 4, .validate = 16, .polish = 12, .correct = 1, .gain = 1};

static const struct tool_option options[] = {
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 1024,
     .help = "sampling steps (default: the model's)"},
    {"sampler", 0, "NAME", OPTION_TEXT, &o.sampler, .help = "as of generate"},
    {"guidance", 0, "W", OPTION_DOUBLE, &o.guidance, .min = -1000, .max = 1000, .help = "as of generate"},
    {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 1000,
     .help = "reach this speed-up of the whole trajectory"},
    {"max-ms", 0, "MS", OPTION_DOUBLE, &o.max_ms, .min = 1e-12, .max = 1e12,
     .help = "... or this many milliseconds"},
    {"max-error", 0, "E", OPTION_DOUBLE, &o.max_error, .min = 1e-12, .max = 1e9,
     .help = "... or the fastest with this relative L2 (measured)"},
    {"front", 0, NULL, OPTION_FLAG, &o.front, .help = "... or print every choice of time against error"},
    {"max-cache-bytes", 0, "SIZE", OPTION_SIZE, &o.max_cache_bytes,
     .help = "only actions whose caches of one image fit into this"},
    {"profile", 0, "FILE", OPTION_TEXT, &o.profile,
     .help = "milliseconds of the actions (default: measured here)"},
    {"solver", 0, "NAME", OPTION_CHOICE, &o.solver,
     .choices =
         "auto dp joint minimax lemica uniform cachequant bac deepcache power fora taylorseer magcache cem "
         "coordinate spsa",
     .help = "auto (several, the best measured), or one of dp, joint, minimax, lemica, "
             "uniform, "
             "cachequant, bac, deepcache, power, fora, taylorseer, magcache, cem, coordinate and spsa"},
    {"predictor", 0, "NAME", OPTION_CHOICE, &o.predictor,
     .choices = "auto reuse magnitude corrected taylor two",
     .help = "how served values are made: auto (the solver's), reuse, magnitude, corrected, taylor or two"},
    {"interval", 0, "K", OPTION_INT, &o.interval, .min = 1, .max = 1024,
     .help = "compute every K-th call (not for dp, joint, minimax, lemica and magcache)"},
    {"action", 0, "NAME", OPTION_TEXT, &o.action, .help = "only this action (inspect and profile list them)"},
    {"correct", 0, "on|off", OPTION_CHOICE, &o.correct, .choices = "off on",
     .help = "off: --predictor reuse (default on)"},
    {"gain", 0, "on|off", OPTION_CHOICE, &o.gain, .choices = "off on",
     .help = "weigh errors by what they do to the result (default on)"},
    {"polish", 0, "N", OPTION_INT, &o.polish, .min = 0, .max = 100000,
     .help = "runs of moved schedules after that, 0: none (default 12; coordinate and spsa: 60)"},
    {"rounds", 0, "N", OPTION_INT, &o.rounds, .min = 0, .max = SEARCH_ROUNDS,
     .help = "closed loop: measure again where the best schedule leads and solve again, N times (default: 1 "
             "of auto "
             "with a budget of time, else 0)"},
    {"bits", 0, "given|both", OPTION_CHOICE, &o.bits, .choices = "given both",
     .help = "both: any call may also read floats where layers round to int8, as its error and price say "
             "(auto, dp and joint; default given)"},
    {"streams", 0, "joint|split", OPTION_CHOICE, &o.streams, .choices = "joint split",
     .help =
         "split: with guidance, calls may compute the conditional pass alone and predict the other from it "
         "(with --speedup or --max-ms; default joint)"},
    {"wide", 0, "N", OPTION_INT, &o.wide, .min = 0, .max = 1024,
     .help = "the first N computed calls read floats where layers round to int8 (default 0)"},
    {"calibrate", 0, "N", OPTION_INT, &o.calibrate, .min = 1, .max = 1024,
     .help = "calibration images (default 4)"},
    PARTS_OPTIONS(o.parts),
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 1, .max = 10000,
     .help = "images to choose with, and again as many for the claims (default 16)"},
    {"verify", 0, "FILE", OPTION_TEXT, &o.verify, .help = "measure an existing schedule again"},
    {"import", 0, "FILE", OPTION_TEXT, &o.import,
     .help = "make a schedule of another tool's, and measure it; see hasten-schedule(5)"},
    {"svg", 0, "FILE", OPTION_OUTPUT, &o.svg,
     .help = "a picture: milliseconds against error, and the schedule's calls"},
    {0}};

static const struct tool tool = {"cache-schedule",
                                 "MODEL ...",
                                 "Choose which network calls to serve from a cache.",
                                 options,
                                 TOOL_OUTPUT | TOOL_RUNS,
                                 "cache-schedule model.zst --steps 50 --speedup 2 -o fast.schedule.zst"};

/* What a call may do, and at which bits. */
static int open_actions(struct work *w, struct error *e)
{
    w->candidates = candidate_actions(w->g, w->list, e);
    if (w->candidates < 0)
        return -1;
    int all = o.bits || o.wide ? candidates_widen(w->g, w->list, w->candidates, e) : w->candidates;
    if (all < 0)
        return -1;
    w->wides = all - w->candidates;
    if (o.bits && !w->wides)
        return error_set(e, HASTEN_EFILE, "--bits both: no layer of the model rounds what it reads to int8");
    if (schedule_price_actions(w, w->candidates, e) < 0)
        return -1;
    w->wide_ms = w->wides ? w->ms[w->candidates + 1] : w->ms[0];
    if (o.streams && schedule_price_one(w, e) < 0)
        return -1;
    return w->candidates ? 0 : error_set(e, HASTEN_EFILE, "nothing in this model can be cached");
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
    int kind = w->config.kind;
    if (kind == SAMPLER_DDPM || kind == SAMPLER_EULER_A || kind == SAMPLER_LCM)
        tool_warn(w->t,
                  "%s draws noise in its steps, which no prediction from earlier calls foresees: look at the "
                  "measured error",
                  sampler_short_name(w->config.kind));
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

static void show_progress(void *context, const char *what, int done, int all)
{
    struct work *w = context;
    tool_progress(w->t, what, done, all);
    if (done == all)
        tool_progress_end(w->t);
}

/* auto closes the loop once unless --rounds says otherwise. */
static int rounds_of(const struct work *w)
{
    int by_time = o.speedup > 0 || o.max_ms > 0 || o.interval > 0;
    return o.solver == 0 && by_time && !tool_given(w->t, "rounds") ? 1 : (int)o.rounds;
}

static int start_search(struct work *w, struct error *e)
{
    const struct method *m = &methods[o.solver];
    struct search *x = &w->x;
    *x = (struct search){.measure = w->measure,
                         .list = w->list,
                         .count = w->candidates,
                         .wides = o.bits ? w->wides : 0,
                         .ms = w->ms,
                         .solver = m->solver,
                         .predictors = !o.correct    ? 1u << PREDICT_REUSE
                                       : o.predictor ? 1u << (o.predictor - 1)
                                                     : m->predictors,
                         .only = -1,
                         .interval = (int)o.interval,
                         .gain = o.gain && m->gain,
                         .wide = (int)o.wide,
                         .wide_ms = w->wide_ms,
                         .one_ms = w->one_ms,
                         .max_run = m->max_run,
                         .validate = (int)o.validate,
                         .seed = w->t->seed,
                         .max_cache_bytes = o.max_cache_bytes,
                         .progress = show_progress,
                         .context = w,
                         .calibration = o.parts.calibration,
                         .memory = w->t->memory};
    for (int a = 0; a < w->candidates; a++)
        if (o.action && !strcmp(o.action, w->list[a].name))
            x->only = a;
    if (o.action && x->only < 0)
        return error_set(e, HASTEN_EUSAGE, "--action: the model has no '%s'", o.action);
    if (measure_calls(&w->measure, &x->calls, e) < 0)
        return -1;
    w->full_ms = w->ms[0] * x->calls;
    x->limit = o.speedup > 0 ? w->full_ms / o.speedup : o.max_ms > 0 ? o.max_ms : w->full_ms;
    double seconds = search_estimate(x, rounds_of(w), m->gain ? (int)o.polish : 0) * 1e-3;
    tool_note(w->t, "calibration and search: about %.3g s", seconds);
    return search_open(x, e);
}

/* What runs of the model find on top of the program. */
static struct trial *improve(struct work *w, struct trial *best, struct error *e)
{
    const char *name = methods[o.solver].name;
    int spsa = !strcmp(name, "spsa");
    if (!methods[o.solver].gain)
        return best;
    if (!spsa && strcmp(name, "coordinate"))
        return search_finish(&w->x, (int)o.polish, e);
    if (best->alone)
        return best;
    best->solver = name;
    return search_runs(&w->x, best, tool_given(w->t, "polish") ? (int)o.polish : 60, spsa, e) < 0 ? NULL
                                                                                                  : best;
}

static void say_trials(const struct work *w, int round)
{
    for (int i = 0; i < w->x.trials; i++) {
        const struct trial *t = &w->x.trial[i];
        if (t->round == round && t->images)
            tool_note(w->t,
                      "%s, %s, %s, round %d: %d of %d computed, %.2f ms, predicted %.4f, relative L2 %.4f on "
                      "%d images",
                      t->solver, predict_name(t->predictor), schedule_action_name(&t->s), round, t->computed,
                      w->x.calls, t->ms, t->predicted, t->quality.rel_l2, t->images);
    }
}

/* The schedule for the budget that was given. */
static struct trial *choose(struct work *w, struct error *e)
{
    struct search *x = &w->x;
    int last = rounds_of(w);
    if (o.max_error > 0)
        return search_error(x, o.max_error, (int)o.rounds, e);
    if (search_solve(x, e) < 0)
        return NULL;
    struct trial *best = search_validate(x, e);
    for (int round = 0; best; round++) {
        say_trials(w, round);
        if (round == last || best->computed == x->calls)
            break;
        best = search_close_loop(x, best, e) < 0 ? NULL : search_validate(x, e);
    }
    if (best && o.streams && (best = search_split(x, best, e) < 0 ? NULL : search_validate(x, e)))
        say_trials(w, x->rounds);
    return best ? improve(w, best, e) : NULL;
}

/* Prices: the served sets of the schedule, by their own names. */
static int price_schedule(struct work *w, const struct cache_schedule *s, struct trial *t, struct error *e)
{
    for (int a = 1; a < s->actions; a++) {
        struct candidate *c = &w->list[a - 1];
        *c = (struct candidate){.served = mem_array((size_t)w->g->count + 1, 1, e),
                                .base = cache_action_base(&s->action[a], w->g),
                                .wide = s->action[a].wide};
        if (!c->served)
            return -1;
        w->candidates++;
        memcpy(c->served, s->action[a].served, (size_t)w->g->count);
        snprintf(c->name, sizeof c->name, "%s", s->action[a].name);
    }
    if (schedule_price_actions(w, 0, e) < 0)
        return -1;
    w->full_ms = w->ms[0] * s->calls;
    int split = cache_schedule_difference(s) && w->measure.guidance != 1;
    if (split && schedule_price_one(w, e) < 0)
        return -1;
    for (int i = 0; i < s->calls; i++) {
        int alone = split && s->action[s->choice[1][i]].difference;
        t->computed += s->action[s->choice[0][i]].serves == 0;
        t->ms += w->ms[s->choice[0][i]] * (alone ? w->one_ms / w->ms[0] : 1);
    }
    return 0;
}

/* Measure a schedule that is there, from --verify or --import. */
static int measure_given(struct work *w, struct trial *t, struct error *e)
{
    struct cache_schedule *s = &w->s;
    if (price_schedule(w, s, t, e) < 0)
        return -1;
    w->x.measure = w->measure;
    w->x.calls = s->calls;
    for (int a = 0; a < s->actions; a++) /* then its errors are against a run that is wide throughout */
        w->x.wide |= s->action[a].wide;
    if (search_measure(&w->x, s, CLAIM_SEED, (int)o.validate, &t->quality, e) < 0)
        return -1;
    return schedule_report(w, t, s, o.verify == NULL, e);
}

/* An existing schedule: the same checks as generate's, then measured as new ones are. */
static int verify(struct work *w, struct error *e)
{
    struct cache_schedule *s = &w->s;
    struct trial t = {.solver = "verify"};
    if (cache_schedule_read(s, o.verify, e) < 0)
        return -1;
    if (strcmp(s->model, model_id(&w->m)))
        return error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s", o.verify, s->model,
                         model_id(&w->m));
    if (strcmp(s->sampler, sampler_short_name(w->config.kind)))
        return error_set(e, HASTEN_EFILE, "%s was made for the sampler %s, this is %s", o.verify, s->sampler,
                         sampler_short_name(w->config.kind));
    if (o.steps && o.steps != s->steps)
        return error_set(e, HASTEN_EFILE, "%s is for %d steps, --steps says %lld", o.verify, s->steps,
                         (long long)o.steps);
    w->measure.steps = s->steps;
    if (!tool_given(w->t, "guidance"))
        w->measure.guidance = s->guidance;
    return cache_schedule_bind(s, w->g, e) < 0 ? -1 : measure_given(w, &t, e);
}

/* A schedule made by actions of its own becomes this model's, is priced and measured. */
static int take_schedule(struct work *w, struct trial *t, struct error *e)
{
    struct cache_schedule *s = &w->s;
    s->steps = w->measure.steps;
    s->guidance = w->measure.guidance;
    s->height = w->m.image.height;
    s->width = w->m.image.width;
    snprintf(s->model, sizeof s->model, "%s", model_id(&w->m));
    snprintf(s->sampler, sizeof s->sampler, "%s", sampler_short_name(w->config.kind));
    return cache_schedule_bind(s, w->g, e) < 0 ? -1 : measure_given(w, t, e);
}

/* Another tool's schedule, for this model. */
static int import(struct work *w, struct error *e)
{
    struct trial t = {.solver = "import"};
    int calls;
    if (measure_calls(&w->measure, &calls, e) < 0 || foreign_read(o.import, w->g, calls, &w->s, e) < 0)
        return -1;
    return take_schedule(w, &t, e);
}

/* One round of BAC: every branch with its own updates, and the union of the three noisiest feed-forwards, as
 * published. The schedule stays in w->s when it is the best so far on validation images. */
static int blocks_round(struct work *w, double *best, struct error *e)
{
    struct cache_schedule s = {0};
    struct quality q;
    int updates = (w->x.calls + (int)o.interval - 1) / (int)o.interval;
    int status = search_blocks(&w->x, updates, 3, &s, e);
    if (status == 0)
        status = cache_schedule_bind(&s, w->g, e);
    s.steps = w->measure.steps;
    if (status == 0)
        status = search_measure(&w->x, &s, VALIDATION_SEED, (int)o.validate, &q, e);
    if (status == 0 && q.psnr > *best) {
        struct cache_schedule worse = w->s;
        *best = q.psnr;
        w->s = s;
        s = worse;
    }
    cache_schedule_free(&s);
    return status;
}

static int blockwise(struct work *w, struct error *e)
{
    struct trial t = {.solver = "bac"};
    double best = -INFINITY;
    for (int round = 0; round <= o.rounds; round++)
        if ((round && search_measure_again(&w->x, &w->s, e) < 0) || blocks_round(w, &best, e) < 0)
            return -1;
    search_close(&w->x);
    w->x = (struct search){0};
    candidates_free(w->list, w->candidates + w->wides);
    w->candidates = w->wides = 0;
    return take_schedule(w, &t, e);
}

/* The whole front is stored; the file's own schedule is the fastest of it that halves the time, or the
 * fastest. */
static int show_front(struct work *w, struct trial **t, struct error *e)
{
    for (int round = 0;; round++) {
        int at = 0;
        if (search_front(&w->x, &w->front, &w->points, e) < 0)
            return -1;
        while (at + 1 < w->points && w->front[at + 1].ms <= w->full_ms / 2)
            at++;
        *t = search_trial_of(&w->x, &w->front[at], e);
        if (!*t || round == o.rounds)
            return *t ? 0 : -1;
        search_front_free(w->front, w->points);
        w->front = NULL;
        w->points = 0;
        if (search_measure_again(&w->x, &(*t)->s, e) < 0)
            return -1;
    }
}

static int budgets_given(void)
{
    return (o.speedup > 0) + (o.max_ms > 0) + (o.max_error > 0) + (o.interval > 0) + o.front;
}

/* The images of one part, and no schedule. */
static int measure_part(struct work *w, const struct shard *shard, struct error *e)
{
    struct sum_range range;
    w->candidates = candidate_actions(w->g, w->list, e);
    if (w->candidates < 0)
        return -1;
    w->x = (struct search){.measure = w->measure,
                           .list = w->list,
                           .count = w->candidates,
                           .progress = show_progress,
                           .context = w,
                           .memory = w->t->memory};
    if (search_measure_part(&w->x, shard, w->t->output, &range, e) < 0)
        return -1;
    return parts_report(w->t, &w->x.c.sums, range, e);
}

static int check_parts(struct work *w, struct shard *shard, struct error *e)
{
    if (parts_check(w->t, &o.parts, shard, e) < 0)
        return -1;
    if ((o.parts.measure_only || o.parts.merge) && (budgets_given() || o.verify || o.import))
        return error_set(e, HASTEN_EUSAGE,
                         "%s makes no schedule, so it takes no budget, --verify or --import",
                         o.parts.merge ? "--merge" : "--measure-only");
    if (o.parts.calibration && (o.verify || o.import))
        return error_set(e, HASTEN_EUSAGE, "--calibration is for a new schedule, not --verify or --import");
    return 0;
}

static int takes_bits(void)
{
    const char *name = methods[o.solver].name;
    return !strcmp(name, "auto") || !strcmp(name, "dp") || !strcmp(name, "joint");
}

static int check_options(struct work *w, struct error *e)
{
    int budgets = budgets_given(), given = (o.verify != NULL) + (o.import != NULL);
    const char *solver = methods[o.solver].solver[0];
    if (!o.verify && tool_stdout_is_data(w->t) && (w->t->output || !o.front) &&
        tool_claim_stdout(w->t, 1, e) < 0)
        return -1;
    if (given + budgets > 1 && given)
        return error_set(e, HASTEN_EUSAGE, "--verify and --import take no budget, and not each other");
    if (!given && budgets != 1)
        return error_set(e, HASTEN_EUSAGE,
                         "give one of --speedup, --max-ms, --max-error, --front and --interval, or "
                         "--verify or --import");
    if (o.interval && o.solver != 0 &&
        (!strcmp(solver, "dp") || !strcmp(solver, "joint") || !strcmp(solver, "minimax") ||
         !strcmp(solver, "lemica") || !strcmp(solver, "magcache")))
        return error_set(e, HASTEN_EUSAGE, "--interval is not for the solver %s", methods[o.solver].name);
    if (o.predictor && predict_anchors((enum predictor)(o.predictor - 1)) == 2 &&
        (!strcmp(solver, "minimax") || !strcmp(solver, "lemica") || !strcmp(solver, "joint")))
        return error_set(e, HASTEN_EUSAGE, "--solver %s is for predictors that read one value", solver);
    if (!o.interval && !given && !strcmp(solver, "blocks"))
        return error_set(e, HASTEN_EUSAGE, "the solver bac needs --interval");
    if (o.rounds && given)
        return error_set(e, HASTEN_EUSAGE, "--rounds is for a new schedule, not --verify or --import");
    if (o.bits && (given || o.interval || o.wide || !o.gain || !takes_bits()))
        return error_set(
            e, HASTEN_EUSAGE,
            "--bits both is for --solver auto, dp or joint with a budget, and not with --wide or "
            "--gain off");
    if (o.streams &&
        (given || o.wide || o.bits || !o.gain || !methods[o.solver].gain || !(o.speedup > 0 || o.max_ms > 0)))
        return error_set(e, HASTEN_EUSAGE,
                         "--streams split is for a budget of time and a solver that weighs errors, and not "
                         "with --bits, --wide or --gain off");
    if (!o.correct && o.predictor > 1)
        return error_set(e, HASTEN_EUSAGE, "--correct off and --predictor contradict each other");
    return 0;
}

static int run(struct work *w, struct error *e)
{
    struct trial *t = NULL;
    struct shard shard;
    if (check_parts(w, &shard, e) < 0)
        return -1;
    if (o.parts.merge)
        return parts_merge_files(w->t, CALIBRATION_KIND, e);
    if ((!o.parts.measure_only && check_options(w, e) < 0) || open_model(w, e) < 0)
        return -1;
    if (o.parts.measure_only)
        return measure_part(w, &shard, e);
    if (o.verify)
        return verify(w, e);
    if (o.import)
        return import(w, e);
    if (open_actions(w, e) < 0 || start_search(w, e) < 0)
        return -1;
    if (!strcmp(methods[o.solver].name, "bac"))
        return blockwise(w, e);
    if (o.front ? show_front(w, &t, e) < 0 : !(t = choose(w, e)))
        return -1;
    snprintf(t->s.model, sizeof t->s.model, "%s", model_id(&w->m));
    snprintf(t->s.sampler, sizeof t->s.sampler, "%s", sampler_short_name(w->config.kind));
    return schedule_report(w, t, &t->s, !o.front || w->t->output != NULL, e);
}

static void release(struct work *w)
{
    search_front_free(w->front, w->points);
    search_close(&w->x);
    cache_schedule_free(&w->s);
    candidates_free(w->list, w->candidates > 0 ? w->candidates + w->wides : 0);
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
    w.o = &o;
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        release(&w);
    }
    return tool_finish(&t, &e);
}
