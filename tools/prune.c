/* prune: cut and leave out what the results hardly need, and repair what is left. */
#include "common/base/json.h"
#include "common/run/prune.h"
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

static struct {
    double speedup, max_ms, min_psnr;
    size_t max_bytes;
    struct tool_list remove, keep;
    const char *profile;
    int score, compensate;
    int64_t seeds, calls, packages, validate;
} o = {.seeds = 16, .calls = 10, .packages = 1, .validate = 8, .compensate = 1};

static const struct tool_option options[] = {
    {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 100,
     .help = "make one network call this much faster"},
    {"max-ms", 0, "MS", OPTION_DOUBLE, &o.max_ms, .min = 1e-12, .max = 1e12,
     .help = "... or as fast as this"},
    {"max-bytes", 0, "SIZE", OPTION_SIZE, &o.max_bytes, .help = "... or the denoiser's weights as small"},
    {"remove", 0, "PATTERN", OPTION_LIST, &o.remove, .help = "... or remove the branches whose names match"},
    {"keep", 0, "PATTERN", OPTION_LIST, &o.keep, .help = "leave these parts as they are"},
    {"profile", 0, "FILE", OPTION_TEXT, &o.profile,
     .help = "milliseconds of the parts (default: measured here)"},
    {"score", 0, "NAME", OPTION_CHOICE, &o.score, .choices = "joint latent magnitude random",
     .help = "joint (default), latent, magnitude or random"},
    {"compensate", 0, "on|off", OPTION_CHOICE, &o.compensate, .choices = "off on",
     .help = "repair what is left by least squares (default on)"},
    {"seeds", 0, "N", OPTION_INT, &o.seeds, .min = 2, .max = 10000,
     .help = "calibration images (default 16)"},
    {"calls", 0, "N", OPTION_INT, &o.calls, .min = 1, .max = 1000,
     .help = "sampling steps of calibration (default 10)"},
    {"packages", 0, "N", OPTION_INT, &o.packages, .min = 1, .max = 100,
     .help = "go in so many packages, scored anew after each (default 1)"},
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 0, .max = 10000,
     .help = "validation images (default 8)"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998,
     .help = "... or as fast as keeps this PSNR; beside another budget: fail (exit 3) below"},
    {0}};

static const struct tool tool = {"prune",
                                 "MODEL",
                                 "Leave out the parts that matter least for the time they take.",
                                 options,
                                 TOOL_DATA | TOOL_RUNS,
                                 "prune model.zst --speedup 1.15 -o pruned.zst"};

static const char *const score_names[] = {"joint", "latent", "magnitude", "random"};

static void progress(void *context, const char *what, double done, double total)
{
    tool_progress(context, what, done, total);
}

static void note(void *context, const char *text) { tool_warn(context, "%s", text); }

/* ---- report ---- */

static int quality_json(cJSON *j, const struct quality *q, struct error *e)
{
    return json_add_double(j, "rel_l2", q->rel_l2, e) < 0 || json_add_double(j, "psnr_db", q->psnr, e) < 0
               ? -1
               : 0;
}

static cJSON *report_json(const struct prune_report *r, struct error *e)
{
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "removed", e) : NULL, *plain = NULL;
    int status = list ? 0 : -1;
    for (int i = 0; status == 0 && i < r->parts; i++) {
        const struct prune_part *p = &r->part[i];
        cJSON *k = json_push_object(list, e);
        if (!k || json_add_string(k, "name", p->name, e) < 0 || json_add_string(k, "left", p->what, e) < 0 ||
            json_add_double(k, "score", p->damage, e) < 0 || json_add_double(k, "ms", p->ms, e) < 0 ||
            json_add_int(k, "bytes", (int64_t)p->bytes, e) < 0)
            status = -1;
    }
    if (status == 0 && (json_add_double(j, "ms_before", r->before_ms, e) < 0 ||
                        json_add_double(j, "ms_predicted", r->predicted_ms, e) < 0 ||
                        json_add_double(j, "ms_after", r->after_ms, e) < 0 ||
                        json_add_int(j, "bytes_before", (int64_t)r->before_bytes, e) < 0 ||
                        json_add_int(j, "bytes_after", (int64_t)r->after_bytes, e) < 0 ||
                        json_add_bool(j, "compensated", r->compensated, e) < 0))
        status = -1;
    if (status == 0 && r->validated)
        status = quality_json(j, r->compensated ? &r->quality : &r->plain, e);
    if (status == 0 && r->validated) {
        plain = json_add_object(j, "without_compensation", e);
        status = plain ? quality_json(plain, &r->plain, e) : -1;
    }
    if (status == 0)
        return j;
    cJSON_Delete(j);
    return NULL;
}

static void report_text(const struct prune_report *r, struct buf *b, struct error *e)
{
    const struct quality *q = r->compensated ? &r->quality : &r->plain;
    for (int i = 0; i < r->parts; i++) {
        const struct prune_part *p = &r->part[i];
        buf_printf(b, e, "%-48s %-22s score %.4g, %.3f ms\n", p->name, p->what, p->damage, p->ms);
    }
    buf_printf(b, e, "one call: %.3f ms before, %.3f predicted, %.3f measured (%.2fx)\n", r->before_ms,
               r->predicted_ms, r->after_ms, r->before_ms / r->after_ms);
    buf_printf(b, e, "weights: %.0f bytes before, %.0f after\n", r->before_bytes, r->after_bytes);
    if (!r->validated)
        return;
    buf_printf(b, e, "final latents on %lld validation seeds, %d steps: relative L2 %.4f, PSNR %.2f dB\n",
               (long long)o.validate, r->steps, q->rel_l2, q->psnr);
    if (r->compensated)
        buf_printf(b, e, "without the repair by least squares: relative L2 %.4f, PSNR %.2f dB\n",
                   r->plain.rel_l2, r->plain.psnr);
}

static int report(const struct tool_run *t, const struct prune_report *r, struct error *e)
{
    struct buf b = {0};
    cJSON *j = report_json(r, e);
    report_text(r, &b, e);
    int status = j ? tool_report(t, b.data, j, tool_stdout_is_data(t), e) : -1;
    cJSON_Delete(j);
    buf_free(&b);
    return status;
}

/* What changes content: the parts, and how they were told. */
static cJSON *record(const struct prune_report *r, struct error *e)
{
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "removed", e) : NULL;
    if (!list || json_add_string(j, "score", score_names[o.score], e) < 0 ||
        json_add_bool(j, "compensated", r->compensated, e) < 0) {
        cJSON_Delete(j);
        return NULL;
    }
    for (int i = 0; i < r->parts; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s: %s", r->part[i].name, r->part[i].what);
        if (json_push_string(list, text, e) < 0) {
            cJSON_Delete(j);
            return NULL;
        }
    }
    return j;
}

static int write_model(struct tool_run *t, struct model *m, const struct prune_report *r, struct error *e)
{
    const struct quality *q = r->compensated ? &r->quality : &r->plain;
    if (o.min_psnr > 0 && r->validated && q->psnr < o.min_psnr && !t->force)
        return error_set(e, HASTEN_EGATE, "PSNR of the final latents is %.2f dB, --min-psnr asks for %.2f",
                         q->psnr, o.min_psnr);
    cJSON *options_of = record(r, e);
    if (!options_of || model_provenance(m, "prune", HASTEN_VERSION, options_of, e) < 0)
        return -1;
    model_drop_unused(m);
    return model_write(m, t->output, t->team, NULL, e) < 0 ? -1 : report(t, r, e);
}

static int run(struct tool_run *t, struct model *m, struct error *e)
{
    const char *path = tool_input(t, e);
    struct prune_report r;
    struct prune_settings s = {.score = (enum prune_score)o.score,
                               .compensate = o.compensate,
                               .images = (int)o.seeds,
                               .calls = (int)o.calls,
                               .packages = (int)o.packages,
                               .validate = (int)o.validate,
                               .seed = t->seed,
                               .speedup = o.speedup,
                               .max_ms = o.max_ms,
                               .max_bytes = (double)o.max_bytes,
                               .min_psnr = o.min_psnr,
                               .remove = o.remove.item,
                               .removes = o.remove.count,
                               .keep = o.keep.item,
                               .keeps = o.keep.count,
                               .profile = o.profile,
                               .force = t->force,
                               .progress = progress,
                               .note = note,
                               .context = t};
    int budgets = (o.speedup > 0) + (o.max_ms > 0) + (o.max_bytes > 0) + (o.remove.count > 0);
    if (budgets > 1 || (budgets == 0 && o.min_psnr <= 0))
        return error_set(e, HASTEN_EUSAGE,
                         "give one of --speedup, --max-ms, --max-bytes and --remove, or --min-psnr");
    if (o.min_psnr > 0 && o.validate == 0)
        return error_set(e, HASTEN_EUSAGE, "--min-psnr needs validation images");
    if (!path || model_open(m, path, t->memory, t->team, e) < 0)
        return -1;
    int status = prune_model(m, &t->backend, &s, &r, e);
    tool_progress_end(t);
    if (status < 0)
        return -1;
    status = write_model(t, m, &r, e);
    prune_report_free(&r);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct model m = {0};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&t, &m, &e);
        model_close(&m);
    }
    return tool_finish(&t, &e);
}
