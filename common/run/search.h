/* The search for a cache schedule: every action that can meet the budget is priced and solved with several
 * solvers and predictors, what comes out is run on validation seeds, and the best is polished.
 *
 *     struct search x = {.measure = m, .list = list, .count = n, .ms = ms, .limit = 0.5 * full_ms, ...};
 *     if (search_open(&x, e) < 0 || search_solve(&x, e) < 0) ...
 *     struct trial *best = search_validate(&x, e);
 *     if (best && (best = search_finish(&x, 12, e))) ... best->s, best->quality ...
 *     search_close(&x);
 *
 * Calibration images (seeds from CALIBRATION_SEED) give tables, gains and the first look at a polishing move;
 * validation images choose; claims are to be measured on others (CLAIM_SEED). */
#ifndef HASTEN_RUN_SEARCH_H
#define HASTEN_RUN_SEARCH_H

#include "common/method/schedule.h"
#include "common/run/calibrate.h"

#define CLAIM_SEED (VALIDATION_SEED + (UINT64_C(1) << 20))

enum { SEARCH_TRIALS = 512, SEARCH_SOLVERS = 16, SEARCH_ROUNDS = 8 };

struct trial {
    struct cache_schedule s;
    int *action; /* [calls]: 0, or 1 + candidate */
    unsigned char *alone; /* NULL, or [calls]: 1: the unconditional output is predicted from the other */
    const char *solver;
    enum predictor predictor;
    int exact, computed, images; /* images it was validated on */
    int round;                   /* of the closed loop that its tables are from; 0: the full run */
    double ms, predicted;        /* of the additive model */
    struct quality quality;
    struct quality *each; /* [validate]: of one image each, the first `images` are known */
    double score;         /* mean decibels, by which trials are ordered */
};

struct search {
    /* Given by the caller. measure: of the calibration images. */
    struct measure measure;
    const struct candidate *list;
    int count;
    int wides; /* so many wide candidates behind the others may be taken as well (candidates_widen); errors
                * are then against a run in which every call is wide. 0: the model's own bits */
    const double *ms;          /* of one call: full, then each candidate, wide ones too */
    const char *const *solver; /* names, ended by NULL */
    unsigned predictors;       /* bit 1 << enum predictor */
    int only;                  /* candidate, -1: all */
    uint64_t seed; /* of spsa's draws */
    int interval, gain, validate;
    int wide;               /* so many computed calls at the start have more activation bits; errors are
                             * then against a run in which all have */
    double wide_ms;         /* of such a call */
    double one_ms;          /* of a full call's conditional pass alone, where there are two streams */
    int max_run;            /* most served calls in a row; 0: any number */
    double limit;           /* milliseconds of the trajectory */
    size_t max_cache_bytes; /* of one image; 0: any */
    void (*progress)(void *context, const char *what, int done, int all);
    void *context;
    const char *calibration; /* a file of sums to go on from and to keep, or NULL */
    size_t memory;           /* most bytes of it to read; 0: no limit */
    /* The search's own. */
    struct calibration c;
    struct calibration drifted[SEARCH_ROUNDS]; /* at the latents that a schedule goes through */
    int rounds;
    int calls;
    float *reference;              /* of the validation images */
    float *calibrated_reference;   /* of the calibration images */
    double *noise[CANDIDATES + 1]; /* [calls]: what rounding adds at a call of the full network and of each
                                    * candidate, in the prices' unit; NULL: not measured */
    double noise_scale;
    struct gram difference; /* of the streams' outputs; calls 0: not measured */
    unsigned char *guided;  /* [calls]: 1: there is an unconditional output, as the model's interval has it */
    struct trial trial[SEARCH_TRIALS];
    int trials, finalists; /* the first so many were validated on all images */
};

/* The images of one part to its file: what is there already is not measured again. range: what was measured.
 */
int search_measure_part(struct search *x, const struct shard *shard, const char *path,
                        struct sum_range *range, struct error *e) HASTEN_CHECKED;

/* Milliseconds that a search with x->limit for its budget will take, up to and with its claims; x->calls must
 * be known. By prices of calls of one image: batches are cheaper. */
double search_estimate(const struct search *x, int rounds, int polish);

/* Calibrate, and run the reference of the validation images. */
int search_open(struct search *x, struct error *e) HASTEN_CHECKED;
void search_close(struct search *x);

/* Trials of all solvers, predictors and actions for x->limit. HASTEN_EGATE when there is none: the text says
 * what is the fastest possible. */
int search_solve(struct search *x, struct error *e) HASTEN_CHECKED;

/* Closed loop: features once more at the latents that a schedule goes through; prices and fits are by them
 * from then on. Gains stay those of the full run. At most SEARCH_ROUNDS times. */
int search_measure_again(struct search *x, const struct cache_schedule *s, struct error *e) HASTEN_CHECKED;
/* The same, and trials of all solvers by them, to be validated beside the finalists. */
int search_close_loop(struct search *x, const struct trial *t, struct error *e) HASTEN_CHECKED;

/* Trials in which calls compute the conditional stream alone, within x->limit, around the best there is: to
 * be validated beside the finalists. Needs x->one_ms. */
int search_split(struct search *x, const struct trial *best, struct error *e) HASTEN_CHECKED;

/* The front of (ms, predicted error), fastest first: schedules of one action, and of several where one
 * refresh is enough for the predictor, for all actions and predictors. x->limit leaves out what is slower. */
struct front_point {
    double ms, error;
    int *action; /* as of trials */
    enum predictor predictor;
    int exact; /* no schedule is better for the additive model of this predictor */
};
int search_front(struct search *x, struct front_point **points, int *count, struct error *e) HASTEN_CHECKED;
void search_front_free(struct front_point *points, int count);
struct trial *search_trial_of(struct search *x, const struct front_point *p, struct error *e) HASTEN_CHECKED;

/* Run trials on the validation images: those that have a chance by their price on a few of them, the better
 * half on twice as many, the last three on all. The best comes first; NULL on an error, or where there is no
 * trial. What was seen of a trial before is not run again. */
struct trial *search_validate(struct search *x, struct error *e) HASTEN_CHECKED;
/* Drop trials from the end until there are `most`. */
void search_keep(struct search *x, int most);
/* Polish those that a polish might still make the best, each with `runs` runs; the best of them. */
struct trial *search_finish(struct search *x, int runs, struct error *e) HASTEN_CHECKED;

/* The fastest schedule of the front whose relative L2 on the validation images is at most `most`, by halving;
 * the same again after each of `rounds` closed loops, for a faster one. NULL and HASTEN_EGATE when only the
 * full run is. */
struct trial *search_error(struct search *x, double most, int rounds, struct error *e) HASTEN_CHECKED;

/* Move computed calls one by one, at most `runs` runs of the calibration images: a move stays when it is
 * better there and on the validation images as well. Early calls come first. */
int search_polish(struct search *x, struct trial *t, int runs, struct error *e) HASTEN_CHECKED;

/* Search which calls are computed by at most `runs` runs of the calibration images, from a trial of one
 * action on: coordinate moves, or simultaneous perturbation (schedule_search.h). What is found stays when the
 * validation images agree. */
int search_runs(struct search *x, struct trial *t, int runs, int spsa, struct error *e) HASTEN_CHECKED;

/* Error of a trial on `images` images from this seed on. */
int search_measure(struct search *x, const struct cache_schedule *s, uint64_t seed, int images,
                   struct quality *q, struct error *e) HASTEN_CHECKED;

/* Bytes that the caches of an action hold for one image, both streams. */
size_t search_cache_bytes(const struct search *x, int candidate, enum predictor p);

#endif
