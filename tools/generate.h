/* Inside the tool generate: one run of a component (--once), and the writing of pictures. */
#ifndef HASTEN_TOOLS_GENERATE_H
#define HASTEN_TOOLS_GENERATE_H

#include "common/file/model.h"
#include "common/image/pixels.h"
#include "tools/tool.h"

/* Run a component once on the inputs in a safetensors file; write its outputs. */
int generate_once(struct tool_run *t, struct model *m, const char *component, const char *in,
                  struct error *e);

/* Latents [channels][height][width] to a picture, through the decoder where the model has one. */
struct painter;
struct painter *painter_open(struct tool_run *t, struct model *m, int height, int width, struct error *e);
void painter_close(struct painter *p);
int painter_paint(struct painter *p, const float *latent, struct image *picture, struct error *e);

/* Write one PNG whole or not at all; notes: its parameters, or NULL. */
int picture_write(const char *path, const struct image *picture, const char *parameters, struct error *e);

#endif
