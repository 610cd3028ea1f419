/* What a kernel call is to the predictor: its form and its size. See predict.h. */
#include "common/base/json.h"
#include "common/run/predict.h"

#include <string.h>

static const char *const names[FORMS] = {
    [FORM_PRODUCT] = "product",
    [FORM_PRODUCT_INT8] = "product int8",
    [FORM_PRODUCT_BF16] = "product bf16",
    [FORM_CONV] = "conv",
    [FORM_CONV_WINOGRAD] = "conv winograd",
    [FORM_CONV_INT8] = "conv int8",
    [FORM_CONV_WINOGRAD_INT8] = "conv winograd int8",
    [FORM_CONV_BF16] = "conv bf16",
    [FORM_DECODED] = "decoded product",
    [FORM_NORM] = "norm",
    [FORM_NORM_CODES] = "norm to codes",
    [FORM_CODES] = "codes",
    [FORM_ROTATED] = "rotated codes",
    [FORM_NORM_ROTATED] = "norm to rotated codes",
    [FORM_GROUP_NORM] = "group norm",
    [FORM_GROUP_NORM_CODES] = "group norm to codes",
    [FORM_QUANTIZE] = "quantize",
    [FORM_ATTENTION] = "attention",
    [FORM_ATTENTION_BF16] = "attention bf16",
    [FORM_ELEMENTWISE] = "elementwise",
    [FORM_COPY] = "copy",
    [FORM_SHUFFLE] = "shuffle",
    [FORM_OTHER] = "other",
};

static enum kernel_form form_of_product(const struct matmul *m)
{
    int wide = m->kernel_h * m->kernel_w > 1;
    if (mm_is_turned(m))
        return m->int8 ? FORM_CONV_WINOGRAD_INT8 : FORM_CONV_WINOGRAD;
    if (m->form != MM_NATIVE)
        return FORM_DECODED;
    if (m->int8)
        return wide ? FORM_CONV_INT8 : FORM_PRODUCT_INT8;
    if (m->bf16)
        return wide ? FORM_CONV_BF16 : FORM_PRODUCT_BF16;
    return wide ? FORM_CONV : FORM_PRODUCT;
}

static void describe_product(const struct matmul *m, struct kernel_sample *s)
{
    s->form = form_of_product(m);
    s->rows = (double)m->images * m->out_height * m->out_width;
    s->columns = m->n;
    for (int i = 0; i < m->sources; i++)
        s->depth += (double)m->source[i].channels * m->kernel_h * m->kernel_w;
    s->taps = (double)m->kernel_h * m->kernel_w;
    s->activation = m->epilogue.act != ACT_NONE;
}

static void describe_rows(const struct row_norm *r, struct kernel_sample *s)
{
    if (r->rotate)
        s->form = r->norm ? FORM_NORM_ROTATED : FORM_ROTATED;
    else if (r->codes_ld)
        s->form = r->norm ? FORM_NORM_CODES : FORM_CODES;
    else
        s->form = FORM_NORM;
    s->rows = (double)r->images * r->rows_per_image;
    s->columns = r->channels;
    s->activation = r->times_act != ACT_NONE;
}

static void describe_group_norm(const struct group_norm *g, int codes, struct kernel_sample *s)
{
    s->form = codes ? FORM_GROUP_NORM_CODES : FORM_GROUP_NORM;
    s->rows = (double)g->images * g->pixels;
    s->columns = g->channels[0] + g->channels[1];
    s->activation = g->act != ACT_NONE;
}

static void describe_attention(const struct attention *a, int half, struct kernel_sample *s)
{
    s->form = half ? FORM_ATTENTION_BF16 : FORM_ATTENTION;
    s->rows = (double)a->images * a->heads * a->queries;
    s->columns = a->head_dim;
    s->depth = a->keys;
}

static void describe_move(const struct move *m, struct kernel_sample *s)
{
    s->form = m->kind == MOVE_COPY || m->kind == MOVE_UPSAMPLE ? FORM_COPY : FORM_SHUFFLE;
    s->rows = (double)m->images * m->out_height * m->out_width;
    s->columns = m->kind == MOVE_DEPTH_TO_SPACE ? m->channels / (m->block * m->block) : m->channels;
    s->depth = m->kind == MOVE_MEAN_POOL  ? (double)m->in_height * m->in_width
               : m->kind == MOVE_AVG_POOL ? m->block * m->block
                                          : 1;
}

struct kernel_sample kernel_sample(const struct kernel_call *c, double ms)
{
    struct kernel_sample s = {.form = FORM_OTHER, .taps = 1, .flops = c->flops, .bytes = c->bytes, .ms = ms};
    switch (c->kind) {
    case KERNEL_MATMUL:
        describe_product(&c->matmul, &s);
        break;
    case KERNEL_ROW_NORM:
        describe_rows(&c->row_norm, &s);
        break;
    case KERNEL_GROUP_NORM:
        describe_group_norm(&c->group_norm, c->phases == 4, &s);
        break;
    case KERNEL_IMAGE_QUANTIZE:
        s.form = FORM_QUANTIZE;
        s.rows = (double)c->image_quantize.images * c->image_quantize.rows_per_image;
        s.columns = c->image_quantize.channels;
        break;
    case KERNEL_ATTENTION:
        describe_attention(&c->attention, c->precision == PRECISION_BF16, &s);
        break;
    case KERNEL_ELEMENTWISE:
        s.form = FORM_ELEMENTWISE;
        s.rows = (double)c->elementwise.images * c->elementwise.rows_per_image;
        s.columns = c->elementwise.channels;
        s.activation = c->elementwise.act != ACT_NONE;
        break;
    case KERNEL_CACHE_READ:
        s.form = FORM_ELEMENTWISE;
        s.rows = (double)c->cache_read.images * c->cache_read.rows_per_image;
        s.columns = c->cache_read.channels;
        break;
    case KERNEL_MOVE:
        describe_move(&c->move, &s);
        break;
    case KERNEL_REFERENCE:
        break;
    }
    return s;
}

int kernel_samples_alike(const struct kernel_sample *a, const struct kernel_sample *b)
{
    return a->form == b->form && a->flops == b->flops && a->bytes == b->bytes && a->rows == b->rows &&
           a->columns == b->columns && a->depth == b->depth && a->taps == b->taps &&
           a->activation == b->activation;
}

int kernel_sample_to_json(const struct kernel_sample *s, cJSON *j, struct error *e)
{
    return json_add_string(j, "form", names[s->form], e) < 0 ||
                   json_add_double(j, "flops", s->flops, e) < 0 ||
                   json_add_double(j, "bytes", s->bytes, e) < 0 ||
                   json_add_double(j, "rows", s->rows, e) < 0 ||
                   json_add_double(j, "columns", s->columns, e) < 0 ||
                   json_add_double(j, "depth", s->depth, e) < 0 ||
                   json_add_double(j, "taps", s->taps, e) < 0 ||
                   json_add_bool(j, "activation", s->activation, e) < 0 ||
                   json_add_double(j, "ms", s->ms, e) < 0
               ? -1
               : 0;
}

int kernel_sample_read(const cJSON *j, struct kernel_sample *s, struct error *e)
{
    const char *form;
    int f = 0;
    if (json_string(j, "form", &form, e) < 0 || json_double(j, "flops", 0, 1e18, &s->flops, e) < 0 ||
        json_double(j, "bytes", 0, 1e18, &s->bytes, e) < 0 ||
        json_double(j, "rows", 0, 1e18, &s->rows, e) < 0 ||
        json_double(j, "columns", 0, 1e18, &s->columns, e) < 0 ||
        json_double(j, "depth", 0, 1e18, &s->depth, e) < 0 ||
        json_double(j, "taps", 1, 1e18, &s->taps, e) < 0 ||
        json_bool(j, "activation", &s->activation, e) < 0 || json_double(j, "ms", 0, 1e9, &s->ms, e) < 0)
        return -1;
    while (f < FORMS && strcmp(names[f], form))
        f++;
    if (f == FORMS)
        return error_set(e, HASTEN_EFILE, "no kernel has the form '%.64s'", form);
    s->form = (enum kernel_form)f;
    return 0;
}

int samples_to_json(const struct kernel_sample *s, int n, cJSON *list, struct error *e)
{
    for (int i = 0; i < n; i++) {
        cJSON *j = json_push_object(list, e);
        if (!j || kernel_sample_to_json(&s[i], j, e) < 0)
            return -1;
    }
    return 0;
}
