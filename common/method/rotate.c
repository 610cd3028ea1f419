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

typedef float four_floats __attribute__((vector_size(16)));
typedef double four __attribute__((vector_size(32)));

static IN_VECTOR four_floats floats_at(const float *w)
{
    four_floats x;
    memcpy(&x, w, sizeof x);
    return x;
}

static IN_VECTOR void put_floats(float *w, const four *x)
{
    four_floats narrow = __builtin_convertvector(*x, four_floats);
    memcpy(w, &narrow, sizeof narrow);
}

/* turn4 of four numbers each, at a distance of `step` vectors. */
static IN_VECTOR void turn_fours(four *x, int step)
{
    four a = x[0], b = x[step], c = x[2 * step], d = x[3 * step], s = (a + b + c + d) / 2;
    x[0] = s - d;
    x[step] = s - c;
    x[2 * step] = s - b;
    x[3 * step] = s - a;
}

#define TRANSPOSE(TYPE, X)                                            \
    do {                                                              \
        TYPE a = __builtin_shufflevector((X)[0], (X)[1], 0, 4, 2, 6), \
             b = __builtin_shufflevector((X)[0], (X)[1], 1, 5, 3, 7), \
             c = __builtin_shufflevector((X)[2], (X)[3], 0, 4, 2, 6), \
             d = __builtin_shufflevector((X)[2], (X)[3], 1, 5, 3, 7); \
        (X)[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5),           \
        (X)[1] = __builtin_shufflevector(b, d, 0, 1, 4, 5);           \
        (X)[2] = __builtin_shufflevector(a, c, 2, 3, 6, 7),           \
        (X)[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);           \
    } while (0)

/* 64 numbers at distances 1 and 4: x[4 m + l] are those at 16 l + 4 m. With a vector across numbers that are
 * 16 apart, all of a turn's four are vectors of their own. */
static IN_VECTOR void turn_near(const float *w, four *x)
{
    for (int m = 0; m < 4; m++) {
        four_floats row[4];
        for (int l = 0; l < 4; l++)
            row[l] = floats_at(w + 16 * l + 4 * m);
        TRANSPOSE(four_floats, row);
        for (int l = 0; l < 4; l++)
            x[4 * m + l] = __builtin_convertvector(row[l], four);
        turn_fours(x + 4 * m, 1);
    }
    for (int k = 0; k < 4; k++)
        turn_fours(x + k, 4);
    for (int m = 0; m < 4; m++)
        TRANSPOSE(four, x + 4 * m);
}

/* Four blocks of 16, one of 64, a quarter of one of 256. */
ANY_VECTOR static void turn_64(float *w, int size)
{
    four x[16];
    turn_near(w, x);
    for (int m = 0; m < 4; m++) {
        if (size > 16)
            turn_fours(x + 4 * m, 1);
        for (int l = 0; l < 4; l++)
            put_floats(w + 16 * l + 4 * m, x + 4 * m + l);
    }
}

ANY_VECTOR static void turn_256(float *w)
{
    four x[64];
    for (int part = 0; part < 4; part++) {
        turn_near(w + 64 * part, x + 16 * part);
        for (int m = 0; m < 4; m++)
            turn_fours(x + 16 * part + 4 * m, 1);
    }
    for (int i = 0; i < 16; i++) {
        turn_fours(x + i, 16);
        for (int part = 0; part < 4; part++)
            put_floats(w + 64 * part + 16 * (i % 4) + 4 * (i / 4), x + 16 * part + i);
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
    /* Blocks are independent, and one behind the other in memory. */
    float *w = j->w + span.begin * j->columns, *end = j->w + span.end * j->columns;
    for (; j->size == 256 && w < end; w += 256)
        turn_256(w);
    for (; end - w >= 64; w += 64)
        turn_64(w, j->size);
    if (w < end) {
        float rest[64] = {0};
        memcpy(rest, w, (size_t)(end - w) * sizeof *w);
        turn_64(rest, 16);
        memcpy(w, rest, (size_t)(end - w) * sizeof *w);
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
