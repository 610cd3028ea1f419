/* Weights in 8 bits with a float scale a row: what quantize_w8 and quantize_fp8 have in common. The rows may
 * be made when they are wanted, one at a time by each thread, so that the matrix is nowhere as a whole.
 * Rows are independent: the team does not change results. */
#ifndef HASTEN_METHOD_WEIGHT_ROWS_H
#define HASTEN_METHOD_WEIGHT_ROWS_H

#include "common/base/team.h"

struct quantize_report {
    double rel_l2;     /* ||w - scale q|| / ||w||, 0 for a matrix of zeros */
    double worst_row;  /* the largest relative error of a row that is not zero */
    int64_t zero_rows; /* max|w| below `top` FLT_MIN: scale and codes are 0 */
};

/* get() fills rows * columns floats. */
struct weight_rows {
    void (*get)(void *context, int64_t row, int64_t rows, float *out);
    void *context;
    int64_t rows, columns;
};

/* Bytes for some numbers of a row (at most WEIGHT_STRETCH), scale = max|w| / top > 0, and their values over
 * scale. */
enum { WEIGHT_STRETCH = 512 };
typedef void weight_round(const float *w, int columns, float scale, float *level, uint8_t *code);

/* code: rows x columns; scale: rows. team may be NULL. HASTEN_EFILE: a NaN or Inf, naming row and column;
 * then codes and scales are undefined. */
int weight_rows_quantize(const struct weight_rows *w, float top, weight_round *round, struct team *team,
                         uint8_t *code, float *scale, struct quantize_report *report,
                         struct error *e) HASTEN_CHECKED;

/* A matrix that is there: struct weight_matrix m = {w, columns}; {weight_matrix_rows, &m, rows, columns} */
struct weight_matrix {
    const float *w;
    int64_t columns;
};
void weight_matrix_rows(void *context, int64_t row, int64_t rows, float *out);

#endif
