/* Values of a diffusers config: see family.h. */
#include "common/base/json.h"
#include "common/families/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const cJSON *c_get(const cJSON *config, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    return v && !cJSON_IsNull(v) ? v : NULL;
}

int c_int(struct builder *b, const cJSON *config, const char *key, int fallback, int min, int max)
{
    int64_t v = fallback;
    if (!b->failed && json_int_or(config, key, min, max, fallback, &v, b->e) < 0)
        b->failed = 1;
    return (int)v;
}

double c_double(struct builder *b, const cJSON *config, const char *key, double fallback)
{
    double v = fallback;
    if (!b->failed && json_double_or(config, key, -1e30, 1e30, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

int c_bool(struct builder *b, const cJSON *config, const char *key, int fallback)
{
    int v = fallback;
    if (!b->failed && json_bool_or(config, key, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

const char *c_text(struct builder *b, const cJSON *config, const char *key, const char *fallback)
{
    const char *v = fallback;
    if (!b->failed && json_string_or(config, key, fallback, &v, b->e) < 0)
        b->failed = 1;
    return v;
}

/* A whole number that can be a size. */
static int is_size(const cJSON *v)
{
    return cJSON_IsNumber(v) && v->valuedouble >= 1 && v->valuedouble <= GRAPH_MAX_SIZE &&
           v->valuedouble == floor(v->valuedouble);
}

int c_ints(struct builder *b, const cJSON *config, const char *key, const int *fallback, int *out, int most)
{
    const cJSON *list = c_get(config, key), *item;
    int n = 0;
    if (!list) {
        for (; fallback[n]; n++)
            out[n] = fallback[n];
        return n;
    }
    cJSON_ArrayForEach(item, list)
    {
        if (n == most || !is_size(item))
            return b_fail(b, "config key '%s' must list 1 to %d positive numbers", key, most);
        out[n++] = item->valueint;
    }
    return n ? n : b_fail(b, "config key '%s' must list 1 to %d positive numbers", key, most);
}

int c_words(struct builder *b, const cJSON *config, const char *key, const char *const *fallback,
            const char **out, int most)
{
    const cJSON *list = c_get(config, key), *item;
    int n = 0;
    if (!list) {
        for (; fallback[n]; n++)
            out[n] = fallback[n];
        return n;
    }
    cJSON_ArrayForEach(item, list)
    {
        if (n == most || !cJSON_IsString(item))
            return b_fail(b, "config key '%s' must list 1 to %d words", key, most);
        out[n++] = item->valuestring;
    }
    return n ? n : b_fail(b, "config key '%s' must list 1 to %d words", key, most);
}

void c_size(struct builder *b, const cJSON *config, const char *key, int fallback, int *height, int *width)
{
    const cJSON *size = c_get(config, key);
    *height = *width = fallback;
    if (is_size(size)) {
        *height = *width = size->valueint;
    } else if (cJSON_IsArray(size) && cJSON_GetArraySize(size) == 2 && is_size(cJSON_GetArrayItem(size, 0)) &&
               is_size(cJSON_GetArrayItem(size, 1))) {
        *height = cJSON_GetArrayItem(size, 0)->valueint;
        *width = cJSON_GetArrayItem(size, 1)->valueint;
    } else if (size) {
        b_fail(b, "config key '%s' must be a positive number or [height, width]", key);
    }
}

void c_only(struct builder *b, const cJSON *config, const char *key, const char *value)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    char text[64] = "null";
    if (!v)
        return;
    if (cJSON_IsBool(v))
        snprintf(text, sizeof text, "%s", cJSON_IsTrue(v) ? "true" : "false");
    else if (cJSON_IsNumber(v))
        snprintf(text, sizeof text, "%g", v->valuedouble);
    else if (cJSON_IsString(v))
        snprintf(text, sizeof text, "%s", v->valuestring);
    else if (!cJSON_IsNull(v))
        snprintf(text, sizeof text, "a list or an object");
    if (strcmp(text, value))
        b_fail(b, "config key '%s' is %s, only %s is supported", key, text, value);
}
