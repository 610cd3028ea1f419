/* See rotate.h. */
#include "common/method/rotate.h"
#include "common/base/vector.h"

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

typedef double vector4 __attribute__((vector_size(32)));
typedef double vector8 __attribute__((vector_size(64)));

/* The same for a whole block, in vectors. Four neighbours are parts of one vector, numbers at a distance of
 * four and more of four vectors: the sums are those of turn4, bit for bit. */
ANY_VECTOR static void turn_block(double *block, int size)
{
    vector8 *pair = (vector8 *)(void *)block;
    vector4 *four = (vector4 *)(void *)block;
    for (int i = 0; i < size / 8; i++) {
        vector8 x = pair[i], p = __builtin_shufflevector(x, x, 0, 0, 0, 0, 4, 4, 4, 4),
                q = __builtin_shufflevector(x, x, 1, 1, 1, 1, 5, 5, 5, 5),
                r = __builtin_shufflevector(x, x, 2, 2, 2, 2, 6, 6, 6, 6),
                t = __builtin_shufflevector(x, x, 3, 3, 3, 3, 7, 7, 7, 7);
        pair[i] = (p + q + r + t) / 2 - __builtin_shufflevector(x, x, 3, 2, 1, 0, 7, 6, 5, 4);
    }
    for (int first = 0; first < size / 4; first += 4) {
        vector4 p = four[first], q = four[first + 1], r = four[first + 2], t = four[first + 3],
                s = (p + q + r + t) / 2;
        four[first] = s - t;
        four[first + 1] = s - r;
        four[first + 2] = s - q;
        four[first + 3] = s - p;
    }
    for (int step = 2; step < size / 8; step *= 4)
        for (int first = 0; first < size / 8; first += 4 * step)
            for (int i = first; i < first + step; i++) {
                vector8 p = pair[i], q = pair[i + step], r = pair[i + 2 * step], t = pair[i + 3 * step],
                        s = (p + q + r + t) / 2;
                pair[i] = s - t;
                pair[i + step] = s - r;
                pair[i + 2 * step] = s - q;
                pair[i + 3 * step] = s - p;
            }
}

ANY_VECTOR static void widen(const float *w, double *block, int size)
{
    for (int i = 0; i < size; i++)
        block[i] = (double)w[i];
}

ANY_VECTOR static void narrow(const double *block, float *w, int size)
{
    for (int i = 0; i < size; i++)
        w[i] = (float)block[i];
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
    _Alignas(64) double block[256];
    /* Blocks are independent, and one behind the other in memory. */
    for (float *w = j->w + span.begin * j->columns; w < j->w + span.end * j->columns; w += j->size) {
        widen(w, block, j->size);
        turn_block(block, j->size);
        narrow(block, w, j->size);
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
