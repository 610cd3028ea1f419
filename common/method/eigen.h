/* Eigenvalues and eigenvectors of real symmetric matrices up to a few hundred rows (Householder's
 * tridiagonal form, then implicit QL; about 9 n^3 operations with vectors, 4/3 n^3 without).
 *
 *     if (eigen_symmetric(n, a, values, vectors, e) < 0) return -1;      // a is destroyed
 *     // values[0] <= values[1] <= ...; vectors + k * n is the unit eigenvector of values[k]
 */
#ifndef HASTEN_METHOD_EIGEN_H
#define HASTEN_METHOD_EIGEN_H

#include "common/base/error.h"

/* a: n x n row by row, only its lower triangle is read, all of it is overwritten. values: n. vectors: n x
 * n, one eigenvector a row, or NULL. Errors: HASTEN_EFAIL when an entry is not finite, HASTEN_ENOMEM. */
int eigen_symmetric(int n, double *a, double *values, double *vectors, struct error *e) HASTEN_CHECKED;

#endif
