/* See schedule_search.h. */
#include "common/method/schedule_search.h"
#include "common/base/mem.h"
#include "common/method/prng.h"

#include <math.h>
#include <string.h>

struct search {
    const struct search_problem *p;
    size_t size;
    unsigned char *seen; /* evaluations x size */
    double *loss_of;
    int used;
    unsigned char *best;
    double best_loss;
};

static void search_close(struct search *x)
{
    mem_free(x->seen);
    mem_free(x->loss_of);
    mem_free(x->best);
}

static double milliseconds(const struct search_problem *p, const unsigned char *compute)
{
    double sum = p->base_ms;
    for (int i = 0; i < p->calls * p->units; i++)
        sum += compute[i] ? p->ms[i] : 0;
    return sum;
}

static int fits(const struct search_problem *p, const unsigned char *compute)
{
    return milliseconds(p, compute) <= p->limit_ms * (1 + 1e-9);
}

/* The loss of a schedule, from memory when it was asked for before. 1: no evaluation is left. */
static int ask(struct search *x, const unsigned char *compute, double *loss, struct error *e)
{
    for (int i = 0; i < x->used; i++)
        if (memcmp(x->seen + (size_t)i * x->size, compute, x->size) == 0) {
            *loss = x->loss_of[i];
            return 0;
        }
    if (x->used == x->p->evaluations)
        return 1;
    if (x->p->evaluate(x->p->context, compute, loss, e) < 0)
        return -1;
    if (!isfinite(*loss))
        return error_set(e, HASTEN_EFAIL, "evaluation %d of the search gives %g", x->used + 1, *loss);
    memcpy(x->seen + (size_t)x->used * x->size, compute, x->size);
    x->loss_of[x->used++] = *loss;
    if (x->used == 1 || *loss < x->best_loss) {
        x->best_loss = *loss;
        memcpy(x->best, compute, x->size);
    }
    return 0;
}

static int search_open(struct search *x, const struct search_problem *p, const unsigned char *compute,
                       struct error *e)
{
    double loss;
    *x = (struct search){.p = p, .size = (size_t)p->calls * (size_t)p->units};
    if (p->calls < 1 || p->units < 1 || p->evaluations < 1)
        return error_set(e, HASTEN_EUSAGE, "a search over %d calls of %d units with %d evaluations", p->calls,
                         p->units, p->evaluations);
    for (int u = 0; u < p->units; u++)
        if (!compute[u])
            return error_set(e, HASTEN_EUSAGE, "the start does not compute unit %d at the first call", u);
    if (!fits(p, compute))
        return error_set(e, HASTEN_EGATE, "the start takes %.6g ms, the limit is %.6g",
                         milliseconds(p, compute), p->limit_ms);
    x->seen = mem_array((size_t)p->evaluations, x->size, e);
    x->loss_of = mem_array((size_t)p->evaluations, sizeof *x->loss_of, e);
    x->best = mem_array(x->size, 1, e);
    if (!x->seen || !x->loss_of || !x->best)
        return -1;
    return ask(x, compute, &loss, e) < 0 ? -1 : 0;
}

static int finish(struct search *x, int status, unsigned char *compute, double *loss, int *used)
{
    if (status >= 0) {
        memcpy(compute, x->best, x->size);
        *loss = x->best_loss;
        *used = x->used;
    }
    search_close(x);
    return status < 0 ? -1 : 0;
}

/* ---- coordinate moves ---- */

/* Try the best schedule with entry `from` served (-1: none) and `to` computed. 1: no evaluation is left. */
static int try_move(struct search *x, int from, int to, unsigned char *trial, int *better, struct error *e)
{
    double before = x->best_loss, loss;
    if (x->best[to] || (from >= 0 && !x->best[from]))
        return 0;
    memcpy(trial, x->best, x->size);
    if (from >= 0)
        trial[from] = 0;
    trial[to] = 1;
    if (!fits(x->p, trial))
        return 0;
    int status = ask(x, trial, &loss, e);
    *better |= status == 0 && loss < before;
    return status;
}

/* One round over all entries; moves of one call first. */
static int round_of_moves(struct search *x, unsigned char *trial, int *better, struct error *e)
{
    const struct search_problem *p = x->p;
    int units = p->units, n = p->calls * units, status = 0;
    for (int to = units; to < n && status == 0; to++)
        status = try_move(x, -1, to, trial, better, e);
    for (int from = units; from < n && status == 0; from++)
        for (int by = -1; by <= 1 && status == 0; by += 2)
            if (from + by * units >= units && from + by * units < n)
                status = try_move(x, from, from + by * units, trial, better, e);
    for (int from = units; from < n && status == 0 && !*better; from++)
        for (int to = units + from % units; to < n && status == 0 && !*better; to += units)
            status = try_move(x, from, to, trial, better, e);
    return status;
}

int search_moves(const struct search_problem *p, unsigned char *compute, double *loss, int *used,
                 struct error *e)
{
    struct search x;
    int status = search_open(&x, p, compute, e), better = 1;
    unsigned char *trial = status == 0 ? mem_array(x.size, 1, e) : NULL;
    if (!trial)
        status = -1;
    while (status == 0 && better) {
        better = 0;
        status = round_of_moves(&x, trial, &better, e);
    }
    mem_free(trial);
    return finish(&x, status, compute, loss, used);
}

/* ---- simultaneous perturbation ---- */

/* The entries with the largest logits, the first of equal ones first, as far as the limit goes. */
static void project(const struct search_problem *p, const double *logit, const double *direction,
                    double reach, unsigned char *compute)
{
    int n = p->calls * p->units;
    double sum = p->base_ms;
    memset(compute, 0, (size_t)n);
    for (int i = 0; i < p->units; i++) {
        compute[i] = 1;
        sum += p->ms[i];
    }
    for (int k = p->units; k < n; k++) {
        int best = -1;
        double most = -INFINITY;
        for (int i = p->units; i < n; i++) {
            double value = logit[i] + (direction ? reach * direction[i] : 0);
            if (!compute[i] && value > most && sum + p->ms[i] <= p->limit_ms * (1 + 1e-9)) {
                most = value;
                best = i;
            }
        }
        if (best < 0)
            break;
        compute[best] = 1;
        sum += p->ms[best];
    }
}

static int spsa_step(struct search *x, double *logit, double *direction, struct prng *random, int step,
                     unsigned char *trial, struct error *e)
{
    const struct search_problem *p = x->p;
    double rate = (p->rate > 0 ? p->rate : 0.3) / pow(step + 10, 0.602) * pow(10, 0.602);
    double reach = (p->reach > 0 ? p->reach : 0.5) / pow(step + 1, 0.101), up = 0, down = 0;
    for (size_t i = 0; i < x->size; i++)
        direction[i] = prng_below(random, 2) ? 1 : -1;
    project(p, logit, direction, reach, trial);
    int status = ask(x, trial, &up, e);
    project(p, logit, direction, -reach, trial);
    if (status == 0)
        status = ask(x, trial, &down, e);
    for (size_t i = 0; i < x->size && status == 0; i++) {
        logit[i] -= rate * (up - down) / (2 * reach) * direction[i];
        logit[i] = fmin(5, fmax(-5, logit[i]));
    }
    if (status == 0) {
        project(p, logit, NULL, 0, trial);
        status = ask(x, trial, &up, e);
    }
    return status;
}

int search_spsa(const struct search_problem *p, const double *logits, unsigned char *compute, double *loss,
                int *used, struct error *e)
{
    struct search x;
    struct prng random = {p->seed};
    int status = search_open(&x, p, compute, e);
    double *logit = status == 0 ? mem_array(x.size, sizeof *logit, e) : NULL;
    double *direction = logit ? mem_array(x.size, sizeof *direction, e) : NULL;
    unsigned char *trial = direction ? mem_array(x.size, 1, e) : NULL;
    if (!trial)
        status = -1;
    for (size_t i = 0; trial && i < x.size; i++)
        logit[i] = logits ? logits[i] : compute[i] ? 0.3 : -0.3;
    for (int step = 0; status == 0 && step < 4 * p->evaluations; step++)
        status = spsa_step(&x, logit, direction, &random, step, trial, e);
    mem_free(logit);
    mem_free(direction);
    mem_free(trial);
    return finish(&x, status, compute, loss, used);
}
