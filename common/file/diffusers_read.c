/* Weight files and JSON files of a diffusers directory. Names of files and old names of tensors: diffusers
 * 0.42, utils/constants.py and models/modeling_utils.py. */
#include "common/file/diffusers_inside.h"
#include "common/base/json.h"
#include "common/file/gguf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- JSON ---- */

/* Python writes infinities that JSON does not have ("lambda_min_clipped": -Infinity in every DPM-Solver
 * config): they become null, which means "not set" there. */
static void drop_infinities(char *text, size_t size)
{
    static const char *const words[] = {"-Infinity", "Infinity"};
    int inside = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            inside = !inside;
        else if (inside && text[i] == '\\')
            i++;
        for (size_t w = 0; !inside && w < 2; w++) {
            size_t n = strlen(words[w]);
            if (size - i < n || memcmp(text + i, words[w], n))
                continue;
            memcpy(text + i, "null     ", n);
            i += n - 1;
            break;
        }
    }
}

cJSON *json_read_file(const char *path, struct error *e)
{
    struct buf b = {.max = 16 << 20};
    cJSON *json = NULL;
    FILE *f = fopen(path, "rbe");
    if (!f) {
        error_errno(e, HASTEN_EFAIL, "%s", path);
        return NULL;
    }
    char piece[65536];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && buf_add(&b, piece, n, e) == 0)
        ;
    if (ferror(f))
        error_errno(e, HASTEN_EFAIL, "cannot read");
    fclose(f);
    if (b.data)
        drop_infinities(b.data, b.size);
    if (!e->code)
        json = json_parse(b.data ? b.data : "", b.size, e);
    buf_free(&b);
    if (!json)
        error_in(e, path);
    return json;
}

/* ---- tensors ---- */

/* Names of attention weights before diffusers 0.13, and what they are called now. */
static const char *modern_name(const char *name, char out[1200])
{
    static const char *const old[][2] = {
        {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
    for (size_t i = 0; i < 4; i++) {
        const char *at = strstr(name, old[i][0]);
        if (at && strstr(name, "attentions.")) {
            snprintf(out, 1200, "%.*s%s%s", (int)(at - name), name, old[i][1], at + strlen(old[i][0]));
            return out;
        }
    }
    return name;
}

static int convert(struct tensor *t, enum import_dtype dtype, struct error *e)
{
    static const enum dtype targets[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    if (dtype == IMPORT_KEEP || !dtype_is_float(t->dtype) || t->dtype == targets[dtype])
        return 0;
    struct tensor fresh = *t;
    fresh.dtype = targets[dtype];
    float *wide = tensor_measure(&fresh, e) < 0 ? NULL : mem_array(t->count, sizeof *wide, e);
    fresh.data = wide ? mem_array(fresh.size, 1, e) : NULL;
    int64_t lost = -1;
    if (fresh.data) {
        tensor_to_f32(t->dtype, t->data, wide, t->count);
        tensor_from_f32(fresh.dtype, wide, fresh.data, t->count);
        lost = tensor_first_nonfinite(fresh.dtype, fresh.data, t->count);
        if (lost >= 0 && tensor_first_nonfinite(t->dtype, t->data, t->count) >= 0)
            lost = -1; /* it was not finite before */
        if (lost >= 0)
            error_set(e, HASTEN_EFILE, "tensor '%s' has the value %g, which %s cannot hold; --dtype bf16 can",
                      t->name, (double)wide[lost], dtype_name(fresh.dtype));
    }
    mem_free(wide);
    if (!fresh.data || lost >= 0) {
        mem_free(fresh.data);
        return -1;
    }
    mem_free(t->data);
    *t = fresh;
    return 0;
}

/* t: its data are taken over, whatever happens; its name is the file's. */
static int take_tensor(const struct intake *to, struct tensor t, struct error *e)
{
    char name[1200], full[1400];
    const char *old = t.name, *now = modern_name(old, name);
    int status = 0;
    snprintf(full, sizeof full, "%s%s", to->prefix, now);
    if (model_find(to->m, full))
        status = error_set(e, HASTEN_EFILE, "tensor '%s' is there twice", full);
    else if (now != old && to->renamed)
        status = json_add_string(to->renamed, full, old, e);
    t.name = full;
    if (status < 0 || convert(&t, to->dtype, e) < 0 || model_add_tensor(to->m, &t, 1, e) < 0) {
        mem_free(t.data);
        return -1;
    }
    return 0;
}

static int intake_gguf(const struct intake *to, const char *path, struct error *e)
{
    struct gguf g;
    struct tensor t;
    int status = gguf_open(&g, path, e);
    if (status < 0)
        return -1;
    for (int i = 0; status == 0 && i < g.count; i++)
        status = gguf_load(&g, i, &t, e) < 0 ? -1 : take_tensor(to, t, e);
    gguf_close(&g);
    return status;
}

int intake_file(const struct intake *to, const char *path, struct error *e)
{
    struct container_options any = {.foreign = 1};
    if (gguf_is(path))
        return intake_gguf(to, path, e);
    struct container *c = container_open(path, &any, e);
    int status = c ? 0 : -1;
    for (int i = 0; status == 0 && i < c->count; i++) {
        status = container_tensor_load(c, i, NULL, e);
        struct tensor t = c->tensor[i];
        if (status == 0) {
            t.data = container_tensor_take(c, i);
            status = take_tensor(to, t, e);
        }
    }
    container_close(c);
    return status;
}

static int exists(const char *path) { return access(path, F_OK) == 0; }

static int intake_shards(const struct intake *to, const char *folder, const char *index, struct error *e)
{
    cJSON *json = json_read_file(index, e), *map = json ? json_object(json, "weight_map", e) : NULL, *item,
          *before;
    int status = map ? 0 : -1;
    cJSON_ArrayForEach(item, map)
    {
        char path[4096];
        int seen = 0;
        if (!cJSON_IsString(item) || strchr(item->valuestring, '/')) {
            status = error_set(e, HASTEN_EFILE, "%s: '%s' names no file of this folder", index, item->string);
            break;
        }
        for (before = map->child; before != item && !seen; before = before->next)
            seen = !strcmp(before->valuestring, item->valuestring);
        snprintf(path, sizeof path, "%s/%s", folder, item->valuestring);
        if (!seen && (status = intake_file(to, path, e)) < 0)
            break;
    }
    cJSON_Delete(json);
    return status;
}

int intake_folder(const struct intake *to, const char *folder, struct error *e)
{
    static const char *const names[] = {"diffusion_pytorch_model.safetensors",
                                        "diffusion_pytorch_model.safetensors.index.json",
                                        "diffusion_pytorch_model.fp16.safetensors",
                                        "diffusion_pytorch_model.safetensors.index.fp16.json",
                                        "diffusion_pytorch_model.fp16.safetensors.index.json",
                                        "model.safetensors"};
    static const char *const pickles[] = {"diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin",
                                          "diffusion_pytorch_model.bin.index.json", "pytorch_model.bin"};
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (exists(path))
            return strstr(names[i], "index") ? intake_shards(to, folder, path, e) : intake_file(to, path, e);
    }
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, pickles[i]);
        if (exists(path))
            return error_set(e, HASTEN_EFILE,
                             "%s: the weights are pickled, which is not read; save them again with "
                             "save_pretrained(..., safe_serialization=True)",
                             path);
    }
    return error_set(e, HASTEN_EFAIL, "%s: there is no diffusion_pytorch_model.safetensors", folder);
}
