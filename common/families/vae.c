/* AutoencoderKL's decoder (Rombach et al. 2022): from a latent, already divided by the scaling factor, to a
 * picture. */
#include "common/families/family.h"

#include <string.h>

enum { MOST_LEVELS = 16 };

struct decoder {
    int levels, width[MOST_LEVELS], layers, latent;
    struct resnet resnet;
};

static void read_config(struct builder *b, const cJSON *config, struct decoder *d)
{
    static const int widths[] = {64, 0};
    static const char *const up[] = {"UpDecoderBlock2D", NULL};
    const char *types[MOST_LEVELS];
    d->levels = c_ints(b, config, "block_out_channels", widths, d->width, MOST_LEVELS);
    int ups = c_words(b, config, "up_block_types", up, types, MOST_LEVELS);
    if (!b->failed && ups != d->levels)
        b_fail(b, "%d up_block_types do not fit %d block_out_channels", ups, d->levels);
    for (int i = 0; i < ups; i++)
        if (strcmp(types[i], "UpDecoderBlock2D"))
            b_fail(b, "up block type '%s' of a decoder is not supported", types[i]);
    /* Some pipelines undo a shift and scale of each channel before decoding; here is one for all channels. */
    c_only(b, config, "latents_mean", "null");
    c_only(b, config, "latents_std", "null");
    d->layers = c_int(b, config, "layers_per_block", 1, 1, 64);
    d->latent = c_int(b, config, "latent_channels", 4, 1, 4096);
    d->resnet = (struct resnet){.groups = c_int(b, config, "norm_num_groups", 32, 1, GRAPH_MAX_SIZE),
                                .eps = 1e-6,
                                .scale = 1,
                                .act = c_text(b, config, "act_fn", "silu"),
                                .up_like = -1,
                                .temb = -1};
}

static int build_vae(struct builder *b, const cJSON *config)
{
    struct decoder d;
    int height, width;
    read_config(b, config, &d);
    c_size(b, config, "sample_size", 32, &height, &width);
    if (b->failed)
        return -1;
    height >>= d.levels - 1;
    width >>= d.levels - 1;
    int top = d.width[d.levels - 1];
    int h = b_input(b, "latent", VALUE_IMAGE, d.latent, height ? height : 1, width ? width : 1);
    if (c_bool(b, config, "use_post_quant_conv", 1))
        h = b_same_conv(b, "post_quant_conv", h, d.latent, 1);
    h = b_same_conv(b, "decoder.conv_in", h, top, 3);
    h = b_resnet(b, "decoder.mid_block.resnets.0", h, top, &d.resnet);
    if (c_bool(b, config, "mid_block_add_attention", 1))
        h = b_pixel_attention(b, "decoder.mid_block.attentions.0", h,
                              &(struct pixel_attention){d.resnet.groups, d.resnet.eps, 1, 0});
    h = b_resnet(b, "decoder.mid_block.resnets.1", h, top, &d.resnet);
    for (int i = 0; i < d.levels && !b->failed; i++) {
        int here = d.width[d.levels - 1 - i];
        for (int j = 0; j <= d.layers; j++)
            h = b_resnet(b, b_name(b, "decoder.up_blocks.%d.resnets.%d", i, j), h, here, &d.resnet);
        if (i + 1 == d.levels)
            break;
        h = b_node(b, "upsample", b_name(b, "decoder.up_blocks.%d.upsamplers.0", i), h, -1, -1);
        h = b_same_conv(b, b_name(b, "decoder.up_blocks.%d.upsamplers.0.conv", i), h, here, 3);
    }
    h = b_group_norm(b, "decoder.conv_norm_out", h, d.resnet.groups, d.resnet.eps);
    h = b_node(b, "silu", "decoder.conv_act", h, -1, -1);
    b_output(b, "sample",
             b_same_conv(b, "decoder.conv_out", h, c_int(b, config, "out_channels", 3, 1, 4096), 3));
    return b->failed ? -1 : 0;
}

static int is_encoder(const char *name)
{
    return !strncmp(name, "encoder.", 8) || !strncmp(name, "quant_conv.", 11);
}

const struct family family_vae = {"AutoencoderKL", "decoder", build_vae, is_encoder, NULL, NULL, NULL};
