/* Measures of a set against a reference, image by image. See evaluate.h. */
#include "common/file/model.h"
#include "common/method/metrics.h"
#include "common/run/engine.h"
#include "common/run/trajectory.h"
#include "tools/evaluate.h"

#include <string.h>

/* ---- pairs ---- */

static int check_pairs(const struct set *a, const struct set *b, struct error *e)
{
    if (a->total != b->total)
        return error_set(e, HASTEN_EFILE, "the reference has %lld pictures, the others are %lld",
                         (long long)a->total, (long long)b->total);
    if (a->pictures != b->pictures)
        return error_set(e, HASTEN_EFILE, "the reference holds %s, the others are %s",
                         a->pictures ? "pictures" : "latents", b->pictures ? "pictures" : "latents");
    if (a->channels != b->channels || a->height != b->height || a->width != b->width)
        return error_set(e, HASTEN_EFILE,
                         "the reference is %dx%d with %d channels, the others are %dx%d with %d", a->width,
                         a->height, a->channels, b->width, b->height, b->channels);
    for (int64_t i = 0; a->name && b->name && i < a->count; i++)
        if (strcmp(a->name[i], b->name[i]))
            return error_set(e, HASTEN_EFILE, "the folders differ: '%s' against '%s'", a->name[i],
                             b->name[i]);
    return 0;
}

static int compare(struct measured *m, const struct set *a, const struct set *b, struct error *e)
{
    double **columns[] = {&m->psnr, &m->ssim, &m->rel_l2, &m->identical};
    if (check_pairs(a, b, e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (!(*columns[i] = mem_array((size_t)a->count + 1, sizeof(double), e)))
            return -1;
    m->paired = 1;
    m->has_ssim = a->height >= METRIC_SSIM_WINDOW && a->width >= METRIC_SSIM_WINDOW;
    double peak = a->pictures ? 255 : a->range;
    peak = peak > 0 ? peak : 1;
    for (int64_t i = 0; i < a->count; i++) {
        const float *x = a->x + i * a->size, *y = b->x + i * a->size;
        m->psnr[i] = metric_psnr(x, y, a->size, peak);
        m->rel_l2[i] = metric_rel_l2(x, y, a->size);
        m->identical[i] = !memcmp(x, y, (size_t)a->size * sizeof *x);
        if (m->has_ssim && metric_ssim(x, y, a->channels, a->height, a->width, peak, &m->ssim[i], e) < 0)
            return -1;
    }
    return 0;
}

/* ---- features ---- */

enum { FEATURE_BATCH = 16 };

struct extractor {
    struct model m;
    struct graph *g;
    struct weights *w;
    struct engine *x;
    int out, dim;
};

static int open_extractor(struct extractor *f, struct tool_run *t, const char *path, const struct set *s,
                          struct error *e)
{
    if (model_open(&f->m, path, 0, t->team, e) < 0)
        return -1;
    for (int i = 0; i < f->m.components && !f->g; i++)
        if (graph_find_output(f->m.graph[i], "features") >= 0)
            f->g = f->m.graph[i];
    if (!f->g)
        return error_set(e, HASTEN_EFILE, "%s has no output 'features'", path);
    f->out = graph_find_output(f->g, "features");
    f->dim = f->g->node[f->out].shape.channels;
    if (graph_infer(f->g, s->height, s->width, model_find, &f->m, e) < 0)
        return -1;
    if (f->g->node[0].shape.channels != s->channels)
        return error_set(e, HASTEN_EFILE, "%s wants %d channels, these have %d", path,
                         f->g->node[0].shape.channels, s->channels);
    struct engine_options x = {.images = FEATURE_BATCH, .calls = 1};
    f->w = weights_open(f->g, &t->backend, NULL, e);
    f->x = f->w ? engine_open(f->g, f->w, &x, e) : NULL;
    return f->x ? engine_ready(f->x, e) : -1;
}

/* The classifier's range: pictures become low .. high of its image block (default -1 .. 1); latents are taken
 * as they are. */
static int features_of(struct extractor *f, const struct set *s, float **out, struct error *e)
{
    *out = mem_array((size_t)s->count * (size_t)f->dim, sizeof **out, e);
    if (!*out)
        return -1;
    double low = f->m.image.low, span = f->m.image.high - low;
    for (int64_t done = 0; done < s->count; done += FEATURE_BATCH) {
        int n = s->count - done < FEATURE_BATCH ? (int)(s->count - done) : FEATURE_BATCH;
        float *in = engine_sample(f->x);
        for (int i = 0; i < n; i++)
            to_channels_last(s->x + (done + i) * s->size, in + i * s->size, (int64_t)s->height * s->width,
                             s->channels);
        for (int64_t i = 0; s->pictures && i < n * s->size; i++)
            in[i] = (float)(low + in[i] / 255.0 * span);
        if (engine_run(f->x, 0, 0, 0, n, NULL, e) < 0)
            return -1;
        memcpy(*out + done * f->dim, engine_value(f->x, f->out), (size_t)n * (size_t)f->dim * sizeof **out);
    }
    return 0;
}

static int add_features(struct measured *m, struct tool_run *t, const struct set *a, const struct set *b,
                        const char *path, struct error *e)
{
    struct extractor f = {0};
    int status = open_extractor(&f, t, path, b, e);
    m->dim = f.dim;
    if (status == 0 && a->mean && a->dim != f.dim)
        status = error_set(e, HASTEN_EFILE, "the stored reference has %d features, %s gives %d", a->dim, path,
                           f.dim);
    if (status == 0)
        status = features_of(&f, b, &m->got, e);
    if (status == 0 && !a->mean)
        status = features_of(&f, a, &m->reference, e);
    if (status == 0 && model_id(&f.m))
        memcpy(m->model, model_id(&f.m), sizeof m->model);
    engine_close(f.x);
    weights_close(f.w);
    model_close(&f.m);
    return status;
}

int measure(struct measured *m, struct tool_run *t, const struct set *a, const struct set *b,
            const char *features, struct error *e)
{
    *m = (struct measured){.total = b->total, .count = b->count};
    if (!(m->index = mem_array((size_t)b->count + 1, sizeof *m->index, e)))
        return -1;
    memcpy(m->index, b->index, (size_t)b->count * sizeof *m->index);
    if (!a->mean && compare(m, a, b, e) < 0)
        return -1;
    return features ? add_features(m, t, a, b, features, e) : 0;
}

void measured_free(struct measured *m)
{
    void *blocks[] = {m->index, m->psnr, m->ssim, m->rel_l2, m->identical, m->got, m->reference};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(blocks[i]);
    *m = (struct measured){0};
}
