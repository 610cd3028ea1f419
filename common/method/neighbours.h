/* How alike neighbouring pixels are: what a convolution's weights see beside the second moments of channels.
 *
 * For an image x of P pixels, products[lag] = 1/P sum over pixels p of x(p) . x(p + d), with zeros outside of
 * the image (the padding), for d = (dy, dx) with 0 <= dy <= 2, |dx| <= 2: 13 lags, of which the first is d =
 * 0.
 *
 *     double products[NEIGHBOUR_LAGS] = {0}, taps[81];
 *     neighbour_products(x, height, width, channels, team, products, e);    // adds
 *     neighbour_moment(products, 3, 3, 0.01, taps);
 *
 * The moment of taps t = (y, x) of a kernel is products[t - t'] / products[0], as if the likeness of
 * neighbours were the same for all pairs of channels: E[x_ct x_c't'] = moment_cc' taps_tt', a Kronecker
 * product, which gptq.h factors by its parts. Sums over whole images with zeros around them make it positive
 * semidefinite. */
#ifndef HASTEN_METHOD_NEIGHBOURS_H
#define HASTEN_METHOD_NEIGHBOURS_H

#include "common/base/team.h"

enum { NEIGHBOUR_LAGS = 13, NEIGHBOUR_KERNEL = 3 }; /* kernels up to 3 x 3 */

/* x: [height][width][channels]; products: [NEIGHBOUR_LAGS], added to. The team does not change results. */
int neighbour_products(const float *x, int height, int width, int channels, struct team *team,
                       double *products, struct error *e) HASTEN_CHECKED;

/* out: [h w][h w], h and w at most NEIGHBOUR_KERNEL, `damp` added to its diagonal of ones; products[0] = 0
 * gives the identity. */
void neighbour_moment(const double *products, int h, int w, double damp, double *out);

/* Without data: likeness 0.3 + 0.7 * 0.5^distance, about what the inputs of convolutions show in the median
 * of the layers of two unrelated U-Nets (faces: 0.68 to 0.72 and 0.52 to 0.54 at distances 1 and 2; clothes:
 * 0.57 to 0.68 and 0.46 to 0.53). */
void neighbour_prior(int h, int w, double damp, double *out);

#endif
