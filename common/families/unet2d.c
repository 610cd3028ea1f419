/* UNet2DModel: pixel and latent U-Nets without text (Ho et al. 2020, Dhariwal and Nichol 2021 as diffusers
 * has them). */
#include "common/families/unet.h"

static int mid_block(struct builder *b, struct unet *u, const cJSON *config, int h)
{
    if (cJSON_GetObjectItemCaseSensitive(config, "mid_block_type") && !c_get(config, "mid_block_type"))
        return h;
    c_only(b, config, "mid_block_type", "UNetMidBlock2D");
    struct resnet r = u->resnet;
    struct pixel_attention a = *(const struct pixel_attention *)u->family;
    int width = u->width[u->levels - 1];
    r.scale = a.scale = c_double(b, config, "mid_block_scale_factor", 1);
    if (r.scale == 0)
        return b_fail(b, "mid_block_scale_factor 0 makes no sense");
    /* Without attn_norm_num_groups there is a norm only where time is added, not where it scales. */
    a.groups = c_int(b, config, "attn_norm_num_groups", r.scale_shift ? 0 : r.groups, 1, GRAPH_MAX_SIZE);
    h = b_resnet(b, "mid_block.resnets.0", h, width, &r);
    if (c_bool(b, config, "add_attention", 1))
        h = b_pixel_attention(b, "mid_block.attentions.0", h, &a);
    return b_resnet(b, "mid_block.resnets.1", h, width, &r);
}

static int attend(struct builder *b, const struct unet *u, const char *name, int h, int level)
{
    (void)level;
    return b_pixel_attention(b, name, h, u->family);
}

static int build_unet2d(struct builder *b, const cJSON *config)
{
    static const int widths[] = {224, 448, 672, 896, 0};
    static const char *const down[] = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D",
                                       NULL};
    static const char *const up[] = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", NULL};
    struct unet u = {.attention_down = "AttnDownBlock2D", .attention_up = "AttnUpBlock2D", .attend = attend};
    int height, width, channels = c_int(b, config, "in_channels", 3, 1, 4096);
    int no_head_dim = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(config, "attention_head_dim"));
    c_size(b, config, "sample_size", 32, &height, &width);
    unet_read(b, config, &u, &(struct unet_defaults){widths, down, up});
    struct pixel_attention attention = {.groups = u.resnet.groups, .eps = u.resnet.eps, .scale = 1};
    if (!no_head_dim)
        attention.head_dim = c_int(b, config, "attention_head_dim", 8, 1, GRAPH_MAX_SIZE);
    if (b->failed)
        return -1;
    u.family = &attention;
    u.odd = ((height | width) & ((1 << (u.levels - 1)) - 1)) != 0;
    int x = b_input(b, "sample", VALUE_IMAGE, channels, height, width);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0);
    x = unet_center(b, config, x);
    u.resnet.temb = unet_embedding(b, config, &u, time);
    b_output(b, "sample", unet_build(b, config, &u, x, mid_block));
    return b->failed ? -1 : 0;
}

static void unet_classes(const cJSON *config, int *classes, int *null_class)
{
    const cJSON *n = c_get(config, "num_class_embeds");
    *classes = n && !c_get(config, "class_embed_type") && cJSON_IsNumber(n) ? n->valueint : 0;
    *null_class = -1;
}

const struct family family_unet2d = {"UNet2DModel", "denoiser", build_unet2d, NULL, unet_classes, NULL, NULL};
