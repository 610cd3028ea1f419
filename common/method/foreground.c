/* See foreground.h. */
#include "common/method/foreground.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

enum { BINS = 64, POWER_STEPS = 64 };

int attention_received(const float *q, const float *k, int tokens, int heads, int width, double *received,
                       struct error *e)
{
    size_t n = (size_t)tokens, w = (size_t)width, d = w / (size_t)heads;
    double *row = mem_array(n, sizeof *row, e), scale = 1 / sqrt((double)d);
    if (!row)
        return -1;
    memset(received, 0, n * sizeof *received);
    for (size_t h = 0; h < (size_t)heads; h++)
        for (size_t i = 0; i < n; i++) {
            double most = -INFINITY, sum = 0;
            for (size_t j = 0; j < n; j++) {
                double dot = 0;
                for (size_t c = 0; c < d; c++)
                    dot += (double)q[i * w + h * d + c] * (double)k[j * w + h * d + c];
                row[j] = dot * scale;
                most = fmax(most, row[j]);
            }
            for (size_t j = 0; j < n; j++)
                sum += row[j] = exp(row[j] - most);
            for (size_t j = 0; j < n; j++)
                received[j] += row[j] / sum / heads;
        }
    mem_free(row);
    return 0;
}

double otsu_threshold(const double *x, int n)
{
    double low = x[0], high = x[0], all = 0, below = 0, best = -1, at = x[0];
    int count[BINS] = {0}, less = 0;
    for (int i = 0; i < n; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    if (!(high > low))
        return high;
    for (int i = 0; i < n; i++) {
        int bin = (int)((x[i] - low) / (high - low) * BINS);
        count[bin < BINS ? bin : BINS - 1]++;
    }
    for (int b = 0; b < BINS; b++)
        all += b * (double)count[b];
    for (int b = 0; b + 1 < BINS; b++) {
        less += count[b];
        below += b * (double)count[b];
        if (less == 0 || less == n)
            continue;
        double gap = below / less - (all - below) / (n - less),
               between = (double)less * (n - less) * gap * gap;
        if (between > best) {
            best = between;
            at = low + (high - low) * (b + 1) / BINS;
        }
    }
    return at;
}

/* The first principal axis of the channels, by powers of the covariance from a fixed start. */
static int principal_axis(const float *x, size_t pixels, size_t channels, double *axis, struct error *e)
{
    double *c = mem_array(channels * channels + 2 * channels, sizeof *c, e);
    if (!c)
        return -1;
    double *mean = c + channels * channels, *next = mean + channels;
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < channels; i++)
            mean[i] += (double)x[p * channels + i] / (double)pixels;
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < channels; i++)
            for (size_t j = 0; j < channels; j++)
                c[i * channels + j] +=
                    ((double)x[p * channels + i] - mean[i]) * ((double)x[p * channels + j] - mean[j]);
    for (size_t i = 0; i < channels; i++)
        axis[i] = 1 + 0.1 * (double)i;
    for (int step = 0; step < POWER_STEPS; step++) {
        double norm = 0;
        for (size_t i = 0; i < channels; i++) {
            next[i] = 0;
            for (size_t j = 0; j < channels; j++)
                next[i] += c[i * channels + j] * axis[j];
            norm += next[i] * next[i];
        }
        for (size_t i = 0; norm > 0 && i < channels; i++)
            axis[i] = next[i] / sqrt(norm);
    }
    mem_free(c);
    return 0;
}

/* Cells of this class on the border, relative to its cells. */
static double border_share(const unsigned char *high, int rows, int columns, int class)
{
    int cells = 0, border = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            if (high[r * columns + c] == class) {
                cells++;
                border += r == 0 || c == 0 || r == rows - 1 || c == columns - 1;
            }
    return cells ? (double)border / cells : 2;
}

int foreground_mask(const float *prediction, int height, int width, int channels, int rows, int columns,
                    unsigned char *mask, struct error *e)
{
    size_t cells = (size_t)rows * (size_t)columns, ch = (size_t)channels;
    double *axis = mem_array(ch, sizeof *axis, e), *value = mem_array(cells, sizeof *value, e);
    int status = axis && value ? principal_axis(prediction, (size_t)height * (size_t)width, ch, axis, e) : -1;
    for (int y = 0; status == 0 && y < height; y++)
        for (int x = 0; x < width; x++)
            for (size_t c = 0; c < ch; c++)
                value[(y / (height / rows)) * columns + x / (width / columns)] +=
                    axis[c] * (double)prediction[((size_t)y * (size_t)width + (size_t)x) * ch + c];
    if (status == 0) {
        double threshold = otsu_threshold(value, (int)cells);
        for (size_t i = 0; i < cells; i++)
            mask[i] = value[i] >= threshold;
        /* The object touches the border less. */
        if (border_share(mask, rows, columns, 0) < border_share(mask, rows, columns, 1))
            for (size_t i = 0; i < cells; i++)
                mask[i] = !mask[i];
    }
    mem_free(axis);
    mem_free(value);
    return status;
}

double foreground_overlap(const double *received, const unsigned char *mask, int n)
{
    double mean = 0;
    int inside = 0, both = 0;
    for (int i = 0; i < n; i++)
        mean += received[i] / n;
    for (int i = 0; i < n; i++) {
        inside += mask[i];
        both += mask[i] && received[i] > mean;
    }
    return inside ? (double)both / inside : -1;
}
