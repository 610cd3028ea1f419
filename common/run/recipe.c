/* See recipe.h. */
#include "common/run/recipe.h"
#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/num.h"
#include "common/file/diffusers.h"

#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static int read_sampler(struct recipe *r, const struct recipe_wish *w, struct error *e)
{
    const struct model_sampler *s = &r->model->sampler;
    struct buf text = {0};
    if (!s->present && !w->sampler_config)
        return error_set(e, HASTEN_EFILE, "the model has no sampler; give one with --sampler-config");
    cJSON *own = w->sampler_config ? json_read_file(w->sampler_config, e) : NULL;
    int status = e->code ? -1 : sampler_config_read(&r->config, own ? own : s->config, w->sampler, e);
    if (status == 0 && own && (status = json_write(&text, own, e)) == 0)
        hash_hex(hash_bytes(text.data, text.size), r->config_id);
    buf_free(&text);
    cJSON_Delete(own);
    return status;
}

static int read_settings(struct recipe *r, const struct recipe_wish *w, struct error *e)
{
    const struct model_sampler *s = &r->model->sampler;
    r->single_generator = w->single_generator;
    r->steps = w->steps ? (int)w->steps : s->steps;
    r->guidance = w->has_guidance ? w->guidance : s->guidance;
    r->eta = w->eta;
    if (w->has_guidance && w->guidance > 1 && s->null_class < 0)
        return error_set(e, HASTEN_EUSAGE, "%sguidance %g: the model has no null class", w->dash,
                         w->guidance);
    if (s->null_class < 0)
        r->guidance = 1;
    if (w->eta > 0 && r->config.kind != SAMPLER_DDIM)
        return error_set(e, HASTEN_EUSAGE, "%seta is for ddim, the sampler is %s", w->dash,
                         sampler_short_name(r->config.kind));
    return 0;
}

/* The latent's size: a size that is asked for is the picture's where there is a decoder. */
static int read_size(struct recipe *r, const struct recipe_wish *w, struct error *e)
{
    const struct graph *decoder = model_component(r->model, "decoder");
    char what[16];
    snprintf(what, sizeof what, "%ssize", w->dash);
    r->height = r->model->image.height;
    r->width = r->model->image.width;
    if (w->size && num_pair(what, w->size, 16384, &r->width, &r->height, e) < 0)
        return -1;
    if (decoder && w->size) {
        int out = graph_find_output(decoder, "sample");
        int factor = out < 0 ? 1 : decoder->node[out].shape.height / decoder->node[0].shape.height;
        if (factor < 1 || r->width % factor || r->height % factor)
            return error_set(e, HASTEN_EUSAGE, "%s must be a multiple of %d", what, factor);
        r->width /= factor;
        r->height /= factor;
    }
    return w->size ? model_resize(r->model, r->graph, what, r->height, r->width, e)
                   : graph_infer(r->graph, r->height, r->width, model_find, r->model, e);
}

static int read_schedule(struct recipe *r, const struct recipe_wish *w, struct error *e)
{
    if (!w->schedule)
        return 0;
    if (cache_schedule_read(&r->schedule, w->schedule, e) < 0)
        return -1;
    r->has_schedule = 1;
    const char *id = model_id(r->model);
    if (id && strcmp(r->schedule.model, id))
        return error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s; run cache-schedule again",
                         w->schedule, r->schedule.model, id);
    if (strcmp(r->schedule.sampler, sampler_short_name(r->config.kind)))
        return error_set(e, HASTEN_EFILE, "%s was made for the sampler %s, this run uses %s", w->schedule,
                         r->schedule.sampler, sampler_short_name(r->config.kind));
    if (!w->steps)
        r->steps = r->schedule.steps;
    if (!w->has_guidance)
        r->guidance = r->schedule.guidance;
    return cache_schedule_bind(&r->schedule, r->graph, e);
}

int recipe_open(struct recipe *r, struct model *m, const struct recipe_wish *w, struct error *e)
{
    const struct graph *denoiser = model_component(m, "denoiser");
    *r = (struct recipe){.model = m};
    if (!denoiser)
        return error_set(e, HASTEN_EFILE, "%s has no component 'denoiser'; run one with --once --component",
                         m->file ? m->file->name : "the model");
    r->graph = graph_copy(denoiser, e);
    if (r->graph && read_sampler(r, w, e) == 0 && read_settings(r, w, e) == 0 && read_size(r, w, e) == 0 &&
        read_schedule(r, w, e) == 0)
        return 0;
    recipe_close(r);
    return -1;
}

void recipe_close(struct recipe *r)
{
    if (r->has_schedule)
        cache_schedule_free(&r->schedule);
    sampler_config_free(&r->config);
    graph_close(r->graph);
    *r = (struct recipe){0};
}

struct trajectory *recipe_trajectory(struct recipe *r, const struct weights *w, int batch,
                                     const struct trajectory_watch *watch, struct error *e)
{
    struct trajectory_options x = {
        .graph = r->graph,
        .weights = w,
        .sampler = &r->config,
        .model = &r->model->sampler,
        .run = {.steps = r->steps, .eta = r->eta, .seq_len = r->height * r->width},
        .batch = batch,
        .guidance = r->guidance,
        .watch = watch,
        .schedule = r->has_schedule ? &r->schedule : NULL,
        .single_generator = r->single_generator,
    };
    return trajectory_open(&x, e);
}

/* ---- describing ---- */

static int add_seed(cJSON *o, uint64_t seed, struct error *e)
{
    char text[24];
    if (seed <= (uint64_t)1 << 53)
        return json_add_int(o, "seed", (int64_t)seed, e);
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_add_string(o, "seed", text, e);
}

cJSON *recipe_describe(const struct recipe *r, const struct recipe_image *i, struct error *e)
{
    const struct model_sampler *s = &r->model->sampler;
    char size[32];
    cJSON *o = json_new_object(e);
    snprintf(size, sizeof size, "%dx%d", r->width, r->height);
    add_seed(o, i->seed, e);
    json_add_int(o, "steps", r->steps, e);
    json_add_double(o, "guidance", r->guidance, e);
    json_add_string(o, "sampler", sampler_short_name(r->config.kind), e);
    json_add_string(o, "size", size, e);
    if (model_id(r->model))
        json_add_string(o, "model", model_id(r->model), e);
    if (s->classes)
        json_add_int(o, "class", i->label, e);
    if (i->has_negative)
        json_add_int(o, "negative", i->negative, e);
    if (r->has_schedule)
        json_add_string(o, "schedule", r->schedule.id, e);
    if (*r->config_id)
        json_add_string(o, "sampler_config", r->config_id, e);
    if (r->eta > 0)
        json_add_double(o, "eta", r->eta, e);
    if (r->single_generator)
        json_add_bool(o, "single_generator", 1, e);
    if (i->own_noise)
        json_add_bool(o, "own_noise", 1, e);
    if (!e->code)
        return o;
    cJSON_Delete(o);
    return NULL;
}

char *recipe_text(const struct recipe *r, const struct recipe_image *i, struct error *e)
{
    cJSON *o = recipe_describe(r, i, e);
    struct buf b = {0};
    char number[NUM_TEXT];
    for (const cJSON *x = o ? o->child : NULL; x; x = x->next) {
        const char *value = cJSON_IsString(x) ? x->valuestring : cJSON_IsTrue(x) ? "yes" : number;
        if (cJSON_IsNumber(x))
            num_text(x->valuedouble, number);
        buf_printf(&b, e, "%s%s %s", b.size ? ", " : "", x->string, value);
    }
    cJSON_Delete(o);
    char *text = !e->code ? mem_strdup(b.data, e) : NULL;
    buf_free(&b);
    return text;
}
