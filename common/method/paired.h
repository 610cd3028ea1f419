/* Two things timed in alternation, and curves of time against size.
 *
 *     paired_ratio(a, b, n, &r);          // r.median of a[i] / b[i], with an interval that holds it 95 times
 * in 100 k = knee(size, time, n);            // the size from which the curve runs at another slope
 *
 * The interval is of order statistics (sign test), so it supposes nothing of the noise; under six pairs it is
 * the whole range, and covers less than 95 %. The knee is where two straight lines through the logarithms fit
 * best. */
#ifndef HASTEN_METHOD_PAIRED_H
#define HASTEN_METHOD_PAIRED_H

struct paired {
    double median, low, high;
};

/* a, b > 0. scratch: n numbers. */
void paired_ratio(const double *a, const double *b, int n, double *scratch, struct paired *r);

/* Index into x (rising, positive) of the last point of the first line; -1 for fewer than four points, or when
 * one line does as well (less than half of its squared error goes). */
int knee(const double *x, const double *y, int n);

#endif
