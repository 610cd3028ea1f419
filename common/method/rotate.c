/* See rotate.h. */
#include "common/method/rotate.h"

int rotate_size(int64_t columns)
{
    return columns % 256 == 0 ? 256 : columns % 64 == 0 ? 64 : columns % 16 == 0 ? 16 : 0;
}

/* Of four numbers with half their sum s: (s - d, s - c, s - b, s - a), at distances 1, 4, 16, 64. In double,
 * so that turning there and back loses nothing that float32 shows. */
static void turn(double *x, int64_t stride, int size)
{
    for (int distance = 1; distance < size; distance *= 4)
        for (int i = 0; i < size; i++) {
            if (i / distance % 4)
                continue;
            double *a = x + i * stride, *b = a + distance * stride, *c = b + distance * stride,
                   *d = c + distance * stride, s = (*a + *b + *c + *d) / 2;
            double turned[4] = {s - *d, s - *c, s - *b, s - *a};
            *a = turned[0], *b = turned[1], *c = turned[2], *d = turned[3];
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
    double block[256];
    for (int64_t row = span.begin; row < span.end; row++)
        for (int64_t first = 0; first < j->columns; first += j->size) {
            float *w = j->w + row * j->columns + first;
            for (int i = 0; i < j->size; i++)
                block[i] = (double)w[i];
            turn(block, 1, j->size);
            for (int i = 0; i < j->size; i++)
                w[i] = (float)block[i];
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
