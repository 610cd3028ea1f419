/* Trials on validation images, by successive halving: those that the prices leave a chance run on a few
 * images, the better half of them on twice as many, until the last three have seen all (Jamieson and
 * Talwalkar, arXiv 1502.07943). */
#include "common/method/metrics.h"
#include "common/run/search_inside.h"

#include <math.h>
#include <stdlib.h>

/* Prices order schedules well (Spearman .98) but are off by a factor of about 1.6 either way: a trial whose
 * price is six times the least is not the best. */
static const double PLAUSIBLE = 6;

static void report(const struct search *x, const char *what, int done, int all)
{
    if (x->progress)
        x->progress(x->context, what, done, all);
}

/* The mean of decibels: one odd image does not decide, as it would in a mean of errors. */
static void score(struct trial *t, int images)
{
    struct metric_mean psnr = {0}, rel = {0};
    for (int i = 0; i < images; i++) {
        metric_add(&psnr, t->each[i].psnr);
        metric_add(&rel, t->each[i].rel_l2);
    }
    t->score = metric_value(&psnr);
    t->quality = (struct quality){.rel_l2 = metric_value(&rel), .psnr = t->score};
}

/* Run the validation images that the trial has not seen yet, up to this many. */
int search_look(struct search *x, struct trial *t, int images, struct error *e)
{
    struct measure run = x->measure;
    float *got = NULL;
    int64_t size = 0;
    int status = 0;
    run.seed = VALIDATION_SEED + (uint64_t)t->images;
    run.label = x->measure.label + t->images;
    run.count = images - t->images;
    run.batch = 0;
    run.schedule = &t->s;
    if (run.count > 0)
        status = measure_latents(&run, &got, NULL, &size, e);
    for (int i = 0; status == 0 && i < run.count; i++)
        measure_quality(x->reference + (t->images + i) * size, got + i * size, 1, size,
                        &t->each[t->images + i]);
    if (status == 0 && run.count > 0)
        t->images = images;
    score(t, images);
    mem_free(got);
    return status;
}

static int by_score(const void *a, const void *b)
{
    const struct trial *p = a, *q = b;
    return (p->score < q->score) - (p->score > q->score);
}

static int by_price(const void *a, const void *b)
{
    const struct trial *p = a, *q = b;
    if (!p->images != !q->images)
        return p->images ? -1 : 1;
    return (p->predicted > q->predicted) - (p->predicted < q->predicted);
}

/* Those with a chance come first, what was run already (in an earlier round) before them. Prices without gain
 * do not say what becomes of the image. */
static int plausible(struct search *x)
{
    int n = x->trials;
    double least = INFINITY;
    if (n == 0 || !x->gain || x->calls < 3)
        return n;
    qsort(x->trial, (size_t)n, sizeof x->trial[0], by_price);
    for (int i = 0; i < n; i++)
        least = fmin(least, x->trial[i].predicted);
    while (n > 1 && !x->trial[n - 1].images &&
           (n > SEARCH_FIRST_TRIALS || x->trial[n - 1].predicted > PLAUSIBLE * least))
        n--;
    return n;
}

struct trial *search_validate(struct search *x, struct error *e)
{
    int left = plausible(x), images = x->validate < SEARCH_FIRST_IMAGES ? x->validate : SEARCH_FIRST_IMAGES;
    if (left <= SEARCH_LAST_TRIALS)
        images = x->validate;
    for (;;) {
        for (int i = 0; i < left; i++) {
            if (search_look(x, &x->trial[i], images, e) < 0)
                return NULL;
            report(x, "validate", i + 1, left);
        }
        qsort(x->trial, (size_t)left, sizeof x->trial[0], by_score);
        if (images == x->validate)
            break;
        left = left / 2 > SEARCH_LAST_TRIALS ? (left + 1) / 2
               : left < SEARCH_LAST_TRIALS   ? left
                                             : SEARCH_LAST_TRIALS;
        images = left == SEARCH_LAST_TRIALS || 2 * images > x->validate ? x->validate : 2 * images;
    }
    x->finalists = left;
    return x->trials ? &x->trial[0] : NULL;
}

void search_keep(struct search *x, int most)
{
    while (x->trials > most)
        search_trial_free(&x->trial[--x->trials]);
}

struct trial *search_finish(struct search *x, int runs, struct error *e)
{
    enum { DECIBELS = 2 }; /* what a polish may win */
    double best = x->finalists ? x->trial[0].score : 0;
    for (int i = 0; i < x->finalists; i++)
        if (x->trial[i].score >= best - DECIBELS && !x->trial[i].alone) {
            if (search_polish(x, &x->trial[i], runs, e) < 0)
                return NULL;
            x->trial[i].score = x->trial[i].quality.psnr;
        }
    qsort(x->trial, (size_t)x->finalists, sizeof x->trial[0], by_score);
    return &x->trial[0];
}
