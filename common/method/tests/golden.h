/* For tests: numbers that a script wrote (scripts/golden), read with cJSON itself.
 *
 *     cJSON *root = golden_load("testdata/golden/methods.json");
 *     double *x = golden_numbers(golden_get(root, "ssim"), &count);     // free with free()
 *
 * A missing file or key ends the test with a message. Tests run in the project's root folder. */
#ifndef HASTEN_METHOD_TESTS_GOLDEN_H
#define HASTEN_METHOD_TESTS_GOLDEN_H

#include <cjson/cJSON.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline cJSON *golden_load(const char *path)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s cannot be opened: run the tests in the project's root folder", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = calloc((size_t)n + 1, 1);
    ck_assert_uint_eq(fread(text, 1, (size_t)n, f), (size_t)n);
    fclose(f);
    cJSON *root = cJSON_Parse(text);
    ck_assert_msg(root != NULL, "%s is not JSON", path);
    free(text);
    return root;
}

static inline const cJSON *golden_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    ck_assert_msg(item != NULL, "no '%s' in the golden file", key);
    return item;
}

static inline double golden_number(const cJSON *object, const char *key)
{
    const cJSON *item = golden_get(object, key);
    ck_assert_msg(cJSON_IsNumber(item), "'%s' is not a number", key);
    return item->valuedouble;
}

static inline int golden_int(const cJSON *object, const char *key)
{
    return (int)golden_number(object, key);
}

static inline double *golden_numbers(const cJSON *object, const char *key, int *count)
{
    const cJSON *array = golden_get(object, key), *item;
    int n = cJSON_GetArraySize(array), i = 0;
    double *x = calloc((size_t)n + 1, sizeof *x);
    cJSON_ArrayForEach(item, array) x[i++] = item->valuedouble;
    if (count)
        *count = n;
    return x;
}

static inline float *golden_floats(const cJSON *object, const char *key, int *count)
{
    int n;
    double *x = golden_numbers(object, key, &n);
    float *y = calloc((size_t)n + 1, sizeof *y);
    for (int i = 0; i < n; i++)
        y[i] = (float)x[i];
    free(x);
    if (count)
        *count = n;
    return y;
}

/* A string of hexadecimal digits as bytes. */
static inline unsigned char *golden_bytes(const cJSON *object, const char *key, size_t *count)
{
    const char *hex = golden_get(object, key)->valuestring;
    size_t n = strlen(hex) / 2;
    unsigned char *bytes = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (unsigned char)byte;
    }
    *count = n;
    return bytes;
}

#endif
