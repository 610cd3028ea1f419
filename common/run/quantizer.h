/* One layer's weights in another format: tensors as files hold them, ready for a trial in a copy of the graph
 * or for good in the model.
 *
 *     struct quantizer q = {.graph = g, .team = team, .statistics = &s, .rotate = 1, .gptq = 1,
 *                           .correct = 1};
 *     struct stored_layer l;
 *     quantizer_layer(&q, node, quantizer_format(g, node, FORMAT_W4A8), &l, e);
 *     stored_apply(&l, trial, node);            // trial: graph_copy(g); l must stay
 *     stored_install(&l, &model, g, node, e);   // l's tensors become the model's
 *     stored_free(&l);
 *
 *     struct quantizer_item list[] = {{node, FORMAT_W8A8, &l}, ...};
 *     quantizer_layers(&q, list, count, spill, progress, context, e);   // any number in bounded memory
 *
 * Rotation goes with int8 activations and with K divisible by 16; ROTATE_AUTO leaves it out for all readers
 * of a value where the output error of the first of them is smaller without. With statistics of the layer's
 * input int8 and 4-bit codes are chosen by GPTQ (damping 1 % of the mean diagonal), those of convolutions by
 * the moments of channels times the likeness of neighbouring pixels (neighbours.h; without statistics by a
 * prior of that alone); scales of 4 bits weigh columns by their mean square. Names of the tensors: X.weight,
 * X.weight_scale; 4 bits: X.weight_s_rel, X.weight_s_channel, X.weight_codebook (specs/quantize-and-prune.md
 * 4). */
#ifndef HASTEN_RUN_QUANTIZER_H
#define HASTEN_RUN_QUANTIZER_H

#include "common/file/model.h"
#include "common/file/spill.h"
#include "common/graph/ops.h"
#include "common/method/quantize_w8.h"
#include "common/run/statistics.h"

struct quantizer {
    const struct graph *graph;
    struct team *team;
    const struct statistics *statistics; /* NULL: no data */
    int rotate, gptq, linear_levels;     /* rotate: 0, 1, or ROTATE_AUTO */
    int correct;          /* with statistics: biases make up for the mean error of rounded weights */
    signed char *rotated; /* ROTATE_AUTO: [nodes], zeros at first: what was chosen for a value's readers;
                             NULL: not kept */
};

enum { ROTATE_OFF, ROTATE_ON, ROTATE_AUTO };
enum { STORED_WEIGHT, STORED_SCALE, STORED_S_REL, STORED_CODEBOOK, STORED_BIAS, STORED_PARTS };

struct stored_layer {
    int format, rotate, split;
    struct tensor part[STORED_PARTS]; /* data NULL: absent */
    struct quantize_report weights;
    double output_error; /* relative L2 of the output over calibration, by errors of the weights and, in
                            linear layers, of rounded inputs; -1: unknown */
    size_t bytes;
};

/* What becomes of a format at this layer: convolutions and widths that 16 does not divide have no 4 bits, and
 * take 8 with the same activations. */
int quantizer_format(const struct graph *g, int node, int format);
const char *format_name(int format);
int format_find(const char *name); /* -1: none */

int quantizer_layer(const struct quantizer *q, int node, int format, struct stored_layer *out,
                    struct error *e) HASTEN_CHECKED;
/* The same, where the weights are in memory and the format is not FORMAT_PLAIN. */
int quantizer_make(const struct quantizer *q, int node, int format, struct stored_layer *out,
                   struct error *e) HASTEN_CHECKED;

/* Many layers in turn: weights of a model that was opened lazily are read QUANTIZER_AHEAD bytes (or one
 * layer) at a time and let go, and what is made goes to the spill. done may be NULL. */
enum { QUANTIZER_AHEAD = 24 << 20 };
struct quantizer_item {
    int node, format;
    struct stored_layer *out;
};
int quantizer_layers(const struct quantizer *q, const struct quantizer_item *item, int count,
                     struct spill *spill, void (*done)(void *context, int layers), void *context,
                     struct error *e) HASTEN_CHECKED;

/* Lets all attentions take scores of int8 codes (int8_scores in hasten-ops(7)). Returns their number. */
int quantizer_scores(struct graph *g, struct error *e) HASTEN_CHECKED;

void stored_free(struct stored_layer *s);
void stored_apply(const struct stored_layer *s, struct graph *g, int node);
int stored_install(struct stored_layer *s, struct model *m, struct graph *g, int node,
                   struct error *e) HASTEN_CHECKED;

#endif
