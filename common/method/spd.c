/* See spd.h. */
#include "common/method/spd.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

int spd_factor(int n, double *a, struct error *e)
{
    size_t w = (size_t)n;
    for (size_t i = 0; i < w; i++) {
        double *row = a + i * w;
        for (size_t j = 0; j <= i; j++) {
            const double *other = a + j * w;
            double sum = row[j];
            for (size_t k = 0; k < j; k++)
                sum -= row[k] * other[k];
            if (j < i)
                row[j] = sum / other[j];
            else if (sum > 0 && isfinite(sum))
                row[i] = sqrt(sum);
            else
                return error_set(e, HASTEN_EFAIL, "a matrix of %d rows is not positive definite at row %zu",
                                 n, i);
        }
        memset(row + i + 1, 0, (w - i - 1) * sizeof *row);
    }
    return 0;
}

struct solve {
    int n, count;
    const double *l;
    double *rows;
};

/* L y = b row by row of L, then L' x = y column by column, so that both walk along rows. */
static void solve_row(size_t n, const double *l, double *x)
{
    for (size_t i = 0; i < n; i++) {
        double sum = x[i];
        for (size_t k = 0; k < i; k++)
            sum -= l[i * n + k] * x[k];
        x[i] = sum / l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        x[i] /= l[i * n + i];
        for (size_t k = 0; k < i; k++)
            x[k] -= l[i * n + k] * x[i];
    }
}

static void solve_part(void *context, int part, int parts)
{
    const struct solve *s = context;
    struct span span = team_span(s->count, 1, part, parts);
    for (int64_t i = span.begin; i < span.end; i++)
        solve_row((size_t)s->n, s->l, s->rows + i * s->n);
}

void spd_solve(int n, const double *l, double *rows, int count, struct team *team)
{
    struct solve s = {n, count, l, rows};
    if (team)
        team_run(team, solve_part, &s);
    else
        solve_part(&s, 0, 1);
}

int spd_inverse(int n, double *a, struct team *team, struct error *e)
{
    size_t w = (size_t)n;
    double *rows = mem_array(w * w, sizeof *rows, e);
    if (!rows || spd_factor(n, a, e) < 0) {
        mem_free(rows);
        return -1;
    }
    for (size_t i = 0; i < w; i++)
        rows[i * w + i] = 1;
    spd_solve(n, a, rows, n, team);
    for (size_t i = 0; i < w; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * w + j] = a[j * w + i] = (rows[i * w + j] + rows[j * w + i]) / 2;
    mem_free(rows);
    return 0;
}
