/* generate --slo: a time per image, kept by choosing among branches. See generate.h and common/method/slo.h.
 */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/file/lines.h"
#include "common/method/slo.h"
#include "common/run/measure.h"
#include "tools/generate.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { BRANCHES = 32, LINE_MOST = 1 << 16 };

/* Steps, schedule and model, open and ready. */
struct branch {
    struct model own; /* where the line names another model */
    struct model *model;
    char *schedule, *path, *profile;
    int64_t steps;
    int owns;
    struct recipe recipe;
    struct weights *weights; /* its own, or those of an earlier branch of the same model */
    int owns_weights;
    struct trajectory *trajectory;
    struct painter *painter;
    int64_t images;
};

struct table {
    struct tool_run *t;
    const struct slo_options *o;
    struct branch branch[BRANCHES];
    double ms[BRANCHES], quality[BRANCHES];
    int count;
    float *latent;
    struct slo slo;
    int64_t made, skipped, met;
};

/* ---- the table ---- */

static int take_text(const cJSON *o, const char *key, char **out, struct error *e)
{
    const char *text;
    if (json_string_or(o, key, NULL, &text, e) < 0)
        return -1;
    return text && !(*out = mem_strdup(text, e)) ? -1 : 0;
}

static int read_branch(struct table *x, const struct line *line, struct error *e)
{
    static const char *const keys[] = {"model", "ms", "profile", "quality", "schedule", "steps"};
    struct branch *b = &x->branch[x->count];
    cJSON *o = json_parse(line->text, line->size, e);
    int status = o ? 0 : -1;
    for (const cJSON *k = o ? o->child : NULL; k && status == 0; k = k->next) {
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && k->string && strcmp(k->string, keys[i]))
            i++;
        if (i == sizeof keys / sizeof *keys)
            status = error_set(
                e, HASTEN_EFILE,
                "unknown key '%.60s'; known are model, ms, profile, quality, schedule and steps", k->string);
    }
    if (status == 0 &&
        (json_double(o, "quality", -1e9, 1e9, &x->quality[x->count], e) < 0 ||
         json_double_or(o, "ms", 1e-6, 1e12, 0, &x->ms[x->count], e) < 0 ||
         json_int_or(o, "steps", 1, 100000, 0, &b->steps, e) < 0 ||
         take_text(o, "schedule", &b->schedule, e) < 0 || take_text(o, "model", &b->path, e) < 0 ||
         take_text(o, "profile", &b->profile, e) < 0))
        status = -1;
    cJSON_Delete(o);
    x->count++; /* what was set is freed in every case */
    return status;
}

static int read_table(struct table *x, struct error *e)
{
    struct lines *l = lines_open(x->o->branches, LINE_MOST, e);
    struct line line;
    int r = l ? 0 : -1;
    while (r >= 0 && (r = lines_next(l, 1, &line, e)) == LINES_LINE) {
        if (line.size == 0 && !line.too_long)
            continue;
        if (x->count == BRANCHES || line.too_long)
            r = error_set(e, HASTEN_EFILE, "more than %d branches, or a line of more than %d bytes", BRANCHES,
                          LINE_MOST);
        else
            r = read_branch(x, &line, e);
        if (r < 0)
            error_under(e, "%s: line %lld", x->o->branches, (long long)line.number);
    }
    lines_close(l);
    return r < 0 ? -1 : x->count ? 0 : error_set(e, HASTEN_EFILE, "%s has no branches", x->o->branches);
}

/* ---- opening ---- */

/* The model of a branch: the operand, that of an earlier line, or its own. */
static int open_model(struct table *x, struct model *operand, struct branch *b, struct error *e)
{
    b->model = operand;
    for (struct branch *c = x->branch; b->path && c < b; c++)
        if (c->owns && !strcmp(c->path, b->path)) {
            b->model = &c->own;
            return 0;
        }
    if (!b->path)
        return 0;
    if (model_open(&b->own, b->path, x->t->memory, x->t->team, e) < 0)
        return -1;
    b->owns = 1;
    b->model = &b->own;
    return 0;
}

static int open_branch(struct table *x, struct model *operand, struct branch *b, struct error *e)
{
    struct recipe_wish w = x->o->wish;
    w.steps = b->steps;
    w.schedule = b->schedule;
    w.dash = "";
    if (open_model(x, operand, b, e) < 0 || recipe_open(&b->recipe, b->model, &w, e) < 0)
        return -1;
    for (const struct branch *c = x->branch; c < b && !b->weights; c++)
        if (c->model == b->model)
            b->weights = c->weights;
    if (!b->weights) {
        b->weights = weights_open(b->recipe.graph, &x->t->backend, NULL, e);
        b->owns_weights = b->weights != NULL;
    }
    b->trajectory = b->weights ? recipe_trajectory(&b->recipe, b->weights, 1, NULL, e) : NULL;
    if (!b->trajectory)
        return -1;
    b->painter = painter_open(x->t, b->model, b->recipe.height, b->recipe.width, e);
    if (!b->painter)
        return -1;
    if (trajectory_size(b->trajectory) != trajectory_size(x->branch[0].trajectory))
        return error_set(e, HASTEN_EFILE, "its latents have another size than those of the first branch");
    return x->latent || (x->latent = mem_array((size_t)trajectory_size(b->trajectory), sizeof(float), e))
               ? 0
               : -1;
}

/* Where the table says no time: the second of two images, the first one compiles. */
static int measure_branch(struct table *x, int b, struct error *e)
{
    struct trajectory_image image = {.seed = (uint64_t)1 << 31};
    double start = 0;
    for (int run = 0; run < 2; run++) {
        start = clock_ms();
        if (trajectory_run(x->branch[b].trajectory, &image, 1, x->latent, e) < 0)
            return -1;
    }
    x->ms[b] = clock_ms() - start;
    return 0;
}

static int open_table(struct table *x, struct model *operand, struct error *e)
{
    if (read_table(x, e) < 0)
        return -1;
    for (int i = 0; i < x->count; i++) {
        struct branch *b = &x->branch[i];
        int status = open_branch(x, operand, b, e);
        if (status == 0 && x->ms[i] <= 0)
            status = b->profile ? recipe_price(&b->recipe, b->trajectory, b->profile, &x->ms[i], e)
                                : measure_branch(x, i, e);
        if (status < 0)
            return error_under(e, "branch %d", i + 1);
    }
    slo_start(&x->slo, x->o->limit, x->ms, x->quality, x->count);
    struct slo first = x->slo;
    if (slo_choose(&first) < 0)
        return error_set(e, HASTEN_EGATE,
                         "no branch keeps to %g ms with a tenth to spare; the fastest takes %.4g ms",
                         x->o->limit, x->ms[slo_fastest(&x->slo)]);
    return 0;
}

static void close_table(struct table *x)
{
    for (int i = x->count - 1; i >= 0; i--) {
        struct branch *b = &x->branch[i];
        painter_close(b->painter);
        trajectory_close(b->trajectory);
        if (b->owns_weights)
            weights_close(b->weights);
        if (b->recipe.model)
            recipe_close(&b->recipe);
        mem_free(b->schedule);
        mem_free(b->profile);
    }
    for (int i = 0; i < x->count; i++) { /* models last: later branches may use earlier ones */
        if (x->branch[i].owns)
            model_close(&x->branch[i].own);
        mem_free(x->branch[i].path);
    }
    mem_free(x->latent);
}

/* ---- running ---- */

static struct recipe_image image_of(const struct table *x, int64_t i)
{
    const struct slo_options *o = x->o;
    int classes = x->branch[0].model->sampler.classes;
    int label = o->class_count ? (int)o->classes[(size_t)i % o->class_count]
                : classes      ? (int)(i % classes)
                               : 0;
    return (struct recipe_image){.seed = x->t->seed + (uint64_t)i, .label = label};
}

/* Finished by any of the branches? */
static int is_there(struct table *x, struct exhibit *exhibit, struct error *e)
{
    int has = 0;
    for (int b = 0; has == 0 && b < x->count; b++) {
        exhibit->recipe = &x->branch[b].recipe;
        has = gallery_has(x->o->gallery, exhibit, e);
    }
    return has;
}

static int make(struct table *x, struct exhibit *exhibit, struct error *e)
{
    int last = x->slo.current, best = slo_choose(&x->slo), chosen = best < 0 ? slo_fastest(&x->slo) : best;
    struct branch *b = &x->branch[chosen];
    struct image picture = {0};
    struct trajectory_image image = {.seed = exhibit->image.seed, .label = exhibit->image.label};
    if (chosen != last)
        tool_note(x->t, "%s: %d steps%s%s, %.4g ms in the table, load %.2f", exhibit->name, b->recipe.steps,
                  b->schedule ? ", schedule " : "", b->schedule ? b->schedule : "", x->ms[chosen],
                  x->slo.load);
    double start = clock_ms();
    exhibit->recipe = &b->recipe;
    int status = trajectory_run(b->trajectory, &image, 1, x->latent, e);
    if (status == 0)
        status = painter_paint(b->painter, x->latent, &picture, e);
    if (status == 0)
        status = gallery_put(x->o->gallery, exhibit, &picture, NULL, e);
    image_free(&picture);
    double took = clock_ms() - start;
    slo_feed(&x->slo, chosen, took);
    b->images++;
    x->made++;
    x->met += took <= x->o->limit;
    return status;
}

static int run(struct table *x, struct error *e)
{
    char name[32], path[PATH_MAX];
    for (int64_t i = 0; i < x->o->count; i++) {
        if (!shard_has(&x->o->shard, i))
            continue;
        snprintf(name, sizeof name, "%06lld.png", (long long)i);
        snprintf(path, sizeof path, "%s/%s", x->o->folder, name);
        struct exhibit exhibit = {path, name, NULL, image_of(x, i)};
        int has = is_there(x, &exhibit, e);
        if (has < 0 || (!has && make(x, &exhibit, e) < 0))
            return -1;
        x->skipped += has;
        tool_progress(x->t, "generate", (double)(i + 1), (double)x->o->count);
    }
    tool_progress_end(x->t);
    return 0;
}

static int say(struct table *x, struct error *e)
{
    struct buf text = {0};
    cJSON *o = json_new_object(e), *list = o ? json_add_array(o, "branches", e) : NULL;
    json_add_int(o, "count", x->made + x->skipped, e);
    json_add_int(o, "skipped", x->skipped, e);
    json_add_int(o, "met", x->met, e);
    json_add_double(o, "limit_ms", x->o->limit, e);
    json_add_double(o, "load", x->slo.load, e);
    buf_printf(&text, e, "%lld of %lld images within %g ms, load %.2f\n", (long long)x->met,
               (long long)x->made, x->o->limit, x->slo.load);
    for (int i = 0; i < x->count; i++) {
        const struct branch *b = &x->branch[i];
        cJSON *k = list ? json_push_object(list, e) : NULL;
        json_add_int(k, "steps", b->recipe.steps, e);
        json_add_double(k, "ms", x->ms[i], e);
        json_add_double(k, "quality", x->quality[i], e);
        json_add_int(k, "images", b->images, e);
        if (b->schedule)
            json_add_string(k, "schedule", b->schedule, e);
        if (b->path)
            json_add_string(k, "model", b->path, e);
        buf_printf(&text, e, "%6lld images: %d steps%s%s%s%s, %.4g ms, quality %g\n", (long long)b->images,
                   b->recipe.steps, b->schedule ? ", " : "", b->schedule ? b->schedule : "",
                   b->path ? ", " : "", b->path ? b->path : "", x->ms[i], x->quality[i]);
    }
    int status = e->code ? -1 : tool_report(x->t, text.data, o, 0, e);
    cJSON_Delete(o);
    buf_free(&text);
    return status;
}

int generate_slo(struct tool_run *t, struct model *m, const struct slo_options *o, struct error *e)
{
    struct table *x = mem_array(1, sizeof *x, e);
    if (!x)
        return -1;
    x->t = t;
    x->o = o;
    int status = open_table(x, m, e);
    if (status == 0)
        status = run(x, e);
    if (status == 0)
        status = say(x, e);
    close_table(x);
    mem_free(x);
    return status;
}
