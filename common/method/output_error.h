/* What errors of weights and of input do to a layer's output, from second moments of its input.
 *
 *     double relative;
 *     output_error(want, got, rows, channels, NULL, moment, 0, NULL, 1, team, &relative, e);
 *
 * sqrt(tr(D H D') / tr(W H W')) with D = W - got, H = moment x tap_moment (Kronecker; gptq.h): of rows evenly
 * spread where all would take long. With the inputs' mean m the moment is that about the mean, the bias makes
 * up for D m, and below stands |W m|^2 more. noise: the variance of an error of each input, independent of
 * the others, as rounding has it: above stands noise |got|^2 more. */
#ifndef HASTEN_METHOD_OUTPUT_ERROR_H
#define HASTEN_METHOD_OUTPUT_ERROR_H

#include "common/base/team.h"

/* want, got: [rows][channels * taps]; mean: [channels] (one tap only) or NULL; moment: [channels][channels];
 * tap_moment: [taps][taps] (at most 9), or NULL with one tap. The team does not change the result. */
int output_error(const float *want, const float *got, int64_t rows, int64_t channels, const float *mean,
                 const double *moment, double noise, const double *tap_moment, int taps, struct team *team,
                 double *relative, struct error *e) HASTEN_CHECKED;

#endif
