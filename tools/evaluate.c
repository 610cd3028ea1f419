/* evaluate: how close are these pictures or latents to those? */
#include "common/base/json.h"
#include "common/file/model.h"
#include "common/file/output.h"
#include "common/image/png.h"
#include "common/image/sheet.h"
#include "common/method/frechet.h"
#include "common/method/metrics.h"
#include "common/run/engine.h"
#include "common/run/trajectory.h"
#include "tools/tool.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct {
    const char *reference, *features, *sheet;
    struct tool_list row;
    double min_psnr;
    int64_t resamples;
} o = {.resamples = 200};

static const struct tool_option options[] = {
    {"reference", 0, "REF", OPTION_TEXT, &o.reference,
     .help = "folder of PNG files, samples file, or stored mean and covariance"},
    {"features", 0, "MODEL", OPTION_TEXT, &o.features,
     .help = "model with an output `features`: also the Frechet distance"},
    {"resamples", 0, "N", OPTION_INT, &o.resamples, .min = 0, .max = 10000,
     .help = "bootstrap resamples of its interval (default 200)"},
    {"sheet", 0, "FILE", OPTION_TEXT, &o.sheet,
     .help = "contact sheet: a row of the reference, one of GOT, more"},
    {"row", 0, "DIR", OPTION_LIST, &o.row, .help = "another folder of pictures for the contact sheet"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998, .help = "exit 3 below this PSNR"},
    {0}};

static const struct tool tool = {"evaluate",
                                 "GOT",
                                 "Compare pictures or latents with a reference.",
                                 options,
                                 TOOL_COMPUTES | TOOL_SEED,
                                 "evaluate --reference full/ fast/ --features fashion-features.model.zst"};

/* Pictures [count][channels][height][width]; bytes as 0 .. 255. */
struct set {
    float *x;
    int64_t count, size;
    int channels, height, width, pictures; /* pictures: from PNG files */
    char **name;
    double *mean, *covariance; /* a stored reference of features */
    int dim;
    int64_t stored_count;
};

/* ---- reading ---- */

static int is_png(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && !strcmp(d->d_name + n - 4, ".png");
}

static int read_picture(struct set *s, const char *folder, const char *name, int64_t index, struct error *e)
{
    char path[4608];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rbe");
    struct buf b = {.max = (size_t)256 << 20};
    struct image p = {0};
    char piece[65536];
    size_t n;
    if (!f)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && buf_add(&b, piece, n, e) == 0)
        ;
    fclose(f);
    int status = e->code ? -1 : image_png_read(b.data ? b.data : "", b.size, &p, e);
    buf_free(&b);
    if (status == 0 && index == 0) {
        s->channels = p.channels;
        s->height = p.height;
        s->width = p.width;
        s->size = (int64_t)p.channels * p.height * p.width;
        s->x = mem_array((size_t)s->count * (size_t)s->size, sizeof(float), e);
        status = s->x ? 0 : -1;
    } else if (status == 0 && (p.channels != s->channels || p.height != s->height || p.width != s->width)) {
        status = error_set(e, HASTEN_EFILE, "%dx%d with %d channels, the first is %dx%d with %d", p.width,
                           p.height, p.channels, s->width, s->height, s->channels);
    }
    for (int64_t i = 0; status == 0 && i < s->size; i++) /* channels first */
        s->x[index * s->size + i] =
            p.data[i % ((int64_t)p.height * p.width) * p.channels + i / ((int64_t)p.height * p.width)];
    image_free(&p);
    return status < 0 ? error_under(e, "%s", path) : 0;
}

static int read_folder(struct set *s, const char *path, struct error *e)
{
    struct dirent **list;
    int n = scandir(path, &list, is_png, alphasort), status = 0;
    if (n < 0)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    s->count = n;
    s->pictures = 1;
    s->name = mem_array((size_t)n + 1, sizeof *s->name, e);
    if (n == 0)
        status = error_set(e, HASTEN_EFILE, "%s has no PNG files", path);
    for (int i = 0; i < n; i++) {
        if (status == 0 && s->name && (s->name[i] = mem_strdup(list[i]->d_name, e)))
            status = read_picture(s, path, list[i]->d_name, i, e);
        free(list[i]);
    }
    free(list);
    return status;
}

static double *doubles_of(const struct tensor *t, struct error *e)
{
    double *out = mem_array(t->count, sizeof *out, e);
    float *x = mem_array(t->count, sizeof *x, e);
    if (out && x) {
        tensor_to_f32(t->dtype, t->data, x, t->count);
        for (size_t i = 0; i < t->count; i++)
            out[i] = x[i];
    }
    mem_free(x);
    return x ? out : NULL;
}

static int read_stored(struct set *s, struct container *c, struct error *e)
{
    const struct tensor *mean = container_find(c, "mean"), *cov = container_find(c, "cov"),
                        *count = container_find(c, "count");
    float n = 0;
    if (!mean || !cov || !count || mean->rank != 1 || cov->rank != 2 || cov->shape[0] != mean->shape[0] ||
        cov->shape[1] != mean->shape[0] || count->count < 1)
        return error_set(e, HASTEN_EFILE, "%s has neither 'latents' nor 'mean', 'cov' and 'count' that fit",
                         c->name);
    tensor_to_f32(count->dtype, count->data, &n, 1);
    s->dim = (int)mean->shape[0];
    s->stored_count = (int64_t)n;
    s->mean = doubles_of(mean, e);
    s->covariance = doubles_of(cov, e);
    return s->mean && s->covariance ? 0 : -1;
}

static int read_samples(struct set *s, const char *path, struct error *e)
{
    struct container_options any = {.foreign = 1};
    struct container *c = container_open(path, &any, e);
    const struct tensor *t = c && container_load(c, NULL, e) == 0 ? container_find(c, "latents") : NULL;
    int status = e->code ? -1 : 0;
    if (status == 0 && !t) {
        status = read_stored(s, c, e);
    } else if (status == 0) {
        if (t->rank != 4 || !dtype_is_float(t->dtype) || t->count == 0)
            status = error_set(e, HASTEN_EFILE, "%s: 'latents' must be floats [count,channels,height,width]",
                               path);
        s->count = t->shape[0];
        s->channels = (int)t->shape[1];
        s->height = (int)t->shape[2];
        s->width = (int)t->shape[3];
        s->size = s->count ? (int64_t)t->count / s->count : 0;
        s->x = status == 0 ? mem_array(t->count, sizeof(float), e) : NULL;
        status = s->x ? 0 : -1;
        if (status == 0)
            tensor_to_f32(t->dtype, t->data, s->x, t->count);
    }
    container_close(c);
    return status;
}

static int read_set(struct set *s, const char *path, struct error *e)
{
    struct stat st;
    if (strcmp(path, "-") && stat(path, &st) < 0)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    return strcmp(path, "-") && S_ISDIR(st.st_mode) ? read_folder(s, path, e) : read_samples(s, path, e);
}

static void free_set(struct set *s)
{
    for (int64_t i = 0; s->name && i < s->count; i++)
        mem_free(s->name[i]);
    mem_free(s->name);
    mem_free(s->x);
    mem_free(s->mean);
    mem_free(s->covariance);
}

/* ---- pairs ---- */

struct pairs {
    double psnr, ssim, rel_l2;
    int identical, has_ssim;
};

static int check_pairs(const struct set *a, const struct set *b, struct error *e)
{
    if (a->count != b->count)
        return error_set(e, HASTEN_EFILE, "the reference has %lld pictures, the others are %lld",
                         (long long)a->count, (long long)b->count);
    if (a->channels != b->channels || a->height != b->height || a->width != b->width ||
        a->pictures != b->pictures)
        return error_set(e, HASTEN_EFILE,
                         "the reference is %dx%d with %d channels, the others are %dx%d with %d", a->width,
                         a->height, a->channels, b->width, b->height, b->channels);
    for (int64_t i = 0; a->name && b->name && i < a->count; i++)
        if (strcmp(a->name[i], b->name[i]))
            return error_set(e, HASTEN_EFILE, "the folders differ: '%s' against '%s'", a->name[i],
                             b->name[i]);
    return 0;
}

static int compare(const struct set *a, const struct set *b, struct pairs *out, struct error *e)
{
    struct metric_mean psnr = {0}, ssim = {0}, rel = {0};
    if (check_pairs(a, b, e) < 0)
        return -1;
    out->has_ssim = a->height >= METRIC_SSIM_WINDOW && a->width >= METRIC_SSIM_WINDOW;
    for (int64_t i = 0; i < a->count; i++) {
        const float *x = a->x + i * a->size, *y = b->x + i * a->size;
        double peak = a->pictures ? 255 : metric_range(x, a->size), s = 0;
        if (!(peak > 0))
            peak = 1;
        metric_add(&psnr, metric_psnr(x, y, a->size, peak));
        metric_add(&rel, metric_rel_l2(x, y, a->size));
        if (out->has_ssim && metric_ssim(x, y, a->channels, a->height, a->width, peak, &s, e) < 0)
            return -1;
        metric_add(&ssim, s);
    }
    out->identical = !memcmp(a->x, b->x, (size_t)(a->count * a->size) * sizeof *a->x);
    out->psnr = metric_value(&psnr);
    out->ssim = metric_value(&ssim);
    out->rel_l2 = metric_value(&rel);
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

static int open_extractor(struct extractor *f, struct tool_run *t, const struct set *s, struct error *e)
{
    if (model_open(&f->m, o.features, 0, t->team, e) < 0)
        return -1;
    for (int i = 0; i < f->m.components && !f->g; i++)
        if (graph_find_output(f->m.graph[i], "features") >= 0)
            f->g = f->m.graph[i];
    if (!f->g)
        return error_set(e, HASTEN_EFILE, "%s has no output 'features'", o.features);
    f->out = graph_find_output(f->g, "features");
    f->dim = f->g->node[f->out].shape.channels;
    if (graph_infer(f->g, s->height, s->width, model_find, &f->m, e) < 0)
        return -1;
    if (f->g->node[0].shape.channels != s->channels)
        return error_set(e, HASTEN_EFILE, "%s wants %d channels, these have %d", o.features,
                         f->g->node[0].shape.channels, s->channels);
    struct engine_options x = {.images = FEATURE_BATCH, .calls = 1};
    f->w = weights_open(f->g, &t->backend, NULL, e);
    f->x = f->w ? engine_open(f->g, f->w, &x, e) : NULL;
    return f->x ? engine_ready(f->x, e) : -1;
}

/* The classifier's range: pictures become low .. high of its image block (default -1 .. 1); latents are taken
 * as they are. */
static int features_of(struct extractor *f, const struct set *s, float **out, struct moments *m,
                       struct error *e)
{
    *out = mem_array((size_t)s->count * (size_t)f->dim, sizeof **out, e);
    if (!*out || moments_open(f->dim, m, e) < 0)
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
        for (int i = 0; i < n; i++)
            if (moments_add(m, *out + (done + i) * f->dim, e) < 0)
                return -1;
    }
    return 0;
}

static int frechet(struct tool_run *t, const struct set *a, const struct set *b, struct frechet *out,
                   struct error *e)
{
    struct extractor f = {0};
    struct moments ma = {0}, mb = {0};
    float *fa = NULL, *fb = NULL;
    int status = open_extractor(&f, t, b, e);
    if (status == 0)
        status = features_of(&f, b, &fb, &mb, e);
    if (status == 0 && a->mean && a->dim != f.dim)
        status = error_set(e, HASTEN_EFILE, "the stored reference has %d features, %s gives %d", a->dim,
                           o.features, f.dim);
    if (status == 0)
        status = a->mean ? moments_from(a->dim, a->stored_count, a->mean, a->covariance, &ma, e)
                         : features_of(&f, a, &fa, &ma, e);
    struct frechet_side sa = {&ma, fa}, sb = {&mb, fb};
    if (status == 0)
        status = frechet_distance(&sa, &sb, (int)o.resamples, t->seed, t->team, out, e);
    moments_free(&ma);
    moments_free(&mb);
    mem_free(fa);
    mem_free(fb);
    engine_close(f.x);
    weights_close(f.w);
    model_close(&f.m);
    return status;
}

/* ---- contact sheet ---- */

enum { SHEET_COLUMNS = 10, SHEET_ROWS = 34 };

static int pictures_of(const struct set *s, struct image *out, int *count, struct error *e)
{
    int n = s->count < SHEET_COLUMNS ? (int)s->count : SHEET_COLUMNS;
    for (*count = 0; *count < n; ++*count)
        if (image_from_float(s->x + *count * s->size, s->channels, s->height, s->width, 0, 255, &out[*count],
                             e) < 0)
            return -1;
    return 0;
}

/* The first pictures of each set, one set a row, labelled by where they come from. */
static int write_sheet(const struct set *a, const struct set *b, const char *got, struct error *e)
{
    struct image(*pictures)[SHEET_COLUMNS] = mem_array(SHEET_ROWS, sizeof *pictures, e), out = {0};
    struct sheet_row rows[SHEET_ROWS];
    struct buf png = {0};
    int n = 0, status = pictures ? 0 : -1;
    if (status == 0 && (!a->pictures || !b->pictures))
        status = error_set(e, HASTEN_EUSAGE, "--sheet is for folders of pictures");
    for (int i = 0; status == 0 && i < o.row.count + 2 && n < SHEET_ROWS; i++) {
        struct set more = {0};
        const struct set *s = i == 0 ? a : i == 1 ? b : &more;
        if (i > 1)
            status = read_folder(&more, o.row.item[i - 2], e);
        rows[n] = (struct sheet_row){i == 0 ? o.reference : i == 1 ? got : o.row.item[i - 2], pictures[n], 0};
        if (status == 0)
            status = pictures_of(s, pictures[n], &rows[n].count, e);
        n++;
        free_set(&more);
    }
    if (status == 0)
        status = sheet_make(rows, n, SHEET_COLUMNS, &out, e);
    if (status == 0)
        status = image_png_write(&out, NULL, 0, image_to_buf, &png, e);
    if (status == 0)
        status = output_whole(o.sheet, OUTPUT_BINARY, png.data, png.size, e);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < SHEET_COLUMNS; k++)
            image_free(&pictures[i][k]);
    mem_free(pictures);
    image_free(&out);
    buf_free(&png);
    return status;
}

static int run(struct tool_run *t, struct set *a, struct set *b, struct error *e)
{
    struct pairs p = {0};
    struct frechet f = {0};
    char text[512];
    int n = 0, paired;
    if (!o.reference)
        return error_set(e, HASTEN_EUSAGE, "--reference is missing");
    const char *got = tool_input(t, e);
    if (!got || read_set(a, o.reference, e) < 0 || read_set(b, got, e) < 0)
        return -1;
    if (b->mean)
        return error_set(e, HASTEN_EFILE, "%s holds statistics, pictures or latents are needed", got);
    if (a->mean && !o.features)
        return error_set(e, HASTEN_EUSAGE, "a stored mean and covariance needs --features");
    paired = !a->mean;
    if ((paired && compare(a, b, &p, e) < 0) || (o.features && frechet(t, a, b, &f, e) < 0))
        return -1;
    if (o.sheet && write_sheet(a, b, got, e) < 0)
        return -1;
    cJSON *j = json_new_object(e);
    int status = j && json_add_int(j, "count", b->count, e) == 0 ? 0 : -1;
    if (status == 0 && paired) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%lld pairs: PSNR %.2f dB, SSIM %.4f, relative L2 %.5f%s\n", (long long)b->count,
                      p.psnr, p.ssim, p.rel_l2, p.identical ? " (identical)" : "");
        status = json_add_double(j, "psnr_db", p.psnr, e) < 0 ||
                         json_add_double(j, "rel_l2", p.rel_l2, e) < 0 ||
                         (p.has_ssim && json_add_double(j, "ssim", p.ssim, e) < 0) ||
                         (p.identical && json_add_bool(j, "identical", 1, e) < 0)
                     ? -1
                     : 0;
    }
    if (status == 0 && o.features) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "Frechet distance %.4f, 95 %% interval %.4f to %.4f, %lld samples\n", f.distance, f.low,
                      f.high, (long long)b->count);
        status = json_add_double(j, "frechet", f.distance, e) < 0 ||
                         json_add_double(j, "frechet_low", f.low, e) < 0 ||
                         json_add_double(j, "frechet_high", f.high, e) < 0 ||
                         json_add_double(j, "frechet_bias", f.bias, e) < 0
                     ? -1
                     : 0;
    }
    if (status == 0)
        status = tool_report(t, text, j, 0, e);
    cJSON_Delete(j);
    if (status == 0 && paired && o.min_psnr > 0 && p.psnr < o.min_psnr)
        status = error_set(e, HASTEN_EGATE, "PSNR is %.2f dB, --min-psnr asks for %.2f", p.psnr, o.min_psnr);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct set a = {0}, b = {0};
    if (tool_start(&t, &tool, argc, argv, &e) == 0)
        run(&t, &a, &b, &e);
    free_set(&a);
    free_set(&b);
    return tool_finish(&t, &e);
}
