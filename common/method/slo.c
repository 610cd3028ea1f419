/* See slo.h. */
#include "common/method/slo.h"

enum { FITS_BEFORE_UP = 3 };
static const double margin = 0.1, weight = 0.2;

void slo_start(struct slo *s, double limit, const double *ms, const double *quality, int branches)
{
    *s = (struct slo){limit, 1, ms, quality, branches, -1, 0};
}

int slo_fastest(const struct slo *s)
{
    int best = 0;
    for (int b = 1; b < s->branches; b++)
        if (s->ms[b] < s->ms[best])
            best = b;
    return best;
}

/* Better, or as good and faster. */
static int is_better(const struct slo *s, int a, int b)
{
    return s->quality[a] > s->quality[b] || (s->quality[a] == s->quality[b] && s->ms[a] < s->ms[b]);
}

int slo_choose(struct slo *s)
{
    int best = -1;
    for (int b = 0; b < s->branches; b++)
        if (s->ms[b] * s->load <= s->limit * (1 - margin) && (best < 0 || is_better(s, b, best)))
            best = b;
    if (best < 0) {
        s->fits = 0;
        s->current = slo_fastest(s);
        return -1;
    }
    int up = s->current >= 0 && best != s->current && is_better(s, best, s->current);
    s->fits = up ? s->fits + 1 : 0;
    if (!up || s->fits >= FITS_BEFORE_UP) {
        s->current = best;
        s->fits = 0;
    }
    return s->current;
}

void slo_feed(struct slo *s, int branch, double measured)
{
    double now = measured / s->ms[branch];
    s->load += weight * (now - s->load);
    if (measured > s->limit && now > s->load)
        s->load = now;
}
