/* evaluate: how close are these pictures or latents to those? */
#include "common/base/json.h"
#include "common/file/output.h"
#include "common/image/png.h"
#include "common/image/sheet.h"
#include "common/method/frechet.h"
#include "common/method/metrics.h"
#include "tools/evaluate.h"

#include <math.h>
#include <stdio.h>

static struct {
    const char *reference, *features, *sheet, *shard, *output;
    struct tool_list row;
    double min_psnr;
    int64_t resamples;
    int measure_only, merge;
} o = {.resamples = 200};

static const struct tool_option options[] = {
    {"reference", 0, "REF", OPTION_TEXT, &o.reference,
     .help = "folder of PNG files, samples file, or stored mean and covariance"},
    {"features", 0, "MODEL", OPTION_TEXT, &o.features,
     .help = "model with an output `features`: also the Frechet distance"},
    {"resamples", 0, "N", OPTION_INT, &o.resamples, .min = 0, .max = 10000,
     .help = "bootstrap resamples of its interval (default 200)"},
    {"sheet", 0, "FILE", OPTION_OUTPUT, &o.sheet,
     .help = "contact sheet: a row of the reference, one of GOT, more"},
    {"row", 0, "DIR", OPTION_LIST, &o.row, .help = "another folder of pictures for the contact sheet"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998, .help = "exit 3 below this PSNR"},
    {"measure-only", 0, NULL, OPTION_FLAG, &o.measure_only,
     .help = "write the measures of each image to -o, to be merged"},
    {"output", 'o', "FILE", OPTION_OUTPUT, &o.output,
     .help = "where --measure-only writes (default: standard output)"},
    {"shard", 0, "I/N", OPTION_TEXT, &o.shard,
     .help = "measure part I of N, from 0; auto: as Slurm, Kubernetes, MPI or torchrun say"},
    {"merge", 0, NULL, OPTION_FLAG, &o.merge,
     .help = "the operands are files of --measure-only: report on all"},
    {0}};

static const struct tool tool = {"evaluate",
                                 "GOT ...",
                                 "Compare pictures or latents with a reference.",
                                 options,
                                 TOOL_RUNS,
                                 "evaluate --reference full/ fast/ --features fashion-features.model.zst"};

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
    const struct shard whole = {0, 1, NULL};
    int n = 0, status = pictures ? 0 : -1;
    if (status == 0 && (!a->pictures || !b->pictures))
        status = error_set(e, HASTEN_EUSAGE, "--sheet is for folders of pictures");
    for (int i = 0; status == 0 && i < o.row.count + 2 && n < SHEET_ROWS; i++) {
        struct set more = {0};
        const struct set *s = i == 0 ? a : i == 1 ? b : &more;
        if (i > 1)
            status = set_read(&more, o.row.item[i - 2], &whole, e);
        rows[n] = (struct sheet_row){i == 0 ? o.reference : i == 1 ? got : o.row.item[i - 2], pictures[n], 0};
        if (status == 0)
            status = pictures_of(s, pictures[n], &rows[n].count, e);
        n++;
        set_free(&more);
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

/* ---- report ---- */

static double mean_of(const double *x, int64_t n)
{
    struct metric_mean m = {0};
    for (int64_t i = 0; i < n; i++)
        metric_add(&m, x[i]);
    return metric_value(&m);
}

static int moments_of(const float *x, int64_t count, int dim, struct moments *m, struct error *e)
{
    if (moments_open(dim, m, e) < 0)
        return -1;
    for (int64_t i = 0; i < count; i++)
        if (moments_add(m, x + i * dim, e) < 0)
            return -1;
    return 0;
}

/* stored: its mean and covariance are the reference where m has none of its own. */
static int frechet(struct tool_run *t, const struct measured *m, const struct set *stored,
                   struct frechet *out, struct error *e)
{
    struct moments a = {0}, b = {0};
    int status = moments_of(m->got, m->count, m->dim, &b, e);
    if (status == 0 && !m->reference && (!stored->mean || stored->dim != m->dim))
        status = error_set(e, stored->mean ? HASTEN_EFILE : HASTEN_EUSAGE,
                           "a reference of %d features is needed: --reference names a mean and covariance",
                           m->dim);
    if (status == 0)
        status = m->reference ? moments_of(m->reference, m->count, m->dim, &a, e)
                              : moments_from(stored->dim, stored->stored_count, stored->mean,
                                             stored->covariance, &a, e);
    struct frechet_side sa = {&a, m->reference}, sb = {&b, m->got};
    if (status == 0)
        status = frechet_distance(&sa, &sb, (int)o.resamples, t->seed, t->team, out, e);
    moments_free(&a);
    moments_free(&b);
    return status;
}

static int report(struct tool_run *t, const struct measured *m, const struct set *stored, struct error *e)
{
    struct frechet f = {0};
    struct buf text = {0};
    double psnr = m->paired ? mean_of(m->psnr, m->count) : 0;
    if (m->dim && frechet(t, m, stored, &f, e) < 0)
        return -1;
    cJSON *j = json_new_object(e);
    json_add_int(j, "count", m->count, e);
    if (m->paired) {
        double rel = mean_of(m->rel_l2, m->count);
        int identical = mean_of(m->identical, m->count) >= 1;
        buf_printf(&text, e, "%lld pairs: PSNR %.2f dB, ", (long long)m->count, psnr);
        if (m->has_ssim) { /* not of less than its window */
            buf_printf(&text, e, "SSIM %.4f, ", mean_of(m->ssim, m->count));
            json_add_double(j, "ssim", mean_of(m->ssim, m->count), e);
        }
        buf_printf(&text, e, "relative L2 %.5f%s\n", rel, identical ? " (identical)" : "");
        json_add_double(j, "psnr_db", psnr, e);
        json_add_double(j, "rel_l2", rel, e);
        if (identical)
            json_add_bool(j, "identical", 1, e);
    }
    if (m->dim) {
        buf_printf(&text, e, "Frechet distance %.4f, 95 %% interval %.4f to %.4f, %lld samples\n", f.distance,
                   f.low, f.high, (long long)m->count);
        json_add_double(j, "frechet", f.distance, e);
        json_add_double(j, "frechet_low", f.low, e);
        json_add_double(j, "frechet_high", f.high, e);
        json_add_double(j, "frechet_bias", f.bias, e);
    }
    int status = e->code ? -1 : tool_report(t, text.data, j, 0, e);
    cJSON_Delete(j);
    buf_free(&text);
    if (status == 0 && m->paired && o.min_psnr > 0 && psnr < o.min_psnr)
        status = error_set(e, HASTEN_EGATE, "PSNR is %.2f dB, --min-psnr asks for %.2f", psnr, o.min_psnr);
    return status;
}

/* ---- running ---- */

static int check_mode(struct tool_run *t, struct shard *shard, struct error *e)
{
    *shard = (struct shard){0, 1, NULL};
    if (o.merge && (o.measure_only || o.shard || o.sheet || o.features))
        return error_set(e, HASTEN_EUSAGE, "--merge goes with --reference, --min-psnr and --resamples only");
    if (o.merge && !t->operands)
        return error_set(e, HASTEN_EUSAGE, "--merge: no files are given");
    if (!o.merge && t->operands > 1)
        return error_set(e, HASTEN_EUSAGE, "'%.200s': one operand too many", t->operand[1]);
    if (!o.merge && !o.reference)
        return error_set(e, HASTEN_EUSAGE, "--reference is missing");
    if (o.measure_only && (o.sheet || o.min_psnr > 0))
        return error_set(e, HASTEN_EUSAGE, "--measure-only makes no report, only -o FILE");
    if ((o.shard != NULL || o.output) && !o.measure_only)
        return error_set(e, HASTEN_EUSAGE, "%s goes with --measure-only", o.shard ? "--shard" : "--output");
    if (o.measure_only && output_is_stdout(o.output) && tool_claim_stdout(t, 1, e) < 0)
        return -1;
    return o.shard ? shard_parse(o.shard, tool_environment, NULL, shard, e) : 0;
}

static int run_merge(struct tool_run *t, struct measured *m, struct set *stored, struct error *e)
{
    const struct shard whole = {0, 1, NULL};
    if (parts_merge(m, t->operand, t->operands, e) < 0)
        return -1;
    if (o.reference && set_read(stored, o.reference, &whole, e) < 0)
        return -1;
    if (o.reference && (m->paired || !stored->mean))
        return error_set(e, HASTEN_EUSAGE,
                         "--merge: --reference is for a stored mean and covariance, where the "
                         "parts were measured against one");
    return report(t, m, stored, e);
}

static int run(struct tool_run *t, struct set *a, struct set *b, struct measured *m, struct error *e)
{
    struct shard shard;
    if (check_mode(t, &shard, e) < 0)
        return -1;
    if (o.merge)
        return run_merge(t, m, a, e);
    const char *got = tool_input(t, e);
    if (!got || set_read(a, o.reference, &shard, e) < 0 || set_read(b, got, &shard, e) < 0)
        return -1;
    if (b->mean)
        return error_set(e, HASTEN_EFILE, "%s holds statistics, pictures or latents are needed", got);
    if (a->mean && !o.features)
        return error_set(e, HASTEN_EUSAGE, "a stored mean and covariance needs --features");
    if (measure(m, t, a, b, o.features, e) < 0)
        return -1;
    if (o.measure_only)
        return part_write(m, o.output, t->team, e);
    if (o.sheet && write_sheet(a, b, got, e) < 0)
        return -1;
    return report(t, m, a, e);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct set a = {0}, b = {0};
    struct measured m = {0};
    if (tool_start(&t, &tool, argc, argv, &e) == 0)
        run(&t, &a, &b, &m, &e);
    measured_free(&m);
    set_free(&a);
    set_free(&b);
    return tool_finish(&t, &e);
}
