/* See trigger.h. */
#include "common/run/trigger.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const signals[] = {"none", "input", "node", "ratio"};

int trigger_read(const cJSON *j, struct trigger_rule *rule, struct error *e)
{
    const char *signal, *node;
    int64_t run;
    double *terms = NULL;
    size_t count = 0;
    *rule = (struct trigger_rule){.index = -1};
    if (json_string(j, "signal", &signal, e) < 0 || json_string_or(j, "node", "", &node, e) < 0 ||
        json_double(j, "threshold", 0, 1e12, &rule->threshold, e) < 0 ||
        json_bool_or(j, "computed", 0, &rule->computed, e) < 0 ||
        json_bool_or(j, "sum", 1, &rule->sum, e) < 0 || json_int_or(j, "max_run", 0, 1000000, 0, &run, e) < 0)
        return error_under(e, "trigger");
    for (int i = TRIGGER_INPUT; i <= TRIGGER_RATIO; i++)
        if (!strcmp(signal, signals[i]))
            rule->signal = (enum trigger_signal)i;
    if (rule->signal == TRIGGER_NONE)
        return error_set(e, HASTEN_EFILE, "trigger: the signal is '%s', known are input, node and ratio",
                         signal);
    if ((rule->signal == TRIGGER_NODE) != (node[0] != 0) || strlen(node) >= sizeof rule->node)
        return error_set(e, HASTEN_EFILE, "trigger: the signal node needs the name of a node, and only it");
    if (json_get(j, "polynomial") && json_get_doubles(j, "polynomial", -1e30, 1e30, &terms, &count, e) < 0)
        return error_under(e, "trigger");
    if (count > TRIGGER_TERMS) {
        mem_free(terms);
        return error_set(e, HASTEN_EFILE, "trigger: a polynomial of %zu terms, at most %d", count,
                         TRIGGER_TERMS);
    }
    snprintf(rule->node, sizeof rule->node, "%s", node);
    rule->max_run = (int)run;
    rule->terms = (int)count;
    if (count)
        memcpy(rule->polynomial, terms, count * sizeof *terms);
    mem_free(terms);
    return 0;
}

cJSON *trigger_write(const struct trigger_rule *rule, struct error *e)
{
    cJSON *j = json_new_object(e);
    if (j && json_add_string(j, "signal", signals[rule->signal], e) == 0 &&
        (!rule->node[0] || json_add_string(j, "node", rule->node, e) == 0) &&
        json_add_double(j, "threshold", rule->threshold, e) == 0 &&
        json_add_bool(j, "computed", rule->computed, e) == 0 && json_add_bool(j, "sum", rule->sum, e) == 0 &&
        json_add_int(j, "max_run", rule->max_run, e) == 0 &&
        (!rule->terms ||
         json_add(j, "polynomial", json_doubles(rule->polynomial, (size_t)rule->terms, e), e) == 0))
        return j;
    cJSON_Delete(j);
    return NULL;
}

/* ---- running ---- */

struct image_state {
    int has_signal, computed, run;
    double sum, k, out_mean;
};

struct trigger {
    struct trigger_rule rule;
    int images;
    int64_t size, out_size;
    struct image_state *state;
    float *signal;   /* [images][size]: what the next is compared with */
    float *in, *out; /* ratio: of the last computed call */
};

void trigger_close(struct trigger *t)
{
    if (!t)
        return;
    mem_free(t->state);
    mem_free(t->signal);
    mem_free(t->in);
    mem_free(t->out);
    mem_free(t);
}

struct trigger *trigger_open(const struct trigger_rule *rule, int images, int64_t size, int64_t out_size,
                             struct error *e)
{
    struct trigger *t = mem_array(1, sizeof *t, e);
    if (!t)
        return NULL;
    *t = (struct trigger){.rule = *rule, .images = images, .size = size, .out_size = out_size};
    size_t n = (size_t)images * (size_t)size, m = (size_t)images * (size_t)out_size;
    t->state = mem_array((size_t)images, sizeof *t->state, e);
    t->signal = mem_array(n, sizeof(float), e);
    int ratio = rule->signal == TRIGGER_RATIO;
    t->in = ratio ? mem_array(n, sizeof(float), e) : NULL;
    t->out = ratio ? mem_array(m, sizeof(float), e) : NULL;
    if (t->state && t->signal && (!ratio || (t->in && t->out)))
        return t;
    trigger_close(t);
    return NULL;
}

void trigger_restart(struct trigger *t) { memset(t->state, 0, (size_t)t->images * sizeof *t->state); }

static double mean_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += fabs((double)x[i]);
    return sum / (double)n;
}

static double mean_change(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += fabs((double)x[i] - (double)y[i]);
    return sum / (double)n;
}

/* A change relative to something that is zero is no reason to serve. */
static double quotient(double change, double whole)
{
    return whole > 0 ? change / whole : change > 0 ? INFINITY : 0;
}

static double number_of(const struct trigger *t, const struct image_state *s, const float *before,
                        const float *signal)
{
    double change = mean_change(signal, before, t->size);
    if (t->rule.signal == TRIGGER_RATIO) /* two computed calls are needed before anything is known */
        return s->computed >= 2 ? s->k * quotient(change, s->out_mean) : INFINITY;
    double d = quotient(change, mean_of(before, t->size)), p = 0;
    for (int i = 0; i < t->rule.terms; i++)
        p = p * d + t->rule.polynomial[i];
    return t->rule.terms ? p : d;
}

int trigger_decide(struct trigger *t, int image, int may, const float *signal)
{
    struct image_state *s = &t->state[image];
    float *before = t->signal + image * t->size;
    double here = s->has_signal ? number_of(t, s, before, signal) : INFINITY;
    if (!t->rule.computed || t->rule.signal == TRIGGER_RATIO) {
        memcpy(before, signal, (size_t)t->size * sizeof *before);
        s->has_signal = 1;
    }
    double sum = t->rule.sum ? s->sum + here : here;
    if (!may || !(sum < t->rule.threshold) || (t->rule.max_run && s->run >= t->rule.max_run))
        return 0;
    s->sum = sum;
    s->run++;
    return 1;
}

void trigger_computed(struct trigger *t, int image, const float *signal, const float *output)
{
    struct image_state *s = &t->state[image];
    float *before = t->signal + image * t->size;
    s->sum = 0;
    s->run = 0;
    memcpy(before, signal, (size_t)t->size * sizeof *before);
    s->has_signal = 1;
    if (t->rule.signal == TRIGGER_RATIO) {
        float *in = t->in + image * t->size, *out = t->out + image * t->out_size;
        if (s->computed)
            s->k = quotient(mean_change(output, out, t->out_size), mean_change(signal, in, t->size));
        s->out_mean = mean_of(output, t->out_size);
        memcpy(in, signal, (size_t)t->size * sizeof *in);
        memcpy(out, output, (size_t)t->out_size * sizeof *out);
    }
    s->computed++;
}
