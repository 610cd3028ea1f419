/* Weights in 4 bits, in two levels (the tensors of ComfyUI's asym_w4a8_int8): 16 numbers a tensor, a scale in
 * float8 e4m3 a group of columns, a float scale a row. They decode to int8 with a scale of the row only, so a
 * product with int8 activations runs its plain loop:
 *
 *     q8 = clip(round half to even(codebook[code] * s_rel[row][group]), +-127),   w = scale[row] * q8
 *
 *     struct quantize_w4 q = {.rows = n, .columns = k, .group = 16};
 *     quantize_w4_open(&q, e);
 *     quantize_w4_fit(&q, w, importance, team, e);      // codebook, scales and codes by rounding to nearest
 *     gptq_rows(&g, w, n, quantize_w4_round, &q, ...);  // or the codes by GPTQ, with those scales
 *     quantize_w4_pack(&q, bytes);                      // two codes a byte
 *     quantize_w4_close(&q);
 *
 * The numbers are the Lloyd-Max quantizer of Gaussian groups that are divided by their largest magnitude
 * (specs/quantize-and-prune.md 3.2.4), one table for groups of 16, one for 64; levels are symmetric, so 8 of
 * 16 magnitudes are known. scale[row] = largest group scale * largest level / 127. A group's scale is refined
 * twice: codes of the nearest level, then the least-squares scale for them. */
#ifndef HASTEN_METHOD_QUANTIZE_W4_H
#define HASTEN_METHOD_QUANTIZE_W4_H

#include "common/method/quantize_w8.h"

enum { QUANTIZE_W4_SCALES = 127 }; /* positive e4m3 codes but the NaN */

struct quantize_w4 {
    int64_t rows, columns;
    int group;          /* 2 .. 64, divides columns */
    float codebook[16]; /* rising */
    uint8_t *codes;     /* [rows][columns], one a byte */
    uint8_t *s_rel;     /* e4m3 [rows][columns / group] */
    float *scale;       /* [rows] */
    float integers[QUANTIZE_W4_SCALES][16], borders[QUANTIZE_W4_SCALES][15]; /* of each s_rel: the levels as
                                                                                int8, and halfway between */
};

int quantize_w4_open(struct quantize_w4 *q,
                     struct error *e) HASTEN_CHECKED; /* rows, columns, group are set */
void quantize_w4_close(struct quantize_w4 *q);

/* Codebook, scales and codes of w. importance: [columns] >= 0 or NULL for 1. linear: 1: levels -8 .. 7 at
 * equal distances instead of the table. HASTEN_EFILE: NaN or Inf in w. */
int quantize_w4_fit(struct quantize_w4 *q, const float *w, const float *importance, int linear,
                    struct team *team, struct error *e) HASTEN_CHECKED;

/* gptq.h's gptq_round: the nearest value that the scales allow; its code is kept. context: struct
 * quantize_w4. */
float quantize_w4_round(void *context, int64_t row, int64_t column, float w);

void quantize_w4_pack(const struct quantize_w4 *q,
                      uint8_t *bytes); /* [rows][columns / 2], low nibble first */
/* out = the weights that were stored. */
void quantize_w4_restore(const struct quantize_w4 *q, struct team *team, float *out);
/* Relative error against w and rows of zeros, as quantize_w8 reports them. */
void quantize_w4_report(const struct quantize_w4 *q, const float *w, struct quantize_report *report);

#endif
