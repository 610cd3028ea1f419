/* UNet2DConditionModel: the U-Nets of Stable Diffusion 1 and 2 (Rombach et al. 2022 as diffusers has them).
 * Their attention is a small transformer over the pixels that also looks at the encoder's tokens. Its rows
 * stay an image, so a projection stored as a convolution of one pixel and one stored as a matrix are the same
 * layer. */
#include "common/families/unet.h"

#include <string.h>

enum { TOKENS = 77 }; /* of CLIP; generate --once takes any number */

struct transformer {
    int heads[UNET_LEVELS], layers[UNET_LEVELS], groups;
    int context; /* the node of the encoder's tokens */
};

static int attention(struct builder *b, const char *name, int in, int context, int heads)
{
    int width = b_width(b, in);
    int q = b_matrix(b, b_name(b, "%s.to_q", name), in, width);
    int k = b_matrix(b, b_name(b, "%s.to_k", name), context, width);
    int v = b_matrix(b, b_name(b, "%s.to_v", name), context, width);
    int h = b_node(b, "attention", b_name(b, "%s.attention", name), q, k, v);
    b_attr(b, h, "heads", heads);
    return b_linear(b, b_name(b, "%s.to_out.0", name), h, width);
}

/* The first half of the projection times GELU of the second. */
static int geglu(struct builder *b, const char *name, int in)
{
    int inner = 4 * b_width(b, in), width = b_width(b, in);
    int h = b_linear(b, b_name(b, "%s.net.0.proj", name), in, 2 * inner);
    int value = b_slice(b, b_name(b, "%s.net.0.value", name), h, 0, inner);
    int gate = b_slice(b, b_name(b, "%s.net.0.gate", name), h, inner, inner);
    gate = b_act(b, b_name(b, "%s.net.0.gelu", name), "gelu", gate);
    h = b_node(b, "mul", b_name(b, "%s.net.0.product", name), value, gate, -1);
    return b_linear(b, b_name(b, "%s.net.2", name), h, width);
}

static int residual(struct builder *b, const char *name, const char *part, int x, int h)
{
    return b_node(b, "add", b_name(b, "%s.%s.residual", name, part), x, h, -1);
}

static int block(struct builder *b, const struct transformer *t, const char *name, int x, int heads)
{
    int h = b_layer_norm(b, b_name(b, "%s.norm1", name), x, 1e-5, 1);
    x = residual(b, name, "attn1", x, attention(b, b_name(b, "%s.attn1", name), h, h, heads));
    h = b_layer_norm(b, b_name(b, "%s.norm2", name), x, 1e-5, 1);
    h = attention(b, b_name(b, "%s.attn2", name), h, t->context, heads);
    x = residual(b, name, "attn2", x, h);
    h = b_layer_norm(b, b_name(b, "%s.norm3", name), x, 1e-5, 1);
    return residual(b, name, "ff", x, geglu(b, b_name(b, "%s.ff", name), h));
}

static int attend(struct builder *b, const struct unet *u, const char *name, int in, int level)
{
    const struct transformer *t = u->family;
    int width = b_width(b, in);
    int h = b_group_norm(b, b_name(b, "%s.norm", name), in, t->groups, 1e-6);
    h = b_linear(b, b_name(b, "%s.proj_in", name), h, width);
    for (int i = 0; i < t->layers[level]; i++)
        h = block(b, t, b_name(b, "%s.transformer_blocks.%d", name, i), h, t->heads[level]);
    return residual(b, name, "proj_out", in, b_linear(b, b_name(b, "%s.proj_out", name), h, width));
}

static int mid_block(struct builder *b, struct unet *u, const cJSON *config, int h)
{
    struct resnet r = u->resnet;
    int level = u->levels - 1;
    if (cJSON_GetObjectItemCaseSensitive(config, "mid_block_type") && !c_get(config, "mid_block_type"))
        return h;
    c_only(b, config, "mid_block_type", "UNetMidBlock2DCrossAttn");
    r.scale = c_double(b, config, "mid_block_scale_factor", 1);
    if (r.scale == 0)
        return b_fail(b, "mid_block_scale_factor 0 makes no sense");
    h = b_resnet(b, "mid_block.resnets.0", h, u->width[level], &r);
    h = u->attend(b, u, "mid_block.attentions.0", h, level);
    return b_resnet(b, "mid_block.resnets.1", h, u->width[level], &r);
}

/* What other pipelines set, and this family does not have here. */
static void refuse(struct builder *b, const cJSON *config)
{
    static const char *const other[][2] = {{"addition_embed_type", "null"},
                                           {"encoder_hid_dim_type", "null"},
                                           {"encoder_hid_dim", "null"},
                                           {"time_cond_proj_dim", "null"},
                                           {"timestep_post_act", "null"},
                                           {"time_embedding_act_fn", "null"},
                                           {"class_embeddings_concat", "false"},
                                           {"dual_cross_attention", "false"},
                                           {"only_cross_attention", "false"},
                                           {"mid_block_only_cross_attention", "null"},
                                           {"cross_attention_norm", "null"},
                                           {"attention_type", "default"},
                                           {"reverse_transformer_layers_per_block", "null"},
                                           {"resnet_skip_time_act", "false"},
                                           {"conv_in_kernel", "3"},
                                           {"conv_out_kernel", "3"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        c_only(b, config, other[i][0], other[i][1]);
}

static void read_transformer(struct builder *b, const cJSON *config, const struct unet *u,
                             struct transformer *t)
{
    /* attention_head_dim is the number of heads: a name that diffusers kept for old files. */
    const char *heads = c_get(config, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
    unet_per_level(b, config, heads, 8, GRAPH_MAX_SIZE, u, t->heads);
    unet_per_level(b, config, "transformer_layers_per_block", 1, 64, u, t->layers);
    t->groups = u->resnet.groups;
    for (int i = 0; i < u->levels && !b->failed; i++)
        if (u->width[i] % t->heads[i])
            b_fail(b, "%d heads do not divide the %d channels of level %d", t->heads[i], u->width[i], i);
}

static int build_condition(struct builder *b, const cJSON *config)
{
    static const int widths[] = {320, 640, 1280, 1280, 0};
    static const char *const down[] = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                       "DownBlock2D", NULL};
    static const char *const up[] = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                     "CrossAttnUpBlock2D", NULL};
    struct transformer t;
    struct unet u = {.attention_down = "CrossAttnDownBlock2D",
                     .attention_up = "CrossAttnUpBlock2D",
                     .attend = attend,
                     .family = &t};
    int height, width, channels = c_int(b, config, "in_channels", 4, 1, 4096);
    int context = c_int(b, config, "cross_attention_dim", 1280, 1, GRAPH_MAX_SIZE);
    c_size(b, config, "sample_size", 64, &height, &width);
    refuse(b, config);
    unet_read(b, config, &u, &(struct unet_defaults){widths, down, up});
    read_transformer(b, config, &u, &t);
    if (b->failed)
        return -1;
    u.odd = ((height | width) & ((1 << (u.levels - 1)) - 1)) != 0;
    int x = b_input(b, "sample", VALUE_IMAGE, channels, height, width);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0);
    t.context = b_input(b, "encoder_hidden_states", VALUE_TOKENS, context, 1, TOKENS);
    x = unet_center(b, config, x);
    u.resnet.temb = unet_embedding(b, config, &u, time);
    b_output(b, "sample", unet_build(b, config, &u, x, mid_block));
    return b->failed ? -1 : 0;
}

const struct family family_unet2d_condition = {
    "UNet2DConditionModel", "denoiser", build_condition, NULL, NULL, NULL, NULL};
