/* See descend.h. */
#include "common/method/descend.h"
#include "common/base/mem.h"

#include <string.h>

enum { ROWS = 16 }; /* that share a column of h while it is in the cache */

struct job {
    const float *h, *want;
    float *w;
    int64_t rows, columns;
    gptq_round *round;
    void *context;
    float *room; /* [parts][ROWS][columns]: h (want - w)' of each row */
};

/* to += by * h's column */
static void add(float *to, const float *h, float by, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += by * h[i];
}

static void find_slopes(const struct job *j, int64_t first, int64_t count, float *slope)
{
    int64_t n = j->columns;
    memset(slope, 0, (size_t)(count * n) * sizeof *slope);
    for (int64_t k = 0; k < n; k++)
        for (int64_t r = 0; r < count; r++) {
            int64_t at = (first + r) * n + k;
            add(slope + r * n, j->h + k * n, j->want[at] - j->w[at], n);
        }
}

/* One sweep over the columns of some rows; how many numbers changed. */
static int sweep(const struct job *j, int64_t first, int64_t count, float *slope)
{
    int64_t n = j->columns;
    int changes = 0;
    for (int64_t k = 0; k < n; k++) {
        const float *h = j->h + k * n;
        for (int64_t r = 0; r < count; r++) {
            float *w = j->w + (first + r) * n + k, old = *w,
                  q = j->round(j->context, first + r, k, old + slope[r * n + k] / h[k]);
            if (q == old)
                continue;
            *w = q;
            add(slope + r * n, h, old - q, n);
            changes++;
        }
    }
    return changes;
}

static void descend_part(void *data, int part, int parts)
{
    const struct job *j = data;
    struct span span = team_span(j->rows, ROWS, part, parts);
    float *slope = j->room + part * ROWS * j->columns;
    for (int64_t row = span.begin; row < span.end; row += ROWS) {
        int64_t count = span.end - row < ROWS ? span.end - row : ROWS;
        find_slopes(j, row, count, slope);
        for (int i = 0; i < DESCEND_SWEEPS && sweep(j, row, count, slope); i++)
            continue;
    }
}

int descend_rows(const double *h, const float *want, float *w, int64_t rows, int64_t columns,
                 gptq_round *round, void *context, struct team *team, struct error *e)
{
    size_t parts = team ? (size_t)team_size(team) : 1, n = (size_t)columns;
    float *narrow = mem_array(n * n, sizeof *narrow, e), *room = mem_array(parts * ROWS * n, sizeof *room, e);
    struct job j = {narrow, want, w, rows, columns, round, context, room};
    int status = narrow && room ? 0 : -1;
    for (size_t i = 0; status == 0 && i < n * n; i++)
        narrow[i] = (float)h[i];
    if (status == 0 && team)
        team_run(team, descend_part, &j);
    else if (status == 0)
        descend_part(&j, 0, 1);
    mem_free(narrow);
    mem_free(room);
    return status;
}
