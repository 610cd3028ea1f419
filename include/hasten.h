/* libhasten: run a model file from another program.
 *
 *     struct hasten_error e = {0};
 *     struct hasten_options o = {.steps = 50};
 *     struct hasten *h = hasten_open("fashion.model.zst", &o, &e);
 *     int shape[3];
 *     if (!h) { fprintf(stderr, "%s\n", e.text); return e.code; }
 *     hasten_shape(h, shape);                                        // channels, height, width
 *     float *latents = malloc(4 * shape[0] * shape[1] * shape[2] * sizeof *latents);
 *     hasten_generate(h, (uint64_t[]){1, 2, 3, 4}, (int[]){0, 1, 2, 3}, 4, latents, &e);
 *     hasten_close(h);
 *
 * Link with -lhasten -lzstd -lcjson -lpng -lxxhash -lm -pthread. Functions return 0, or -1 (NULL) with a text
 * in *e. A handle is for one thread at a time. The same seed gives the same latent, whatever else is in the
 * batch, with any number of threads. */
#ifndef HASTEN_H
#define HASTEN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* code: the exit codes of the tools. 1 failed, 2 usage, 3 a gate is not met, 4 bad or mismatched file, 5 out
 * of memory. */
struct hasten_error {
    int code;
    char text[1000];
};

struct hasten_options {
    int threads;           /* 0: as many as the process may use */
    int batch;             /* images at once; 0: 4 */
    int steps;             /* 0: the schedule's, else the model's */
    double guidance;       /* 0: the schedule's, else the model's; 1: none */
    const char *sampler;   /* "ddim", "dpmpp-2m", ...; NULL: the model's */
    const char *schedule;  /* a cache schedule made for this model, or NULL */
    const char *cpu_level; /* "ref", "avx2", "avx512", ...; NULL: the best */
    const char *backend;   /* "cpu"; "cuda": the first NVIDIA device that the process sees (the library
                            * reads no environment, so no local rank: CUDA_VISIBLE_DEVICES chooses); "auto":
                            * that one if it works and the model fits, else the CPU; NULL: "cpu". A handle is
                            * then for the thread that opened it, and all such handles of a process for one
                            * thread together. */
    const char *plugin;    /* the file hasten-cuda.so; NULL: where the dynamic linker looks */
};

struct hasten;

/* options may be NULL. path "-" is standard input. */
struct hasten *hasten_open(const char *path, const struct hasten_options *options, struct hasten_error *e);
void hasten_close(struct hasten *h);

void hasten_shape(const struct hasten *h, int shape[3]);
int hasten_classes(const struct hasten *h); /* 0: unconditional */

/* count latents, one behind the other, each [channels][height][width]. classes may be NULL: 0, 1, 2, ... in
 * turn. */
int hasten_generate(struct hasten *h, const uint64_t *seeds, const int *classes, int count, float *latents,
                    struct hasten_error *e);

const char *hasten_version(void);

#ifdef __cplusplus
}
#endif
#endif
