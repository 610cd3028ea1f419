/* Inside common/run: pruning. prune.c has the packages, prune_sites.c what could go and what that costs,
 * prune_budget.c what a budget asks for, prune_try.c what sets of parts do for real,
 * prune_time.c milliseconds, prune_refit.c the repair. */
#ifndef HASTEN_RUN_PRUNE_INSIDE_H
#define HASTEN_RUN_PRUNE_INSIDE_H

#include "common/graph/branches.h"
#include "common/method/prune_choose.h"
#include "common/run/narrow.h"
#include "common/run/pair_moments.h"
#include "common/run/prune.h"

enum {
    SITE_LEVELS = 8,
    SKETCH = 4096,
    JOINT_IMAGES = 4, /* of the calibration images, for the joint score */
    REFIT_IMAGES = 4, /* times the calibration images, for the refit: what counts are images, not calls */
    REFIT_ROUNDS = 8, /* groups of products, one after the other */
    REFIT_STRIDE = 4, /* of the calls, each image in turn at some of them */
};

/* What may happen to a site: so many quanta of channels go, or (quanta 0) all of the branch. */
struct site_level {
    int quanta;
    double ms, bytes, score;
    double latent, magnitude; /* the scores of others, where sets are tried */
    double local,
        factor;          /* square error at the consumer without a refit; root of what a refit leaves of it */
    float *change;       /* sketch */
    unsigned char *keep; /* [channels] */
};

struct site {
    const char *name; /* node */
    int cut, branch;  /* indices into the lists, or -1 */
    int *order;       /* channels of the cut, the first to go first */
    struct site_level level[SITE_LEVELS];
    int levels;
};

struct site_list {
    struct cut_list cuts;
    struct branch_list branches;
    struct site *site;
    int count;
};

/* The channels that are left of a cut of the original network. */
struct kept {
    int count, *channel;
};

struct pruner {
    const struct prune_settings *o;
    struct model *m;
    struct backend *b;
    struct graph *original, *g, *plain; /* plain: the same cuts without refits */
    struct weights *original_weights, *weights;
    struct overlay over, plain_over;
    struct cut_list cuts; /* of the original */
    struct kept *kept;    /* of each */
    struct states states;
    double *profile_ms; /* of the original's nodes, from a profile; NULL */
    int panel;          /* columns that the profile's products make together */
    double full_ms, ms; /* of the original, and as predicted now */
    double bytes;
    struct prune_report *r;
    int quiet; /* a trial: no progress */
};

/* What prune_choose.h solves. */
struct prune_problem {
    struct prune_site *site;
    struct prune_option *option;
    float *base;
    int count, dims;
};

/* prune.c: everything but putting the result into the model; p->o, m, b and r are set, and what they point to
 * must stay until prune_close. Then into the model. */
int prune_once(struct pruner *p, struct error *e) HASTEN_CHECKED;
int prune_commit(struct pruner *p, struct error *e) HASTEN_CHECKED;
void prune_close(struct pruner *p);

/* The parts as options, by one of the scores that the levels have; q is to be freed after an error too. */
int prune_problem(struct pruner *p, const struct site_list *s, enum prune_score score,
                  struct prune_problem *q, struct error *e) HASTEN_CHECKED;
int prune_solve(const struct pruner *p, const struct prune_problem *q, double target, int *choice,
                struct error *e) HASTEN_CHECKED;
void prune_problem_free(struct prune_problem *q);
/* Levels (-1: none) of all sites go; nothing is refitted. */
int prune_take_out(struct pruner *p, const struct site_list *s, const int *choice,
                   struct error *e) HASTEN_CHECKED;

/* prune_try.c: choice, the solution of `joint`, becomes the best of what was tried. */
int prune_try(struct pruner *p, const struct site_list *s, struct prune_problem *joint, double target,
              int *choice, struct error *e) HASTEN_CHECKED;

/* prune_time.c: milliseconds by node (of the kernel that a node is the first of), and of all in *total. */
int prune_time_nodes(const struct graph *g, struct backend *b, int repeats, double *ms, double *total,
                     struct error *e) HASTEN_CHECKED;
/* Median ratio of the times of two networks run in alternation, b by a. */
int prune_time_ratio(const struct graph *a, const struct graph *b, struct backend *backend, double *ratio,
                     struct error *e) HASTEN_CHECKED;
/* With a profile: what is left of a node's milliseconds when `gone` channels of a cut go. */
double prune_left(const struct pruner *p, const struct cut *c, int node, int gone);
/* ms of every level of every site. */
int prune_price(struct pruner *p, struct site_list *s, struct error *e) HASTEN_CHECKED;

/* prune_sites.c */
int prune_sites(struct pruner *p, struct site_list *s, struct error *e) HASTEN_CHECKED;
int prune_images(const struct pruner *p); /* that are scored */
int prune_score_sites(struct pruner *p, struct site_list *s, struct error *e) HASTEN_CHECKED;
void prune_sites_free(struct site_list *s);
/* The channels that stay at a level, growing: count of them. */
int site_kept(const struct site_list *s, const struct site *site, int level, int *kept);
/* Nodes that are not needed any more without a branch. */
int prune_gone(const struct graph *g, const struct branch *b, unsigned char *gone,
               struct error *e) HASTEN_CHECKED;
int prune_matches(const char *const *patterns, int count, const char *name);

/* prune_order.c: the order in which channels of each cut go, and what the refit will save. */
int prune_orders(struct pruner *p, struct site_list *s, struct error *e) HASTEN_CHECKED;

/* prune_refit.c: least squares for all cuts of the original that still exist, in `rounds` groups. */
int prune_refit(struct pruner *p, int rounds, struct error *e) HASTEN_CHECKED;

#endif
