/* JSON: a strict reader into cJSON trees, typed access with errors that name the key, a canonical writer.
 *
 *     cJSON *j = json_parse(text, size, e);                       // NULL: e says what and at which byte
 *     int64_t steps;
 *     const char *name;
 *     if (json_int(j, "steps", 1, 10000, &steps, e) < 0 || json_string(j, "sampler", &name, e) < 0)
 *         return error_under(e, "schedule");                  // "schedule: 'steps' is 0, an integer ..."
 *
 *     cJSON *o = json_new_object(e);
 *     json_add_int(o, "count", 3, e);                             // NULL o or item is passed through:
 *     json_add(o, "list", json_doubles(x, n, e), e);              //   -1, so only e needs a look at the end
 *     struct buf b = {0};
 *     if (e->code == 0) json_write(&b, o, e);
 *     cJSON_Delete(o);
 *
 * Refused: depth > 32, text > 100 MB, more than 2^21 values, invalid UTF-8, BOM, control bytes in strings,
 * \u0000, lone surrogates, two equal keys (after unescaping) in an object, comments, trailing commas, numbers
 * that overflow a double or have more than 63 characters, anything behind the value. Memory of all cJSON
 * trees is counted by mem.h. Strings and keys stay owned by the tree. Free trees with cJSON_Delete. */
#ifndef HASTEN_BASE_JSON_H
#define HASTEN_BASE_JSON_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include <cjson/cJSON.h>
#include <stdint.h>

enum { JSON_MAX_DEPTH = 32, JSON_MAX_TEXT = 100000000, JSON_MAX_VALUES = 1 << 21 };

/* text needs no NUL. HASTEN_EFILE when it is not strict JSON, HASTEN_ENOMEM. */
cJSON *json_parse(const char *text, size_t size, struct error *e) HASTEN_CHECKED;

/* ---- reading: 0 or -1 with HASTEN_EFILE; o may be any value: not an object is an error ---- */

/* The value of a key of any type; NULL without error when absent. */
cJSON *json_get(const cJSON *o, const char *key);
/* A value that must be there: NULL with an error when absent or of another type. */
cJSON *json_object(const cJSON *o, const char *key, struct error *e) HASTEN_CHECKED;
cJSON *json_array(const cJSON *o, const char *key, struct error *e) HASTEN_CHECKED;
int json_string(const cJSON *o, const char *key, const char **out, struct error *e) HASTEN_CHECKED;
/* A number without fraction, |n| <= 2^53, within min..max. */
int json_int(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t *out,
             struct error *e) HASTEN_CHECKED;
int json_double(const cJSON *o, const char *key, double min, double max, double *out,
                struct error *e) HASTEN_CHECKED;
int json_bool(const cJSON *o, const char *key, int *out, struct error *e) HASTEN_CHECKED;

/* The same with a value for "absent" (null counts as absent); present and wrong is an error all the same. */
int json_object_or(const cJSON *o, const char *key, cJSON **out,
                   struct error *e) HASTEN_CHECKED; /* NULL: absent */
int json_array_or(const cJSON *o, const char *key, cJSON **out, struct error *e) HASTEN_CHECKED;
int json_string_or(const cJSON *o, const char *key, const char *fallback, const char **out,
                   struct error *e) HASTEN_CHECKED;
int json_int_or(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out,
                struct error *e) HASTEN_CHECKED;
int json_double_or(const cJSON *o, const char *key, double min, double max, double fallback, double *out,
                   struct error *e) HASTEN_CHECKED;
int json_bool_or(const cJSON *o, const char *key, int fallback, int *out, struct error *e) HASTEN_CHECKED;

/* All numbers of an array under a key: mem_array of *count, freed by the caller; 0 numbers are fine. */
int json_get_doubles(const cJSON *o, const char *key, double min, double max, double **out, size_t *count,
                     struct error *e) HASTEN_CHECKED;
int json_get_ints(const cJSON *o, const char *key, int64_t min, int64_t max, int64_t **out, size_t *count,
                  struct error *e) HASTEN_CHECKED;

/* ---- building: NULL or -1 with HASTEN_ENOMEM ---- */

cJSON *json_new_object(struct error *e) HASTEN_CHECKED;
cJSON *json_new_array(struct error *e) HASTEN_CHECKED;
cJSON *json_ints(const int64_t *x, size_t n, struct error *e) HASTEN_CHECKED;
cJSON *json_doubles(const double *x, size_t n, struct error *e) HASTEN_CHECKED;
cJSON *json_floats(const float *x, size_t n, struct error *e) HASTEN_CHECKED;
cJSON *json_copy(const cJSON *j, struct error *e) HASTEN_CHECKED;

/* Put a value under a key, instead of the one there; at the end of an array. The item is taken over in every
 * case (deleted when it cannot be put there). */
int json_add(cJSON *o, const char *key, cJSON *item, struct error *e);
int json_push(cJSON *array, cJSON *item, struct error *e);
/* A fresh empty object or array under the key; owned by o. */
cJSON *json_add_object(cJSON *o, const char *key, struct error *e);
cJSON *json_add_array(cJSON *o, const char *key, struct error *e);
cJSON *json_push_object(cJSON *array, struct error *e);
int json_add_string(cJSON *o, const char *key, const char *value, struct error *e); /* NULL value: null */
int json_add_int(cJSON *o, const char *key, int64_t value, struct error *e);        /* |value| <= 2^53 */
int json_add_double(cJSON *o, const char *key, double value, struct error *e);
int json_add_bool(cJSON *o, const char *key, int value, struct error *e);
int json_push_string(cJSON *array, const char *value, struct error *e);
int json_push_double(cJSON *array, double value, struct error *e);
void json_remove(cJSON *o, const char *key); /* absent is fine */

/* ---- writing ---- */

/* Canonical: one line, keys sorted by bytes, no blanks, numbers as num_text (num.h), only '"', '\\' and
 * control characters escaped. The same tree gives the same bytes everywhere. A NaN, an infinity, a string
 * that is not UTF-8, a key twice or depth > 32 is HASTEN_EFAIL: it is ours, not the user's. */
int json_write(struct buf *b, const cJSON *j, struct error *e) HASTEN_CHECKED;
/* The same without the top-level key `skip` (NULL: none). */
int json_write_without(struct buf *b, const cJSON *j, const char *skip, struct error *e) HASTEN_CHECKED;
/* For people: two blanks a level, keys in the tree's order, lists of plain values on one line, final '\n'. */
int json_write_pretty(struct buf *b, const cJSON *j, struct error *e) HASTEN_CHECKED;
/* A string with its quotes and escapes (json_write's), for writers of JSON lines. */
int json_write_string(struct buf *b, const char *s, struct error *e);

#endif
