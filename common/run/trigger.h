/* Triggers: schedules that decide while they run, image by image, whether a call that may be served is
 * served.
 *
 *     struct trigger_rule rule;                       // part of a cache schedule, see hasten-schedule(5)
 *     struct trigger *t = trigger_open(&rule, images, input_size, signal_size, e);
 *     trigger_restart(t);
 *     for (each call, each image)
 *         serve = trigger_decide(t, image, may_be_served, signal);
 *         if (!serve) trigger_computed(t, image, input, output);
 *     trigger_close(t);
 *
 * The signal of call t, s_t, is the latent that goes into the network or a node's value, of the conditional
 * pass:
 *
 *     change:  d = mean |s_t - s_r| / mean |s_r|, r the call before or the last computed one; p(d) with a
 *              polynomial; summed since the last computed call, or alone. TeaCache (arXiv 2411.19108): the
 *              modulated input of the first block, the call before, summed. DBCache: the value behind the
 * first blocks, the last computed call, alone. ratio:   EasyCache (arXiv 2507.02860): k mean |s_t - s_(t-1)|
 * / mean |out|, summed, with k = mean |change of the output| / mean |change of the input| between the last
 * two computed calls.
 *
 * The call is served while the (summed) number is below the threshold. Sums are double and in one order, of
 * one image: decisions do not depend on threads or on what else is in the batch. */
#ifndef HASTEN_RUN_TRIGGER_H
#define HASTEN_RUN_TRIGGER_H

#include "common/base/error.h"
#include <cjson/cJSON.h>
#include <stdint.h>

enum { TRIGGER_TERMS = 16, TRIGGER_IMAGES = 16, TRIGGER_ACTIONS = 4 };

enum trigger_signal { TRIGGER_NONE, TRIGGER_INPUT, TRIGGER_NODE, TRIGGER_RATIO };

struct trigger_rule {
    enum trigger_signal signal;
    char node[128]; /* of TRIGGER_NODE */
    int index;      /* the node's number, by cache_schedule_bind */
    int computed;   /* compare with the last computed call instead of the call before */
    int sum;        /* sum since the last computed call */
    int max_run;    /* most served calls in a row; 0: any number */
    int terms;      /* of the polynomial, highest power first; 0: d itself */
    double polynomial[TRIGGER_TERMS], threshold;
};

/* A schedule's object "trigger". HASTEN_EFILE: what is wrong in it. */
int trigger_read(const cJSON *j, struct trigger_rule *rule, struct error *e) HASTEN_CHECKED;
cJSON *trigger_write(const struct trigger_rule *rule, struct error *e);

struct trigger;

/* size: numbers of one image's signal; out_size: of its output (ratio). */
struct trigger *trigger_open(const struct trigger_rule *rule, int images, int64_t size, int64_t out_size,
                             struct error *e) HASTEN_CHECKED;
void trigger_close(struct trigger *t);
void trigger_restart(struct trigger *t);

/* 1: serve. may: the schedule allows it. To be called for every call and image, in order of the calls; for
 * the signal of a node, which a computed call gives, with may = 0 as well. */
int trigger_decide(struct trigger *t, int image, int may, const float *signal);
/* The call was computed (may be called when not may, or not decided): the reference is this call's. */
void trigger_computed(struct trigger *t, int image, const float *signal, const float *output);

#endif
