/* quantize: linear layers and convolutions to 8-bit weights and activations. */
#include "common/base/json.h"
#include "common/graph/ops.h"
#include "common/method/quantize_w8.h"
#include "common/run/measure.h"
#include "tools/tool.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static struct {
    int type;
    struct tool_list keep, type_of;
    double min_psnr;
    int64_t validate, steps;
} o = {.validate = 4};

static const struct tool_option options[] = {
    {"type", 0, "TYPE", OPTION_CHOICE, &o.type, .choices = "w8a8",
     .help = "w8a8: int8 weights by row, int8 activations"},
    {"type-of", 0, "P=TYPE", OPTION_LIST, &o.type_of,
     .help = "layers that match P become w8a8 or stay plain"},
    {"keep", 0, "PATTERN", OPTION_LIST, &o.keep, .help = "layers to leave alone, beside the printed list"},
    {"min-psnr", 0, "DB", OPTION_DOUBLE, &o.min_psnr, .min = 0, .max = 998,
     .help = "fail (exit 3) below this PSNR of final latents"},
    {"validate", 0, "N", OPTION_INT, &o.validate, .min = 0, .max = 10000,
     .help = "validation images (default 4; 0: none)"},
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 100000,
     .help = "steps of validation (default 20 at most)"},
    {0}};

static const struct tool tool = {"quantize",
                                 "MODEL",
                                 "Make a model smaller and faster with 8-bit arithmetic.",
                                 options,
                                 TOOL_DATA | TOOL_RUNS | TOOL_FORCE,
                                 "quantize model.zst -o small.model.zst --min-psnr 35"};

/* Kept in float unless --type-of says otherwise: the first and last layers, which see few channels and decide
 * most (all published recipes agree), and 1x1 shortcuts, which cost little. */
static const char *const skip_list[] = {"conv_in",      "conv_out",       "pos_embed*",      "proj_out*",
                                        "patch_embed*", "unpatch*",       "*.conv_shortcut", "*.conv_in",
                                        "*.conv_out",   "post_quant_conv"};

struct layer {
    int node;
    struct quantize_report report;
    size_t before, after;
};

struct work {
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct layer *layer;
    int layers, kept;
    char id[HASH_HEX];
    struct quality quality;
    int validated, steps;
};

static int matches(const char *pattern, const char *name) { return fnmatch(pattern, name, 0) == 0; }

/* 1: quantize; 0: leave. -1: a bad --type-of. */
static int chosen(const struct node *n, struct error *e)
{
    int yes = 1;
    for (size_t i = 0; i < sizeof skip_list / sizeof *skip_list; i++)
        yes &= !matches(skip_list[i], n->name);
    for (int i = 0; i < o.keep.count; i++)
        yes &= !matches(o.keep.item[i], n->name);
    for (int i = 0; i < o.type_of.count; i++) {
        const char *equals = strrchr(o.type_of.item[i], '=');
        char pattern[1024];
        if (!equals || equals == o.type_of.item[i] || (strcmp(equals, "=w8a8") && strcmp(equals, "=plain")))
            return error_set(e, HASTEN_EUSAGE, "--type-of '%s' is not PATTERN=w8a8 or PATTERN=plain",
                             o.type_of.item[i]);
        snprintf(pattern, sizeof pattern, "%.*s", (int)(equals - o.type_of.item[i]), o.type_of.item[i]);
        if (matches(pattern, n->name))
            yes = equals[1] == 'w';
    }
    return yes;
}

/* Where the input of a convolution is a concatenation, seen through norm, modulation and activation: its
 * first part. */
static int split_of(const struct graph *g, const struct node *n)
{
    int at = n->in[0];
    for (;;) {
        const struct node *p = &g->node[at];
        if (node_is(p, "concat") && p->inputs == 2 && (int)node_attr(p, "axis") == AXIS_CHANNELS)
            return g->node[p->in[0]].shape.channels;
        if (!node_is(p, "silu") && !node_is(p, "gelu") && !node_is(p, "relu") && !node_is(p, "modulate") &&
            !node_is(p, "group_norm"))
            return 0;
        at = p->in[0];
    }
}

/* New int8 tensors of one layer. */
static int quantize_tensor(struct work *w, const struct node *n, const struct tensor *source, struct layer *l,
                           struct error *e)
{
    int64_t rows = source->shape[0], columns = (int64_t)source->count / rows;
    float *wide = mem_array(source->count, sizeof *wide, e);
    struct tensor q = *source,
                  s = {.dtype = DTYPE_F32, .rank = node_is(n, "conv2d") ? 4 : 2, .shape = {rows, 1, 1, 1}};
    char name[1200];
    q.dtype = DTYPE_I8;
    q.data = s.data = NULL;
    if (!wide || tensor_measure(&q, e) < 0 || tensor_measure(&s, e) < 0)
        goto fail;
    q.data = mem_array(q.size, 1, e);
    s.data = mem_array(s.size, 1, e);
    if (!q.data || !s.data)
        goto fail;
    tensor_to_f32(source->dtype, source->data, wide, source->count);
    if (quantize_w8(wide, rows, columns, NULL, 0, w->t->team, q.data, s.data, &l->report, e) < 0)
        goto fail;
    l->before = source->size;
    l->after = q.size + s.size;
    mem_free(wide);
    snprintf(name, sizeof name, "%s_scale", source->name);
    char *kept = mem_strdup(source->name, e);
    int status = !kept || model_replace_tensor(&w->m, kept, &q, 1, e) < 0 ||
                         model_replace_tensor(&w->m, name, &s, 1, e) < 0
                     ? -1
                     : 0;
    mem_free(kept);
    return status;
fail:
    mem_free(wide);
    mem_free(q.data);
    mem_free(s.data);
    return error_under(e, "tensor '%s'", source->name);
}

static int quantize_layer(struct work *w, int node, struct error *e)
{
    struct node *n = &w->g->node[node];
    struct layer *l = &w->layer[w->layers];
    int slot = op_weight_index(n->op, "weight");
    char name[1200];
    *l = (struct layer){.node = node};
    const struct tensor *source = model_find(&w->m, n->weight[slot]);
    /* A tensor that two layers use is quantized once. */
    if (source->dtype != DTYPE_I8 && quantize_tensor(w, n, source, l, e) < 0)
        return -1;
    snprintf(name, sizeof name, "%s_scale", n->weight[slot]);
    if (graph_weight(w->g, node, "weight_scale", name, e) < 0 ||
        graph_choice(w->g, node, "format", "w8a8", e) < 0)
        return -1;
    if (node_is(n, "conv2d") && graph_attr(w->g, node, "split", split_of(w->g, n), e) < 0)
        return -1;
    w->layers++;
    return 0;
}

static int quantize_all(struct work *w, struct error *e)
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
        int yes = depends[i] ? chosen(n, e) : 0;
        if (yes < 0)
            status = -1;
        else if (yes)
            status = quantize_layer(w, i, e);
        else
            w->kept++;
        tool_progress(w->t, "quantize", i + 1, w->g->count);
    }
    tool_progress_end(w->t);
    mem_free(depends);
    if (status == 0 && w->layers == 0)
        status = error_set(e, HASTEN_EUSAGE, "every layer is kept: nothing to quantize");
    return status;
}

static int latents_of(struct work *w, const struct graph *g, float **out, int64_t *size, struct error *e)
{
    struct measure x = {
        .model = &w->m, .graph = g, .backend = &w->t->backend, .count = (int)o.validate, .steps = w->steps};
    return measure_latents(&x, out, NULL, size, e);
}

/* ---- report ---- */

static int layers_json(const struct work *w, cJSON *list, struct error *e)
{
    for (int i = 0; i < w->layers; i++) {
        const struct layer *l = &w->layer[i];
        cJSON *j = json_push_object(list, e);
        if (!j || json_add_string(j, "name", w->g->node[l->node].name, e) < 0 ||
            json_add_string(j, "format", "w8a8", e) < 0 ||
            json_add_double(j, "weight_rel_l2", l->report.rel_l2, e) < 0 ||
            json_add_int(j, "bytes_before", (int64_t)l->before, e) < 0 ||
            json_add_int(j, "bytes_after", (int64_t)l->after, e) < 0)
            return -1;
    }
    return 0;
}

static int report(struct work *w, struct error *e)
{
    struct buf b = {0};
    size_t before = 0, after = 0;
    for (int i = 0; i < w->layers; i++) {
        const struct layer *l = &w->layer[i];
        before += l->before;
        after += l->after;
        buf_printf(&b, e, "%-56s weight error %.2e  %8zu -> %8zu bytes\n", w->g->node[l->node].name,
                   l->report.rel_l2, l->before, l->after);
    }
    buf_printf(&b, e, "%d layers quantized, %d kept (built-in list:", w->layers, w->kept);
    for (size_t i = 0; i < sizeof skip_list / sizeof *skip_list; i++)
        buf_printf(&b, e, " %s", skip_list[i]);
    buf_printf(&b, e, "); %zu -> %zu bytes in them\n", before, after);
    if (w->validated)
        buf_printf(&b, e,
                   "final latents on %lld validation seeds, %d steps: relative L2 %.4f, PSNR %.2f dB\n",
                   (long long)o.validate, w->steps, w->quality.rel_l2, w->quality.psnr);
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "layers", e) : NULL;
    int status = !list || layers_json(w, list, e) < 0 || json_add_int(j, "quantized", w->layers, e) < 0 ||
                         json_add_int(j, "kept", w->kept, e) < 0 ||
                         json_add_int(j, "bytes_before", (int64_t)before, e) < 0 ||
                         json_add_int(j, "bytes_after", (int64_t)after, e) < 0 ||
                         (w->validated && (json_add_double(j, "rel_l2", w->quality.rel_l2, e) < 0 ||
                                           json_add_double(j, "psnr_db", w->quality.psnr, e) < 0 ||
                                           json_add_int(j, "steps", w->steps, e) < 0))
                     ? -1
                     : tool_report(w->t, b.data, j, tool_stdout_is_data(w->t), e);
    cJSON_Delete(j);
    buf_free(&b);
    return status;
}

static int run(struct work *w, struct error *e)
{
    const char *path = tool_input(w->t, e);
    float *reference = NULL, *got = NULL;
    int64_t size = 0;
    int status = -1;
    if (!path || model_open(&w->m, path, w->t->memory, w->t->team, e) < 0)
        return -1;
    w->g = model_main(&w->m, e);
    if (!w->g || !(w->layer = mem_array((size_t)w->g->count + 1, sizeof *w->layer, e)))
        return -1;
    w->validated = o.validate > 0 && w->m.sampler.present;
    w->steps = o.steps ? (int)o.steps : w->m.sampler.steps < 20 ? w->m.sampler.steps : 20;
    if (o.min_psnr > 0 && !w->validated)
        return error_set(e, HASTEN_EUSAGE, "--min-psnr needs a model with a sampler and --validate above 0");
    if ((w->validated && latents_of(w, w->g, &reference, &size, e) < 0) || quantize_all(w, e) < 0 ||
        graph_infer(w->g, 0, 0, model_find, &w->m, e) < 0 ||
        (w->validated && latents_of(w, w->g, &got, &size, e) < 0))
        goto out;
    if (w->validated)
        measure_quality(reference, got, (int)o.validate, size, &w->quality);
    if (o.min_psnr > 0 && w->quality.psnr < o.min_psnr && !w->t->force) {
        error_set(e, HASTEN_EGATE,
                  "PSNR of the final latents is %.2f dB, --min-psnr asks for %.2f; keep more layers with "
                  "--keep, or go on with --force",
                  w->quality.psnr, o.min_psnr);
        goto out;
    }
    cJSON *chosen_options = json_new_object(e);
    if (!chosen_options || json_add_string(chosen_options, "type", "w8a8", e) < 0 ||
        json_add_int(chosen_options, "layers", w->layers, e) < 0)
        goto out;
    if (model_provenance(&w->m, "quantize", HASTEN_VERSION, chosen_options, e) < 0)
        goto out;
    model_drop_unused(&w->m);
    if (model_write(&w->m, w->t->output, w->t->team, w->id, e) == 0)
        status = report(w, e);
out:
    mem_free(reference);
    mem_free(got);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    struct work w = {.t = &t};
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        mem_free(w.layer);
        model_close(&w.m);
    }
    return tool_finish(&t, &e);
}
