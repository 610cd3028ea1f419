/* See rotate.h. */
#include "common/method/rotate.h"
#include "common/base/vector.h"

#include <string.h>

enum { LANES = 8 };

int rotate_size(int64_t columns)
{
    return columns % 256 == 0 ? 256 : columns % 64 == 0 ? 64 : columns % 16 == 0 ? 16 : 0;
}

/* Of four numbers with half their sum s: (s - d, s - c, s - b, s - a), at distances 1, 4, 16, 64. In double,
 * so that turning there and back loses nothing that float32 shows. */
static inline void turn4(double *a, double *b, double *c, double *d)
{
    double s = (*a + *b + *c + *d) / 2, turned[4] = {s - *d, s - *c, s - *b, s - *a};
    *a = turned[0], *b = turned[1], *c = turned[2], *d = turned[3];
}

static void turn(double *x, int64_t stride, int size)
{
    for (int distance = 1; distance < size; distance *= 4)
        for (int first = 0; first < size; first += 4 * distance)
            for (int i = first; i < first + distance; i++)
                turn4(x + i * stride, x + (i + distance) * stride, x + (i + 2 * distance) * stride,
                      x + (i + 3 * distance) * stride);
}

/* The same for blocks of LANES rows, side by side: [size][LANES]. */
ANY_VECTOR static void turn_lanes(double *x, int size)
{
    for (int distance = 1; distance < size; distance *= 4)
        for (int first = 0; first < size; first += 4 * distance)
            for (int i = first; i < first + distance; i++) {
                double *a = x + i * LANES, *b = a + distance * LANES, *c = b + distance * LANES,
                       *d = c + distance * LANES;
                for (int lane = 0; lane < LANES; lane++) {
                    double p = a[lane], q = b[lane], r = c[lane], t = d[lane], s = (p + q + r + t) / 2;
                    a[lane] = s - t;
                    b[lane] = s - r;
                    c[lane] = s - q;
                    d[lane] = s - p;
                }
            }
}

struct job {
    float *w;
    int64_t rows, columns;
    int size;
};

static void turn_rows(void *data, int part, int parts)
{
    const struct job *j = data;
    struct span span = team_span(j->rows, 8, part, parts);
    double block[256 * LANES];
    int64_t blocks = j->columns / j->size, end = span.end * blocks;
    /* Blocks are independent, and one behind the other in memory. */
    for (int64_t at = span.begin * blocks; at < end; at += LANES) {
        int lanes = end - at < LANES ? (int)(end - at) : LANES;
        float *w = j->w + at * j->size;
        memset(block, 0, sizeof block);
        for (int lane = 0; lane < lanes; lane++)
            for (int i = 0; i < j->size; i++)
                block[i * LANES + lane] = (double)w[lane * j->size + i];
        turn_lanes(block, j->size);
        for (int lane = 0; lane < lanes; lane++)
            for (int i = 0; i < j->size; i++)
                w[lane * j->size + i] = (float)block[i * LANES + lane];
    }
}

void rotate_rows(float *w, int64_t rows, int64_t columns, int size, struct team *team)
{
    struct job job = {w, rows, columns, size};
    if (size == 0)
        return;
    if (team)
        team_run(team, turn_rows, &job);
    else
        turn_rows(&job, 0, 1);
}

void rotate_moment(double *h, int64_t columns, int size)
{
    for (int64_t row = 0; size && row < columns; row++)
        for (int64_t first = 0; first < columns; first += size)
            turn(h + row * columns + first, 1, size);
    for (int64_t column = 0; size && column < columns; column++)
        for (int64_t first = 0; first < columns; first += size)
            turn(h + first * columns + column, columns, size);
}
