/* Where a block of a transformer looks: at the picture's object or at what is around it (ProfilingDiT).
 *
 *     attention_received(q, k, tokens, heads, width, received, e);       // a mean of 1 a token
 *     foreground_mask(prediction, 32, 32, 4, 16, 16, mask, e);           // of 16 x 16 patches
 *     r = foreground_overlap(received, mask, 256);
 *
 * A token is high where it receives more attention than the mean; the foreground is segmented on the first
 * principal component of the prediction's channels by Otsu's threshold (Otsu 1979): of the two classes the
 * one that covers less of the border. The overlap is |high and foreground| / |foreground|. */
#ifndef HASTEN_METHOD_FOREGROUND_H
#define HASTEN_METHOD_FOREGROUND_H

#include "common/base/error.h"

/* q, k: tokens x width, heads side by side. received[j]: the sum over queries of softmax(q k' / sqrt(d))_ij,
 * in the mean over heads. */
int attention_received(const float *q, const float *k, int tokens, int heads, int width, double *received,
                       struct error *e) HASTEN_CHECKED;

/* prediction: height x width x channels; rows and columns divide them. mask: rows x columns, 1: foreground.
 */
int foreground_mask(const float *prediction, int height, int width, int channels, int rows, int columns,
                    unsigned char *mask, struct error *e) HASTEN_CHECKED;

/* -1 when there is no foreground. */
double foreground_overlap(const double *received, const unsigned char *mask, int n);

/* The threshold between two classes of n numbers (64 bins) with the largest variance between them. */
double otsu_threshold(const double *x, int n);

#endif
