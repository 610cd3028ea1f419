/* GGUF files, versions 2 and 3, as an input: names, shapes, and numbers as floats.
 *
 *     struct gguf g;
 *     if (gguf_open(&g, "model.gguf", e) < 0) ...            // everything in the header is checked
 *     for (int i = 0; i < g.count; i++) {
 *         struct tensor t;
 *         gguf_load(&g, i, &t, e);                           // t.data is the caller's
 *     }
 *     gguf_close(&g);
 *
 * Types: F32, F16 and BF16 as they are; Q8_0, Q4_0, Q4_K and Q6_K as float32 (ggml's block layouts,
 * ggml-common.h and ggml-quants.c). Dimensions are turned round to PyTorch's order;
 * `comfy.gguf.orig_shape.NAME` gives a shape back that was flattened for them. Only regular files. */
#ifndef HASTEN_FILE_GGUF_H
#define HASTEN_FILE_GGUF_H

#include "common/base/mem.h"
#include "common/file/input.h"
#include "common/file/tensor.h"

struct gguf_tensor {
    const char *name;
    int type, rank;
    int64_t shape[4];
    int64_t numbers, offset, size; /* in the file, from its start */
};

struct gguf {
    struct input in;
    struct arena arena;
    struct gguf_tensor *tensor;
    int count;
};

/* 1: the file begins as a GGUF file does. */
int gguf_is(const char *path);
int gguf_open(struct gguf *g, const char *path, struct error *e) HASTEN_CHECKED;
int gguf_load(const struct gguf *g, int index, struct tensor *out, struct error *e) HASTEN_CHECKED;
void gguf_close(struct gguf *g);

/* Numbers of one block and its bytes; 0: not a type that is read. ggml's number of the type. */
int gguf_block(int type, int *bytes);
/* n blocks to floats. */
void gguf_decode(int type, const unsigned char *blocks, int64_t n, float *out);

#endif
