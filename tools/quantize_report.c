/* What quantize leaves alone, and what it says: a line or an object a layer, and the whole. */
#include "common/base/json.h"
#include "tools/quantize.h"

/* Kept in float unless --type-of says otherwise: the first and last layers, which see few channels and decide
 * most (all published recipes agree), and 1x1 shortcuts, which cost little. */
const char *const quantize_skip_list[] = {
    "conv_in",   "conv_out",   "pos_embed*",      "proj_out*", "patch_embed*", "unpatch*", "*.conv_shortcut",
    "*.conv_in", "*.conv_out", "post_quant_conv", NULL};

static int layer_json(const struct work *w, const struct layer *l, cJSON *list, struct error *e)
{
    const struct stored_layer *s = &l->stored;
    cJSON *j = json_push_object(list, e);
    if (!j || json_add_string(j, "name", w->g->node[l->node].name, e) < 0 ||
        json_add_string(j, "format", format_name(l->format), e) < 0 ||
        json_add_int(j, "rotate", s->rotate, e) < 0 ||
        json_add_double(j, "weight_rel_l2", s->weights.rel_l2, e) < 0 ||
        json_add_int(j, "zero_rows", s->weights.zero_rows, e) < 0 ||
        json_add_int(j, "bytes_before", (int64_t)l->before, e) < 0 ||
        json_add_int(j, "bytes_after", (int64_t)s->bytes, e) < 0)
        return -1;
    if (s->output_error >= 0 && json_add_double(j, "output_rel_l2", s->output_error, e) < 0)
        return -1;
    if (w->call_ms[0] <= 0)
        return 0;
    return json_add_double(j, "ms_before", l->ms_before, e) < 0
               ? -1
               : json_add_double(j, "ms_after", l->ms_after, e);
}

static int whole_json(const struct work *w, cJSON *j, size_t before, size_t after, struct error *e)
{
    if (json_add_int(j, "quantized", w->layers, e) < 0 || json_add_int(j, "kept", w->kept, e) < 0 ||
        json_add_int(j, "bytes_before", (int64_t)before, e) < 0 ||
        json_add_int(j, "bytes_after", (int64_t)after, e) < 0)
        return -1;
    if (w->calibrated && json_add_int(j, "calibration_images", w->statistics.images, e) < 0)
        return -1;
    if (w->call_ms[0] > 0 && (json_add_double(j, "call_ms_before", w->call_ms[0], e) < 0 ||
                              json_add_double(j, "call_ms_after", w->call_ms[1], e) < 0))
        return -1;
    if (w->budget && json_add(j, "budget", json_copy(w->budget, e), e) < 0)
        return -1;
    if (!w->validated)
        return 0;
    return json_add_double(j, "rel_l2", w->quality.rel_l2, e) < 0 ||
                   json_add_double(j, "psnr_db", w->quality.psnr, e) < 0 ||
                   json_add_int(j, "steps", w->steps, e) < 0
               ? -1
               : 0;
}

int quantize_report(struct work *w, struct error *e)
{
    struct buf b = {0};
    size_t before = 0, after = 0;
    cJSON *j = json_new_object(e), *list = j ? json_add_array(j, "layers", e) : NULL;
    int status = list ? 0 : -1;
    buf_printf(&b, e, "%-48s %-6s %9s %9s %10s %10s %8s %8s\n", "layer", "format", "weights", "output",
               "bytes", "after", "ms", "after");
    for (int i = 0; status == 0 && i < w->layers; i++) {
        const struct layer *l = &w->layer[i];
        before += l->before;
        after += l->stored.bytes;
        buf_printf(&b, e, "%-48s %-6s %9.2e ", w->g->node[l->node].name, format_name(l->format),
                   l->stored.weights.rel_l2);
        if (l->stored.output_error >= 0)
            buf_printf(&b, e, "%9.2e ", l->stored.output_error);
        else
            buf_printf(&b, e, "%9s ", "-");
        buf_printf(&b, e, "%10zu %10zu", l->before, l->stored.bytes);
        if (w->call_ms[0] > 0)
            buf_printf(&b, e, " %8.3f %8.3f", l->ms_before, l->ms_after);
        buf_printf(&b, e, "\n");
        status = layer_json(w, l, list, e);
    }
    buf_printf(&b, e, "%d layers quantized, %d kept (built-in list:", w->layers, w->kept);
    for (int i = 0; quantize_skip_list[i]; i++)
        buf_printf(&b, e, " %s", quantize_skip_list[i]);
    buf_printf(&b, e, "); %zu -> %zu bytes in them\n", before, after);
    if (w->notes.size)
        buf_printf(&b, e, "%s", w->notes.data);
    if (w->call_ms[0] > 0)
        buf_printf(&b, e, "a network call, batch %d: %.3f -> %.3f ms\n", w->batch, w->call_ms[0],
                   w->call_ms[1]);
    if (w->validated)
        buf_printf(&b, e, "final latents on %d validation seeds, %d steps: relative L2 %.4f, PSNR %.2f dB\n",
                   w->validate, w->steps, w->quality.rel_l2, w->quality.psnr);
    if (status == 0)
        status = whole_json(w, j, before, after, e);
    if (status == 0)
        status = tool_report(w->t, b.data, j, tool_stdout_is_data(w->t), e);
    cJSON_Delete(j);
    buf_free(&b);
    return status;
}
