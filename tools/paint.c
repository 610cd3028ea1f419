/* Pictures from latents: see generate.h. */
#include "common/run/engine.h"
#include "common/run/trajectory.h"
#include "tools/generate.h"

#include <string.h>

struct painter {
    const struct model *m;
    int height, width;
    struct weights *weights; /* of the decoder; NULL without one */
    struct engine *engine;
    int output;
    float *values;
    struct shape picture;
};

static int open_decoder(struct painter *p, struct tool_run *t, struct model *m, struct graph *g,
                        struct error *e)
{
    if (graph_infer(g, p->height, p->width, model_find, m, e) < 0)
        return -1;
    p->output = graph_find_output(g, "sample");
    if (p->output < 0)
        return error_set(e, HASTEN_EFILE, "the decoder has no output 'sample'");
    p->picture = g->node[p->output].shape;
    struct engine_options o = {.images = 1, .calls = 1};
    struct weights_loader loader = {model_tensor_begin, model_tensor_end, m};
    p->weights = weights_open(g, &t->backend, &loader, e);
    p->engine = p->weights ? engine_open(g, p->weights, &o, e) : NULL;
    return p->engine ? engine_ready(p->engine, e) : -1;
}

struct painter *painter_open(struct tool_run *t, struct model *m, int height, int width, struct error *e)
{
    struct painter *p = mem_array(1, sizeof *p, e);
    struct graph *g = model_component(m, "decoder");
    if (!p)
        return NULL;
    p->m = m;
    p->height = height;
    p->width = width;
    p->picture = (struct shape){VALUE_IMAGE, height, width, m->image.channels};
    if (g && open_decoder(p, t, m, g, e) < 0)
        goto fail;
    if (p->picture.channels != 1 && p->picture.channels != 3) {
        error_set(
            e, HASTEN_EUSAGE,
            "latents of %d channels are no picture and the model has no decoder; ask for --latents only",
            p->picture.channels);
        goto fail;
    }
    p->values = mem_array((size_t)shape_size(p->picture), sizeof(float), e);
    if (p->values)
        return p;
fail:
    painter_close(p);
    return NULL;
}

void painter_close(struct painter *p)
{
    if (!p)
        return;
    engine_close(p->engine);
    weights_close(p->weights);
    mem_free(p->values);
    mem_free(p);
}

int painter_paint(struct painter *p, const float *latent, struct image *picture, struct error *e)
{
    const struct model_image *image = &p->m->image;
    const float *values = latent;
    if (p->engine) {
        float *in = engine_sample(p->engine);
        int64_t rows = (int64_t)p->height * p->width;
        to_channels_last(latent, in, rows, image->channels);
        for (int64_t i = 0; i < rows * image->channels; i++)
            in[i] = in[i] / (float)image->latent_scale + (float)image->latent_shift;
        if (engine_run(p->engine, 0, 0, 0, 1, NULL, e) < 0)
            return -1;
        to_channels_first(engine_value(p->engine, p->output), p->values, shape_rows(p->picture),
                          p->picture.channels, p->picture.channels);
        values = p->values;
    }
    return image_from_float(values, p->picture.channels, p->picture.height, p->picture.width,
                            (float)image->low, (float)image->high, picture, e);
}
