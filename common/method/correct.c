/* See correct.h. */
#include "common/method/correct.h"

#include <math.h>

void correct_line(const struct correct_sums *s, double *a, double *b, double *mse)
{
    *a = 1;
    *b = 0;
    if (mse)
        *mse = 0;
    if (s->n <= 0)
        return;
    double mean_x = s->x / s->n, mean_y = s->y / s->n, square = s->xx / s->n;
    double var_x = fmax(square - mean_x * mean_x, 0), var_y = fmax(s->yy / s->n - mean_y * mean_y, 0);
    double cov = s->xy / s->n - mean_x * mean_y, ridge = 1e-9 * square;
    if (var_x + ridge > 0)
        *a = (cov + ridge) / (var_x + ridge);
    *b = mean_y - *a * mean_x;
    if (mse)
        *mse = fmax(var_y - 2 * *a * cov + *a * *a * var_x, 0);
}
