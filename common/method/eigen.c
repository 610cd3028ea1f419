/* See eigen.h. Golub and Van Loan, Matrix Computations, 8.3: reduction from the last row upwards, so that
 * all inner loops run along rows; the eigenvectors are kept transposed for the same reason. */
#include "common/method/eigen.h"
#include "common/base/mem.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROUNDS_MAX = 60 }; /* of QL for one eigenvalue; about 2 are usual */

static double *row_of(double *a, int n, int row) { return a + (size_t)row * (size_t)n; }

static double dot(const double *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* p = A u / h for the leading m x m part, of which the lower triangle is kept. */
static void times_vector(double *a, int n, int m, const double *u, double h, double *p)
{
    for (int j = 0; j < m; j++) {
        const double *row = row_of(a, n, j);
        double sum = row[j] * u[j];
        for (int k = 0; k < j; k++) {
            sum += row[k] * u[k];
            p[k] += row[k] * u[j];
        }
        p[j] = sum;
    }
    for (int j = 0; j < m; j++)
        p[j] /= h;
}

/* T = Q' A Q with Q = H(n-1) ... H(2), H(i) = I - u u' / h(i), u = the first i entries of row i
 * afterwards (h = 0: I). d: diagonal of T; off[i]: its entry (i, i + 1). */
static void to_tridiagonal(int n, double *a, double *d, double *off, double *h, double *p)
{
    for (int i = n - 1; i >= 1; i--) {
        double *u = row_of(a, n, i), largest = 0;
        for (int k = 0; k < i - 1; k++)
            largest = fmax(largest, fabs(u[k]));
        h[i] = 0;
        off[i - 1] = u[i - 1];
        if (largest == 0)
            continue;
        double norm = sqrt(dot(u, u, i));
        double beta = u[i - 1] > 0 ? -norm : norm; /* away from u[i - 1]: no cancellation */
        h[i] = norm * norm - u[i - 1] * beta;
        off[i - 1] = beta;
        u[i - 1] -= beta;
        times_vector(a, n, i, u, h[i], p);
        double half = dot(u, p, i) / (2 * h[i]);
        for (int k = 0; k < i; k++)
            p[k] -= half * u[k];
        for (int j = 0; j < i; j++) {
            double *row = row_of(a, n, j);
            for (int k = 0; k <= j; k++)
                row[k] -= u[j] * p[k] + p[j] * u[k];
        }
    }
    for (int i = 0; i < n; i++)
        d[i] = row_of(a, n, i)[i];
    off[n - 1] = 0;
}

/* vectors = Q', as a product of the H(i) from the smallest on. */
static void accumulate(int n, double *a, const double *h, double *vectors)
{
    memset(vectors, 0, (size_t)n * (size_t)n * sizeof *vectors);
    for (int i = 0; i < n; i++)
        row_of(vectors, n, i)[i] = 1;
    for (int i = 2; i < n; i++) {
        const double *u = row_of(a, n, i);
        for (int r = 0; h[i] != 0 && r < i; r++) {
            double *v = row_of(vectors, n, r), factor = dot(v, u, i) / h[i];
            for (int k = 0; k < i; k++)
                v[k] -= factor * u[k];
        }
    }
}

static void rotate(double *x, double *y, int n, double c, double s)
{
    for (int k = 0; k < n; k++) {
        double t = y[k];
        y[k] = s * x[k] + c * t;
        x[k] = c * x[k] - s * t;
    }
}

/* One implicit QL sweep over rows first..last with Wilkinson's shift. */
static void sweep(int n, double *d, double *off, int first, int last, double *vectors)
{
    double g = (d[first + 1] - d[first]) / (2 * off[first]);
    g = d[last] - d[first] + off[first] / (g + copysign(hypot(g, 1), g));
    double s = 1, c = 1, p = 0;
    for (int i = last - 1; i >= first; i--) {
        double f = s * off[i], b = c * off[i], r = hypot(f, g);
        off[i + 1] = r;
        if (r == 0) { /* the matrix falls apart here: start again with the parts */
            d[i + 1] -= p;
            off[last] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        if (vectors)
            rotate(row_of(vectors, n, i), row_of(vectors, n, i + 1), n, c, s);
    }
    d[first] -= p;
    off[first] = g;
    off[last] = 0;
}

static int diagonalize(int n, double *d, double *off, double *vectors)
{
    for (int first = 0; first < n; first++)
        for (int round = 0;; round++) {
            int last = first;
            while (last < n - 1 && fabs(off[last]) > DBL_EPSILON * (fabs(d[last]) + fabs(d[last + 1])))
                last++;
            if (last == first)
                break;
            if (round == ROUNDS_MAX)
                return -1;
            sweep(n, d, off, first, last, vectors);
        }
    return 0;
}

static void sort(int n, double *d, double *vectors, double *room)
{
    size_t bytes = (size_t)n * sizeof *room;
    for (int i = 0; i < n; i++) {
        int least = i;
        for (int k = i + 1; k < n; k++)
            least = d[k] < d[least] ? k : least;
        double t = d[i];
        d[i] = d[least];
        d[least] = t;
        if (vectors && least != i) {
            memcpy(room, row_of(vectors, n, i), bytes);
            memcpy(row_of(vectors, n, i), row_of(vectors, n, least), bytes);
            memcpy(row_of(vectors, n, least), room, bytes);
        }
    }
}

int eigen_symmetric(int n, double *a, double *values, double *vectors, struct error *e)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++)
            if (!isfinite(row_of(a, n, i)[k]))
                return error_set(e, HASTEN_EFAIL, "entry (%d, %d) of a %d x %d matrix is not finite", i,
                                 k, n, n);
    double *off = mem_array((size_t)n, 3 * sizeof *off, e);
    if (!off)
        return -1;
    double *h = off + n, *room = off + 2 * n;
    int status = 0;
    if (n > 0) {
        to_tridiagonal(n, a, values, off, h, room);
        if (vectors)
            accumulate(n, a, h, vectors);
        if (diagonalize(n, values, off, vectors) < 0)
            status =
                error_set(e, HASTEN_EFAIL, "the eigenvalues of a %d x %d matrix do not settle", n, n);
        else
            sort(n, values, vectors, room);
    }
    mem_free(off);
    return status;
}
