/* quantize: linear layers and convolutions to fewer bits. */
#include "common/base/json.h"
#include "common/file/model_markers.h"
#include "common/run/node_cost.h"
#include "tools/quantize.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    int type, rotate, rounding, correct, levels, allocation, scores;
    struct tool_list keep, type_of, lora;
    double min_psnr, max_ms;
    size_t max_bytes;
    const char *profile;
    int64_t validate, steps, calibrate;
    struct parts parts;
} o = {.validate = 4, .rotate = ROTATE_AUTO};

static const struct tool_option options[] = {
    {"type", 0, "TYPE", OPTION_CHOICE, &o.type, .choices = "w8a8 w4a8 w4a16 w8a16 fp8",
     .help =
         "w8a8: int8 weights by row, int8 activations (default); 4 weight bits (w4...), float activations "
         "(...a16); fp8: e4m3 weights, float activations"},
    {"type-of", 0, "P=TYPE", OPTION_LIST, &o.type_of,
     .help = "layers that match P get that type, or stay plain"},
    {"keep", 0, "PATTERN", OPTION_LIST, &o.keep, .help = "layers to leave alone, beside the printed list"},
    {"lora", 0, "FILE:SCALE", OPTION_LIST, &o.lora,
     .help = "merge a LoRA into the weights first (kohya, diffusers and peft names; scale 1 when left out)"},
    {"calibrate", 0, "N", OPTION_INT, &o.calibrate, .min = 0, .max = 100000,
     .help = "weigh errors by what N images show (default 0: no data)"},
    PARTS_OPTIONS(o.parts),
    {"rotate", 0, "WHEN", OPTION_CHOICE, &o.rotate, .choices = "off on auto",
     .help = "Hadamard blocks before rounding activations of linear layers; auto: where a calibrated layer "
             "gains, "
             "and without data (default)"},
    {"rounding", 0, "HOW", OPTION_CHOICE, &o.rounding, .choices = "auto nearest",
     .help = "auto: GPTQ for calibrated weights and convolutions (default); nearest"},
    {"levels", 0, "HOW", OPTION_CHOICE, &o.levels, .choices = "table linear",
     .help = "16 levels of 4-bit weights: for Gaussian groups (default), or at equal distances"},
    {"correct", 0, "WHEN", OPTION_CHOICE, &o.correct, .choices = "on off",
     .help = "calibrated: biases make up for what rounded weights do to the mean input (default on)"},
    {"scores", 0, "HOW", OPTION_CHOICE, &o.scores, .choices = "float int8",
     .help = "what attention compares: rounded to bfloat16 at most (default), or int8 codes: quicker from "
             "1024 tokens on, less exact"},
    {"max-bytes", 0, "SIZE", OPTION_SIZE, &o.max_bytes,
     .help = "choose types layer by layer so that all tensors take no more"},
    {"max-ms", 0, "MS", OPTION_DOUBLE, &o.max_ms, .min = 1e-12, .max = 1e9,
     .help = "choose types layer by layer so that a network call takes no longer"},
    {"profile", 0, "FILE", OPTION_TEXT, &o.profile, .help = "the batch of that call (default 1)"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998,
     .help = "choose types layer by layer where the asked one falls below this PSNR of final latents; exit 3 "
             "when none is above"},
    {"allocation", 0, "HOW", OPTION_CHOICE, &o.allocation, .choices = "joint separate",
     .help = "joint: types are chosen by what errors of layers do together (default); separate: by each "
             "layer's alone, for comparison"},
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 0, .max = 10000,
     .help = "validation images (default 4; 0: none)"},
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 100000,
     .help = "steps of validation and calibration (default 20 at most)"},
    {0}};

static const struct tool tool = {
    "quantize", "MODEL ...",           "Make a model smaller and faster with 8-bit and 4-bit arithmetic.",
    options,    TOOL_DATA | TOOL_RUNS, "quantize model.zst -o small.model.zst --min-psnr 35"};

/* In the order of --rotate. */
static const char *const rotations[] = {"off", "on", "auto"};

/* In the order of --type. */
static const int types[] = {FORMAT_W8A8, FORMAT_W4A8, FORMAT_W4A16, FORMAT_W8A16, FORMAT_FP8};

static int matches(const char *pattern, const char *name) { return fnmatch(pattern, name, 0) == 0; }

/* The format that the rules give a layer; -1: a bad --type-of. */
static int chosen(const struct node *n, struct error *e)
{
    int format = types[o.type];
    for (int i = 0; quantize_skip_list[i]; i++)
        if (matches(quantize_skip_list[i], n->name))
            format = FORMAT_PLAIN;
    for (int i = 0; i < o.keep.count; i++)
        if (matches(o.keep.item[i], n->name))
            format = FORMAT_PLAIN;
    for (int i = 0; i < o.type_of.count; i++) {
        const char *item = o.type_of.item[i], *equals = strrchr(item, '=');
        char pattern[1024];
        int type = equals && equals > item ? format_find(equals + 1) : -1;
        if (type < 0)
            return error_set(
                e, HASTEN_EUSAGE,
                "--type-of '%s' is not PATTERN=TYPE with one of plain, w8a8, w8a16, w4a16, w4a8, fp8", item);
        snprintf(pattern, sizeof pattern, "%.*s", (int)(equals - item), item);
        if (matches(pattern, n->name))
            format = type;
    }
    return format;
}

/* A pattern that matches nothing is a slip of the pen, most of the time. */
static void warn_unmatched(const struct work *w, const char *option, const struct tool_list *list, int ends)
{
    for (int i = 0; i < list->count; i++) {
        char pattern[1024];
        const char *item = list->item[i], *end = ends ? strrchr(item, ends) : NULL;
        int hits = 0;
        snprintf(pattern, sizeof pattern, "%.*s", (int)(end ? end - item : (long)strlen(item)), item);
        for (int k = 0; k < w->g->count && !hits; k++)
            hits = (node_is(&w->g->node[k], "linear") || node_is(&w->g->node[k], "conv2d")) &&
                   matches(pattern, w->g->node[k].name);
        if (!hits)
            tool_warn(w->t, "--%s '%.200s' matches no layer", option, pattern);
    }
}

/* All layers that take part, with their formats. */
static int choose_layers(struct work *w, struct error *e)
{
    unsigned char *depends = mem_array((size_t)w->g->count + 1, 1, e);
    int sample = graph_find(w->g, "sample"), status = depends ? 0 : -1;
    if (status == 0 && sample < 0)
        status = error_set(e, HASTEN_EFILE, "the denoiser has no input 'sample'");
    if (status == 0)
        graph_depends(w->g, sample, depends);
    for (int i = 0; status == 0 && i < w->g->count; i++) {
        struct node *n = &w->g->node[i];
        if (!node_is(n, "linear") && !node_is(n, "conv2d"))
            continue;
        if ((int)node_attr(n, "format") != FORMAT_PLAIN) {
            status = error_set(e, HASTEN_EFILE,
                               "layer '%s' is quantized already; start from the original model", n->name);
            break;
        }
        /* Layers that depend on time and class alone are hoisted out of the steps: they cost nothing and stay
         * exact. */
        int format = depends[i] ? chosen(n, e) : FORMAT_PLAIN;
        status = format < 0 ? -1 : 0;
        if (format <= FORMAT_PLAIN) {
            w->kept++;
            continue;
        }
        struct layer *l = &w->layer[w->layers++];
        *l = (struct layer){.node = i, .format = quantizer_format(w->g, i, format), .twin = -1};
        l->before = node_weight(n, "weight")->size;
        for (int k = 0; k < w->layers - 1; k++)
            if (l->twin < 0 &&
                node_weight(&w->g->node[w->layer[k].node], "weight") == node_weight(n, "weight")) {
                l->twin = k;
                l->shared = w->layer[k].shared = 1;
            }
    }
    mem_free(depends);
    warn_unmatched(w, "keep", &o.keep, 0);
    warn_unmatched(w, "type-of", &o.type_of, '=');
    if (status == 0 && w->layers == 0)
        status = error_set(e, HASTEN_EUSAGE, "every layer is kept: nothing to quantize");
    return status;
}

static struct measure measure_of(const struct work *w)
{
    return (struct measure){
        .model = &w->m, .graph = w->g, .backend = &w->t->backend, .count = w->validate, .steps = w->steps};
}

/* ---- the work ---- */

static struct quantizer quantizer_of(const struct work *w)
{
    return (struct quantizer){.graph = w->g,
                              .team = w->t->team,
                              .statistics = w->calibrated ? &w->statistics : NULL,
                              .rotate = o.rotate,
                              .rotated = w->rotated,
                              .gptq = o.rounding == 0,
                              .correct = o.correct == 0,
                              .linear_levels = o.levels};
}

static void show_layers(void *context, int done)
{
    struct work *w = context;
    tool_progress(w->t, "quantize", done, w->layers);
}

static int make_all(struct work *w, struct error *e)
{
    struct quantizer q = quantizer_of(w);
    struct quantizer_item *item = mem_array((size_t)w->layers + 1, sizeof *item, e);
    int count = 0;
    if (!item)
        return -1;
    for (int i = 0; i < w->layers; i++) {
        struct layer *l = &w->layer[i];
        if (l->twin >= 0) /* a tensor that two layers use is quantized once */
            l->format = w->layer[l->twin].format;
        else
            item[count++] = (struct quantizer_item){l->node, l->format, &l->stored};
    }
    int status = quantizer_layers(&q, item, count, w->spill, show_layers, w, e);
    tool_progress_end(w->t);
    mem_free(item);
    return status;
}

/* For good. Layers that stayed plain are kept ones. */
static int install_all(struct work *w, struct error *e)
{
    int left = 0;
    for (int i = 0; i < w->layers; i++) {
        struct layer *l = &w->layer[i];
        if (l->twin >= 0) /* its data are installed already */
            l->stored = w->layer[l->twin].stored;
        if (stored_install(&l->stored, &w->m, w->g, l->node, e) < 0)
            return -1;
        left += l->format != FORMAT_PLAIN;
    }
    for (int i = 0, to = 0; i < w->layers; i++)
        if (w->layer[i].format != FORMAT_PLAIN)
            w->layer[to++] = w->layer[i];
    w->kept += w->layers - left;
    w->layers = left;
    if (left == 0)
        tool_warn(w->t, "the budget holds as the model is: no layer is quantized");
    if (o.scores && quantizer_scores(w->g, e) < 0)
        return -1;
    return graph_infer(w->g, 0, 0, model_find, &w->m, e);
}

static struct weights *open_weights(struct work *w, struct error *e)
{
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, &w->m};
    return weights_open(w->g, &w->t->backend, &loader, e);
}

static int time_layers(struct work *w, const struct weights *packed, int after, struct error *e)
{
    double *ms = mem_array((size_t)w->g->count + 1, sizeof *ms, e);
    struct timing t = {.graph = w->g, .weights = packed, .batch = w->batch, .repeats = 9};
    int status = ms ? node_cost(&t, ms, &w->call_ms[after], e) : -1;
    for (int i = 0; status == 0 && i < w->layers; i++)
        *(after ? &w->layer[i].ms_after : &w->layer[i].ms_before) = ms[w->layer[i].node];
    mem_free(ms);
    return status;
}

/* Latents of the validation seeds and the times of layers, of the model as it is now. */
static int look(struct work *w, int after, float **latents, int64_t *size, struct error *e)
{
    struct measure m = measure_of(w);
    if (!w->validated)
        return 0;
    struct weights *packed = open_weights(w, e);
    m.weights = packed;
    int status =
        packed && time_layers(w, packed, after, e) == 0 ? measure_latents(&m, latents, NULL, size, e) : -1;
    weights_close(packed);
    return status;
}

static int check_result(const struct work *w, struct error *e)
{
    double bytes = 0;
    for (int i = 0; i < w->m.tensors; i++)
        bytes += (double)w->m.tensor[i].size;
    for (int i = 0; i < w->g->count; i++)
        bytes += (double)marker_size(&w->g->node[i]);
    if (w->t->force)
        return 0;
    if (o.max_bytes && bytes > (double)o.max_bytes)
        return error_set(e, HASTEN_EGATE, "the tensors take %.0f bytes, --max-bytes allows %zu", bytes,
                         o.max_bytes);
    /* Times of two runs differ by some per cent. */
    if (o.max_ms > 0 && w->call_ms[1] > 1.1 * o.max_ms)
        return error_set(
            e, HASTEN_EGATE,
            "a network call was predicted to take %.3f ms and takes %.3f, --max-ms allows %.3f; go on "
            "with --force",
            w->predicted_ms, w->call_ms[1], o.max_ms);
    if (o.min_psnr <= 0 || w->quality.psnr >= o.min_psnr)
        return 0;
    return error_set(
        e, HASTEN_EGATE,
        "PSNR of the final latents is %.2f dB, --min-psnr asks for %.2f; a larger budget, --calibrate "
        "or --keep may help, or go on with --force",
        w->quality.psnr, o.min_psnr);
}

/* How many images a call of --max-ms has. */
static int read_batch(struct work *w, struct error *e)
{
    w->batch = 1;
    if (!o.profile)
        return 0;
    struct container_options want = {.kind = "profile"};
    struct container *c = container_open(o.profile, &want, e);
    int64_t batch = 1;
    int status = c ? json_int_or(c->meta, "batch", 1, 1 << 16, 1, &batch, e) : -1;
    w->batch = (int)batch;
    container_close(c);
    return status;
}

static void drop_stored(struct work *w)
{
    for (int i = 0; i < w->layers; i++)
        if (w->layer[i].twin < 0)
            stored_free(&w->layer[i].stored);
}

/* Does the type that was asked for do? Then nothing has to be searched. */
static int try_asked(struct work *w, const float *reference, int64_t size, int *good, struct error *e)
{
    struct measure m = measure_of(w);
    struct graph *trial = graph_copy(w->g, e);
    struct quality q;
    float *got = NULL;
    int status = trial && make_all(w, e) == 0 ? 0 : -1;
    for (int i = 0; status == 0 && i < w->layers; i++)
        stored_apply(&w->layer[w->layer[i].twin >= 0 ? w->layer[i].twin : i].stored, trial, w->layer[i].node);
    m.graph = trial;
    if (status == 0)
        status = measure_latents(&m, &got, NULL, NULL, e);
    if (status == 0) {
        measure_quality(reference, got, w->validate, size, &q);
        *good = q.psnr >= o.min_psnr || w->t->force;
        if (!*good)
            tool_warn(w->t, "the asked type gives %.2f dB; types are chosen layer by layer", q.psnr);
    }
    mem_free(got);
    graph_close(trial);
    return status;
}

static int choose_and_make(struct work *w, const float *reference, int64_t size, struct error *e)
{
    struct quantize_limits limits = {.bytes = (double)o.max_bytes,
                                     .ms = o.max_ms,
                                     .psnr = o.min_psnr,
                                     .type = types[o.type],
                                     .batch = w->batch,
                                     .separate = o.allocation};
    struct quantizer q = quantizer_of(w);
    struct measure m = measure_of(w);
    int good = 0;
    if (!o.max_bytes && o.max_ms <= 0) {
        if (o.min_psnr <= 0)
            return make_all(w, e);
        if (try_asked(w, reference, size, &good, e) < 0)
            return -1;
        if (good)
            return 0;
        drop_stored(w);
    }
    return quantize_budget(w, &limits, &q, &m, reference, size, e);
}

static int write_model(struct work *w, struct error *e)
{
    cJSON *j = json_new_object(e), *counts = j ? json_add_object(j, "layers", e) : NULL;
    int count[FORMATS] = {0}, status = counts ? 0 : -1;
    for (int i = 0; i < w->layers; i++)
        count[w->layer[i].format]++;
    for (int f = FORMAT_PLAIN + 1; status == 0 && f < FORMATS; f++)
        if (count[f])
            status = json_add_int(counts, format_name(f), count[f], e);
    if (status < 0 ||
        json_add_int(j, "calibration_images", w->calibrated ? w->statistics.images : 0, e) < 0 ||
        json_add_string(j, "rotate", rotations[o.rotate], e) < 0 ||
        (o.scores && json_add_string(j, "scores", "int8", e) < 0) ||
        (w->loras && json_add(j, "lora", json_copy(w->loras, e), e) < 0)) {
        cJSON_Delete(j);
        return -1;
    }
    if (model_provenance(&w->m, "quantize", HASTEN_VERSION, j, e) < 0)
        return -1;
    model_drop_unused(&w->m);
    return model_write(&w->m, w->t->output, w->t->team, w->id, e);
}

static int open_model(struct work *w, struct error *e)
{
    const char *path = tool_input(w->t, e);
    if (!path || model_open_lazy(&w->m, path, w->t->memory, w->t->team, e) < 0 ||
        !(w->spill = spill_open(w->t->output, getenv("TMPDIR"), w->t->team, e)) ||
        quantize_loras(w, &o.lora, e) < 0)
        return -1;
    w->g = model_main(&w->m, e);
    if (!w->g || !(w->layer = mem_array((size_t)w->g->count + 1, sizeof *w->layer, e)) ||
        !(w->rotated = mem_array((size_t)w->g->count + 1, 1, e)))
        return -1;
    w->validate = (int)o.validate;
    w->validated = o.validate > 0 && w->m.sampler.present;
    w->calibrate = o.calibrate;
    w->steps = o.steps ? (int)o.steps : w->m.sampler.steps < 20 ? w->m.sampler.steps : 20;
    if ((o.min_psnr > 0 || o.max_bytes || o.max_ms > 0) && !w->validated)
        return error_set(e, HASTEN_EUSAGE, "a budget needs a model with a sampler and --validate above 0");
    return 0;
}

static int check_modes(struct work *w, struct shard *shard, struct error *e)
{
    if (parts_check(w->t, &o.parts, shard, e) < 0)
        return -1;
    if (o.parts.measure_only && !o.calibrate)
        return error_set(e, HASTEN_EUSAGE, "--measure-only needs --calibrate N, the images of all parts");
    if ((o.parts.measure_only || o.parts.merge) && (o.min_psnr > 0 || o.max_bytes || o.max_ms > 0))
        return error_set(e, HASTEN_EUSAGE, "%s makes no model, so a budget has no meaning",
                         o.parts.merge ? "--merge" : "--measure-only");
    return 0;
}

static int run(struct work *w, struct error *e)
{
    float *reference = NULL, *got = NULL;
    int64_t size = 0;
    struct shard shard;
    if (check_modes(w, &shard, e) < 0)
        return -1;
    if (o.parts.merge)
        return parts_merge_files(w->t, STATISTICS_KIND, e);
    if (open_model(w, e) < 0)
        return -1;
    struct measure m = measure_of(w);
    if (o.parts.measure_only)
        return quantize_measure_part(w, &shard, &m, e);
    int status = read_batch(w, e) < 0 || choose_layers(w, e) < 0 || look(w, 0, &reference, &size, e) < 0 ||
                         (o.calibrate > 0 && quantize_calibrate(w, &o.parts, &m, e) < 0) ||
                         choose_and_make(w, reference, size, e) < 0 || install_all(w, e) < 0 ||
                         look(w, 1, &got, &size, e) < 0
                     ? -1
                     : 0;
    if (status == 0 && w->validated)
        measure_quality(reference, got, w->validate, size, &w->quality);
    mem_free(reference);
    mem_free(got);
    if (status < 0 || check_result(w, e) < 0 || write_model(w, e) < 0)
        return -1;
    return quantize_report(w, e);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct work w = {.t = &t};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        drop_stored(&w);
        mem_free(w.layer);
        mem_free(w.rotated);
        statistics_free(&w.statistics);
        cJSON_Delete(w.budget);
        cJSON_Delete(w.loras);
        buf_free(&w.notes);
        model_close(&w.m);
        spill_close(w.spill);
    }
    return tool_finish(&t, &e);
}
