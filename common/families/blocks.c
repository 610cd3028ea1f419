/* Modules that several diffusers families are made of: see family.h. Facts: diffusers 0.42, models/resnet.py,
 * attention_processor.py, embeddings.py. */
#include "common/families/family.h"

int b_time_embedding(struct builder *b, const char *sinusoid, const char *name, int time,
                     const struct time_embedding *t)
{
    int h = b_node(b, "timestep_embedding", sinusoid, time, -1, -1);
    b_attr(b, h, "dim", t->dim);
    b_attr(b, h, "flip", t->flip);
    b_attr(b, h, "shift", t->shift);
    if (!b->failed)
        b->width[h] = t->dim;
    h = b_linear(b, b_name(b, "%s.linear_1", name), h, t->width);
    h = b_act(b, b_name(b, "%s.act", name), "silu", h);
    return b_linear(b, b_name(b, "%s.linear_2", name), h, t->width);
}

static int resample(struct builder *b, const struct resnet *r, const char *name, int in)
{
    if (r->down)
        return b_node(b, "avg_pool", name, in, -1, -1);
    return r->up ? b_node(b, "upsample", name, in, r->up_like, -1) : in;
}

/* The time embedding goes in between conv1 and norm2, or becomes the scale and shift of norm2's result. */
static int add_time(struct builder *b, const char *name, int h, int width, const struct resnet *r)
{
    int t = -1;
    if (r->temb >= 0) {
        t = b_act(b, b_name(b, "%s.act_time", name), r->act, r->temb);
        t = b_linear(b, b_name(b, "%s.time_emb_proj", name), t, r->scale_shift ? 2 * width : width);
        if (!r->scale_shift)
            h = b_node(b, "add", b_name(b, "%s.time_add", name), h, t, -1);
    }
    h = b_group_norm(b, b_name(b, "%s.norm2", name), h, r->groups, r->eps);
    if (r->temb >= 0 && r->scale_shift) {
        int scale = b_slice(b, b_name(b, "%s.time_scale", name), t, 0, width);
        int shift = b_slice(b, b_name(b, "%s.time_shift", name), t, width, width);
        h = b_node(b, "modulate", b_name(b, "%s.time_modulate", name), h, shift, scale);
    }
    return h;
}

int b_resnet(struct builder *b, const char *name, int in, int width, const struct resnet *r)
{
    int h = b_group_norm(b, b_name(b, "%s.norm1", name), in, r->groups, r->eps);
    h = b_act(b, b_name(b, "%s.act1", name), r->act, h);
    h = resample(b, r, b_name(b, "%s.resample_hidden", name), h);
    int x = resample(b, r, b_name(b, "%s.resample_skip", name), in);
    h = b_same_conv(b, b_name(b, "%s.conv1", name), h, width, 3);
    h = add_time(b, name, h, width, r);
    h = b_act(b, b_name(b, "%s.act2", name), r->act, h);
    h = b_same_conv(b, b_name(b, "%s.conv2", name), h, width, 3);
    if (b_width(b, x) != width)
        x = b_same_conv(b, b_name(b, "%s.conv_shortcut", name), x, width, 1);
    h = b_node(b, "add", b_name(b, "%s.residual", name), x, h, -1);
    return b_scale(b, b_name(b, "%s.rescale", name), h, 1 / r->scale);
}

int b_pixel_attention(struct builder *b, const char *name, int in, const struct pixel_attention *a)
{
    int width = b_width(b, in), heads = a->head_dim > 0 ? width / a->head_dim : 1;
    int inner = a->head_dim > 0 ? heads * a->head_dim : width, h = in;
    if (!b->failed && heads < 1)
        return b_fail(b, "attention_head_dim %d is more than the %d channels of %s", a->head_dim, width,
                      name);
    if (a->groups)
        h = b_group_norm(b, b_name(b, "%s.group_norm", name), in, a->groups, a->eps);
    int q = b_linear(b, b_name(b, "%s.to_q", name), h, inner);
    int k = b_linear(b, b_name(b, "%s.to_k", name), h, inner);
    int v = b_linear(b, b_name(b, "%s.to_v", name), h, inner);
    h = b_node(b, "attention", b_name(b, "%s.attention", name), q, k, v);
    b_attr(b, h, "heads", heads);
    h = b_linear(b, b_name(b, "%s.to_out.0", name), h, width);
    h = b_node(b, "add", b_name(b, "%s.residual", name), in, h, -1);
    return b_scale(b, b_name(b, "%s.rescale", name), h, 1 / a->scale);
}
