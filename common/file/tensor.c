/* See tensor.h: types and sizes. */
#include "common/file/tensor.h"
#include "common/base/num.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 4},   [DTYPE_F16] = {"F16", 2},         [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_F64] = {"F64", 8},   [DTYPE_I64] = {"I64", 8},         [DTYPE_I32] = {"I32", 4},
    [DTYPE_I16] = {"I16", 2},   [DTYPE_I8] = {"I8", 1},           [DTYPE_U8] = {"U8", 1},
    [DTYPE_BOOL] = {"BOOL", 1}, [DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [DTYPE_F8_E5M2] = {"F8_E5M2", 1},
};

const char *dtype_name(enum dtype d) { return (unsigned)d < DTYPE_COUNT ? dtypes[d].name : "?"; }
size_t dtype_size(enum dtype d) { return (unsigned)d < DTYPE_COUNT ? dtypes[d].size : 0; }

int dtype_find(const char *name)
{
    for (int d = 0; d < DTYPE_COUNT; d++)
        if (!strcmp(dtypes[d].name, name))
            return d;
    return -1;
}

int dtype_is_float(enum dtype d)
{
    return d == DTYPE_F32 || d == DTYPE_F16 || d == DTYPE_BF16 || d == DTYPE_F64 || d == DTYPE_F8_E4M3 ||
           d == DTYPE_F8_E5M2;
}

char *tensor_shape_text(const struct tensor *t, char out[TENSOR_SHAPE_TEXT])
{
    size_t n = (size_t)snprintf(out, TENSOR_SHAPE_TEXT, "[");
    for (int i = 0; i < t->rank && i < TENSOR_MAX_RANK; i++)
        n +=
            (size_t)snprintf(out + n, TENSOR_SHAPE_TEXT - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    snprintf(out + n, TENSOR_SHAPE_TEXT - n, "]");
    return out;
}

int tensor_measure(struct tensor *t, struct error *e)
{
    int64_t count = 1, size;
    int empty = 0;
    if ((unsigned)t->dtype >= DTYPE_COUNT)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has no known type", t->name);
    if (t->rank < 0 || t->rank > TENSOR_MAX_RANK)
        return error_set(e, HASTEN_EFILE, "tensor '%s' has %d dimensions, at most %d are supported", t->name,
                         t->rank, TENSOR_MAX_RANK);
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0)
            return error_set(e, HASTEN_EFILE, "tensor '%s': dimension %d is %lld", t->name, i,
                             (long long)t->shape[i]);
        if (t->shape[i] == 0)
            empty = 1;
        else if (num_mul(count, t->shape[i], &count))
            goto too_large;
    }
    if (num_mul(count, (int64_t)dtype_size(t->dtype), &size))
        goto too_large;
    t->count = empty ? 0 : (size_t)count;
    t->size = empty ? 0 : (size_t)size;
    return 0;
too_large:;
    char text[TENSOR_SHAPE_TEXT];
    return error_set(e, HASTEN_EFILE, "tensor '%s' of shape %s has more bytes than can be addressed", t->name,
                     tensor_shape_text(t, text));
}
