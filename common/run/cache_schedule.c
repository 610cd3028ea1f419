/* See cache_schedule.h. */
#include "common/run/cache_schedule.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

int cache_schedule_new(struct cache_schedule *s, int calls, struct error *e)
{
    *s = (struct cache_schedule){.calls = calls, .guidance = 1};
    for (int i = 0; i < SCHEDULE_STREAMS; i++)
        if (!(s->choice[i] = mem_array((size_t)calls, sizeof(int), e)))
            return -1;
    return cache_schedule_add(s, "full", NULL, 0, e) == 0 ? 0 : -1;
}

int cache_schedule_add(struct cache_schedule *s, const char *name, const char *const *serve, int serves,
                       struct error *e)
{
    if (s->actions == SCHEDULE_MAX_ACTIONS)
        return error_set(e, HASTEN_EFILE, "more than %d actions", SCHEDULE_MAX_ACTIONS - 1);
    struct cache_action *a = &s->action[s->actions];
    size_t n = (size_t)serves + 1;
    a->name = mem_strdup(name, e);
    a->serve = mem_array(n, sizeof *a->serve, e);
    a->correct = mem_array(n, sizeof *a->correct, e);
    a->base = mem_array(n, sizeof *a->base, e);
    a->channels = mem_array(n, sizeof *a->channels, e);
    a->anchors = mem_array(n, sizeof *a->anchors, e);
    if (!a->name || !a->serve || !a->base || !a->correct || !a->channels || !a->anchors)
        return -1;
    for (int i = 0; i < serves; i++, a->serves++)
        if (!(a->serve[i] = mem_strdup(serve[i], e)))
            return -1;
    return s->actions++;
}

int cache_schedule_base(struct cache_schedule *s, int action, int serve, const char *base, struct error *e)
{
    mem_free(s->action[action].base[serve]);
    s->action[action].base[serve] = mem_strdup(base, e);
    return s->action[action].base[serve] ? 0 : -1;
}

void cache_schedule_free(struct cache_schedule *s)
{
    for (int a = 0; a < SCHEDULE_MAX_ACTIONS; a++) {
        struct cache_action *x = &s->action[a];
        for (int i = 0; i < x->serves; i++) {
            mem_free(x->serve[i]);
            mem_free(x->base[i]);
            mem_free(x->correct[i]);
        }
        mem_free(x->name);
        mem_free(x->serve);
        mem_free(x->correct);
        mem_free(x->base);
        mem_free(x->channels);
        mem_free(x->anchors);
        mem_free(x->served);
        mem_free(x->predictor);
    }
    for (int i = 0; i < SCHEDULE_STREAMS; i++)
        mem_free(s->choice[i]);
    cJSON_Delete(s->claims);
    *s = (struct cache_schedule){0};
}

/* A trigger's node must be made anew in every action: nothing that it depends on may be served. */
static int check_probe(const struct cache_schedule *s, const struct graph *g, struct error *e)
{
    const struct trigger_rule *rule = &s->trigger;
    unsigned char *needed = rule->signal == TRIGGER_NODE ? mem_array((size_t)g->count + 1, 1, e) : NULL;
    int status = 0;
    if (rule->signal != TRIGGER_NODE)
        return 0;
    if (!needed)
        return -1;
    needed[rule->index] = 1;
    for (int i = rule->index; i >= 0 && status == 0; i--) {
        for (int k = 0; needed[i] && k < g->node[i].inputs; k++)
            if (g->node[i].in[k] >= 0)
                needed[g->node[i].in[k]] = 1;
        for (int a = 1; needed[i] && a < s->actions; a++)
            if (s->action[a].served[i])
                status = error_set(e, HASTEN_EFILE,
                                   "the trigger reads '%s', which depends on '%s', and that is served",
                                   rule->node, g->node[i].name);
    }
    mem_free(needed);
    return status;
}

static int bind_trigger(struct cache_schedule *s, const struct graph *g, struct error *e)
{
    struct trigger_rule *rule = &s->trigger;
    if (!rule->signal)
        return 0;
    if (s->actions - 1 > (rule->signal == TRIGGER_NODE ? 1 : TRIGGER_ACTIONS))
        return error_set(e, HASTEN_EFILE,
                         "the schedule has a trigger and %d actions that serve: %d is possible",
                         s->actions - 1, rule->signal == TRIGGER_NODE ? 1 : TRIGGER_ACTIONS);
    rule->index = rule->signal == TRIGGER_NODE ? graph_find(g, rule->node) : -1;
    if (rule->signal == TRIGGER_NODE && rule->index < 0)
        return error_set(e, HASTEN_EFILE, "the trigger reads '%s', which the model does not have",
                         rule->node);
    return 0;
}

int cache_schedule_widen(struct cache_schedule *s, int n, struct error *e)
{
    int wide = n > 0 ? cache_schedule_add(s, "full, wide", NULL, 0, e) : 0;
    if (wide < 0)
        return -1;
    for (int i = 0; i < SCHEDULE_STREAMS && n > 0; i++)
        for (int t = 0, done = 0; t < s->calls && done < n; t++)
            if (s->choice[i][t] == 0) {
                s->choice[i][t] = wide;
                done++;
            }
    s->action[wide].wide = n > 0;
    return 0;
}

int cache_schedule_difference(const struct cache_schedule *s)
{
    int a = s->actions - 1;
    while (a > 0 && !s->action[a].difference)
        a--;
    return a > 0 ? a : 0;
}

/* The difference of the streams is one of outputs, and only the second has it. */
static int check_difference(const struct cache_schedule *s, const struct graph *g, struct error *e)
{
    int difference = cache_schedule_difference(s), out = graph_find_output(g, "sample");
    const struct cache_action *x = &s->action[difference];
    if (!difference)
        return 0;
    if (s->trigger.signal)
        return error_set(e, HASTEN_EFILE, "a trigger decides for both streams, so action '%s' cannot be",
                         x->name);
    if (x->serves != 1 || x->base[0] || x->wide || out < 0 || !x->served[out])
        return error_set(e, HASTEN_EFILE, "action '%s' must serve the model's output and nothing else",
                         x->name);
    for (int t = 0; t < s->calls; t++)
        if (s->choice[0][t] == difference)
            return error_set(e, HASTEN_EFILE, "call %d of stream 0 has action '%s', which is for stream 1", t,
                             x->name);
    for (int a = 1; a < difference; a++)
        if (s->action[a].difference)
            return error_set(e, HASTEN_EFILE, "actions '%s' and '%s' are both differences of the streams",
                             s->action[a].name, x->name);
    return 0;
}

int cache_action_base(const struct cache_action *a, const struct graph *g)
{
    return a->serves && a->base[0] ? graph_find(g, a->base[0]) : -1;
}

int cache_schedule_bind(struct cache_schedule *s, const struct graph *g, struct error *e)
{
    if (bind_trigger(s, g, e) < 0)
        return -1;
    for (int a = 0; a < s->actions; a++) {
        struct cache_action *x = &s->action[a];
        mem_free(x->served);
        mem_free(x->predictor);
        x->served = mem_array((size_t)g->count + 1, 1, e);
        x->predictor = mem_array((size_t)g->count + 1, sizeof *x->predictor, e);
        if (!x->served || !x->predictor)
            return -1;
        for (int i = 0; i < x->serves; i++) {
            int n = graph_find(g, x->serve[i]);
            if (n < 0)
                return error_set(e, HASTEN_EFILE, "the schedule serves '%s', which the model does not have",
                                 x->serve[i]);
            if (x->correct[i] && x->channels[i] != g->node[n].shape.channels)
                return error_set(e, HASTEN_EFILE, "the correction of '%s' has %d channels, the model has %d",
                                 x->serve[i], x->channels[i], g->node[n].shape.channels);
            int base = x->base[i] ? graph_find(g, x->base[i]) : -1;
            if (x->base[i] && base < 0)
                return error_set(e, HASTEN_EFILE,
                                 "the schedule serves '%s' as its difference to '%s', which the model does "
                                 "not have",
                                 x->serve[i], x->base[i]);
            x->served[n] = 1;
            x->predictor[n] = (struct engine_predictor){x->correct[i], x->anchors[i], base};
        }
    }
    return check_difference(s, g, e) < 0 ? -1 : check_probe(s, g, e);
}

/* ---- writing ---- */

static void correction_name(char out[64], int action, int serve)
{
    snprintf(out, 64, "correct.%d.%d", action, serve);
}

static int write_actions(const struct cache_schedule *s, cJSON *meta, struct error *e)
{
    cJSON *actions = json_add_array(meta, "actions", e), *streams = json_add_array(meta, "streams", e);
    for (int a = 0; actions && a < s->actions; a++) {
        cJSON *j = json_push_object(actions, e), *list = j ? json_add_array(j, "serve", e) : NULL;
        const struct cache_action *x = &s->action[a];
        int based = 0;
        if (!list || json_add_string(j, "name", x->name, e) < 0 ||
            (x->wide && json_add_bool(j, "wide", 1, e) < 0) ||
            (x->difference && json_add_bool(j, "difference", 1, e) < 0))
            return -1;
        for (int i = 0; i < x->serves; i++, based |= x->base[i - 1] != NULL)
            if (json_push_string(list, x->serve[i], e) < 0)
                return -1;
        if (based && !(list = json_add_array(j, "base", e)))
            return -1;
        for (int i = 0; based && i < x->serves; i++)
            if (json_push_string(list, x->base[i] ? x->base[i] : "", e) < 0)
                return -1;
    }
    for (int i = 0; streams && i < SCHEDULE_STREAMS; i++) {
        cJSON *list = json_new_array(e);
        for (int c = 0; list && c < s->calls; c++)
            if (json_push_double(list, s->choice[i][c], e) < 0)
                break;
        if (!list || json_push(streams, list, e) < 0)
            return -1;
    }
    return e->code || !streams ? -1 : 0;
}

int cache_schedule_write(const struct cache_schedule *s, const char *path, const cJSON *provenance,
                         struct error *e)
{
    struct tensor *t = mem_array(SCHEDULE_MAX_ACTIONS * 1024, sizeof *t, e);
    char(*names)[64] = mem_array(SCHEDULE_MAX_ACTIONS * 1024, 64, e);
    cJSON *meta = json_new_object(e);
    int count = 0, status = -1;
    if (!t || !names || !meta || json_add_int(meta, "calls", s->calls, e) < 0 ||
        json_add_int(meta, "steps", s->steps, e) < 0 || json_add_int(meta, "height", s->height, e) < 0 ||
        json_add_int(meta, "width", s->width, e) < 0 ||
        json_add_double(meta, "guidance", s->guidance, e) < 0 ||
        json_add_string(meta, "model", s->model, e) < 0 ||
        json_add_string(meta, "sampler", s->sampler, e) < 0 || write_actions(s, meta, e) < 0)
        goto out;
    /* A reader that passes over this key of an action would serve the wrong thing. */
    if (cache_schedule_difference(s) &&
        json_push_string(json_add_array(meta, "needs", e), "difference", e) < 0)
        goto out;
    if (s->trigger.signal && json_add(meta, "trigger", trigger_write(&s->trigger, e), e) < 0)
        goto out;
    if (s->claims && json_add(meta, "claims", json_copy(s->claims, e), e) < 0)
        goto out;
    if (provenance && json_add(meta, "provenance", json_copy(provenance, e), e) < 0)
        goto out;
    for (int a = 0; a < s->actions; a++)
        for (int i = 0; i < s->action[a].serves && count < SCHEDULE_MAX_ACTIONS * 1024; i++) {
            if (!s->action[a].correct[i])
                continue;
            correction_name(names[count], a, i);
            t[count] =
                (struct tensor){.name = names[count],
                                .dtype = DTYPE_F32,
                                .rank = 3,
                                .shape = {s->calls, s->action[a].anchors[i] + 1, s->action[a].channels[i]},
                                .data = s->action[a].correct[i]};
            if (tensor_measure(&t[count], e) < 0)
                goto out;
            count++;
        }
    status = container_write(path, "schedule", meta, t, count, NULL, NULL, NULL, NULL, e);
out:
    cJSON_Delete(meta);
    mem_free(t);
    mem_free(names);
    return status;
}

/* ---- reading ---- */

static int read_bases(struct cache_schedule *s, int action, const cJSON *j, struct error *e)
{
    const cJSON *list = json_get(j, "base"), *v;
    int i = 0, serves = s->action[action].serves;
    if (!list)
        return 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != serves)
        return error_set(e, HASTEN_EFILE, "action '%s' must have a base for each of its %d served nodes",
                         s->action[action].name, serves);
    cJSON_ArrayForEach(v, list)
    {
        if (!cJSON_IsString(v))
            return error_set(e, HASTEN_EFILE, "action '%s' has a base that is no name",
                             s->action[action].name);
        if (v->valuestring[0] && cache_schedule_base(s, action, i, v->valuestring, e) < 0)
            return -1;
        i++;
    }
    return 0;
}

static int read_actions(struct cache_schedule *s, const cJSON *meta, struct error *e)
{
    const cJSON *actions = json_array(meta, "actions", e), *a, *v;
    int index = 0;
    cJSON_ArrayForEach(a, actions)
    {
        const char *name, *serve[1024];
        int serves = 0;
        const cJSON *list = json_array(a, "serve", e);
        if (!list || json_string(a, "name", &name, e) < 0)
            return -1;
        cJSON_ArrayForEach(v, list)
        {
            if (!cJSON_IsString(v) || serves == 1024)
                return error_set(e, HASTEN_EFILE, "action '%s' serves something that is no name, or too much",
                                 name);
            serve[serves++] = v->valuestring;
        }
        if (index == 0 && serves)
            return error_set(e, HASTEN_EFILE, "action 0 must compute everything");
        if (index > 0 &&
            (cache_schedule_add(s, name, serve, serves, e) < 0 || read_bases(s, index, a, e) < 0))
            return -1;
        if (index > 0) {
            s->action[index].wide = cJSON_IsTrue(json_get(a, "wide"));
            s->action[index].difference = cJSON_IsTrue(json_get(a, "difference"));
        }
        index++;
    }
    return actions && index ? 0 : error_set(e, HASTEN_EFILE, "there is no action");
}

static int read_streams(struct cache_schedule *s, const cJSON *meta, struct error *e)
{
    const cJSON *streams = json_array(meta, "streams", e);
    for (int i = 0; streams && i < SCHEDULE_STREAMS; i++) {
        const cJSON *list = cJSON_GetArrayItem(streams, i), *v;
        int c = 0;
        if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != s->calls)
            return error_set(e, HASTEN_EFILE, "stream %d must have %d entries", i, s->calls);
        cJSON_ArrayForEach(v, list)
        {
            if (!cJSON_IsNumber(v) || v->valuedouble < 0 || v->valuedouble >= s->actions ||
                v->valuedouble != (int)v->valuedouble)
                return error_set(e, HASTEN_EFILE, "call %d of stream %d names no action", c, i);
            s->choice[i][c++] = (int)v->valuedouble;
        }
        if (s->action[s->choice[i][0]].serves)
            return error_set(e, HASTEN_EFILE,
                             "the first call must compute everything, nothing is stored before it");
    }
    return streams ? 0 : -1;
}

static int read_corrections(struct cache_schedule *s, struct container *c, struct error *e)
{
    char name[64];
    for (int a = 0; a < s->actions; a++)
        for (int i = 0; i < s->action[a].serves; i++) {
            correction_name(name, a, i);
            int at = container_index(c, name);
            if (at < 0)
                continue;
            const struct tensor *t = &c->tensor[at];
            if (t->dtype != DTYPE_F32 || t->rank != 3 || t->shape[0] != s->calls || t->shape[1] < 2 ||
                t->shape[1] > 3 || t->shape[2] > GRAPH_MAX_SIZE)
                return error_set(e, HASTEN_EFILE, "tensor '%s' must be float32 [%d,2 or 3,channels]", name,
                                 s->calls);
            if (tensor_first_nonfinite(t->dtype, t->data, t->count) >= 0)
                return error_set(e, HASTEN_EFILE, "tensor '%s' has values that are not finite", name);
            s->action[a].channels[i] = (int)t->shape[2];
            s->action[a].anchors[i] = (int)t->shape[1] - 1;
            s->action[a].correct[i] = container_tensor_take(c, at);
        }
    return 0;
}

static int read_schedule(struct cache_schedule *s, struct container *c, struct error *e)
{
    int64_t calls, steps, height, width;
    const char *model, *sampler;
    cJSON *claims, *trigger;
    if (json_int(c->meta, "calls", 1, 1000000, &calls, e) < 0 ||
        json_int(c->meta, "steps", 1, 1000000, &steps, e) < 0 ||
        json_int_or(c->meta, "height", 0, 1 << 20, 0, &height, e) < 0 ||
        json_int_or(c->meta, "width", 0, 1 << 20, 0, &width, e) < 0 ||
        json_string(c->meta, "model", &model, e) < 0 || json_string(c->meta, "sampler", &sampler, e) < 0 ||
        json_object_or(c->meta, "claims", &claims, e) < 0 ||
        json_object_or(c->meta, "trigger", &trigger, e) < 0 || cache_schedule_new(s, (int)calls, e) < 0 ||
        json_double_or(c->meta, "guidance", -1e6, 1e6, 1, &s->guidance, e) < 0)
        return -1;
    s->steps = (int)steps;
    s->height = (int)height;
    s->width = (int)width;
    snprintf(s->model, sizeof s->model, "%s", model);
    snprintf(s->sampler, sizeof s->sampler, "%s", sampler);
    if (claims && !(s->claims = json_copy(claims, e)))
        return -1;
    if (trigger && trigger_read(trigger, &s->trigger, e) < 0)
        return -1;
    return read_actions(s, c->meta, e) < 0 || read_streams(s, c->meta, e) < 0 || read_corrections(s, c, e) < 0
               ? -1
               : 0;
}

int cache_schedule_read(struct cache_schedule *s, const char *path, struct error *e)
{
    struct container_options want = {.kind = "schedule"};
    struct container *c = container_open(path, &want, e);
    *s = (struct cache_schedule){0};
    int status = c && container_load(c, NULL, e) == 0 ? read_schedule(s, c, e) : -1;
    if (status == 0)
        snprintf(s->id, sizeof s->id, "%s", container_id(c));
    if (status < 0) {
        error_in(e, path);
        cache_schedule_free(s);
    }
    container_close(c);
    return status;
}
