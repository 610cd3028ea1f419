/* How far pictures or latents are from a reference: relative L2, PSNR, SSIM. Everything is computed in
 * double and, for means over images, in the order of the images.
 *
 *     struct metric_mean psnr = {0};
 *     for (int i = 0; i < images; i++)
 *         metric_add(&psnr, metric_psnr(reference + i * n, got + i * n, n, peak));
 *     printf("%.2f dB\n", metric_value(&psnr));
 *
 * Definitions are those of specs: rel_l2 is the mean over images of ||got - ref|| / ||ref||; PSNR is the
 * mean of per-image dB with a peak of the reference's max - min over all images (255 for 8-bit pictures),
 * 999 for an image that is identical. NaN or Inf in an input gives NaN, and a mean with a NaN in it is
 * NaN: callers look with isnan. */
#ifndef HASTEN_METHOD_METRICS_H
#define HASTEN_METHOD_METRICS_H

#include "common/base/error.h"
#include <stdint.h>

#define METRIC_PSNR_IDENTICAL 999.0

struct metric_mean {
    double sum;
    int64_t count;
};

static inline void metric_add(struct metric_mean *m, double value)
{
    m->sum += value;
    m->count++;
}

static inline double metric_value(const struct metric_mean *m)
{
    return m->count ? m->sum / (double)m->count : 0;
}

/* max - min of n values; NaN when one is not finite, 0 for n = 0. */
double metric_range(const float *x, int64_t n);

/* ||got - reference|| / ||reference||: 0 when both are equal; a reference of norm 0 that is not met gives
 * INFINITY. */
double metric_rel_l2(const float *reference, const float *got, int64_t n);

/* 10 log10(peak^2 / mse) of one image, METRIC_PSNR_IDENTICAL when mse is 0 and never more; peak > 0. */
double metric_psnr(const float *reference, const float *got, int64_t n, double peak);
double metric_psnr_u8(const unsigned char *reference, const unsigned char *got, int64_t n); /* peak 255 */

enum {
    METRIC_SSIM_WINDOW = 11, /* sigma 1.5, cut at 3.5 sigma as scikit-image does it */
};

/* Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004): 11 x 11 Gaussian window of sigma 1.5, K1
 * = 0.01, K2 = 0.03, covariances divided by the sum of weights, mean over all windows that lie wholly
 * inside, then over channels. It equals skimage.metrics.structural_similarity(gaussian_weights=True,
 * sigma=1.5, use_sample_covariance=False, data_range=range), which crops 5 pixels at each side. Planar
 * floats (channels, height, width), range > 0: the data's possible max - min. HASTEN_EFILE when a side is
 * below 11 pixels. Memory: 10 x width x (height + 10) bytes or so. */
int metric_ssim(const float *reference, const float *got, int channels, int height, int width,
                double range, double *out, struct error *e) HASTEN_CHECKED;

#endif
