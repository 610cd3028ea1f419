/* Codes that fit together: coordinate descent on the error of a layer's output, from where GPTQ left off
 * (after Behdin et al. 2023, QuantEase).
 *
 *     gptq_rows(&g, w, rows, round, context, team, e);                      // w: what was chosen
 *     descend_rows(h, want, w, rows, columns, round, context, team, e);     // w: what is no worse
 *
 * The error of a row is (want - w) h (want - w)'. Column by column it is a parabola, so that the
 * representable number next to its bottom is the best one while all others stay: no step makes the error
 * larger. GPTQ takes each column once and sees only those behind it; here every column sees all others. */
#ifndef HASTEN_METHOD_DESCEND_H
#define HASTEN_METHOD_DESCEND_H

#include "common/method/gptq.h"

enum { DESCEND_SWEEPS = 4 };

/* h: symmetric [columns][columns], its diagonal above 0; want, w: [rows][columns]. A row always by one
 * thread; the team does not change the result. */
int descend_rows(const double *h, const float *want, float *w, int64_t rows, int64_t columns,
                 gptq_round *round, void *context, struct team *team, struct error *e) HASTEN_CHECKED;

#endif
