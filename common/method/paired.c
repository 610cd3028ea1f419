/* See paired.h. */
#include "common/method/paired.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* The interval reaches from this index to the one as far from the end: the largest k with
 * P(Binomial(n, 1/2) <= k) <= 2.5 %, else 0: the whole range. */
static int first_inside(int n)
{
    double term = pow(0.5, n), sum = term;
    int k = -1;
    while (sum <= 0.025 && k < n) {
        k++;
        term *= (double)(n - k) / (k + 1);
        sum += term;
    }
    return k > 0 ? k : 0;
}

void paired_ratio(const double *a, const double *b, int n, double *scratch, struct paired *r)
{
    for (int i = 0; i < n; i++)
        scratch[i] = a[i] / b[i];
    qsort(scratch, (size_t)n, sizeof *scratch, ascending);
    int k = first_inside(n);
    r->median = n % 2 ? scratch[n / 2] : 0.5 * (scratch[n / 2 - 1] + scratch[n / 2]);
    r->low = scratch[k];
    r->high = scratch[n - 1 - k];
}

/* Squared error of the best line through points [first, last] of (x, y). */
static double line_error(const double *x, const double *y, int first, int last)
{
    double n = last - first + 1, sx = 0, sy = 0, xx = 0, xy = 0, yy = 0;
    for (int i = first; i <= last; i++) {
        double a = log(x[i]), b = log(y[i]);
        sx += a, sy += b, xx += a * a, xy += a * b, yy += b * b;
    }
    double vx = xx - sx * sx / n, c = xy - sx * sy / n, vy = yy - sy * sy / n;
    double left = vx > 0 ? vy - c * c / vx : vy;
    return left > 0 ? left : 0;
}

int knee(const double *x, const double *y, int n)
{
    double best = n < 4 ? 0 : 0.5 * line_error(x, y, 0, n - 1);
    int at = -1;
    for (int k = 1; n >= 4 && k < n - 1; k++) { /* the lines meet at point k */
        double both = line_error(x, y, 0, k) + line_error(x, y, k, n - 1);
        if (both < best) {
            best = both;
            at = k;
        }
    }
    return at;
}
