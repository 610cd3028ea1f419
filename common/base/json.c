/* See json.h: trees from text, and typed access. cJSON gives the tree; the text is read by json_read.c, which
 * is stricter than cJSON's parser and does not depend on the locale. */
#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Before main, so that no tree is made by one allocator and freed by another. */
__attribute__((constructor)) static void use_counted_memory(void)
{
    cJSON_Hooks hooks = {.malloc_fn = mem_small, .free_fn = mem_small_free};
    cJSON_InitHooks(&hooks);
}

static int no_memory(struct error *e) { return error_set(e, HASTEN_ENOMEM, "out of memory for JSON"); }

/* ---- parsing ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Refuse two equal keys: pairwise for the usual few, sorted for many. */
static int check_keys(struct json_reader *r, const cJSON *object, size_t count)
{
    const char *few[16], **key = few, *twice = NULL;
    size_t n = 0;
    if (count > 16 && !(key = mem_array(count, sizeof *key, r->e)))
        return -1;
    for (const cJSON *c = object->child; c; c = c->next)
        key[n++] = c->string;
    if (count > 16)
        qsort(key, n, sizeof *key, by_text);
    for (size_t i = 1; i < n && !twice; i++)
        for (size_t k = count > 16 ? i - 1 : 0; k < i && !twice; k++)
            if (!strcmp(key[k], key[i]))
                twice = key[i];
    if (twice)
        error_set(r->e, HASTEN_EFILE, "not valid JSON: the key '%.200s' is there twice in one object", twice);
    if (key != few)
        mem_free(key);
    return twice ? -1 : 0;
}

static char *decoded(struct json_reader *r, const struct json_slice *s)
{
    char *text = cJSON_malloc(s->size + 1);
    if (text)
        json_decode(s, text);
    else
        no_memory(r->e);
    return text;
}

/* Append the member read into child (owned here) to the parent. */
static int adopt(struct json_reader *r, cJSON *parent, cJSON *child, const struct json_slice *key)
{
    if (!child)
        return -1;
    if (key && !(child->string = decoded(r, key))) {
        cJSON_Delete(child);
        return -1;
    }
    cJSON_AddItemToArray(parent, child); /* O(1), for objects too; fails for NULL only */
    return 0;
}

static cJSON *parse_members(struct json_reader *r, int object)
{
    cJSON *parent = object ? cJSON_CreateObject() : cJSON_CreateArray();
    int more;
    size_t count = 0;
    if (!parent) {
        no_memory(r->e);
        return NULL;
    }
    if (json_enter(r, object ? '{' : '[', &more) < 0)
        goto fail;
    for (; more; count++) {
        struct json_slice key;
        if (object && json_key(r, &key) < 0)
            goto fail;
        if (adopt(r, parent, json_value(r), object ? &key : NULL) < 0 ||
            json_next(r, object ? '}' : ']', &more) < 0)
            goto fail;
    }
    if (!object || check_keys(r, parent, count) == 0)
        return parent;
fail:
    cJSON_Delete(parent);
    return NULL;
}

static cJSON *parse_text(struct json_reader *r)
{
    struct json_slice s;
    if (json_text(r, &s) < 0)
        return NULL;
    cJSON *j = cJSON_CreateNull();
    if (!j) {
        no_memory(r->e);
        return NULL;
    }
    if (!(j->valuestring = decoded(r, &s))) {
        cJSON_Delete(j);
        return NULL;
    }
    j->type = cJSON_String;
    return j;
}

/* Recursion goes JSON_MAX_DEPTH deep at most: json_enter counts. */
cJSON *json_value(struct json_reader *r)
{
    double number = 0;
    cJSON *j;
    int first = json_peek(r);
    switch (first) {
    case '{':
    case '[':
        return parse_members(r, first == '{');
    case '"':
        return parse_text(r);
    case '-':
        if (json_number(r, &number) < 0)
            return NULL;
        j = cJSON_CreateNumber(number);
        break;
    case 't':
    case 'f':
        if (json_word(r, first == 't' ? "true" : "false") < 0)
            return NULL;
        j = cJSON_CreateBool(first == 't');
        break;
    case 'n':
        if (json_word(r, "null") < 0)
            return NULL;
        j = cJSON_CreateNull();
        break;
    default:
        return NULL;
    }
    if (!j)
        no_memory(r->e);
    return j;
}

cJSON *json_parse(const char *text, size_t size, struct error *e)
{
    struct json_reader r;
    if (json_start(&r, text, size, e) < 0)
        return NULL;
    cJSON *j = json_value(&r);
    if (j && json_end(&r) < 0) {
        cJSON_Delete(j);
        return NULL;
    }
    return j;
}

/* ---- typed access ---- */

static const char *type_of(const cJSON *j)
{
    return cJSON_IsString(j)   ? "a string"
           : cJSON_IsNumber(j) ? "a number"
           : cJSON_IsBool(j)   ? "true or false"
           : cJSON_IsArray(j)  ? "a list"
           : cJSON_IsObject(j) ? "an object"
                               : "null";
}

cJSON *json_get(const cJSON *o, const char *key)
{
    return cJSON_IsObject(o) ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;
}

/* The value under the key if it is neither absent nor null; *out NULL otherwise. -1: o is not an object, or
 * the value is absent though required. */
static int find(const cJSON *o, const char *key, int required, const char *wanted, cJSON **out,
                struct error *e)
{
    *out = NULL;
    if (!cJSON_IsObject(o))
        return error_set(e, HASTEN_EFILE, "an object with '%s' is needed, %s is there", key, type_of(o));
    cJSON *j = json_get(o, key);
    if (j && !cJSON_IsNull(j))
        *out = j;
    else if (required)
        return error_set(e, HASTEN_EFILE, "'%s' is %s, %s is needed", key, j ? "null" : "missing", wanted);
    return 0;
}

static int mistyped(const cJSON *j, const char *key, const char *wanted, struct error *e)
{
    if (cJSON_IsString(j))
        return error_set(e, HASTEN_EFILE, "'%s' is the string '%.100s', %s is needed", key, j->valuestring,
                         wanted);
    return error_set(e, HASTEN_EFILE, "'%s' is %s, %s is needed", key, type_of(j), wanted);
}

static int get_object(const cJSON *o, const char *key, int required, cJSON **out, struct error *e)
{
    if (find(o, key, required, "an object", out, e) < 0)
        return -1;
    return !*out || cJSON_IsObject(*out) ? 0 : mistyped(*out, key, "an object", e);
}

static int get_array(const cJSON *o, const char *key, int required, cJSON **out, struct error *e)
{
    if (find(o, key, required, "a list", out, e) < 0)
        return -1;
    return !*out || cJSON_IsArray(*out) ? 0 : mistyped(*out, key, "a list", e);
}

cJSON *json_object(const cJSON *o, const char *key, struct error *e)
{
    cJSON *j;
    return get_object(o, key, 1, &j, e) < 0 ? NULL : j;
}

cJSON *json_array(const cJSON *o, const char *key, struct error *e)
{
    cJSON *j;
    return get_array(o, key, 1, &j, e) < 0 ? NULL : j;
}

int json_object_or(const cJSON *o, const char *key, cJSON **out, struct error *e)
{
    return get_object(o, key, 0, out, e);
}

int json_array_or(const cJSON *o, const char *key, cJSON **out, struct error *e)
{
    return get_array(o, key, 0, out, e);
}

static int as_string(const cJSON *j, const char *key, const char **out, struct error *e)
{
    if (!cJSON_IsString(j))
        return mistyped(j, key, "a string", e);
    *out = j->valuestring;
    return 0;
}

static int as_int(const cJSON *j, const char *key, int64_t min, int64_t max, int64_t *out, struct error *e)
{
    if (!cJSON_IsNumber(j))
        return mistyped(j, key, "an integer", e);
    double v = j->valuedouble;
    if (!(fabs(v) <= 9007199254740992.) || v != trunc(v) || (int64_t)v < min || (int64_t)v > max)
        return error_set(e, HASTEN_EFILE, "'%s' is %.17g, an integer from %lld to %lld is needed", key, v,
                         (long long)min, (long long)max);
    *out = (int64_t)v;
    return 0;
}

static int as_double(const cJSON *j, const char *key, double min, double max, double *out, struct error *e)
{
    if (!cJSON_IsNumber(j))
        return mistyped(j, key, "a number", e);
    if (!(j->valuedouble >= min && j->valuedouble <= max))
        return error_set(e, HASTEN_EFILE, "'%s' is %.9g, a number from %g to %g is needed", key,
                         j->valuedouble, min, max);
    *out = j->valuedouble;
    return 0;
}

static int as_bool(const cJSON *j, const char *key, int *out, struct error *e)
{
    if (!cJSON_IsBool(j))
        return mistyped(j, key, "true or false", e);
    *out = cJSON_IsTrue(j);
    return 0;
}

int json_string(const cJSON *o, const char *key, const char **out, struct error *e)
{
    cJSON *j;
    return find(o, key, 1, "a string", &j, e) < 0 ? -1 : as_string(j, key, out, e);
}

int json_int(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t *out, struct error *e)
{
    cJSON *j;
    return find(o, key, 1, "an integer", &j, e) < 0 ? -1 : as_int(j, key, min, max, out, e);
}

int json_double(const cJSON *o, const char *key, double min, double max, double *out, struct error *e)
{
    cJSON *j;
    return find(o, key, 1, "a number", &j, e) < 0 ? -1 : as_double(j, key, min, max, out, e);
}

int json_bool(const cJSON *o, const char *key, int *out, struct error *e)
{
    cJSON *j;
    return find(o, key, 1, "true or false", &j, e) < 0 ? -1 : as_bool(j, key, out, e);
}

int json_string_or(const cJSON *o, const char *key, const char *fallback, const char **out, struct error *e)
{
    cJSON *j;
    *out = fallback;
    return find(o, key, 0, NULL, &j, e) < 0 ? -1 : j ? as_string(j, key, out, e) : 0;
}

int json_int_or(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out,
                struct error *e)
{
    cJSON *j;
    *out = fallback;
    return find(o, key, 0, NULL, &j, e) < 0 ? -1 : j ? as_int(j, key, min, max, out, e) : 0;
}

int json_double_or(const cJSON *o, const char *key, double min, double max, double fallback, double *out,
                   struct error *e)
{
    cJSON *j;
    *out = fallback;
    return find(o, key, 0, NULL, &j, e) < 0 ? -1 : j ? as_double(j, key, min, max, out, e) : 0;
}

int json_bool_or(const cJSON *o, const char *key, int fallback, int *out, struct error *e)
{
    cJSON *j;
    *out = fallback;
    return find(o, key, 0, NULL, &j, e) < 0 ? -1 : j ? as_bool(j, key, out, e) : 0;
}

int json_get_doubles(const cJSON *o, const char *key, double min, double max, double **out, size_t *count,
                     struct error *e)
{
    cJSON *list = json_array(o, key, e), *j;
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0, i = 0;
    double *x = list ? mem_array(n, sizeof *x, e) : NULL;
    if (!x)
        return -1;
    cJSON_ArrayForEach (j, list) {
        if (as_double(j, key, min, max, &x[i], e) < 0) {
            mem_free(x);
            return error_under(e, "entry %zu", i);
        }
        i++;
    }
    *out = x;
    *count = n;
    return 0;
}

int json_get_ints(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t **out, size_t *count,
                  struct error *e)
{
    cJSON *list = json_array(o, key, e), *j;
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0, i = 0;
    int64_t *x = list ? mem_array(n, sizeof *x, e) : NULL;
    if (!x)
        return -1;
    cJSON_ArrayForEach (j, list) {
        if (as_int(j, key, min, max, &x[i], e) < 0) {
            mem_free(x);
            return error_under(e, "entry %zu", i);
        }
        i++;
    }
    *out = x;
    *count = n;
    return 0;
}
