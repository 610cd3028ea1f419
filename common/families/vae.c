/* AutoencoderKL's decoder (Rombach et al. 2022): from a latent, already divided by the scaling factor, to a
 * picture. */
#include "common/families/family.h"

#include <string.h>

enum { MOST_LEVELS = 16 };

static int build_vae(struct builder *b, const cJSON *config)
{
    const cJSON *widths = c_get(config, "block_out_channels"), *item,
                *types = c_get(config, "up_block_types");
    int levels = widths ? cJSON_GetArraySize(widths) : 1, layers = c_int(b, config, "layers_per_block", 1);
    int latent = c_int(b, config, "latent_channels", 4),
        size = c_int(b, config, "sample_size", 32) >> (levels - 1);
    struct resnet r = {.groups = c_int(b, config, "norm_num_groups", 32),
                       .eps = 1e-6,
                       .scale = 1,
                       .act = c_text(b, config, "act_fn", "silu"),
                       .temb = -1};
    cJSON_ArrayForEach(item, types)
    {
        if (!cJSON_IsString(item) || strcmp(item->valuestring, "UpDecoderBlock2D"))
            b_fail(b, "up block type '%s' of a decoder is not supported",
                   cJSON_IsString(item) ? item->valuestring : "?");
    }
    if (levels < 1 || levels > MOST_LEVELS || layers < 1 || layers > 64)
        return b_fail(b, "%d levels of %d layers make no sense", levels, layers) - 1;
    int h = b_input(b, "latent", VALUE_IMAGE, latent, size > 0 ? size : 1, size > 0 ? size : 1);
    if (b_has(b, "post_quant_conv.weight"))
        h = b_conv(b, "post_quant_conv", h, 1, 0, 0);
    h = b_conv(b, "decoder.conv_in", h, 1, 1, 1);
    h = b_resnet(b, "decoder.mid_block.resnets.0", h, &r);
    if (c_bool(b, config, "mid_block_add_attention", 1))
        h = b_pixel_attention(b, "decoder.mid_block.attentions.0", h, r.groups, r.eps, 0, 1);
    h = b_resnet(b, "decoder.mid_block.resnets.1", h, &r);
    for (int i = 0; i < levels && !b->failed; i++) {
        for (int j = 0; j <= layers; j++)
            h = b_resnet(b, b_name(b, "decoder.up_blocks.%d.resnets.%d", i, j), h, &r);
        if (i + 1 == levels)
            break;
        h = b_node(b, "upsample", b_name(b, "decoder.up_blocks.%d.upsamplers.0", i), h, -1, -1);
        h = b_conv(b, b_name(b, "decoder.up_blocks.%d.upsamplers.0.conv", i), h, 1, 1, 1);
    }
    h = b_group_norm(b, "decoder.conv_norm_out", h, r.groups, r.eps);
    h = b_act(b, "decoder.conv_act", r.act, h);
    b_output(b, "sample", b_conv(b, "decoder.conv_out", h, 1, 1, 1));
    return b->failed ? -1 : 0;
}

static int is_encoder(const char *name)
{
    return !strncmp(name, "encoder.", 8) || !strncmp(name, "quant_conv.", 11);
}

const struct family family_vae = {"AutoencoderKL", "decoder", build_vae, is_encoder, NULL};
