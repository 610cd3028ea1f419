/* Gram matrices and L1 pairs over memory of their own; in the library they lie over a record of sums. */
#ifndef HASTEN_METHOD_TESTS_GRAM_CASES_H
#define HASTEN_METHOD_TESTS_GRAM_CASES_H

#include "common/base/mem.h"
#include "common/method/gram.h"
#include "common/method/l1.h"

#include <check.h>

static inline struct gram own_gram(int calls, int channels, int groups)
{
    size_t t = (size_t)calls, n = (size_t)(groups < channels ? groups : channels);
    struct gram g = {.calls = calls, .channels = channels, .groups = (int)n};
    g.cross = mem_array(n * t * t, sizeof(double), NULL);
    g.sum = mem_array(n * t, sizeof(double), NULL);
    g.rows = mem_array(t, sizeof(int64_t), NULL);
    g.room = mem_array(n * (t + 1), sizeof(double), NULL);
    ck_assert(g.cross && g.sum && g.rows && g.room);
    return g;
}

static inline void drop_gram(struct gram *g)
{
    mem_free(g->cross);
    mem_free(g->sum);
    mem_free(g->rows);
    mem_free(g->room);
    *g = (struct gram){0};
}

static inline struct l1_pairs own_pairs(int calls, int window)
{
    window = window < calls ? window : calls;
    struct l1_pairs p = {.calls = calls, .window = window};
    p.sum = mem_array((size_t)calls * (size_t)window, sizeof(double), NULL);
    p.room = mem_array((size_t)window, sizeof(double), NULL);
    ck_assert(p.sum && p.room);
    return p;
}

static inline void drop_pairs(struct l1_pairs *p)
{
    mem_free(p->sum);
    mem_free(p->room);
    *p = (struct l1_pairs){0};
}

#endif
