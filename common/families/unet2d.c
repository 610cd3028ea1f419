/* UNet2DModel: pixel and latent U-Nets without text (Ho et al. 2020, Dhariwal and Nichol 2021 as diffusers
 * has them). */
#include "common/families/family.h"

#include <string.h>

enum { MOST_SKIPS = 256, MOST_LEVELS = 16 };

struct unet {
    int levels, width[MOST_LEVELS], layers;
    const char *down[MOST_LEVELS], *up[MOST_LEVELS];
    int down_by_resnet, up_by_resnet; /* of levels with attention */
    int down_pad, odd;                /* odd: sizes that do not halve, so that going up asks the skip */
    struct resnet resnet;
    struct pixel_attention attention;
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

/* Old files put "UNetRes" in front of the names of blocks. */
static const char *block_type(const char *type) { return strncmp(type, "UNetRes", 7) ? type : type + 7; }

static int attends(const char *type) { return !strncmp(type, "Attn", 4); }

static int layer(struct builder *b, struct unet *u, const char *block, const char *type, int j, int h,
                 int width)
{
    h = b_resnet(b, b_name(b, "%s.resnets.%d", block, j), h, width, &u->resnet);
    return attends(type) ? b_pixel_attention(b, b_name(b, "%s.attentions.%d", block, j), h, &u->attention)
                         : h;
}

static int down_block(struct builder *b, struct unet *u, int level, int h)
{
    const char *type = block_type(u->down[level]), *p = b_name(b, "down_blocks.%d", level);
    int width = u->width[level], by_resnet = !strcmp(type, "ResnetDownsampleBlock2D");
    if (strcmp(type, "DownBlock2D") && strcmp(type, "AttnDownBlock2D") && !by_resnet)
        return b_fail(b, "down block type '%s' is not supported", u->down[level]);
    for (int j = 0; j < u->layers; j++) {
        h = layer(b, u, p, type, j, h, width);
        push(b, u, h);
    }
    if (level + 1 == u->levels)
        return h;
    if (by_resnet || (attends(type) && u->down_by_resnet)) {
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

static int up_block(struct builder *b, struct unet *u, int level, int h)
{
    const char *type = block_type(u->up[level]), *p = b_name(b, "up_blocks.%d", level);
    int width = u->width[u->levels - 1 - level], by_resnet = !strcmp(type, "ResnetUpsampleBlock2D");
    if (strcmp(type, "UpBlock2D") && strcmp(type, "AttnUpBlock2D") && !by_resnet)
        return b_fail(b, "up block type '%s' is not supported", u->up[level]);
    for (int j = 0; j <= u->layers; j++) {
        h = b_node(b, "concat", b_name(b, "%s.resnets.%d.concat", p, j), h, pop(b, u), -1);
        h = layer(b, u, p, type, j, h, width);
    }
    if (level + 1 == u->levels || b->failed)
        return h;
    int like = u->odd && u->skips ? u->skip[u->skips - 1] : -1;
    if (by_resnet || (attends(type) && u->up_by_resnet)) {
        struct resnet r = u->resnet;
        r.up = 1;
        r.up_like = like;
        return b_resnet(b, b_name(b, "%s.upsamplers.0", p), h, width, &r);
    }
    h = b_node(b, "upsample", b_name(b, "%s.upsamplers.0", p), h, like, -1);
    return b_same_conv(b, b_name(b, "%s.upsamplers.0.conv", p), h, width, 3);
}

static int mid_block(struct builder *b, struct unet *u, const cJSON *config, int h)
{
    if (cJSON_GetObjectItemCaseSensitive(config, "mid_block_type") && !c_get(config, "mid_block_type"))
        return h;
    c_only(b, config, "mid_block_type", "UNetMidBlock2D");
    struct resnet r = u->resnet;
    struct pixel_attention a = u->attention;
    int width = u->width[u->levels - 1];
    r.scale = a.scale = c_double(b, config, "mid_block_scale_factor", 1);
    if (r.scale == 0)
        return b_fail(b, "mid_block_scale_factor 0 makes no sense");
    /* Without attn_norm_num_groups there is a norm only where time is added, not where it scales. */
    a.groups =
        c_int(b, config, "attn_norm_num_groups", r.scale_shift ? 0 : r.groups, 1, GRAPH_MAX_SIZE);
    h = b_resnet(b, "mid_block.resnets.0", h, width, &r);
    if (c_bool(b, config, "add_attention", 1))
        h = b_pixel_attention(b, "mid_block.attentions.0", h, &a);
    return b_resnet(b, "mid_block.resnets.1", h, width, &r);
}

/* "conv" or "resnet": how levels with attention change the size. */
static int by_resnet(struct builder *b, const cJSON *config, const char *key)
{
    const char *how = c_text(b, config, key, "conv");
    if (strcmp(how, "conv") && strcmp(how, "resnet"))
        return b_fail(b, "config key '%s' is %s, only conv and resnet are supported", key, how);
    return !strcmp(how, "resnet");
}

static void read_blocks(struct builder *b, const cJSON *config, struct unet *u)
{
    static const int widths[] = {224, 448, 672, 896, 0};
    static const char *const down[] = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D",
                                       "AttnDownBlock2D", NULL};
    static const char *const up[] = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", NULL};
    u->levels = c_ints(b, config, "block_out_channels", widths, u->width, MOST_LEVELS);
    int downs = c_words(b, config, "down_block_types", down, u->down, MOST_LEVELS);
    int ups = c_words(b, config, "up_block_types", up, u->up, MOST_LEVELS);
    if (!b->failed && (downs != u->levels || ups != u->levels))
        b_fail(b, "%d down_block_types and %d up_block_types do not fit %d block_out_channels", downs, ups,
               u->levels);
}

static void read_config(struct builder *b, const cJSON *config, struct unet *u)
{
    const char *shift = c_text(b, config, "resnet_time_scale_shift", "default");
    int no_head_dim = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(config, "attention_head_dim"));
    read_blocks(b, config, u);
    u->layers = c_int(b, config, "layers_per_block", 2, 1, 64);
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
    u->attention =
        (struct pixel_attention){.groups = u->resnet.groups,
                                 .eps = u->resnet.eps,
                                 .scale = 1,
                                 .head_dim = no_head_dim ? 0
                                                         : c_int(b, config, "attention_head_dim", 8, 1,
                                                                 GRAPH_MAX_SIZE)};
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

static int embed_time(struct builder *b, const cJSON *config, const struct unet *u, int time)
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

static int build_unet2d(struct builder *b, const cJSON *config)
{
    struct unet u = {0};
    int height, width, channels = c_int(b, config, "in_channels", 3, 1, 4096);
    c_size(b, config, "sample_size", 32, &height, &width);
    read_config(b, config, &u);
    if (b->failed)
        return -1;
    u.odd = ((height | width) & ((1 << (u.levels - 1)) - 1)) != 0;
    int x = b_input(b, "sample", VALUE_IMAGE, channels, height, width);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0);
    if (c_bool(b, config, "center_input_sample", 0)) {
        x = b_node(b, "scale", "center_input", x, -1, -1);
        b_attr(b, x, "factor", 2);
        b_attr(b, x, "offset", -1);
    }
    u.resnet.temb = embed_time(b, config, &u, time);
    int h = b_same_conv(b, "conv_in", x, u.width[0], 3);
    push(b, &u, h);
    for (int i = 0; i < u.levels && !b->failed; i++)
        h = down_block(b, &u, i, h);
    h = mid_block(b, &u, config, h);
    for (int i = 0; i < u.levels && !b->failed; i++)
        h = up_block(b, &u, i, h);
    h = b_group_norm(b, "conv_norm_out", h, u.resnet.groups, u.resnet.eps);
    h = b_node(b, "silu", "conv_act", h, -1, -1);
    b_output(b, "sample", b_same_conv(b, "conv_out", h, c_int(b, config, "out_channels", 3, 1, 8192), 3));
    return b->failed ? -1 : 0;
}

static void unet_classes(const cJSON *config, int *classes, int *null_class)
{
    const cJSON *n = c_get(config, "num_class_embeds");
    *classes = n && !c_get(config, "class_embed_type") && cJSON_IsNumber(n) ? n->valueint : 0;
    *null_class = -1;
}

const struct family family_unet2d = {"UNet2DModel", "denoiser", build_unet2d, NULL, unet_classes};
