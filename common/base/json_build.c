/* See json.h: building trees. cJSON reports a failed allocation by NULL; here it becomes an error, and items
 * that could not be placed are deleted, so that a caller may nest the calls and look at the error once. */
#include "common/base/json.h"
#include "common/base/mem.h"

static cJSON *made(cJSON *j, struct error *e)
{
    if (!j)
        error_set(e, HASTEN_ENOMEM, "out of memory for JSON");
    return j;
}

cJSON *json_new_object(struct error *e) { return made(cJSON_CreateObject(), e); }
cJSON *json_new_array(struct error *e) { return made(cJSON_CreateArray(), e); }

cJSON *json_copy(const cJSON *j, struct error *e) { return made(cJSON_Duplicate(j, 1), e); }

int json_push(cJSON *array, cJSON *item, struct error *e)
{
    if (!array || !item || !cJSON_AddItemToArray(array, item)) {
        cJSON_Delete(item);
        return error_set(e, HASTEN_ENOMEM, "out of memory for JSON");
    }
    return 0;
}

void json_remove(cJSON *o, const char *key)
{
    if (o)
        cJSON_DeleteItemFromObjectCaseSensitive(o, key);
}

int json_add(cJSON *o, const char *key, cJSON *item, struct error *e)
{
    if (o && item)
        json_remove(o, key);
    if (!o || !item || !cJSON_AddItemToObject(o, key, item)) {
        cJSON_Delete(item);
        return error_set(e, HASTEN_ENOMEM, "out of memory for JSON");
    }
    return 0;
}

cJSON *json_add_object(cJSON *o, const char *key, struct error *e)
{
    cJSON *j = json_new_object(e);
    return json_add(o, key, j, e) < 0 ? NULL : j;
}

cJSON *json_add_array(cJSON *o, const char *key, struct error *e)
{
    cJSON *j = json_new_array(e);
    return json_add(o, key, j, e) < 0 ? NULL : j;
}

cJSON *json_push_object(cJSON *array, struct error *e)
{
    cJSON *j = json_new_object(e);
    return json_push(array, j, e) < 0 ? NULL : j;
}

int json_add_string(cJSON *o, const char *key, const char *value, struct error *e)
{
    return json_add(o, key, value ? cJSON_CreateString(value) : cJSON_CreateNull(), e);
}

int json_add_int(cJSON *o, const char *key, int64_t value, struct error *e)
{
    return json_add(o, key, cJSON_CreateNumber((double)value), e);
}

int json_add_double(cJSON *o, const char *key, double value, struct error *e)
{
    return json_add(o, key, cJSON_CreateNumber(value), e);
}

int json_add_bool(cJSON *o, const char *key, int value, struct error *e)
{
    return json_add(o, key, cJSON_CreateBool(value != 0), e);
}

int json_push_string(cJSON *array, const char *value, struct error *e)
{
    return json_push(array, cJSON_CreateString(value), e);
}

int json_push_double(cJSON *array, double value, struct error *e)
{
    return json_push(array, cJSON_CreateNumber(value), e);
}

cJSON *json_doubles(const double *x, size_t n, struct error *e)
{
    cJSON *list = json_new_array(e);
    for (size_t i = 0; list && i < n; i++)
        if (json_push_double(list, x[i], e) < 0) {
            cJSON_Delete(list);
            return NULL;
        }
    return list;
}

cJSON *json_ints(const int64_t *x, size_t n, struct error *e)
{
    cJSON *list = json_new_array(e);
    for (size_t i = 0; list && i < n; i++)
        if (json_push_double(list, (double)x[i], e) < 0) {
            cJSON_Delete(list);
            return NULL;
        }
    return list;
}

cJSON *json_floats(const float *x, size_t n, struct error *e)
{
    cJSON *list = json_new_array(e);
    for (size_t i = 0; list && i < n; i++)
        if (json_push_double(list, (double)x[i], e) < 0) {
            cJSON_Delete(list);
            return NULL;
        }
    return list;
}
