/* prune: leave out residual branches and whole blocks that the results hardly need. */
#include "common/base/json.h"
#include "common/graph/branches.h"
#include "common/method/latent_score.h"
#include "common/method/prune_select.h"
#include "common/run/measure.h"
#include "common/run/profile.h"
#include "tools/tool.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SCORE_LATENT, SCORE_MAGNITUDE, SCORE_RANDOM };

static struct {
    double speedup, max_ms, min_psnr;
    struct tool_list remove;
    const char *profile;
    int score;
    int64_t seeds, calls, validate;
} o = {.seeds = 16, .calls = 10, .validate = 4};

static const struct tool_option options[] = {
    {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 100,
     .help = "make one network call this much faster"},
    {"max-ms", 0, "MS", OPTION_DOUBLE, &o.max_ms, .min = 0, .max = 1e12, .help = "... or as fast as this"},
    {"remove", 0, "PATTERN", OPTION_LIST, &o.remove, .help = "... or remove the branches whose names match"},
    {"profile", 0, "FILE", OPTION_TEXT, &o.profile,
     .help = "milliseconds of the parts (default: measured here)"},
    {"score", 0, "NAME", OPTION_CHOICE, &o.score, .choices = "latent magnitude random",
     .help = "latent (default), magnitude or random"},
    {"seeds", 0, "N", OPTION_INT, &o.seeds, .min = 2, .max = 10000,
     .help = "seeds of the latent score (default 16)"},
    {"calls", 0, "N", OPTION_INT, &o.calls, .min = 1, .max = 1000,
     .help = "sampling steps of the latent score (default 10)"},
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 0, .max = 10000,
     .help = "validation images (default 4)"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998,
     .help = "fail (exit 3) below this PSNR of final latents"},
    {0}};

static const struct tool tool = {"prune",
                                 "MODEL",
                                 "Leave out the parts that matter least for the time they take.",
                                 options,
                                 TOOL_DATA | TOOL_RUNS | TOOL_SEED | TOOL_FORCE,
                                 "prune model.zst --speedup 1.15 -o pruned.zst"};

struct unit {
    char name[128];
    unsigned char *adds; /* nodes whose skip takes their place */
    unsigned char *gone; /* nodes that are not needed without it */
    double score, ms;
    int parent, removed;
};

struct work {
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct branch_list branches;
    struct unit *unit;
    int units;
    float *reference;
    int64_t size;
    double full_ms, after_ms, predicted_ms;
    struct quality quality;
};

/* ---- units ---- */

static struct unit *add_unit(struct work *w, struct error *e)
{
    struct unit *u = &w->unit[w->units];
    *u = (struct unit){.parent = -1};
    u->adds = mem_array((size_t)w->g->count + 1, 1, e);
    u->gone = mem_array((size_t)w->g->count + 1, 1, e);
    if (!u->adds || !u->gone)
        return NULL;
    w->units++;
    return u;
}

/* A copy of the graph without what is marked. */
static struct graph *without(const struct work *w, const unsigned char *adds, struct error *e)
{
    struct graph *g = graph_copy(w->g, e);
    /* From the last on: the skip of a later branch may be the sum of an earlier one that goes as well. */
    for (int i = w->branches.count - 1; g && i >= 0; i--) {
        const struct branch *b = &w->branches.branch[i];
        if (adds[b->add] && graph_redirect(g, b->add, b->skip, e) < 0) {
            graph_close(g);
            return NULL;
        }
    }
    return g;
}

/* Which nodes are needed before and not after. */
static int mark_gone(const struct work *w, struct unit *u, struct error *e)
{
    struct graph *g = without(w, u->adds, e);
    unsigned char *live = mem_array((size_t)w->g->count + 1, 1, e),
                  *before = mem_array((size_t)w->g->count + 1, 1, e);
    int want[GRAPH_MAX_OUTPUTS], status = g && live && before ? 0 : -1;
    for (int i = 0; status == 0 && i < g->outputs; i++)
        want[i] = w->g->output[i].node;
    if (status == 0) {
        graph_live(w->g, want, w->g->outputs, NULL, before);
        for (int i = 0; i < g->outputs; i++)
            want[i] = g->output[i].node;
        graph_live(g, want, g->outputs, NULL, live);
        for (int i = 0; i < w->g->count; i++)
            u->gone[i] = before[i] && !live[i];
    }
    mem_free(live);
    mem_free(before);
    graph_close(g);
    return status;
}

/* Each block with at least two branches is a unit, then each branch. The first and the last block stay. */
static int find_units(struct work *w, struct error *e)
{
    if (graph_branches(w->g, &w->branches, e) < 0)
        return -1;
    struct branch_list *b = &w->branches;
    w->unit = mem_array((size_t)(2 * b->count) + 1, sizeof *w->unit, e);
    int *parent = mem_array((size_t)b->blocks + 1, sizeof *parent, e), status = w->unit && parent ? 0 : -1;
    int guard = b->blocks >= 4 && !o.remove.count;
    for (int block = 0; status == 0 && block < b->blocks; block++) {
        int members = 0, first = -1;
        parent[block] = -1;
        for (int i = 0; i < b->count; i++)
            if (b->branch[i].block == block && members++ == 0)
                first = i;
        if (members < 2 || o.remove.count || (guard && (block == 0 || block == b->blocks - 1)))
            continue;
        struct unit *u = add_unit(w, e);
        if (!u) {
            status = -1;
            break;
        }
        parent[block] = w->units - 1;
        snprintf(u->name, sizeof u->name, "block %d (%.80s ...)", block,
                 w->g->node[b->branch[first].value].name);
        for (int i = 0; i < b->count; i++)
            if (b->branch[i].block == block)
                u->adds[b->branch[i].add] = 1;
    }
    for (int i = 0; status == 0 && i < b->count; i++) {
        if (guard && (b->branch[i].block == 0 || b->branch[i].block == b->blocks - 1))
            continue;
        struct unit *u = add_unit(w, e);
        if (!u) {
            status = -1;
            break;
        }
        u->parent = parent[b->branch[i].block];
        u->adds[b->branch[i].add] = 1;
        snprintf(u->name, sizeof u->name, "%.127s", w->g->node[b->branch[i].value].name);
    }
    for (int i = 0; status == 0 && i < w->units; i++)
        status = mark_gone(w, &w->unit[i], e);
    mem_free(parent);
    if (status == 0 && w->units == 0)
        status = error_set(e, HASTEN_EFILE, "the model has no residual branch that could be left out");
    return status;
}

/* ---- scores and milliseconds ---- */

static int latents_of(struct work *w, const struct graph *g, int count, int steps, uint64_t seed, float **out,
                      struct error *e)
{
    struct measure x = {
        .model = &w->m, .graph = g, .backend = &w->t->backend, .count = count, .steps = steps, .seed = seed};
    return measure_latents(&x, out, NULL, &w->size, e);
}

static int stats_of(const float *latents, int count, int64_t size, struct latent_stats *s, struct error *e)
{
    if (latent_open(size, s, e) < 0)
        return -1;
    for (int i = 0; i < count; i++)
        if (latent_add(s, latents + i * size, e) < 0)
            return -1;
    return 0;
}

static int latent_scores(struct work *w, struct error *e)
{
    struct latent_stats whole = {0}, part = {0};
    float *reference = NULL, *got = NULL;
    int count = (int)o.seeds, status;
    double start = clock_ms();
    status = latents_of(w, w->g, count, (int)o.calls, CALIBRATION_SEED, &reference, e);
    if (status == 0) {
        tool_warn(w->t, "scoring %d parts takes about %.0f s", w->units,
                  w->units * (clock_ms() - start) / 1000);
        status = stats_of(reference, count, w->size, &whole, e);
    }
    for (int i = 0; status == 0 && i < w->units; i++) {
        struct graph *g = without(w, w->unit[i].adds, e);
        status = g && graph_infer(g, 0, 0, model_find, &w->m, e) == 0
                     ? latents_of(w, g, count, (int)o.calls, CALIBRATION_SEED, &got, e)
                     : -1;
        if (status == 0)
            status = stats_of(got, count, w->size, &part, e);
        if (status == 0)
            w->unit[i].score = latent_score(&whole, &part);
        latent_free(&part);
        mem_free(got);
        got = NULL;
        graph_close(g);
        tool_progress(w->t, "score", i + 1, w->units);
    }
    tool_progress_end(w->t);
    latent_free(&whole);
    mem_free(reference);
    return status;
}

/* Sum of squares of all weights that vanish. */
static void magnitude_scores(struct work *w)
{
    for (int i = 0; i < w->units; i++)
        for (int n = 0; n < w->g->count; n++)
            for (int s = 0; w->unit[i].gone[n] && s < GRAPH_MAX_WEIGHTS; s++) {
                const struct tensor *t = w->g->node[n].tensor[s];
                for (size_t k = 0; t && t->dtype == DTYPE_F32 && k < t->count; k++)
                    w->unit[i].score += (double)((const float *)t->data)[k] * ((const float *)t->data)[k];
                for (size_t k = 0; t && t->dtype == DTYPE_F16 && k < t->count; k++) {
                    float v;
                    tensor_to_f32(DTYPE_F16, (const char *)t->data + 2 * k, &v, 1);
                    w->unit[i].score += (double)v * v;
                }
            }
}

static void random_scores(struct work *w)
{
    uint64_t x = w->t->seed + 0x9e3779b97f4a7c15u;
    for (int i = 0; i < w->units; i++) {
        x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
        w->unit[i].score = (double)((x * 0x2545f4914f6cdd1du) >> 11) * 0x1p-53;
    }
}

/* One call of a graph: the sum of its kernels' medians, which a disturbance in one place hardly moves.
 * kernel_ms: room for the plan's calls, given back with the plan. */
struct timed_graph {
    struct weights *weights;
    struct timed *timed;
    struct plan *plan;
    double *kernel, ms;
};

static int time_graph(struct work *w, const struct graph *g, struct timed_graph *x, struct error *e)
{
    *x = (struct timed_graph){.weights = weights_open(g, &w->t->backend, NULL, e)};
    struct timing t = {.graph = g, .weights = x->weights, .batch = 1, .repeats = 15};
    double call;
    x->timed = x->weights ? timed_open(&t, 0, NULL, NULL, e) : NULL;
    x->plan = x->timed ? engine_plan(timed_engine(x->timed), 0, 0, 1, e) : NULL;
    x->kernel = x->plan ? mem_array((size_t)x->plan->calls + 1, sizeof *x->kernel, e) : NULL;
    if (!x->kernel || timed_run(x->timed, 0, &call, NULL, x->kernel, NULL, e) < 0)
        return -1;
    for (int c = 0; c < x->plan->calls; c++)
        x->ms += x->kernel[c];
    return 0;
}

static void free_timed(struct timed_graph *x)
{
    mem_free(x->kernel);
    timed_close(x->timed);
    weights_close(x->weights);
}

/* From a profile, or from this model's own kernels timed here: what vanishes with each unit. */
static int price_units(struct work *w, struct error *e)
{
    unsigned char **gone = mem_array((size_t)w->units + 1, sizeof *gone, e);
    double *ms = mem_array((size_t)w->units + 1, sizeof *ms, e);
    int status = gone && ms ? 0 : -1;
    for (int i = 0; status == 0 && i < w->units; i++)
        gone[i] = w->unit[i].gone;
    if (status == 0 && o.profile) {
        status = profile_savings(o.profile, model_id(&w->m), w->g, gone, w->units, ms, &w->full_ms, e);
    } else if (status == 0) {
        struct timed_graph x;
        status = time_graph(w, w->g, &x, e);
        for (int c = 0; status == 0 && c < x.plan->calls; c++)
            for (int i = 0; i < w->units; i++) {
                const struct kernel_call *call = &x.plan->call[c];
                int vanishes = call->covered > 0;
                for (int n = 0; n < call->covered; n++)
                    vanishes &= gone[i][x.plan->cover[call->covers + n]];
                ms[i] += vanishes ? x.kernel[c] : 0;
            }
        w->full_ms = x.ms;
        free_timed(&x);
    }
    for (int i = 0; status == 0 && i < w->units; i++)
        w->unit[i].ms = ms[i];
    mem_free(gone);
    mem_free(ms);
    return status;
}

/* ---- choosing ---- */

static int choose_by_name(struct work *w, struct error *e)
{
    int found = 0;
    for (int p = 0; p < o.remove.count; p++) {
        int hits = 0;
        for (int i = 0; i < w->units; i++)
            if (fnmatch(o.remove.item[p], w->unit[i].name, 0) == 0)
                w->unit[i].removed = 1, hits++;
        if (!hits)
            return error_set(e, HASTEN_EUSAGE, "--remove '%s' matches no branch; the first is '%s'",
                             o.remove.item[p], w->unit[0].name);
        found += hits;
    }
    return found ? 0 : -1;
}

static int choose_by_time(struct work *w, struct error *e)
{
    double target = o.speedup > 0 ? w->full_ms / o.speedup : o.max_ms, cut = 1 - target / w->full_ms;
    struct prune_unit *units = mem_array((size_t)w->units + 1, sizeof *units, e);
    unsigned char *removed = mem_array((size_t)w->units + 1, 1, e);
    struct prune_choice choice;
    int status = units && removed ? 0 : -1;
    if (status == 0 && cut > 0.3 && !w->t->force)
        status =
            error_set(e, HASTEN_EGATE,
                      "leaving out %.0f %% of the time ruins most models; give --force to go on", 100 * cut);
    else if (cut > 0.2)
        tool_warn(w->t, "leaving out %.0f %% of the time costs much quality", 100 * cut);
    for (int i = 0; status == 0 && i < w->units; i++)
        units[i] = (struct prune_unit){w->unit[i].score, w->unit[i].ms, w->unit[i].parent};
    if (status == 0)
        status = prune_select(units, w->units, w->full_ms - target, removed, &choice, e);
    for (int i = 0; status == 0 && i < w->units; i++)
        w->unit[i].removed = removed[i];
    mem_free(units);
    mem_free(removed);
    return status;
}

static int apply(struct work *w, struct error *e)
{
    unsigned char *adds = mem_array((size_t)w->g->count + 1, 1, e);
    if (!adds)
        return -1;
    w->predicted_ms = w->full_ms;
    for (int i = 0; i < w->units; i++)
        for (int n = 0; w->unit[i].removed && n < w->g->count; n++)
            adds[n] |= w->unit[i].adds[n];
    for (int i = 0; i < w->units; i++)
        w->predicted_ms -= w->unit[i].removed ? w->unit[i].ms : 0;
    int status = 0;
    for (int i = w->branches.count - 1; status == 0 && i >= 0; i--)
        if (adds[w->branches.branch[i].add])
            status = graph_redirect(w->g, w->branches.branch[i].add, w->branches.branch[i].skip, e);
    mem_free(adds);
    if (status == 0)
        status = graph_sweep(w->g, e);
    return status == 0 ? graph_infer(w->g, 0, 0, model_find, &w->m, e) : -1;
}

/* ---- report ---- */

static int report(struct work *w, struct error *e)
{
    struct buf b = {0};
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "removed", e) : NULL;
    int status = list ? 0 : -1;
    for (int i = 0; status == 0 && i < w->units; i++) {
        const struct unit *u = &w->unit[i];
        if (!u->removed)
            continue;
        cJSON *k = json_push_object(list, e);
        buf_printf(&b, e, "removed %-56s score %.4g, %.3f ms\n", u->name, u->score, u->ms);
        status = !k || json_add_string(k, "name", u->name, e) < 0 ||
                         json_add_double(k, "score", u->score, e) < 0 ||
                         json_add_double(k, "ms", u->ms, e) < 0
                     ? -1
                     : 0;
    }
    buf_printf(&b, e, "one call: %.3f ms before, %.3f predicted, %.3f measured (%.2fx)\n", w->full_ms,
               w->predicted_ms, w->after_ms, w->full_ms / w->after_ms);
    if (w->reference)
        buf_printf(&b, e, "final latents on %lld validation seeds: relative L2 %.4f, PSNR %.2f dB\n",
                   (long long)o.validate, w->quality.rel_l2, w->quality.psnr);
    if (status == 0 && (json_add_double(j, "ms_before", w->full_ms, e) < 0 ||
                        json_add_double(j, "ms_predicted", w->predicted_ms, e) < 0 ||
                        json_add_double(j, "ms_after", w->after_ms, e) < 0 ||
                        (w->reference && (json_add_double(j, "rel_l2", w->quality.rel_l2, e) < 0 ||
                                          json_add_double(j, "psnr_db", w->quality.psnr, e) < 0))))
        status = -1;
    if (status == 0)
        status = tool_report(w->t, b.data, j, tool_stdout_is_data(w->t), e);
    cJSON_Delete(j);
    buf_free(&b);
    return status;
}

static cJSON *removed_names(const struct work *w, struct error *e)
{
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "removed", e) : NULL;
    for (int i = 0; list && i < w->units; i++)
        if (w->unit[i].removed && json_push_string(list, w->unit[i].name, e) < 0)
            break;
    return j;
}

static int time_after(struct work *w, struct error *e)
{
    struct timed_graph x;
    int status = time_graph(w, w->g, &x, e);
    w->after_ms = x.ms;
    free_timed(&x);
    return status;
}

static int validate(struct work *w, float **out, struct error *e)
{
    int steps = w->m.sampler.steps < 20 ? w->m.sampler.steps : 20;
    return o.validate && w->m.sampler.present
               ? latents_of(w, w->g, (int)o.validate, steps, VALIDATION_SEED, out, e)
               : 0;
}

static int run(struct work *w, struct error *e)
{
    const char *path = tool_input(w->t, e);
    float *got = NULL;
    int status = -1;
    if ((o.speedup > 0) + (o.max_ms > 0) + (o.remove.count > 0) != 1)
        return error_set(e, HASTEN_EUSAGE, "give one of --speedup, --max-ms and --remove");
    if (!path || model_open(&w->m, path, w->t->memory, w->t->team, e) < 0)
        return -1;
    w->g = model_component(&w->m, "denoiser");
    if (!w->g || !w->m.sampler.present)
        return error_set(e, HASTEN_EFILE, "%s has no denoiser with a sampler", path);
    if (find_units(w, e) < 0 || price_units(w, e) < 0 || validate(w, &w->reference, e) < 0)
        return -1;
    if (!o.remove.count && o.score == SCORE_LATENT && latent_scores(w, e) < 0)
        return -1;
    if (o.score == SCORE_MAGNITUDE)
        magnitude_scores(w);
    else if (o.score == SCORE_RANDOM)
        random_scores(w);
    if ((o.remove.count ? choose_by_name(w, e) : choose_by_time(w, e)) < 0)
        return -1;
    cJSON *names = removed_names(w, e);
    if (!names || apply(w, e) < 0 || time_after(w, e) < 0 || validate(w, &got, e) < 0) {
        cJSON_Delete(names);
        goto out;
    }
    if (got)
        measure_quality(w->reference, got, (int)o.validate, w->size, &w->quality);
    if (o.min_psnr > 0 && got && w->quality.psnr < o.min_psnr && !w->t->force) {
        cJSON_Delete(names);
        error_set(e, HASTEN_EGATE, "PSNR of the final latents is %.2f dB, --min-psnr asks for %.2f",
                  w->quality.psnr, o.min_psnr);
        goto out;
    }
    if (model_provenance(&w->m, "prune", HASTEN_VERSION, names, e) < 0)
        goto out;
    model_drop_unused(&w->m);
    if (model_write(&w->m, w->t->output, w->t->team, NULL, e) == 0)
        status = report(w, e);
out:
    mem_free(got);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct work w = {.t = &t};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        for (int i = 0; i < w.units; i++) {
            mem_free(w.unit[i].adds);
            mem_free(w.unit[i].gone);
        }
        mem_free(w.unit);
        mem_free(w.branches.branch);
        mem_free(w.reference);
        model_close(&w.m);
    }
    return tool_finish(&t, &e);
}
