/* The file of sums. See sums.h. The metadata have what was measured ("of"), images, unit, records ([begin,
 * end]) and arrays; a tensor is named by the number of its record and the array: "0.blocks.3.norm.sum". */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/file/container.h"
#include "common/file/sums.h"

#include <stdio.h>
#include <string.h>

static const char *const rules[SUM_RULES] = {"add", "largest", "join"};

/* An array of a record as a tensor without data. */
static int tensor_of(const struct sum_array *a, int64_t images, const char *name, struct tensor *t,
                     struct error *e)
{
    *t = (struct tensor){.name = name, .dtype = a->dtype};
    if (a->rule == SUM_JOIN)
        t->shape[t->rank++] = images;
    for (int i = 0; i < a->rank; i++)
        t->shape[t->rank++] = a->shape[i];
    return tensor_measure(t, e);
}

/* ---- writing ---- */

static int write_lists(const struct sums *s, cJSON *meta, struct error *e)
{
    cJSON *records = json_add_array(meta, "records", e), *arrays = json_add_array(meta, "arrays", e);
    for (int i = 0; records && i < s->records; i++)
        if (json_push(records, json_ints((const int64_t[]){s->record[i].begin, s->record[i].end}, 2, e), e) <
            0)
            return -1;
    for (int i = 0; arrays && i < s->arrays; i++) {
        const struct sum_array *a = &s->array[i];
        cJSON *j = json_push_object(arrays, e);
        if (json_add_string(j, "name", a->name, e) < 0 || json_add_string(j, "rule", rules[a->rule], e) < 0 ||
            json_add_string(j, "dtype", dtype_name(a->dtype), e) < 0 ||
            json_add(j, "shape", json_ints(a->shape, (size_t)a->rank, e), e) < 0)
            return -1;
    }
    return records && arrays ? 0 : -1;
}

int sums_write(const struct sums *s, const char *path, const char *kind, struct team *team, struct error *e)
{
    size_t most = (size_t)s->records * (size_t)s->arrays + 1;
    struct tensor *t = mem_array(most, sizeof *t, e);
    struct arena names = {0};
    cJSON *meta = json_new_object(e);
    int count = 0, status = t && meta ? 0 : -1;
    if (status == 0 && (json_add(meta, "of", json_copy(s->head, e), e) < 0 ||
                        json_add_int(meta, "images", s->total, e) < 0 ||
                        json_add_int(meta, "unit", s->unit, e) < 0 || write_lists(s, meta, e) < 0))
        status = -1;
    for (int i = 0; i < s->records; i++)
        for (int k = 0; status == 0 && k < s->arrays; k++) {
            char *name = arena_printf(&names, e, "%d.%s", i, s->array[k].name);
            status = name ? tensor_of(&s->array[k], s->record[i].end - s->record[i].begin, name, &t[count], e)
                          : -1;
            t[count++].data = s->record[i].data[k];
        }
    if (status == 0)
        status = container_write(path, kind, meta, t, count, NULL, NULL, team, NULL, e);
    cJSON_Delete(meta);
    mem_free(t);
    arena_free(&names);
    return status;
}

/* ---- reading ---- */

static int read_array(struct sum_array *a, const cJSON *j, struct error *e)
{
    const char *name, *rule, *dtype;
    int64_t *shape = NULL;
    size_t rank;
    if (json_string(j, "name", &name, e) < 0 || json_string(j, "rule", &rule, e) < 0 ||
        json_string(j, "dtype", &dtype, e) < 0 ||
        json_get_ints(j, "shape", 1, INT64_C(1) << 40, &shape, &rank, e) < 0)
        return -1;
    int type = dtype_find(dtype), at = 0;
    while (at < SUM_RULES && strcmp(rule, rules[at]))
        at++;
    int good = at < SUM_RULES && rank <= SUM_RANK &&
               (type == DTYPE_F64 || type == DTYPE_I64 || type == DTYPE_F32) &&
               (at != SUM_LARGEST || type == DTYPE_F32);
    if (good) {
        *a = (struct sum_array){.rule = (enum sum_rule)at, .dtype = (enum dtype)type, .rank = (int)rank};
        memcpy(a->shape, shape, rank * sizeof *shape);
    }
    mem_free(shape);
    if (!good)
        return error_set(e, HASTEN_EFILE, "array '%s' has a rule, type or rank that is not known", name);
    a->name = mem_strdup(name, e);
    return a->name ? 0 : -1;
}

static int read_arrays(struct sums *s, const cJSON *meta, struct error *e)
{
    const cJSON *list = json_array(meta, "arrays", e), *j;
    s->array = list ? mem_array((size_t)cJSON_GetArraySize(list) + 1, sizeof *s->array, e) : NULL;
    if (!s->array)
        return -1;
    cJSON_ArrayForEach(j, list)
    {
        if (read_array(&s->array[s->arrays], j, e) < 0)
            return -1;
        s->arrays++;
    }
    return 0;
}

/* Records follow each other, begin at a unit, and but for the first hold one unit at most. */
static int read_records(struct sums *s, const cJSON *meta, struct error *e)
{
    const cJSON *list = json_array(meta, "records", e), *j;
    int n = list ? cJSON_GetArraySize(list) : 0;
    s->record = list ? mem_array((size_t)n + 1, sizeof *s->record, e) : NULL;
    if (!s->record)
        return -1;
    s->room = n + 1;
    cJSON_ArrayForEach(j, list)
    {
        const cJSON *b = cJSON_GetArrayItem(j, 0), *x = cJSON_GetArrayItem(j, 1);
        double begin = cJSON_IsNumber(b) ? b->valuedouble : -1, end = cJSON_IsNumber(x) ? x->valuedouble : -1;
        if (!(begin >= 0 && end > begin && end <= (double)s->total) || begin != (double)(int64_t)begin ||
            end != (double)(int64_t)end || (int64_t)begin % s->unit ||
            (s->records && (int64_t)begin != s->record[s->records - 1].end) ||
            (end - begin > (double)s->unit && (begin > 0 || (int64_t)end % s->unit)))
            return error_set(e, HASTEN_EFILE, "record %d is no range of images that may follow", s->records);
        struct sum_record *r = &s->record[s->records++];
        *r = (struct sum_record){.begin = (int64_t)begin, .end = (int64_t)end};
        if (!(r->data = mem_array((size_t)s->arrays + 1, sizeof *r->data, e)))
            return -1;
    }
    return 0;
}

/* A record that is not whole yet gets room for the rows that are to come. */
static void *with_room(const struct sums *s, const struct sum_record *r, const struct tensor *t,
                       struct error *e)
{
    int64_t images = r->end - r->begin;
    void *data = mem_array((size_t)s->unit, t->size / (size_t)images, e);
    if (data)
        memcpy(data, t->data, t->size);
    return data;
}

static int take(struct sums *s, struct sum_record *r, int index, int array, struct container *c, int load,
                struct error *e)
{
    const struct sum_array *a = &s->array[array];
    struct tensor want;
    char name[TENSOR_MAX_NAME + 16];
    snprintf(name, sizeof name, "%d.%s", index, a->name);
    if (tensor_of(a, r->end - r->begin, name, &want, e) < 0)
        return -1;
    int at = container_index(c, name);
    const struct tensor *t = at < 0 ? NULL : &c->tensor[at];
    if (!t || t->dtype != want.dtype || t->rank != want.rank ||
        memcmp(t->shape, want.shape, (size_t)t->rank * sizeof *t->shape))
        return error_set(e, HASTEN_EFILE, "tensor '%s' is missing or of another type or shape", name);
    if (!load)
        return 0;
    if (tensor_first_nonfinite(t->dtype, t->data, t->count) >= 0)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has values that are not finite", name);
    r->data[array] = a->rule == SUM_JOIN && r->end - r->begin < s->unit ? with_room(s, r, t, e)
                                                                        : container_tensor_take(c, at);
    return r->data[array] ? 0 : -1;
}

static int read_all(struct sums *s, struct container *c, int load, struct error *e)
{
    if (!json_get(c->meta, "of"))
        return error_set(e, HASTEN_EFILE,
                         "it does not say what was measured: it is of another version of this "
                         "program, measure again");
    const cJSON *head = json_object(c->meta, "of", e);
    if (!head || !(s->head = json_copy(head, e)) ||
        json_int(c->meta, "images", 1, INT64_C(1) << 40, &s->total, e) < 0 ||
        json_int(c->meta, "unit", 1, 1 << 20, &s->unit, e) < 0 || read_arrays(s, c->meta, e) < 0 ||
        read_records(s, c->meta, e) < 0)
        return -1;
    for (int i = 0; i < s->records; i++)
        for (int k = 0; k < s->arrays; k++)
            if (take(s, &s->record[i], i, k, c, load, e) < 0)
                return -1;
    return 0;
}

int sums_read(struct sums *s, const char *path, const char *kind, int load, size_t memory, struct team *team,
              struct error *e)
{
    struct container_options want = {.kind = kind, .memory = memory};
    struct container *c = container_open(path, &want, e);
    *s = (struct sums){0};
    int status = c && (!load || container_load(c, team, e) == 0) ? read_all(s, c, load, e) : -1;
    if (c && status < 0)
        error_in(e, path);
    if (status < 0)
        sums_free(s);
    container_close(c);
    return status;
}
