/* Weights in float8 e4m3 with a float scale a row: w = scale[row] * e4m3, scale = max|w| / 448, to nearest,
 * ties to even. Errors and reports as in weight_rows.h. */
#ifndef HASTEN_METHOD_QUANTIZE_FP8_H
#define HASTEN_METHOD_QUANTIZE_FP8_H

#include "common/method/weight_rows.h"

int quantize_fp8(const float *w, int64_t rows, int64_t columns, struct team *team, uint8_t *q, float *scale,
                 struct quantize_report *report, struct error *e) HASTEN_CHECKED;
int quantize_fp8_rows(const struct weight_rows *w, struct team *team, uint8_t *q, float *scale,
                      struct quantize_report *report, struct error *e) HASTEN_CHECKED;
void quantize_fp8_restore(const uint8_t *q, const float *scale, int64_t rows, int64_t columns, float *out);

#endif
