/* See predictor.h. */
#include "common/method/predictor.h"

#include <math.h>

static const double ridge = 0.1, cov_floor = 1e-2, noise = 0.1;

/* Solve m x = b in place, m [n][n] symmetric positive definite, by Cholesky. */
static int solve(double *m, double *b, int n)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = m[i * n + j];
            for (int k = 0; k < j; k++)
                sum -= m[i * n + k] * m[j * n + k];
            if (i == j && !(sum > 0 && isfinite(sum)))
                return -1;
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

int predictor_fit(const double *x, const double *y, int n, int dim, double *w)
{
    double m[PREDICTOR_MAX_DIM * PREDICTOR_MAX_DIM];
    for (int i = 0; i < dim; i++) {
        w[i] = 0;
        for (int r = 0; r < n; r++)
            w[i] += x[r * dim + i] * y[r];
        for (int j = 0; j < dim; j++) {
            double sum = i == j ? ridge : 0;
            for (int r = 0; r < n; r++)
                sum += x[r * dim + i] * x[r * dim + j];
            m[i * dim + j] = sum;
        }
    }
    return solve(m, w, dim);
}

void predictor_prior(const double *weights, int machines, int dim, double *mean, double *cov)
{
    for (int i = 0; i < dim; i++) {
        mean[i] = 0;
        for (int d = 0; d < machines; d++)
            mean[i] += weights[d * dim + i] / machines;
    }
    for (int i = 0; i < dim; i++)
        for (int j = 0; j < dim; j++) {
            double sum = 0;
            for (int d = 0; d < machines; d++)
                sum += (weights[d * dim + i] - mean[i]) * (weights[d * dim + j] - mean[j]);
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

int predictor_update(const double *mean, const double *cov, int dim, const double *a, const double *y,
                     int samples, double *w)
{
    double m[PREDICTOR_MAX_SAMPLES * PREDICTOR_MAX_SAMPLES], r[PREDICTOR_MAX_SAMPLES];
    double ca[PREDICTOR_MAX_SAMPLES * PREDICTOR_MAX_DIM]; /* rows: cov times a sample's features */
    for (int s = 0; s < samples; s++)
        for (int i = 0; i < dim; i++)
            ca[s * dim + i] = predictor_value(cov + i * dim, a + s * dim, dim);
    for (int s = 0; s < samples; s++) {
        r[s] = y[s] - predictor_value(mean, a + s * dim, dim);
        for (int t = 0; t < samples; t++)
            m[s * samples + t] =
                predictor_value(ca + s * dim, a + t * dim, dim) + (s == t ? noise * noise : 0);
    }
    if (solve(m, r, samples) < 0)
        return -1;
    for (int i = 0; i < dim; i++) {
        w[i] = mean[i];
        for (int s = 0; s < samples; s++)
            w[i] += ca[s * dim + i] * r[s];
    }
    return 0;
}
