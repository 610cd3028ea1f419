/* See statistics.h: the file of kind "calibration". Tensors EDGE.sum (F64 [K]), EDGE.max (F32 [K]),
 * EDGE.moment (F32 [K,K]) and EDGE.lags (F64 [13]); the metadata have the model's id, images, steps, and the
 * rows of each edge. */
#include "common/base/json.h"
#include "common/run/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *suffix;
    enum dtype dtype;
    int rank;
} parts[] = {{"sum", DTYPE_F64, 1}, {"max", DTYPE_F32, 1}, {"moment", DTYPE_F32, 2}, {"lags", DTYPE_F64, 1}};

enum { PARTS = 4, LAGS = 3 };

static void **part_of(struct edge_statistics *x, int part)
{
    void **all[PARTS] = {(void **)&x->sum, (void **)&x->largest, (void **)&x->moment, (void **)&x->lags};
    return all[part];
}

static int write_edges(const struct statistics *s, cJSON *meta, struct error *e)
{
    cJSON *list = json_add_array(meta, "edges", e);
    for (int i = 0; list && i < s->edges; i++) {
        cJSON *j = json_push_object(list, e);
        if (!j || json_add_string(j, "edge", s->edge[i].edge, e) < 0 ||
            json_add_int(j, "channels", s->edge[i].channels, e) < 0 ||
            json_add_int(j, "rows", s->edge[i].rows, e) < 0)
            return -1;
    }
    return list ? 0 : -1;
}

int statistics_write(const struct statistics *s, const char *path, struct team *team, struct error *e)
{
    struct tensor *t = mem_array((size_t)s->edges * PARTS + 1, sizeof *t, e);
    struct arena names = {0};
    cJSON *meta = json_new_object(e);
    int count = 0, status = -1;
    if (!t || !meta || json_add_string(meta, "model", s->model, e) < 0 ||
        json_add_int(meta, "images", s->images, e) < 0 || json_add_int(meta, "steps", s->steps, e) < 0 ||
        write_edges(s, meta, e) < 0)
        goto out;
    for (int i = 0; i < s->edges; i++)
        for (int p = 0; p < PARTS; p++) {
            int64_t k = p == LAGS ? NEIGHBOUR_LAGS : s->edge[i].channels;
            t[count] = (struct tensor){.dtype = parts[p].dtype,
                                       .rank = parts[p].rank,
                                       .shape = {k, k},
                                       .data = *part_of(&s->edge[i], p)};
            t[count].name = arena_printf(&names, e, "%s.%s", s->edge[i].edge, parts[p].suffix);
            if (!t[count].name || tensor_measure(&t[count], e) < 0)
                goto out;
            count++;
        }
    status = container_write(path, "calibration", meta, t, count, NULL, NULL, team, NULL, e);
out:
    cJSON_Delete(meta);
    mem_free(t);
    arena_free(&names);
    return status;
}

static int take(struct edge_statistics *x, struct container *c, int part, struct error *e)
{
    char name[TENSOR_MAX_NAME + 16];
    snprintf(name, sizeof name, "%s.%s", x->edge, parts[part].suffix);
    int at = container_index(c, name);
    const struct tensor *t = at < 0 ? NULL : &c->tensor[at];
    int64_t k = part == LAGS ? NEIGHBOUR_LAGS : x->channels;
    if (!t || t->dtype != parts[part].dtype || t->rank != parts[part].rank || t->shape[0] != k ||
        (t->rank == 2 && t->shape[1] != k))
        return error_set(e, HASTEN_EFILE,
                         "tensor '%s' of %lld numbers is missing or of another type or shape", name,
                         (long long)k);
    if (tensor_first_nonfinite(t->dtype, t->data, t->count) >= 0)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has values that are not finite", name);
    *part_of(x, part) = container_tensor_take(c, at);
    return 0;
}

static int read_edges(struct statistics *s, struct container *c, struct error *e)
{
    const cJSON *list = json_array(c->meta, "edges", e), *j;
    if (!list || !(s->edge = mem_array((size_t)cJSON_GetArraySize(list) + 1, sizeof *s->edge, e)))
        return -1;
    cJSON_ArrayForEach(j, list)
    {
        struct edge_statistics *x = &s->edge[s->edges];
        const char *edge;
        int64_t channels;
        *x = (struct edge_statistics){0};
        if (json_string(j, "edge", &edge, e) < 0 ||
            json_int(j, "channels", 1, GRAPH_MAX_SIZE, &channels, e) < 0 ||
            json_int(j, "rows", 0, INT64_C(1) << 50, &x->rows, e) < 0 || !(x->edge = mem_strdup(edge, e)))
            return -1;
        x->channels = (int)channels;
        s->edges++;
        for (int p = 0; p < PARTS; p++)
            if (take(x, c, p, e) < 0)
                return -1;
        for (int i = 0; i < x->channels; i++)
            if (x->moment[(size_t)i * ((size_t)x->channels + 1)] < 0 || x->largest[i] < 0)
                return error_set(e, HASTEN_EFILE, "edge '%s': channel %d has a negative square or maximum",
                                 edge, i);
    }
    return 0;
}

int statistics_read(struct statistics *s, const char *path, size_t memory, struct team *team, struct error *e)
{
    struct container_options want = {.kind = "calibration", .memory = memory};
    struct container *c = container_open(path, &want, e);
    const char *model;
    int64_t images, steps;
    *s = (struct statistics){0};
    int status = c && container_load(c, team, e) == 0 && json_string(c->meta, "model", &model, e) == 0 &&
                         json_int(c->meta, "images", 0, 1 << 30, &images, e) == 0 &&
                         json_int(c->meta, "steps", 0, 1 << 30, &steps, e) == 0
                     ? 0
                     : -1;
    if (status == 0) {
        snprintf(s->model, sizeof s->model, "%s", model);
        s->images = (int)images;
        s->steps = (int)steps;
        status = read_edges(s, c, e);
    }
    if (status < 0) {
        error_under(e, "%s", path);
        statistics_free(s);
    }
    container_close(c);
    return status;
}
