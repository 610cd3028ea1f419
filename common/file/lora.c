/* See lora.h. */
#include "common/file/lora.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct lora {
    struct model *m;
    struct container *c;
    unsigned char *used; /* tensors of the file */
    double scale;
};

/* Endings of the first factor, and of the second that goes with it. */
static const char *const endings[][2] = {
    {".lora_A.weight", ".lora_B.weight"},     {".lora_A.default.weight", ".lora_B.default.weight"},
    {".lora.down.weight", ".lora.up.weight"}, {"_lora.down.weight", "_lora.up.weight"},
    {".lora_down.weight", ".lora_up.weight"},
};

/* Longer ones first where one begins another. */
static const char *const prefixes[] = {"",
                                       "base_model_model_",
                                       "lora_unet_",
                                       "lora_transformer_",
                                       "unet_",
                                       "transformer_",
                                       "lora_te_",
                                       "text_encoder_",
                                       "diffusion_model_",
                                       "model_",
                                       NULL};

/* Letters and digits stay, runs of others become one underscore. */
static void flatten(const char *name, size_t n, char out[TENSOR_MAX_NAME + 1])
{
    size_t to = 0;
    for (size_t i = 0; i < n && to < TENSOR_MAX_NAME; i++)
        if (isalnum((unsigned char)name[i]))
            out[to++] = name[i];
        else if (to && out[to - 1] != '_')
            out[to++] = '_';
    out[to] = 0;
}

/* The path of a layer, flat, without the words that older processors put in between. */
static void flat_path(const char *name, size_t n, char out[TENSOR_MAX_NAME + 1])
{
    static const char word[] = "processor_";
    flatten(name, n, out);
    char *at = strstr(out, word);
    if (at)
        memmove(at, at + sizeof word - 1, strlen(at + sizeof word - 1) + 1);
}

/* Is the flat path of the file this layer's? Behind a prefix, with or without the component, and with the
 * ".0" that to_out lacks in old files. */
static int is_layer(const char *flat, const char *layer)
{
    for (int i = 0; prefixes[i]; i++) {
        size_t n = strlen(prefixes[i]), rest;
        if (strncmp(flat, prefixes[i], n))
            continue;
        rest = strlen(flat + n);
        if (rest && !strncmp(flat + n, layer, rest) && (!layer[rest] || !strcmp(layer + rest, "_0")))
            return 1;
    }
    return 0;
}

/* The weight that a path means: -1 none, -2 several. */
static int find_weight(const struct model *m, const char *flat)
{
    static const char suffix[] = ".weight";
    char layer[TENSOR_MAX_NAME + 1];
    int found = -1;
    for (int i = 0; i < m->tensors; i++) {
        const char *name = m->tensor[i].name;
        size_t n = strlen(name);
        if (m->tensor[i].rank < 2 || n < sizeof suffix || strcmp(name + n - (sizeof suffix - 1), suffix))
            continue;
        flatten(name, n - (sizeof suffix - 1), layer);
        char *inside = NULL;
        for (int k = 0; k < m->components; k++) {
            size_t c = strlen(m->graph[k]->component);
            if (!strncmp(layer, m->graph[k]->component, c) && layer[c] == '_')
                inside = layer + c + 1;
        }
        if (is_layer(flat, layer) || (inside && is_layer(flat, inside)))
            found = found == -1 ? i : -2;
    }
    return found;
}

/* ---- one layer ---- */

struct factors {
    const struct tensor *down, *up;
    double alpha;
};

static int shapes_fit(const struct factors *f, const struct tensor *w)
{
    int64_t rank = f->down->shape[0];
    if (f->down->rank < 2 || f->up->rank < 2 || rank < 1 || f->up->shape[1] != rank ||
        f->up->shape[0] != w->shape[0])
        return 0;
    if (f->up->count != (size_t)(w->shape[0] * rank) ||
        f->down->count / (size_t)rank != w->count / (size_t)w->shape[0])
        return 0;
    return f->down->rank == 2 || w->rank == 2 ||
           !memcmp(f->down->shape + 1, w->shape + 1, 3 * sizeof *w->shape);
}

static int add_product(struct lora *l, const struct factors *f, struct tensor *w, struct error *e)
{
    int64_t rank = f->down->shape[0], rows = w->shape[0], columns = (int64_t)w->count / rows;
    double scale = l->scale * f->alpha / (double)rank;
    float *a = mem_array(f->down->count, sizeof *a, e), *b = mem_array(f->up->count, sizeof *b, e),
          *wide = mem_array(w->count, sizeof *wide, e);
    struct tensor fresh = *w;
    fresh.data = mem_array(w->size, 1, e);
    int status = a && b && wide && fresh.data ? model_tensor_begin(l->m, w, e) : -1;
    if (status == 0) {
        tensor_to_f32(f->down->dtype, f->down->data, a, f->down->count);
        tensor_to_f32(f->up->dtype, f->up->data, b, f->up->count);
        tensor_to_f32(w->dtype, w->data, wide, w->count);
        model_tensor_end(l->m, w);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t r = 0; r < rank; r++) {
                float x = (float)(scale * (double)b[i * rank + r]);
                for (int64_t k = 0; k < columns; k++)
                    wide[i * columns + k] += x * a[r * columns + k];
            }
        tensor_from_f32(w->dtype, wide, fresh.data, w->count);
        if (tensor_first_nonfinite(w->dtype, fresh.data, w->count) >= 0)
            status = error_set(e, HASTEN_EFILE, "'%s' gets values that are not finite from '%s'", w->name,
                               f->down->name);
        else
            status = model_replace_tensor(l->m, w->name, &fresh, 1, e);
    }
    if (status < 0)
        mem_free(fresh.data);
    mem_free(a);
    mem_free(b);
    mem_free(wide);
    return status;
}

/* alpha: one number, or the rank. */
static int find_alpha(struct lora *l, const char *path, size_t n, struct factors *f, struct error *e)
{
    char name[TENSOR_MAX_NAME + 16];
    float alpha;
    f->alpha = f->down->rank ? (double)f->down->shape[0] : 1;
    snprintf(name, sizeof name, "%.*s.alpha", (int)n, path);
    int at = container_index(l->c, name);
    if (at < 0)
        return 0;
    const struct tensor *t = &l->c->tensor[at];
    l->used[at] = 1;
    if (t->count != 1)
        return error_set(e, HASTEN_EFILE, "'%s' has %zu numbers instead of one", name, t->count);
    tensor_to_f32(t->dtype, t->data, &alpha, 1);
    f->alpha = (double)alpha;
    return isfinite(alpha) ? 0 : error_set(e, HASTEN_EFILE, "'%s' is %g", name, (double)alpha);
}

/* 1: merged; 0: not a first factor, or nobody's. */
static int merge_one(struct lora *l, int index, struct error *e)
{
    const struct tensor *down = &l->c->tensor[index];
    char name[TENSOR_MAX_NAME + 32], flat[TENSOR_MAX_NAME + 1], shape[2][TENSOR_SHAPE_TEXT];
    size_t n = strlen(down->name), end = 0;
    int kind = 0, kinds = (int)(sizeof endings / sizeof *endings);
    for (; kind < kinds; kind++) {
        end = strlen(endings[kind][0]);
        if (n > end && !strcmp(down->name + n - end, endings[kind][0]))
            break;
    }
    if (kind == kinds)
        return 0;
    snprintf(name, sizeof name, "%.*s%s", (int)(n - end), down->name, endings[kind][1]);
    int second = container_index(l->c, name);
    flat_path(down->name, n - end, flat);
    int at = second < 0 ? -1 : find_weight(l->m, flat);
    if (at == -2)
        return error_set(e, HASTEN_EFILE, "'%s' may mean several layers of the model", down->name);
    if (at < 0)
        return 0;
    struct factors f = {down, &l->c->tensor[second], 1};
    struct tensor *w = &l->m->tensor[at];
    l->used[index] = l->used[second] = 1;
    if (!dtype_is_float(w->dtype) || w->dtype == DTYPE_F8_E4M3)
        return error_set(e, HASTEN_EFILE, "'%s' is quantized: merge into the original model", w->name);
    if (!dtype_is_float(down->dtype) || !dtype_is_float(f.up->dtype) || !shapes_fit(&f, w))
        return error_set(e, HASTEN_EFILE, "'%s' has the shape %s, which does not fit '%s' of %s", down->name,
                         tensor_shape_text(down, shape[0]), w->name, tensor_shape_text(w, shape[1]));
    return find_alpha(l, down->name, n - end, &f, e) < 0 || add_product(l, &f, w, e) < 0 ? -1 : 1;
}

/* Calibrations of the model as it was are not of the one that it is now. */
static void change_id(struct model *m, const char *lora, double scale)
{
    const char *before = model_id(m);
    struct hash h;
    if (!before)
        return;
    hash_start(&h);
    hash_add(&h, before, strlen(before));
    hash_add(&h, lora, strlen(lora));
    hash_add(&h, &scale, sizeof scale);
    hash_hex(hash_end(&h), m->changed);
}

int lora_merge(struct model *m, const char *path, double scale, struct buf *unmatched, char id[HASH_HEX],
               struct error *e)
{
    struct container_options any = {.foreign = 1};
    struct lora l = {.m = m, .c = container_open(path, &any, e), .scale = scale};
    int merged = 0, left = 0, status = l.c && container_load(l.c, NULL, e) == 0 ? 0 : -1;
    if (status == 0 && !(l.used = mem_array((size_t)l.c->count + 1, 1, e)))
        status = -1;
    for (int i = 0; status >= 0 && i < l.c->count; i++) {
        status = merge_one(&l, i, e);
        merged += status == 1;
    }
    for (int i = 0; status >= 0 && i < l.c->count; i++)
        if (!l.used[i]) {
            left++;
            status = buf_printf(unmatched, e, "  %s\n", l.c->tensor[i].name);
        }
    if (status >= 0 && left)
        status = error_set(e, HASTEN_EFILE, "%d of %d tensors match no layer of the model", left, l.c->count);
    if (status >= 0 && !merged)
        status = error_set(e, HASTEN_EFILE, "there is no LoRA in it");
    if (status >= 0) {
        snprintf(id, HASH_HEX, "%s", container_id(l.c));
        change_id(m, id, scale);
    }
    if (status < 0)
        error_in(e, path);
    mem_free(l.used);
    container_close(l.c);
    return status < 0 ? -1 : merged;
}
