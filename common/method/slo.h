/* Keeping to a time per image: which of several branches (fewer steps, a cache schedule, a smaller model) to
 * take for the next one. After ApproxDet (Xu et al. 2020): a table of branches with time and quality, and a
 * load that is fed back from the times that recent images took.
 *
 *     struct slo s;
 *     slo_start(&s, 500, ms, quality, branches);        // 500 ms; both arrays stay the caller's
 *     for (...) {
 *         int b = slo_choose(&s);                       // -1: not even the fastest fits; slo_fastest(&s)
 * then slo_feed(&s, b, measured_ms);
 *     }
 *
 * The load is measured / tabled time: a mean with factor 0.2 for each new image, or the new image's own where
 * it missed the limit, so that contention is answered at once. A branch fits when tabled time x load <= 0.9 x
 * limit. The best that fits is taken; a better one than the present only when it has fitted three times in a
 * row. */
#ifndef HASTEN_METHOD_SLO_H
#define HASTEN_METHOD_SLO_H

struct slo {
    double limit, load;
    const double *ms, *quality;
    int branches, current, fits; /* current: -1 before the first image */
};

/* limit and all ms > 0; branches >= 1. */
void slo_start(struct slo *s, double limit, const double *ms, const double *quality, int branches);
int slo_choose(struct slo *s);
int slo_fastest(const struct slo *s);
void slo_feed(struct slo *s, int branch, double measured);

#endif
