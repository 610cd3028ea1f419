/* Weights in 8 bits: one float scale per row (output channel), integers -127 .. 127, w = scale[row] * q.
 *
 *     struct quantize_report r;
 *     if (quantize_w8(w, rows, columns, team, q, scale, &r, e) < 0) return -1;
 *     printf("relative error %.2e\n", r.rel_l2);
 *
 * scale = max|w| / 127 and q = round half to even of w / scale in float arithmetic; gptq.h chooses better
 * codes for the same scales. Smaller scales, which clip, were tried: they lose 1 to 5 dB of the final latent
 * on real models. Rows are independent: the team does not change results. */
#ifndef HASTEN_METHOD_QUANTIZE_W8_H
#define HASTEN_METHOD_QUANTIZE_W8_H

#include "common/method/weight_rows.h"

/* w: rows x columns; q the same shape; scale: rows. team may be NULL. HASTEN_EFILE: a NaN or Inf in w, naming
 * row and column; then q and scale are undefined. */
int quantize_w8(const float *w, int64_t rows, int64_t columns, struct team *team, int8_t *q, float *scale,
                struct quantize_report *report, struct error *e) HASTEN_CHECKED;

/* The same for rows that are made when they are wanted. */
int quantize_w8_rows(const struct weight_rows *w, struct team *team, int8_t *q, float *scale,
                     struct quantize_report *report, struct error *e) HASTEN_CHECKED;

/* gptq.h's gptq_round for such weights, whose scales are there: context is a struct quantize_w8, its codes
 * are replaced. */
struct quantize_w8 {
    int8_t *q;
    const float *scale;
    int64_t columns;
};
float quantize_w8_round(void *context, int64_t row, int64_t column, float w);

/* out = scale[row] * q. */
void quantize_w8_restore(const int8_t *q, const float *scale, int64_t rows, int64_t columns, float *out);

#endif
