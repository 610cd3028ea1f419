/* GPTQ (Frantar et al. 2022): rounding one column after the other, each one's error made up for by the
 * columns that are still free, so that the error of the layer's output is small and not that of the weights.
 *
 * For h = E[x x'] + damping and U upper triangular with U'U = h^-1, in the order of columns: q = round(w_c),
 * e = (w_c - q) / U_cc, w_j -= e U_cj for all j > c. Columns are taken by falling h_cc ("act order").
 *
 *     struct gptq g;
 *     gptq_open(&g, h, columns, NULL, 1, team, e);    // h is used up
 *     gptq_rows(&g, w, rows, round, context, team);   // w becomes what was chosen
 *     gptq_close(&g);
 *
 * A convolution's columns are pairs of a channel and a tap, and h = channels x taps, a Kronecker product
 * (neighbours.h). Then U is the product of both parts' U, and an error reaches another channel as one vector
 * of taps: rows * channels^2 * taps multiplications instead of taps times as many.
 */
#ifndef HASTEN_METHOD_GPTQ_H
#define HASTEN_METHOD_GPTQ_H

#include "common/base/team.h"

enum { GPTQ_TAPS = 9 };

struct gptq {
    int64_t channels;
    int taps;       /* column = channel * taps + tap */
    float *upper;   /* [channels][channels], in the order of `order`; NULL: the identity */
    int64_t *order; /* order[i]: the channel that is taken as the i-th */
    float tap_upper[GPTQ_TAPS * GPTQ_TAPS];
};

/* h: symmetric positive definite [channels][channels]; destroyed; NULL: the identity. tap_moment:
 * [taps][taps], or NULL with one tap. HASTEN_EFILE when one is not positive definite. */
int gptq_open(struct gptq *g, double *h, int64_t channels, const double *tap_moment, int taps,
              struct team *team, struct error *e) HASTEN_CHECKED;
void gptq_close(struct gptq *g);

/* The representable value next to w for this row and column. Called once for each of them, a row always by
 * one thread; it may keep the code that it chose. */
typedef float gptq_round(void *context, int64_t row, int64_t column, float w);
int gptq_rows(const struct gptq *g, float *w, int64_t rows, gptq_round *round, void *context,
              struct team *team, struct error *e) HASTEN_CHECKED;

#endif
