/* Statistics of the values that layers read, over the trajectories of calibration images: what rounding,
 * smoothing and pruning are calibrated with. A file of kind "calibration" keeps them (hasten-calibration(5)).
 *
 *     struct statistics s;
 *     statistics_open(&s, &measure, edges, 64, e);           // edges[node] = 1: wanted; at the graph's
 * shapes statistics_collect(&s, &measure, 64, progress, context, e); statistics_write(&s, "c.zst", team, e);
 *     statistics_finish(&s, e);
 *     const struct edge_statistics *x = statistics_find(&s, "blocks.3.norm");
 *     edge_covariance(x, 0.01, covariance);                  // [K][K]
 *     statistics_free(&s);
 *
 * Images have the seeds CALIBRATION_SEED, CALIBRATION_SEED + 1, ..., and are run one by one; sums.h adds them
 * up, so statistics in parts, and those that go on from a file, are bit for bit those of one go. Of each
 * value (an image at a network call; both streams of a guided model) at most STATISTICS_ROWS rows, evenly
 * spread, enter the sums, and all rows the maxima. Sums are of doubles (products: float32 over at most 512
 * rows, then float32), in an order that does not depend on threads. */
#ifndef HASTEN_RUN_STATISTICS_H
#define HASTEN_RUN_STATISTICS_H

#include "common/file/sums.h"
#include "common/method/neighbours.h"
#include "common/run/measure.h"

enum {
    STATISTICS_ROWS = 64,
    STATISTICS_UNIT = 4, /* images of a record of sums.h */
};

/* The numbers are those of a record of the sums: of all images after statistics_finish. */
struct edge_statistics {
    const char *edge; /* the node whose value it is; owned */
    int channels;
    int64_t rows;   /* in the sums */
    double *sum;    /* [channels] */
    float *largest; /* [channels] max|x| */
    float *moment;  /* [channels][channels] sum of x x' */
    double *ranges; /* [2] sum over rows of (max(x, 0) - min(x, 0))^2; of rows rotated by rotate_size() */
    double *lags;   /* [NEIGHBOUR_LAGS] sum over images of neighbours.h's products; zeros: it is no image */
};

struct statistics {
    struct edge_statistics *edge;
    int edges;
    int images; /* the next one */
    struct sums sums;
};

#define STATISTICS_KIND "calibration"

/* All edges that linear layers and convolutions read and that depend on the latent. */
int statistics_edges(const struct graph *g, unsigned char *edges, struct error *e) HASTEN_CHECKED;
/* Bytes that statistics of these edges take. */
double statistics_bytes(const struct graph *g, const unsigned char *edges);

/* Empty. images: of the whole. */
int statistics_open(struct statistics *s, const struct measure *m, const unsigned char *edges, int images,
                    struct error *e) HASTEN_CHECKED;
/* Go on from a file, if there is one: see sums_resume. range: the images of this part. */
int statistics_resume(struct statistics *s, const char *path, struct sum_range range, int total,
                      size_t memory, struct team *team, struct error *e) HASTEN_CHECKED;
/* Go on until image `end`. m: model, graph, weights, kernels, team, sampler, steps, guidance. done, if
 * not NULL, is called after each image (progress, a checkpoint); -1 from it ends the run. */
int statistics_collect(struct statistics *s, const struct measure *m, int end,
                       int (*done)(void *context, int image, struct error *e), void *context,
                       struct error *e) HASTEN_CHECKED;
int statistics_write(const struct statistics *s, const char *path, struct team *team,
                     struct error *e) HASTEN_CHECKED;
/* The sums of all images: HASTEN_EFILE where some are missing. Nothing can be added or written after it. */
int statistics_finish(struct statistics *s, struct error *e) HASTEN_CHECKED;
void statistics_free(struct statistics *s);

const struct edge_statistics *statistics_find(const struct statistics *s, const char *edge); /* NULL: none */
/* E[x x'] + damp * mean diagonal * I, and with centre its version without the mean: [channels][channels].
 * Zero rows give the identity. */
void edge_moment(const struct edge_statistics *x, int centre, double damp, double *out);

#endif
