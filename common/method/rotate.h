/* Weights and second moments turned as the kernels turn activations: blocks of `size` (16, 64 or 256) columns
 * by the regular Hadamard matrix (kernels/cpu/hadamard.inc), which is symmetric and its own inverse, so that
 * (x R)(w R)' = x w' and turning twice gives the original.
 *
 *     int size = rotate_size(columns);              // 0: none divides
 *     rotate_rows(w, rows, columns, size, team);
 *     rotate_moment(h, columns, size);              // R' h R
 */
#ifndef HASTEN_METHOD_ROTATE_H
#define HASTEN_METHOD_ROTATE_H

#include "common/base/team.h"

/* The largest of 256, 64 and 16 that divides; 0: none. */
int rotate_size(int64_t columns);
void rotate_rows(float *w, int64_t rows, int64_t columns, int size, struct team *team); /* team may be NULL */
/* h: symmetric, [columns][columns]. */
void rotate_moment(double *h, int64_t columns, int size);

#endif
