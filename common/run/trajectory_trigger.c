/* Trajectories whose schedule decides while they run: the host's steps, with a trigger before each call. */
#include "common/run/trajectory_inside.h"

#include <string.h>

int trajectory_batch(const struct cache_schedule *s, int batch)
{
    return s && s->trigger.signal && batch > TRIGGER_IMAGES ? TRIGGER_IMAGES : batch;
}

/* What must stay readable: the caller's nodes and the trigger's. */
static unsigned char *wanted(const struct trajectory *t, struct error *e)
{
    int probe = t->trigger ? t->o.schedule->trigger.index : -1;
    size_t n = (size_t)t->o.graph->count;
    unsigned char *want = mem_array(n + 1, 1, e);
    if (want && t->o.want)
        memcpy(want, t->o.want, n);
    if (want && probe >= 0)
        want[probe] = 1;
    return want;
}

static int open_trigger(struct trajectory *t, struct error *e)
{
    const struct trigger_rule *rule = t->o.schedule ? &t->o.schedule->trigger : NULL;
    size_t batch = (size_t)t->o.batch;
    if (!rule || !rule->signal)
        return 0;
    if (t->o.batch > TRIGGER_IMAGES)
        return error_set(e, HASTEN_EUSAGE, "%d images at once: with a trigger %d are possible", t->o.batch,
                         TRIGGER_IMAGES);
    t->probe_size = rule->signal == TRIGGER_NODE ? shape_size(t->o.graph->node[rule->index].shape) : t->size;
    t->probe = mem_array(batch, (size_t)t->probe_size * sizeof(float), e);
    t->serve = mem_array(batch, 1, e);
    if (!t->probe || !t->serve)
        return -1;
    t->trigger = trigger_open(rule, t->o.batch, t->probe_size, t->size, e);
    return t->trigger ? 0 : -1;
}

int triggered_open(struct trajectory *t, struct error *e)
{
    if (open_trigger(t, e) < 0 || !(t->want = wanted(t, e)))
        return -1;
    return 0;
}

int triggered_actions(struct trajectory *t, struct error *e)
{
    const struct trigger_rule *rule = t->o.schedule ? &t->o.schedule->trigger : NULL;
    if (!t->trigger || rule->signal != TRIGGER_NODE || !engine_is_step(t->engine, rule->index))
        return 0;
    unsigned char *served = mem_array((size_t)t->o.graph->count + 1, 1, e);
    if (!served)
        return -1;
    served[rule->index] = 1;
    int status = engine_action(t->engine, t->o.schedule->actions, served, NULL, e);
    t->rest = status == 0 ? t->o.schedule->actions : 0;
    mem_free(served);
    return status;
}

static int is_in_phase(const struct trajectory *t, int first, int rows)
{
    for (int k = 1; k < rows; k++)
        if (!engine_in_phase(t->engine, first, first + k))
            return 0;
    return 1;
}

/* These actions for all images (uncond -1: no unconditional pass). Rows [0, count) are conditional, [count, 2
 * count) unconditional: one run where both streams do the same. */
static int run_all(struct trajectory *t, int call, int cond, int uncond, int count, struct error *e)
{
    if (cond == uncond && is_in_phase(t, 0, 2 * count))
        return trajectory_network(t, call, cond, 0, 2 * count, count, e);
    return trajectory_network(t, call, cond, 0, count, count, e) < 0 ||
                   (uncond >= 0 && trajectory_network(t, call, uncond, count, count, count, e) < 0)
               ? -1
               : 0;
}

/* The same where images differ: one by one, so that there are few plans. */
static int run_one(struct trajectory *t, int call, int cond, int uncond, int image, int count,
                   struct error *e)
{
    return (cond >= 0 && trajectory_network(t, call, cond, image, 1, count, e) < 0) ||
                   (uncond >= 0 && trajectory_network(t, call, uncond, count + image, 1, count, e) < 0)
               ? -1
               : 0;
}

static void keep_probe(struct trajectory *t, int first, int rows)
{
    if (t->o.schedule->trigger.signal == TRIGGER_NODE && first + rows <= t->o.batch)
        memcpy(t->probe + first * t->probe_size, engine_value(t->engine, t->o.schedule->trigger.index),
               (size_t)(rows * t->probe_size) * sizeof(float));
}

/* The conditional pass of all images by an action, and what the trigger reads of it. */
static int probe_all(struct trajectory *t, int call, int action, int count, struct error *e)
{
    int together = is_in_phase(t, 0, count), rows = together ? count : 1;
    for (int i = 0; i < count; i += rows) {
        if (trajectory_network(t, call, action, i, rows, count, e) < 0)
            return -1;
        keep_probe(t, i, rows);
    }
    return 0;
}

/* Let the trigger decide, image by image. A trigger on a node first has the served pass run, which makes that
 * value anew and stores it; where it says no, what is behind the node is computed after all, out of what was
 * stored. */
int triggered_predict(struct trajectory *t, int call, int cond, int uncond, int count, struct error *e)
{
    int on_node = t->o.schedule->trigger.signal == TRIGGER_NODE, serves = 0;
    if (on_node && probe_all(t, call, cond, count, e) < 0)
        return -1;
    for (int i = 0; i < count; i++) {
        const float *signal = on_node ? t->probe + i * t->probe_size : t->input + i * t->size;
        t->serve[i] = (unsigned char)trigger_decide(t->trigger, i, cond > 0, signal);
        serves += t->serve[i];
    }
    int all = serves == 0 || serves == count, in_phase = is_in_phase(t, 0, count);
    int full = uncond < 0 ? -1 : 0, done = on_node && (cond == 0 || serves == count) ? -1 : serves ? cond : 0;
    if (on_node && cond > 0) {
        t->passes.tried += count - serves;
        t->passes.served -= count - serves;
    }
    if (on_node && cond > 0 && serves == 0)
        done = t->rest;
    if (all && in_phase && done >= 0) {
        if (run_all(t, call, done, serves ? uncond : full, count, e) < 0)
            return -1;
    } else if (all && in_phase && is_in_phase(t, count, uncond < 0 ? 0 : count)) {
        if (uncond >= 0 && trajectory_network(t, call, serves ? uncond : full, count, count, count, e) < 0)
            return -1;
    } else {
        for (int i = 0; i < count; i++) {
            int have = on_node && (t->serve[i] || cond == 0);
            if (run_one(t, call,
                        have          ? -1
                        : t->serve[i] ? cond
                        : on_node     ? t->rest
                                      : 0,
                        t->serve[i] ? uncond : full, i, count, e) < 0)
                return -1;
        }
    }
    for (int i = 0; i < count; i++)
        if (!t->serve[i])
            trigger_computed(t->trigger, i, on_node ? t->probe + i * t->probe_size : t->input + i * t->size,
                             t->eps + i * t->size);
    return 0;
}
