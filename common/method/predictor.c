/* See predictor.h. */
#include "common/method/predictor.h"
#include "common/base/mem.h"

#include <math.h>

static const double mean_ridge = 3, own_ridge = 10, cov_floor = 1e-3, noise = 0.3;

/* Solve m x = b in place, m [n][n] symmetric positive definite, by Cholesky. */
static int solve(double *m, double *b, int n, struct error *e)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = m[i * n + j];
            for (int k = 0; k < j; k++)
                sum -= m[i * n + k] * m[j * n + k];
            if (i == j && !(sum > 0 && isfinite(sum)))
                return error_set(e, HASTEN_EFILE, "times or sizes of kernels are not finite");
            m[i * n + j] = i == j ? sqrt(sum) : sum / m[j * n + j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            b[i] -= m[i * n + k] * b[k];
        b[i] /= m[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            b[i] -= m[k * n + i] * b[k];
        b[i] /= m[i * n + i];
    }
    return 0;
}

void predictor_sums(const double *x, const double *y, int n, int dim, double *a, double *b)
{
    for (int r = 0; r < n; r++, x += dim)
        for (int i = 0; i < dim; i++) {
            b[i] += x[i] * y[r];
            for (int j = 0; x[i] != 0 && j < dim; j++)
                a[i * dim + j] += x[i] * x[j];
        }
}

static int ridge(const double *a, const double *b, int dim, double lambda, double *w, struct error *e)
{
    double *m = mem_array((size_t)dim * (size_t)dim, sizeof *m, e);
    if (!m)
        return -1;
    for (int i = 0; i < dim * dim; i++)
        m[i] = a[i] + (i % (dim + 1) == 0 ? lambda : 0);
    for (int i = 0; i < dim; i++)
        w[i] = b[i];
    int status = solve(m, w, dim, e);
    mem_free(m);
    return status;
}

int predictor_mean(const double *a, const double *b, int dim, double *mean, struct error *e)
{
    return ridge(a, b, dim, mean_ridge, mean, e);
}

int predictor_deviation(const double *a, const double *b, int dim, const double *mean, double *d,
                        struct error *e)
{
    double *left = mem_array((size_t)dim, sizeof *left, e);
    for (int i = 0; left && i < dim; i++)
        left[i] = b[i] - predictor_value(a + i * dim, mean, dim);
    int status = left ? ridge(a, left, dim, own_ridge, d, e) : -1;
    mem_free(left);
    return status;
}

void predictor_covariance(const double *d, int machines, int dim, double *cov)
{
    for (int i = 0; i < dim; i++)
        for (int j = 0; j < dim; j++) {
            double sum = 0;
            for (int m = 0; m < machines; m++)
                sum += d[m * dim + i] * d[m * dim + j];
            cov[i * dim + j] = sum / (machines > 1 ? machines - 1 : 1) + (i == j ? cov_floor : 0);
        }
}

double predictor_value(const double *w, const double *x, int dim)
{
    double sum = 0;
    for (int i = 0; i < dim; i++)
        sum += w[i] * x[i];
    return sum;
}

int predictor_update(const double *mean, const double *cov, int dim, const double *x, const double *y,
                     int samples, double *w, struct error *e)
{
    size_t n = (size_t)samples;
    double *m = mem_array(n * n + 1, sizeof *m, e), *r = mem_array(n + 1, sizeof *r, e);
    double *cx = mem_array(n * (size_t)dim + 1, sizeof *cx, e); /* rows: cov times a sample's features */
    int status = m && r && cx ? 0 : -1;
    for (int s = 0; status == 0 && s < samples; s++)
        for (int i = 0; i < dim; i++)
            cx[s * dim + i] = predictor_value(cov + i * dim, x + s * dim, dim);
    for (int s = 0; status == 0 && s < samples; s++) {
        r[s] = y[s] - predictor_value(mean, x + s * dim, dim);
        for (int t = 0; t < samples; t++)
            m[s * samples + t] =
                predictor_value(cx + s * dim, x + t * dim, dim) + (s == t ? noise * noise : 0);
    }
    if (status == 0)
        status = solve(m, r, samples, e);
    for (int i = 0; status == 0 && i < dim; i++) {
        w[i] = mean[i];
        for (int s = 0; s < samples; s++)
            w[i] += cx[s * dim + i] * r[s];
    }
    mem_free(m);
    mem_free(r);
    mem_free(cx);
    return status;
}
