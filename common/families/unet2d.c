/* UNet2DModel: pixel and latent U-Nets without text (Ho et al. 2020, Dhariwal and Nichol 2021 as diffusers
 * has them). */
#include "common/families/family.h"

#include <stdio.h>
#include <string.h>

enum { MOST_SKIPS = 256, MOST_LEVELS = 16 };

struct unet {
    int levels, width[MOST_LEVELS], layers, head_dim, groups;
    const char *down[MOST_LEVELS], *up[MOST_LEVELS], *downsample_type, *upsample_type;
    int down_pad;
    struct resnet resnet;
    int skip[MOST_SKIPS], skips;
};

static void push(struct builder *b, struct unet *u, int node)
{
    if (u->skips == MOST_SKIPS)
        b_fail(b, "more than %d skip connections", MOST_SKIPS);
    else
        u->skip[u->skips++] = node;
}

static int pop(struct builder *b, struct unet *u)
{
    return u->skips ? u->skip[--u->skips] : b_fail(b, "a skip connection too few");
}

static int attends(const char *type) { return !strncmp(type, "Attn", 4); }

static int downsample(struct builder *b, struct unet *u, const char *p, const char *type, int h)
{
    if (!strcmp(type, "ResnetDownsampleBlock2D") ||
        (attends(type) && u->downsample_type && !strcmp(u->downsample_type, "resnet"))) {
        struct resnet r = u->resnet;
        r.down = 1;
        return b_resnet(b, b_name(b, "%s.downsamplers.0", p), h, &r);
    }
    /* Padding 0 means one column right and one row below. */
    return b_conv(b, b_name(b, "%s.downsamplers.0.conv", p), h, 2, u->down_pad,
                  u->down_pad ? u->down_pad : 1);
}

static int down_block(struct builder *b, struct unet *u, int level, int h)
{
    const char *type = u->down[level], *p = b_name(b, "down_blocks.%d", level);
    if (strcmp(type, "DownBlock2D") && strcmp(type, "AttnDownBlock2D") &&
        strcmp(type, "ResnetDownsampleBlock2D"))
        return b_fail(b, "down block type '%s' is not supported", type);
    for (int j = 0; j < u->layers; j++) {
        h = b_resnet(b, b_name(b, "%s.resnets.%d", p, j), h, &u->resnet);
        if (attends(type))
            h = b_pixel_attention(b, b_name(b, "%s.attentions.%d", p, j), h, u->groups, u->resnet.eps,
                                  u->head_dim, 1);
        push(b, u, h);
    }
    if (level + 1 < u->levels) {
        h = downsample(b, u, p, type, h);
        push(b, u, h);
    }
    return h;
}

static int up_block(struct builder *b, struct unet *u, int level, int h)
{
    const char *type = u->up[level], *p = b_name(b, "up_blocks.%d", level);
    if (strcmp(type, "UpBlock2D") && strcmp(type, "AttnUpBlock2D") && strcmp(type, "ResnetUpsampleBlock2D"))
        return b_fail(b, "up block type '%s' is not supported", type);
    for (int j = 0; j <= u->layers; j++) {
        h = b_node(b, "concat", b_name(b, "%s.resnets.%d.concat", p, j), h, pop(b, u), -1);
        h = b_resnet(b, b_name(b, "%s.resnets.%d", p, j), h, &u->resnet);
        if (attends(type))
            h = b_pixel_attention(b, b_name(b, "%s.attentions.%d", p, j), h, u->groups, u->resnet.eps,
                                  u->head_dim, 1);
    }
    if (level + 1 == u->levels)
        return h;
    if (!strcmp(type, "ResnetUpsampleBlock2D") ||
        (attends(type) && u->upsample_type && !strcmp(u->upsample_type, "resnet"))) {
        struct resnet r = u->resnet;
        r.up = 1;
        return b_resnet(b, b_name(b, "%s.upsamplers.0", p), h, &r);
    }
    h = b_node(b, "upsample", b_name(b, "%s.upsamplers.0", p), h, -1, -1);
    return b_conv(b, b_name(b, "%s.upsamplers.0.conv", p), h, 1, 1, 1);
}

static int mid_block(struct builder *b, struct unet *u, const cJSON *config, int h)
{
    if (cJSON_GetObjectItemCaseSensitive(config, "mid_block_type") && !c_get(config, "mid_block_type"))
        return h;
    c_only(b, config, "mid_block_type", "UNetMidBlock2D");
    struct resnet r = u->resnet;
    r.scale = c_double(b, config, "mid_block_scale_factor", 1);
    int groups = c_int(b, config, "attn_norm_num_groups", 0);
    h = b_resnet(b, "mid_block.resnets.0", h, &r);
    if (c_bool(b, config, "add_attention", 1)) {
        if (!groups && r.scale_shift)
            return b_fail(b, "a middle attention without norm (scale_shift without attn_norm_num_groups) is "
                             "not supported");
        h = b_pixel_attention(b, "mid_block.attentions.0", h, groups ? groups : u->groups, r.eps, u->head_dim,
                              r.scale);
    }
    return b_resnet(b, "mid_block.resnets.1", h, &r);
}

static int read_list(struct builder *b, const cJSON *config, const char *key, const char **out, int count)
{
    const cJSON *list = c_get(config, key), *item;
    int n = 0;
    cJSON_ArrayForEach(item, list)
    {
        if (n < count && cJSON_IsString(item))
            out[n] = item->valuestring;
        n++;
    }
    return n == count && out[count - 1] ? 0 : b_fail(b, "%s must name %d block types", key, count) - 1;
}

static int read_config(struct builder *b, const cJSON *config, struct unet *u)
{
    const cJSON *widths = c_get(config, "block_out_channels"), *item;
    const char *shift = c_text(b, config, "resnet_time_scale_shift", "default");
    cJSON_ArrayForEach(item, widths)
    {
        if (u->levels == MOST_LEVELS || !cJSON_IsNumber(item) || item->valueint < 1)
            return b_fail(b, "block_out_channels must be 1 to %d positive numbers", MOST_LEVELS) - 1;
        u->width[u->levels++] = item->valueint;
    }
    if (!u->levels)
        return b_fail(b, "block_out_channels is missing") - 1;
    if (read_list(b, config, "down_block_types", u->down, u->levels) < 0 ||
        read_list(b, config, "up_block_types", u->up, u->levels) < 0)
        return -1;
    u->layers = c_int(b, config, "layers_per_block", 2);
    u->head_dim = cJSON_GetObjectItemCaseSensitive(config, "attention_head_dim")
                      ? c_int(b, config, "attention_head_dim", 0)
                      : 8;
    u->groups = c_int(b, config, "norm_num_groups", 32);
    u->downsample_type = c_text(b, config, "downsample_type", "conv");
    u->upsample_type = c_text(b, config, "upsample_type", "conv");
    u->down_pad = c_int(b, config, "downsample_padding", 1);
    c_only(b, config, "time_embedding_type", "positional");
    if (shift && strcmp(shift, "default") && strcmp(shift, "scale_shift"))
        return b_fail(b, "resnet_time_scale_shift '%s' is not supported", shift) - 1;
    if (u->layers < 1 || u->layers > 64 || u->groups < 1)
        return b_fail(b, "layers_per_block %d or norm_num_groups %d makes no sense", u->layers, u->groups) -
               1;
    u->resnet = (struct resnet){.groups = u->groups,
                                .eps = c_double(b, config, "norm_eps", 1e-5),
                                .scale = 1,
                                .act = c_text(b, config, "act_fn", "silu"),
                                .scale_shift = shift && !strcmp(shift, "scale_shift")};
    return b->failed ? -1 : 0;
}

static int embed_class(struct builder *b, const cJSON *config, int emb, int sinusoid_dim, int flip,
                       double shift)
{
    const char *type = c_text(b, config, "class_embed_type", NULL);
    if (!type && !c_get(config, "num_class_embeds"))
        return emb;
    int c;
    if (!type) {
        c = b_node(b, "embedding", "class_embedding", b_input(b, "class_labels", VALUE_VECTOR, 1, 0, 0), -1,
                   -1);
        b_weight(b, c, "weight", "class_embedding.weight");
    } else if (!strcmp(type, "timestep")) {
        int label = b_input(b, "class_labels", VALUE_VECTOR, 1, 0, 0);
        c = b_time_embedding(b, "class_proj", "class_embedding", label, sinusoid_dim, flip, shift, "silu");
    } else if (!strcmp(type, "identity")) {
        int width = c_int(b, config, "time_embedding_dim", 4 * sinusoid_dim);
        c = b_input(b, "class_labels", VALUE_VECTOR, width, 0, 0);
    } else {
        return b_fail(b, "class_embed_type '%s' is not supported", type);
    }
    return b_node(b, "add", "emb", emb, c, -1);
}

/* sample_size: a number, [height, width], or missing (then 32). */
static void read_size(const cJSON *config, int *height, int *width)
{
    const cJSON *size = c_get(config, "sample_size"), *h = cJSON_GetArrayItem(size, 0),
                *w = cJSON_GetArrayItem(size, 1);
    *height = *width = cJSON_IsNumber(size) ? size->valueint : 32;
    if (cJSON_IsNumber(h) && cJSON_IsNumber(w)) {
        *height = h->valueint;
        *width = w->valueint;
    }
}

static int build_unet2d(struct builder *b, const cJSON *config)
{
    struct unet u = {0};
    int height, width;
    if (read_config(b, config, &u) < 0)
        return -1;
    read_size(config, &height, &width);
    int x = b_input(b, "sample", VALUE_IMAGE, c_int(b, config, "in_channels", 3), height, width);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0), flip = c_bool(b, config, "flip_sin_to_cos", 1);
    double shift = c_double(b, config, "freq_shift", 0);
    if (c_bool(b, config, "center_input_sample", 0)) {
        x = b_node(b, "scale", "center_input", x, -1, -1);
        b_attr(b, x, "factor", 2);
        b_attr(b, x, "offset", -1);
    }
    int emb = b_time_embedding(b, "time_proj", "time_embedding", time, u.width[0], flip, shift, "silu");
    u.resnet.temb = embed_class(b, config, emb, u.width[0], flip, shift);
    int h = b_conv(b, "conv_in", x, 1, 1, 1);
    push(b, &u, h);
    for (int i = 0; i < u.levels && !b->failed; i++)
        h = down_block(b, &u, i, h);
    h = mid_block(b, &u, config, h);
    for (int i = 0; i < u.levels && !b->failed; i++)
        h = up_block(b, &u, i, h);
    h = b_group_norm(b, "conv_norm_out", h, u.groups, u.resnet.eps);
    h = b_node(b, "silu", "conv_act", h, -1, -1);
    b_output(b, "sample", b_conv(b, "conv_out", h, 1, 1, 1));
    return b->failed ? -1 : 0;
}

static void unet_classes(const cJSON *config, int *classes, int *null_class)
{
    const cJSON *n = c_get(config, "num_class_embeds");
    *classes = n && !c_get(config, "class_embed_type") && cJSON_IsNumber(n) ? n->valueint : 0;
    *null_class = -1;
}

const struct family family_unet2d = {"UNet2DModel", "denoiser", build_unet2d, NULL, unet_classes};
