/* Symmetric positive definite systems: Cholesky's factor, solutions and the inverse. Double, row by row.
 *
 *     if (spd_factor(n, a, e) < 0) return -1;            // a becomes L, a = L L'
 *     spd_solve(n, a, rows, count, team);                // rows[i] := a^-1 rows[i]
 *
 * The bytes of a result do not depend on the team. */
#ifndef HASTEN_METHOD_SPD_H
#define HASTEN_METHOD_SPD_H

#include "common/base/team.h"

/* a: n x n, of which the lower triangle is read; L takes its place, zeros above. HASTEN_EFAIL when a pivot is
 * not positive (not definite, or not finite). */
int spd_factor(int n, double *a, struct error *e) HASTEN_CHECKED;

/* l: from spd_factor. rows: count x n, each replaced by the solution. team may be NULL. */
void spd_solve(int n, const double *l, double *rows, int count, struct team *team);

/* a becomes its inverse, both triangles. */
int spd_inverse(int n, double *a, struct team *team, struct error *e) HASTEN_CHECKED;

#endif
