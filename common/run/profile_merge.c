/* See profile_merge.h. */
#include "common/run/profile_merge.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/file/container.h"
#include "common/run/measure.h"

#include <stdio.h>
#include <string.h>

/* Keys whose numbers are measured; all others say what was measured. */
static int is_measured(const char *key)
{
    static const char *const keys[] = {"ms",
                                       "full_ms",
                                       "kernel_sum_ms",
                                       "total_ms",
                                       "tklqt_ms",
                                       "mean_kernel_ms",
                                       "waiting",
                                       "spread",
                                       "share",
                                       "peak_percent",
                                       "peak_f32_gflops",
                                       "peak_int8_gops",
                                       "peak_bf16_gflops",
                                       "copy_gbs"};
    for (size_t i = 0; key && i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i]))
            return 1;
    return 0;
}

struct merge {
    const char *const *path;
    int count;
    double *number; /* [count] */
    char where[256];
};

static int differs(const struct merge *m, int file, struct error *e)
{
    return error_set(e, HASTEN_EFILE, "%s: '%s' is not that of %s: profiles of different models or machines",
                     m->path[file], m->where, m->path[0]);
}

/* Values at the same place of all files: v[0] becomes the merged one. */
static int merge_values(struct merge *m, cJSON *const *v, struct error *e);

/* Children of v[0], each with those of the same key or place. */
static int merge_children(struct merge *m, cJSON *const *v, struct error *e)
{
    size_t length = strlen(m->where);
    cJSON **child = mem_array((size_t)m->count, sizeof *child, e), *c;
    int status = child ? 0 : -1, index = 0;
    for (int f = 1; status == 0 && f < m->count; f++)
        if (cJSON_GetArraySize(v[f]) != cJSON_GetArraySize(v[0]))
            status = differs(m, f, e);
    for (c = v[0]->child; status == 0 && c; c = c->next, index++) {
        if (c->string)
            snprintf(m->where + length, sizeof m->where - length, "%s%s", length ? "." : "", c->string);
        else
            snprintf(m->where + length, sizeof m->where - length, "[%d]", index);
        child[0] = c;
        for (int f = 1; status == 0 && f < m->count; f++) {
            child[f] = c->string ? json_get(v[f], c->string) : cJSON_GetArrayItem(v[f], index);
            if (!child[f] || (child[f]->type & 0xff) != (c->type & 0xff))
                status = differs(m, f, e);
        }
        if (status == 0)
            status = merge_values(m, child, e);
        m->where[length] = 0;
    }
    mem_free(child);
    return status;
}

static int merge_values(struct merge *m, cJSON *const *v, struct error *e)
{
    if (cJSON_IsObject(v[0]) || cJSON_IsArray(v[0]))
        return merge_children(m, v, e);
    if (cJSON_IsNumber(v[0]) && is_measured(v[0]->string)) {
        for (int f = 0; f < m->count; f++)
            m->number[f] = v[f]->valuedouble;
        cJSON_SetNumberValue(v[0], median_of(m->number, m->count));
        return 0;
    }
    for (int f = 1; f < m->count; f++)
        if (!cJSON_Compare(v[0], v[f], 1))
            return differs(m, f, e);
    return 0;
}

/* The sum of the medians, and each kernel's share of it. */
static int share_anew(cJSON *j, struct error *e)
{
    cJSON *kernels = json_array(j, "kernels", e), *k;
    double sum = 0, ms;
    cJSON_ArrayForEach(k, kernels)
    {
        if (json_double(k, "ms", 0, 1e12, &ms, e) < 0)
            return -1;
        sum += ms;
    }
    cJSON_ArrayForEach(k, kernels)
    {
        if (json_double(k, "ms", 0, 1e12, &ms, e) < 0 ||
            json_add_double(k, "share", sum > 0 ? ms / sum : 0, e) < 0)
            return -1;
    }
    return kernels ? json_add_double(j, "kernel_sum_ms", sum, e) : -1;
}

cJSON *profile_merge(const char *const *path, int count, struct error *e)
{
    const struct container_options want = {.kind = "profile"};
    struct merge m = {.path = path, .count = count, .number = mem_array((size_t)count, sizeof(double), e)};
    cJSON **meta = mem_array((size_t)count + 1, sizeof *meta, e), *whole = NULL;
    int status = meta && m.number ? 0 : -1;
    for (int f = 0; status == 0 && f < count; f++) {
        struct container *c = container_open(path[f], &want, e);
        meta[f] = c ? json_copy(c->meta, e) : NULL;
        status = meta[f] ? 0 : -1;
        if (meta[f])
            json_remove(meta[f], "samples");
        container_close(c);
    }
    if (status == 0)
        status = merge_values(&m, meta, e);
    if (status == 0 && share_anew(meta[0], e) == 0 && json_add_int(meta[0], "merged", count, e) == 0) {
        whole = meta[0];
        meta[0] = NULL;
    }
    for (int f = 0; meta && f < count; f++)
        cJSON_Delete(meta[f]);
    mem_free(meta);
    mem_free(m.number);
    return whole;
}
