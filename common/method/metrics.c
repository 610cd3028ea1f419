/* See metrics.h. */
#include "common/method/metrics.h"
#include "common/base/mem.h"

#include <math.h>

double metric_range(const float *x, int64_t n)
{
    if (n == 0)
        return 0;
    double low = x[0], high = x[0], poison = 0;
    for (int64_t i = 0; i < n; i++) {
        low = x[i] < low ? (double)x[i] : low;
        high = x[i] > high ? (double)x[i] : high;
        poison += (double)x[i] * 0; /* NaN as soon as one is NaN or Inf */
    }
    return high - low + poison;
}

double metric_rel_l2(const float *reference, const float *got, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double r = reference[i], d = (double)got[i] - r;
        difference += d * d;
        norm += r * r;
    }
    return difference == 0 && norm == 0 ? 0 : sqrt(difference) / sqrt(norm);
}

static double to_decibel(double squares, int64_t n, double peak)
{
    if (squares == 0)
        return METRIC_PSNR_IDENTICAL;
    double db = 10 * log10(peak * peak * (double)n / squares);
    return db > METRIC_PSNR_IDENTICAL ? METRIC_PSNR_IDENTICAL : db;
}

double metric_psnr(const float *reference, const float *got, int64_t n, double peak)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)reference[i];
        squares += d * d;
    }
    return to_decibel(squares, n, peak);
}

double metric_psnr_u8(const unsigned char *reference, const unsigned char *got, int64_t n)
{
    int64_t squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += (got[i] - reference[i]) * (got[i] - reference[i]);
    return to_decibel((double)squares, n, 255);
}

/* SSIM: five weighted means (x, y, xx, yy, xy) by a separable window. Rows first, into a buffer of height
 * rows; then columns, window by window. */
enum { MOMENTS = 5 };

struct ssim_work {
    double window[METRIC_SSIM_WINDOW];
    int height, width, out_width; /* out_width: windows in a row */
    double *rows; /* MOMENTS x height x out_width */
};

static void make_window(double window[METRIC_SSIM_WINDOW])
{
    double sum = 0, radius = METRIC_SSIM_WINDOW / 2;
    for (int i = 0; i < METRIC_SSIM_WINDOW; i++)
        sum += window[i] = exp(-0.5 * (i - radius) * (i - radius) / (1.5 * 1.5));
    for (int i = 0; i < METRIC_SSIM_WINDOW; i++)
        window[i] /= sum;
}

static void along_rows(struct ssim_work *w, const float *x, const float *y)
{
    size_t plane = (size_t)w->height * (size_t)w->out_width;
    for (int row = 0; row < w->height; row++)
        for (int column = 0; column < w->out_width; column++) {
            double m[MOMENTS] = {0};
            const float *px = x + (size_t)row * (size_t)w->width + column;
            const float *py = y + (size_t)row * (size_t)w->width + column;
            for (int k = 0; k < METRIC_SSIM_WINDOW; k++) {
                double a = px[k], b = py[k], g = w->window[k];
                m[0] += g * a;
                m[1] += g * b;
                m[2] += g * a * a;
                m[3] += g * b * b;
                m[4] += g * a * b;
            }
            for (int i = 0; i < MOMENTS; i++)
                w->rows[(size_t)i * plane + (size_t)row * (size_t)w->out_width + (size_t)column] = m[i];
        }
}

static double along_columns(const struct ssim_work *w, double range)
{
    size_t plane = (size_t)w->height * (size_t)w->out_width;
    double c1 = 0.01 * range * 0.01 * range, c2 = 0.03 * range * 0.03 * range, sum = 0;
    int out_height = w->height - METRIC_SSIM_WINDOW + 1;
    for (int row = 0; row < out_height; row++)
        for (int column = 0; column < w->out_width; column++) {
            double m[MOMENTS] = {0};
            for (int i = 0; i < MOMENTS; i++) {
                const double *p =
                    w->rows + (size_t)i * plane + (size_t)row * (size_t)w->out_width + (size_t)column;
                for (int k = 0; k < METRIC_SSIM_WINDOW; k++)
                    m[i] += w->window[k] * p[(size_t)k * (size_t)w->out_width];
            }
            double vx = m[2] - m[0] * m[0], vy = m[3] - m[1] * m[1], vxy = m[4] - m[0] * m[1];
            sum += (2 * m[0] * m[1] + c1) * (2 * vxy + c2) /
                   ((m[0] * m[0] + m[1] * m[1] + c1) * (vx + vy + c2));
        }
    return sum / ((double)out_height * w->out_width);
}

int metric_ssim(const float *reference, const float *got, int channels, int height, int width,
                double range, double *out, struct error *e)
{
    if (height < METRIC_SSIM_WINDOW || width < METRIC_SSIM_WINDOW)
        return error_set(e, HASTEN_EFILE,
                         "SSIM needs pictures of at least %d x %d pixels, these have %d x %d",
                         METRIC_SSIM_WINDOW, METRIC_SSIM_WINDOW, width, height);
    struct ssim_work w = {.height = height, .width = width, .out_width = width - METRIC_SSIM_WINDOW + 1};
    w.rows = mem_array((size_t)MOMENTS * (size_t)height, (size_t)w.out_width * sizeof *w.rows, e);
    if (!w.rows)
        return -1;
    make_window(w.window);
    size_t plane = (size_t)height * (size_t)width;
    double sum = 0;
    for (int c = 0; c < channels; c++) {
        along_rows(&w, reference + (size_t)c * plane, got + (size_t)c * plane);
        sum += along_columns(&w, range);
    }
    *out = sum / channels;
    mem_free(w.rows);
    return 0;
}
