/* See unet.h. */
#include "common/families/unet.h"

#include <string.h>

static void push(struct builder *b, struct unet *u, int node)
{
    if (u->skips == UNET_SKIPS)
        b_fail(b, "more than %d skip connections", UNET_SKIPS);
    else
        u->skip[u->skips++] = node;
}

static int pop(struct builder *b, struct unet *u)
{
    return u->skips ? u->skip[--u->skips] : b_fail(b, "a skip connection too few");
}

/* Old files put "UNetRes" in front of the names of blocks. */
static const char *block_type(const char *type) { return strncmp(type, "UNetRes", 7) ? type : type + 7; }

static int is_plain_attention(const char *type) { return !strncmp(type, "Attn", 4); }
static int attends(const char *type) { return is_plain_attention(type) || !strncmp(type, "CrossAttn", 9); }

static int layer(struct builder *b, struct unet *u, const char *block, const char *type, int j, int h,
                 int level)
{
    h = b_resnet(b, b_name(b, "%s.resnets.%d", block, j), h, u->width[level], &u->resnet);
    return attends(type) ? u->attend(b, u, b_name(b, "%s.attentions.%d", block, j), h, level) : h;
}

static int down_block(struct builder *b, struct unet *u, int level, int h)
{
    const char *type = block_type(u->down[level]), *p = b_name(b, "down_blocks.%d", level);
    int width = u->width[level], by_resnet = !strcmp(type, "ResnetDownsampleBlock2D");
    if (strcmp(type, "DownBlock2D") && strcmp(type, u->attention_down) && !by_resnet)
        return b_fail(b, "down block type '%s' is not supported", u->down[level]);
    for (int j = 0; j < u->layers[level]; j++) {
        h = layer(b, u, p, type, j, h, level);
        push(b, u, h);
    }
    if (level + 1 == u->levels)
        return h;
    if (by_resnet || (is_plain_attention(type) && u->down_by_resnet)) {
        struct resnet r = u->resnet;
        r.down = 1;
        h = b_resnet(b, b_name(b, "%s.downsamplers.0", p), h, width, &r);
    } else { /* padding 0 means one column right and one row below */
        h = b_conv(b, b_name(b, "%s.downsamplers.0.conv", p), h, width, 3, 2, u->down_pad,
                   u->down_pad ? u->down_pad : 1);
    }
    push(b, u, h);
    return h;
}

/* The index-th block of the way up. */
static int up_block(struct builder *b, struct unet *u, int index, int h)
{
    const char *type = block_type(u->up[index]), *p = b_name(b, "up_blocks.%d", index);
    int level = u->levels - 1 - index, width = u->width[level],
        by_resnet = !strcmp(type, "ResnetUpsampleBlock2D");
    if (strcmp(type, "UpBlock2D") && strcmp(type, u->attention_up) && !by_resnet)
        return b_fail(b, "up block type '%s' is not supported", u->up[index]);
    for (int j = 0; j <= u->layers[level]; j++) {
        h = b_node(b, "concat", b_name(b, "%s.resnets.%d.concat", p, j), h, pop(b, u), -1);
        h = layer(b, u, p, type, j, h, level);
    }
    if (level == 0 || b->failed)
        return h;
    int like = u->odd && u->skips ? u->skip[u->skips - 1] : -1;
    if (by_resnet || (is_plain_attention(type) && u->up_by_resnet)) {
        struct resnet r = u->resnet;
        r.up = 1;
        r.up_like = like;
        return b_resnet(b, b_name(b, "%s.upsamplers.0", p), h, width, &r);
    }
    h = b_node(b, "upsample", b_name(b, "%s.upsamplers.0", p), h, like, -1);
    return b_same_conv(b, b_name(b, "%s.upsamplers.0.conv", p), h, width, 3);
}

/* "conv" or "resnet": how levels with attention change the size. */
static int by_resnet(struct builder *b, const cJSON *config, const char *key)
{
    const char *how = c_text(b, config, key, "conv");
    if (strcmp(how, "conv") && strcmp(how, "resnet"))
        return b_fail(b, "config key '%s' is %s, only conv and resnet are supported", key, how);
    return !strcmp(how, "resnet");
}

static void read_blocks(struct builder *b, const cJSON *config, struct unet *u, const struct unet_defaults *d)
{
    u->levels = c_ints(b, config, "block_out_channels", d->width, u->width, UNET_LEVELS);
    int downs = c_words(b, config, "down_block_types", d->down, u->down, UNET_LEVELS);
    int ups = c_words(b, config, "up_block_types", d->up, u->up, UNET_LEVELS);
    if (!b->failed && (downs != u->levels || ups != u->levels))
        b_fail(b, "%d down_block_types and %d up_block_types do not fit %d block_out_channels", downs, ups,
               u->levels);
}

void unet_per_level(struct builder *b, const cJSON *config, const char *key, int fallback, int max,
                    const struct unet *u, int out[UNET_LEVELS])
{
    if (cJSON_IsArray(c_get(config, key))) {
        int n = c_ints(b, config, key, NULL, out, UNET_LEVELS);
        if (!b->failed && n != u->levels)
            b_fail(b, "config key '%s' lists %d numbers for %d levels", key, n, u->levels);
        for (int i = 0; i < n && !b->failed; i++)
            if (out[i] > max)
                b_fail(b, "config key '%s' lists %d, at most %d is supported", key, out[i], max);
        return;
    }
    int all = c_int(b, config, key, fallback, 1, max);
    for (int i = 0; i < u->levels; i++)
        out[i] = all;
}

void unet_read(struct builder *b, const cJSON *config, struct unet *u, const struct unet_defaults *d)
{
    const char *shift = c_text(b, config, "resnet_time_scale_shift", "default");
    read_blocks(b, config, u, d);
    unet_per_level(b, config, "layers_per_block", 2, 64, u, u->layers);
    u->down_by_resnet = by_resnet(b, config, "downsample_type");
    u->up_by_resnet = by_resnet(b, config, "upsample_type");
    u->down_pad = c_int(b, config, "downsample_padding", 1, 0, 16);
    if (strcmp(shift, "default") && strcmp(shift, "scale_shift"))
        b_fail(b, "resnet_time_scale_shift '%s' is not supported", shift);
    u->resnet = (struct resnet){.groups = c_int(b, config, "norm_num_groups", 32, 1, GRAPH_MAX_SIZE),
                                .eps = c_double(b, config, "norm_eps", 1e-5),
                                .scale = 1,
                                .act = c_text(b, config, "act_fn", "silu"),
                                .up_like = -1,
                                .scale_shift = !strcmp(shift, "scale_shift")};
}

static int embed_class(struct builder *b, const cJSON *config, int emb, const struct time_embedding *t)
{
    const char *type = c_text(b, config, "class_embed_type", NULL);
    if (!type && !c_get(config, "num_class_embeds"))
        return emb;
    int c = b_input(b, "class_labels", VALUE_VECTOR, type && !strcmp(type, "identity") ? t->width : 1, 0, 0);
    if (!type)
        c = b_embedding(b, "class_embedding", "class_embedding.weight", c,
                        c_int(b, config, "num_class_embeds", 1, 1, 1 << 24), t->width);
    else if (!strcmp(type, "timestep"))
        c = b_time_embedding(b, "class_proj", "class_embedding", c, t);
    else if (strcmp(type, "identity"))
        return b_fail(b, "class_embed_type '%s' is not supported", type);
    return b_node(b, "add", "emb", emb, c, -1);
}

int unet_embedding(struct builder *b, const cJSON *config, const struct unet *u, int time)
{
    int width = c_int(b, config, "time_embedding_dim", 0, 0, 1 << 20);
    c_only(b, config, "time_embedding_type", "positional"); /* fourier also divides the result by the time */
    struct time_embedding t = {.dim = u->width[0],
                               .flip = c_bool(b, config, "flip_sin_to_cos", 1),
                               .shift = c_double(b, config, "freq_shift", 0),
                               .width = width ? width : 4 * u->width[0]};
    int emb = b_time_embedding(b, "time_proj", "time_embedding", time, &t);
    return embed_class(b, config, emb, &t);
}

int unet_center(struct builder *b, const cJSON *config, int x)
{
    if (!c_bool(b, config, "center_input_sample", 0))
        return x;
    x = b_node(b, "scale", "center_input", x, -1, -1);
    b_attr(b, x, "factor", 2);
    b_attr(b, x, "offset", -1);
    return x;
}

int unet_build(struct builder *b, const cJSON *config, struct unet *u, int in,
               int (*middle)(struct builder *b, struct unet *u, const cJSON *config, int h))
{
    int h = b_same_conv(b, "conv_in", in, u->width[0], 3);
    push(b, u, h);
    for (int i = 0; i < u->levels && !b->failed; i++)
        h = down_block(b, u, i, h);
    h = middle(b, u, config, h);
    for (int i = 0; i < u->levels && !b->failed; i++)
        h = up_block(b, u, i, h);
    h = b_group_norm(b, "conv_norm_out", h, u->resnet.groups, u->resnet.eps);
    h = b_act(b, "conv_act", "silu", h);
    return b_same_conv(b, "conv_out", h, c_int(b, config, "out_channels", 3, 1, 8192), 3);
}
