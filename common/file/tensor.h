/* Tensors: a name, a type, a shape and bytes; conversions between the types and float32.
 *
 *     struct tensor t = {.name = "latents", .dtype = DTYPE_F32, .rank = 4, .shape = {16, 4, 32, 32}};
 *     if (tensor_measure(&t, e) < 0) return -1;        // sets count and size, checked
 *     t.data = mem_array(t.size, 1, e);
 *     tensor_to_f32(t.dtype, t.data, out, t.count);
 *
 * Row-major, little-endian, as in safetensors. Data from a container is 64-byte aligned and owned by it. */
#ifndef HASTEN_FILE_TENSOR_H
#define HASTEN_FILE_TENSOR_H

#include "common/base/error.h"
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_F8_E4M3, /* the "fn" kind: no infinity, largest 448 */
    DTYPE_F8_E5M2,
    DTYPE_COUNT,
};

enum {
    TENSOR_MAX_RANK = 8,
    TENSOR_MAX_NAME = 1024, /* bytes without the NUL */
};

struct tensor {
    const char *name;
    enum dtype dtype;
    int rank; /* 0: one number */
    int64_t shape[TENSOR_MAX_RANK];
    size_t count;                /* elements */
    size_t size;                 /* bytes: count * dtype_size(dtype) */
    void *data;                  /* NULL when not loaded, and when size is 0 possibly not NULL */
    const struct origin *origin; /* where the bytes lie in a file (pieces.h); NULL: in none that can be read
                                    in any order */
};

/* As safetensors spells them: "F32", "F8_E4M3". */
const char *dtype_name(enum dtype d);
size_t dtype_size(enum dtype d);  /* bytes an element */
int dtype_find(const char *name); /* -1: not one of ours */
int dtype_is_float(enum dtype d);

/* Set count and size from dtype and shape. HASTEN_EFILE for a rank, a dimension or a product out of range (a
 * zero dimension does not excuse the others: the product without the zeros must fit as well). */
int tensor_measure(struct tensor *t, struct error *e) HASTEN_CHECKED;

/* "[2, 3]" for messages. */
enum { TENSOR_SHAPE_TEXT = 192 };
char *tensor_shape_text(const struct tensor *t, char out[TENSOR_SHAPE_TEXT]);

/* `count` elements to float32 and back; source and target must not overlap. To a narrower float: to nearest,
 * ties to even; too large becomes infinity, in F8_E4M3 (which has none) 448, as in PyTorch 2.15; NaN stays
 * NaN. To an integer: to nearest, ties to even, clamped; NaN is 0. BOOL: not zero. From I64, I32 and F64: to
 * nearest. */
void tensor_to_f32(enum dtype from, const void *in, float *out, size_t count);
void tensor_from_f32(enum dtype to, const float *in, void *out, size_t count);

/* The index of the first NaN or infinity among count elements of a float type, or -1. Integers have none. */
int64_t tensor_first_nonfinite(enum dtype d, const void *data, size_t count);

#endif
