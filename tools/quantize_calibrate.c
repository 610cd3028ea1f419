/* quantize: statistics of calibration images, in one go or in parts. */
#include "common/base/clock.h"
#include "common/file/output.h"
#include "tools/quantize.h"

#include <limits.h>

enum { EVERY = 16 }; /* images between two checkpoints */

struct keep {
    struct work *w;
    const char *path; /* NULL: kept in memory only */
    int end;
};

static int after_image(void *context, int image, struct error *e)
{
    struct keep *k = context;
    tool_progress(k->w->t, "calibrate", image, k->end);
    if (!k->path || image % EVERY || image == k->end)
        return 0;
    return statistics_write(&k->w->statistics, k->path, k->w->t->team, e);
}

/* One image first, to tell how long it takes. */
static int run_images(struct work *w, const struct measure *m, const char *path, int end, double bytes,
                      struct error *e)
{
    struct statistics *s = &w->statistics;
    struct keep k = {w, path, end};
    double start = clock_ms();
    int status, first = s->images + 1;
    tool_warn(w->t, "calibration: %d images of %d steps, %.0f MiB of statistics", end - s->images, w->steps,
              bytes / 1048576);
    status = statistics_collect(s, m, first, after_image, &k, e);
    if (status == 0 && s->images < end) {
        tool_note(w->t, "about %.0f s to go", (clock_ms() - start) * 1e-3 * (double)(end - first));
        status = statistics_collect(s, m, end, after_image, &k, e);
    }
    tool_progress_end(w->t);
    return status;
}

/* w->statistics up to image `end`, if they are not there yet. */
static int collect(struct work *w, const struct measure *m, const char *path, int end, double bytes,
                   struct error *e)
{
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, &w->m};
    struct measure packed = *m;
    if (w->statistics.images >= end)
        return 0;
    struct weights *weights = weights_open(w->g, &w->t->backend, &loader, e);
    packed.weights = weights;
    int status = weights ? run_images(w, &packed, path, end, bytes, e) : -1;
    weights_close(weights);
    return status;
}

static int open_all(struct work *w, const struct measure *m, double *bytes, struct error *e)
{
    unsigned char *edges = mem_array((size_t)w->g->count + 1, 1, e);
    int status = edges ? statistics_edges(w->g, edges, e) : -1;
    if (status == 0 && !w->m.sampler.present)
        status = error_set(e, HASTEN_EUSAGE, "--calibrate needs a model with a sampler");
    if (status == 0)
        status = statistics_open(&w->statistics, m, edges, (int)w->calibrate, e);
    *bytes = status == 0 ? statistics_bytes(w->g, edges) : 0;
    mem_free(edges);
    return status;
}

int quantize_calibrate(struct work *w, const struct parts *p, const struct measure *m, struct error *e)
{
    const struct sum_range all = {0, INT_MAX};
    struct statistics *s = &w->statistics;
    double bytes;
    if (open_all(w, m, &bytes, e) < 0 ||
        (p->calibration && statistics_resume(s, p->calibration, all, 0, w->t->memory, w->t->team, e) < 0))
        return -1;
    w->calibrated = 1;
    s->sums.total = s->images > w->calibrate ? s->images : w->calibrate; /* of a file that has more, all */
    int before = s->images;
    if (collect(w, m, p->calibration, (int)w->calibrate, bytes, e) < 0 ||
        (p->calibration && s->images > before && statistics_write(s, p->calibration, w->t->team, e) < 0))
        return -1;
    return statistics_finish(s, e);
}

int quantize_measure_part(struct work *w, const struct shard *shard, const struct measure *m, struct error *e)
{
    struct statistics *s = &w->statistics;
    double bytes;
    if (open_all(w, m, &bytes, e) < 0)
        return -1;
    struct sum_range range = sums_range(&s->sums, shard);
    const char *path = w->t->output && !output_is_stdout(w->t->output) ? w->t->output : NULL;
    if (statistics_resume(s, path, range, 1, w->t->memory, w->t->team, e) < 0 ||
        collect(w, m, path, (int)range.end, bytes, e) < 0 ||
        statistics_write(s, w->t->output, w->t->team, e) < 0)
        return -1;
    return parts_report(w->t, &s->sums, range, e);
}
