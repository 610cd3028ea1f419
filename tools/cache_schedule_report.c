/* What cache-schedule says of a schedule: measured, as text, as JSON, in the file. */
#include "tools/cache_schedule.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/file/output.h"
#include "common/run/schedule_picture.h"

#include <stdio.h>
#include <string.h>
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
            run.passes = which ? &w->passes : NULL;
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

const char *schedule_action_name(const struct cache_schedule *s)
{
    int own = s->actions - (cache_schedule_difference(s) > 0); /* of the first stream */
    return own == 2 ? s->action[1].name : own < 2 ? "full" : "several actions";
}

/* Calls with more activation bits than the model's own. */
static int wide_calls(const struct cache_schedule *s)
{
    int n = 0;
    for (int t = 0; t < s->calls; t++)
        n += s->action[s->choice[0][t]].wide;
    return n;
}

/* Calls that compute both streams. */
static int guided_calls(const struct cache_schedule *s)
{
    int n = 0;
    for (int t = 0; t < s->calls; t++)
        n += !s->action[s->choice[0][t]].serves && !s->action[s->choice[1][t]].serves;
    return n;
}

static cJSON *claims_of(struct work *w, const struct trial *t, const struct cache_schedule *s, double full,
                        double fast, const struct quality *q, struct error *e)
{
    cJSON *j = json_new_object(e);
    if (j && json_add_string(j, "solver", t->solver, e) == 0 &&
        (w->o->verify || w->o->import ||
         json_add_string(j, "predictor", predict_name(t->predictor), e) == 0) &&
        json_add_string(j, "action", schedule_action_name(s), e) == 0 &&
        json_add_bool(j, "exact", t->exact, e) == 0 && json_add_int(j, "computed", t->computed, e) == 0 &&
        json_add_int(j, "calls", s->calls, e) == 0 && json_add_int(j, "wide_calls", wide_calls(s), e) == 0 &&
        json_add_double(j, "predicted_ms", t->ms, e) == 0 &&
        json_add_double(j, "full_ms", w->full_ms, e) == 0 &&
        json_add_double(j, "predicted_error", t->predicted, e) == 0 &&
        json_add_double(j, "measured_ms", fast, e) == 0 &&
        json_add_double(j, "measured_full_ms", full, e) == 0 &&
        json_add_double(j, "measured_speedup", full / fast, e) == 0 &&
        json_add_double(j, "rel_l2", q->rel_l2, e) == 0 && json_add_double(j, "psnr_db", q->psnr, e) == 0 &&
        json_add_double(j, "validation_rel_l2", t->quality.rel_l2, e) == 0 &&
        (!cache_schedule_difference(s) || json_add_int(j, "both_streams", guided_calls(s), e) == 0) &&
        (!s->trigger.signal || (json_add_int(j, "computed_passes", w->passes.computed, e) == 0 &&
                                json_add_int(j, "served_passes", w->passes.served, e) == 0 &&
                                json_add_int(j, "tried_passes", w->passes.tried, e) == 0)) &&
        json_add_int(j, "round", t->round, e) == 0 &&
        json_add_int(j, "calibration_images", w->x.c.images ? w->x.c.images : w->o->calibrate, e) == 0 &&
        json_add_int(j, "validation_images", w->o->validate, e) == 0 &&
        json_add_bool(j, "corrected", t->predictor != PREDICT_REUSE, e) == 0)
        return j;
    cJSON_Delete(j);
    return NULL;
}

/* A schedule as a word: # computed, a letter for each action. */
static const char letters[] = "#abcdefghijklmnopqrstuvwxyzABCDEF"; /* CANDIDATES of them */
static void put_strip(const struct work *w, const int *action, char *text)
{
    for (int i = 0; i < w->x.calls; i++)
        text[i] = letters[action[i]];
    text[w->x.calls] = 0;
}

static int add_front(struct work *w, cJSON *claims, struct buf *text, struct error *e)
{
    cJSON *list = json_add_array(claims, "front", e);
    char *strip = mem_array((size_t)w->x.calls + 1, 1, e);
    int status = list && strip ? 0 : -1;
    buf_printf(text, e, "%10s %8s %12s  %-9s  %s\n", "ms", "x", "error", "predictor", "calls");
    for (int i = 0; i < w->points && status == 0; i++) {
        const struct front_point *p = &w->front[i];
        cJSON *j = json_push_object(list, e);
        put_strip(w, p->action, strip);
        buf_printf(text, e, "%10.6g %7.2fx %12.5g  %-9s  %s\n", p->ms, w->full_ms / p->ms, p->error,
                   predict_name(p->predictor), strip);
        if (!j || json_add_double(j, "ms", p->ms, e) < 0 || json_add_double(j, "error", p->error, e) < 0 ||
            json_add_string(j, "predictor", predict_name(p->predictor), e) < 0 ||
            json_add_bool(j, "exact", p->exact, e) < 0 || json_add_string(j, "calls", strip, e) < 0)
            status = -1;
    }
    for (int a = 0; a < w->candidates + w->x.wides && status == 0; a++)
        buf_printf(text, e, "%c = %s\n", letters[a + 1], w->list[a].name);
    mem_free(strip);
    return status == 0 && !text->failed ? 0 : -1;
}

/* --svg: the front, or the trials as they were measured on validation images. */
static int write_picture(const struct work *w, const struct trial *t, const struct cache_schedule *s,
                         struct error *e)
{
    int run = w->x.trials; /* with images; the others were not */
    while (run > 0 && !w->x.trial[run - 1].images)
        run--;
    int n = w->points ? w->points : run ? run : 1;
    struct picture_point *p = mem_array((size_t)n, sizeof *p, e);
    struct buf svg = {0};
    char title[256];
    for (int i = 0; p && i < n; i++) {
        const struct front_point *f = w->points ? &w->front[i] : NULL;
        const struct trial *one = run && !f ? &w->x.trial[i] : t;
        double ms = f ? f->ms : one->ms, error = f ? f->error : one->quality.rel_l2;
        p[i] = (struct picture_point){.ms = ms, .error = error};
        p[i].chosen = f ? !memcmp(f->action, t->action, (size_t)s->calls * sizeof *t->action) : one == t;
        if (w->o->verify || w->o->import)
            snprintf(p[i].label, sizeof p[i].label, "%.2fx, measured", w->full_ms / ms);
        else if (f)
            snprintf(p[i].label, sizeof p[i].label, "%.2fx %s", w->full_ms / ms, predict_name(f->predictor));
        else
            snprintf(p[i].label, sizeof p[i].label, "%.2fx %s, %s, %.24s", w->full_ms / ms, one->solver,
                     predict_name(one->predictor), schedule_action_name(&one->s));
    }
    snprintf(title, sizeof title, "%.80s: %d calls of %s, %s", w->m.file->name, s->calls, s->sampler,
             w->points ? "predicted errors of the front"
             : n > 1   ? "schedules on validation images"
                       : "the schedule on unseen images");
    int status = p ? schedule_picture(&svg, s, title, w->full_ms, p, n, w->points > 0, e) : -1;
    if (status == 0)
        status = output_whole(w->o->svg, 0, svg.data, svg.size, e);
    buf_free(&svg);
    mem_free(p);
    return status;
}

int schedule_report(struct work *w, struct trial *t, struct cache_schedule *s, int write, struct error *e)
{
    double full, fast;
    int given = w->o->verify || w->o->import;
    struct quality q;
    struct buf text = {0};
    if (time_both(w, s, &full, &fast, e) < 0 ||
        search_measure(&w->x, s, CLAIM_SEED, (int)w->o->validate, &q, e) < 0)
        return -1;
    cJSON *claims = claims_of(w, t, s, full, fast, &q, e);
    int status = claims ? 0 : -1;
    if (status == 0 && w->points)
        status = add_front(w, claims, &text, e);
    char both[48] = "";
    if (cache_schedule_difference(s))
        snprintf(both, sizeof both, ", %d of them in both streams", guided_calls(s));
    if (status == 0)
        buf_printf(
            &text, e,
            "%s, %s%s%s: %d of %d calls computed%s; %.1f ms of %.1f predicted; measured %.1f ms of %.1f "
            "(%.2fx), relative L2 %.4f, PSNR %.2f dB\n",
            t->solver, given ? "" : predict_name(t->predictor), given ? "" : ", ", schedule_action_name(s),
            t->computed, s->calls, both, t->ms, w->full_ms, fast, full, full / fast, q.rel_l2, q.psnr);
    if (status == 0) {
        cJSON_Delete(s->claims);
        s->claims = json_copy(claims, e);
        status = s->claims ? 0 : -1;
    }
    if (status == 0 && write)
        status = cache_schedule_write(s, w->t->output, NULL, e);
    if (status == 0 && w->o->svg)
        status = write_picture(w, t, s, e);
    if (status == 0 && !text.failed)
        status = tool_report(w->t, text.data, claims, write && tool_stdout_is_data(w->t), e);
    buf_free(&text);
    cJSON_Delete(claims);
    return status;
}
