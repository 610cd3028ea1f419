/* What the budget asks for: a share of the time or the bytes, or as much as a PSNR allows. See prune.h. */
#include "common/run/prune_inside.h"

#include <stdio.h>

enum { STEPS = 12, STEPS_FORCED = 24 }; /* of 2.5 % of the time each: 30 % and, with force, 60 % */

static double share_of(int step) { return 0.025 * step; }

struct attempt {
    struct prune_settings settings;
    struct prune_report report;
    struct pruner pruner;
};

static void drop(struct attempt *a)
{
    if (a) {
        prune_close(&a->pruner);
        prune_report_free(&a->report);
    }
    mem_free(a);
}

/* *got NULL without an error: there is not that much to leave out. */
static int attempt(struct model *m, struct backend *b, const struct prune_settings *o, int step,
                   struct attempt **got, struct error *e)
{
    struct attempt *a = mem_array(1, sizeof *a, e);
    *got = NULL;
    if (!a)
        return -1;
    a->settings = *o;
    a->settings.speedup = 1 / (1 - share_of(step));
    a->settings.force = 1; /* the limits are those of the steps */
    a->pruner = (struct pruner){.o = &a->settings, .m = m, .b = b, .r = &a->report};
    if (prune_once(&a->pruner, e) == 0) {
        *got = a;
        return 0;
    }
    drop(a);
    if (!e || e->code != HASTEN_EGATE)
        return -1;
    *e = (struct error){0};
    return 0;
}

static const struct quality *quality_of(const struct attempt *a)
{
    return a->report.compensated ? &a->report.quality : &a->report.plain;
}

/* Bisection over the steps: quality falls with what goes, all but for noise, and every step that is kept was
 * measured. */
static int prune_to_quality(struct model *m, struct backend *b, const struct prune_settings *o,
                            struct prune_report *r, struct error *e)
{
    int low = 0, high = (o->force ? STEPS_FORCED : STEPS) + 1, status = 0;
    double nearest = 0;
    struct attempt *best = NULL, *a;
    char text[160];
    while (status == 0 && high - low > 1) {
        int step = (low + high) / 2;
        if ((status = attempt(m, b, o, step, &a, e)) < 0)
            break;
        int good = a && quality_of(a)->psnr >= o->min_psnr;
        if (a && step == 1)
            nearest = quality_of(a)->psnr;
        snprintf(text, sizeof text,
                 a ? "leaving out %.1f %% of the time: %.2f dB" : "%.1f %% cannot be left out",
                 100 * share_of(step), a ? quality_of(a)->psnr : 0);
        if (o->note)
            o->note(o->context, text);
        *(good ? &low : &high) = step;
        drop(good ? best : a);
        best = good ? a : best;
    }
    if (status == 0 && !best && nearest == 0)
        status = error_set(e, HASTEN_EGATE, "nothing can be left out of this model");
    else if (status == 0 && !best)
        status = error_set(e, HASTEN_EGATE,
                           "a PSNR of %.2f dB is not kept: already %.1f %% of the time less gives %.2f dB",
                           o->min_psnr, 100 * share_of(1), nearest);
    if (status == 0)
        status = prune_commit(&best->pruner, e);
    if (status == 0) {
        *r = best->report;
        best->report = (struct prune_report){0};
    }
    drop(best);
    return status;
}

int prune_model(struct model *m, struct backend *b, const struct prune_settings *o, struct prune_report *r,
                struct error *e)
{
    struct pruner p = {.o = o, .m = m, .b = b, .r = r};
    *r = (struct prune_report){0};
    if (!o->removes && o->speedup <= 0 && o->max_ms <= 0 && o->max_bytes <= 0)
        return prune_to_quality(m, b, o, r, e);
    int status = prune_once(&p, e);
    if (status == 0)
        status = prune_commit(&p, e);
    prune_close(&p);
    if (status < 0)
        prune_report_free(r);
    return status;
}
