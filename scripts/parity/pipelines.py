"""Random-weight diffusers models at odd settings, for parity.py and make_tiny.py."""
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel, UNet2DModel

PLAIN = dict(down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"))
ATTENTION = dict(down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
RESAMPLING = dict(resnet_time_scale_shift="scale_shift", downsample_type="resnet", upsample_type="resnet",
                  down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
                  up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"))
UNETS = {
    "plain": dict(sample_size=16, block_out_channels=(16, 32), norm_num_groups=4, **ATTENTION),
    "ddpm-like": dict(sample_size=16, block_out_channels=(16, 32, 32), norm_num_groups=8, attention_head_dim=None,
                      downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
                      down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                      up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")),
    "non-square": dict(sample_size=(8, 24), block_out_channels=(24, 40), norm_num_groups=8, layers_per_block=1,
                       down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D")),
    "scale_shift": dict(sample_size=16, block_out_channels=(16, 16, 32), norm_num_groups=4, attn_norm_num_groups=2, **RESAMPLING),
    "middle attention without norm": dict(sample_size=16, block_out_channels=(16, 16, 32), norm_num_groups=4, **RESAMPLING),
    "classes": dict(sample_size=8, block_out_channels=(16, 16), norm_num_groups=4, num_class_embeds=5, attention_head_dim=4,
                    time_embedding_dim=24, **ATTENTION),
    "timestep classes": dict(sample_size=8, block_out_channels=(16, 16), norm_num_groups=4, class_embed_type="timestep",
                             add_attention=False, center_input_sample=True, mid_block_scale_factor=1.5, **PLAIN),
    "identity classes": dict(sample_size=8, block_out_channels=(16, 16), norm_num_groups=4, class_embed_type="identity",
                             mid_block_type=None, **PLAIN),
    "learned variance": dict(sample_size=8, in_channels=3, out_channels=6, block_out_channels=(16, 16), norm_num_groups=4, **PLAIN),
    "relu": dict(sample_size=8, block_out_channels=(16, 20), norm_num_groups=4, act_fn="relu", attention_head_dim=8,
                 mid_block_scale_factor=1.4142135623730951, **ATTENTION),
    "gelu, one level": dict(sample_size=(5, 7), block_out_channels=(16,), norm_num_groups=1, act_fn="gelu", layers_per_block=3,
                            in_channels=5, out_channels=2, down_block_types=("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",)),
}
CROSS = dict(down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
             block_out_channels=(16, 32), norm_num_groups=8, cross_attention_dim=24)
CONDITIONED = {
    "plain": dict(CROSS, sample_size=16, attention_head_dim=4),
    "heads a level, linear projections": dict(CROSS, sample_size=16, attention_head_dim=(2, 4), use_linear_projection=True),
    "deeper transformers, odd size": dict(CROSS, sample_size=(9, 14), attention_head_dim=2, transformer_layers_per_block=(1, 2),
                                          layers_per_block=(1, 2), in_channels=9),
    "classes, scale_shift": dict(CROSS, sample_size=8, attention_head_dim=2, num_class_embeds=5, resnet_time_scale_shift="scale_shift",
                                 center_input_sample=True),
    "no middle": dict(CROSS, sample_size=8, attention_head_dim=2, mid_block_type=None, flip_sin_to_cos=False, freq_shift=1),
}
DIT = dict(num_attention_heads=2, attention_head_dim=8, num_layers=3, sample_size=8, num_embeds_ada_norm=7)
DITS = {
    "plain": dict(DIT, in_channels=4, out_channels=8),
    "patch 4": dict(DIT, num_attention_heads=3, attention_head_dim=20, in_channels=1, sample_size=16, patch_size=4),
    "patch 1": dict(DIT, in_channels=3, patch_size=1, activation_fn="gelu", norm_eps=1e-3),
    "affine, no bias": dict(DIT, in_channels=2, norm_elementwise_affine=True, attention_bias=False),
    "patch 3 of 8": dict(DIT, in_channels=2, patch_size=3),
}
VAE = dict(block_out_channels=(16, 32), norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 2,
           up_block_types=("UpDecoderBlock2D",) * 2)
VAES = {
    "plain": VAE,
    "relu, no middle attention": dict(VAE, act_fn="relu", layers_per_block=2, mid_block_add_attention=False, latent_channels=3),
    "no post_quant_conv": dict(VAE, use_quant_conv=False, use_post_quant_conv=False, out_channels=1),
}


def randomise(model):
    """Weights that keep the size of values; norms stay near one."""
    for name, p in model.named_parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.7 / p[0].numel() ** 0.5)
        else:
            torch.nn.init.normal_(p, mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.2)
    return model.eval()


def share_embedders(dit):
    """As training does: every block's embedder holds the same numbers."""
    first = dit.transformer_blocks[0].norm1.emb.state_dict()
    for block in dit.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(first)
    return dit


def unet(config, images=3):
    """A model and the arguments of one forward."""
    model = randomise(UNet2DModel(**config))
    size = config["sample_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    inputs = {"sample": torch.randn(images, model.config.in_channels, height, width),
              "timestep": torch.tensor([3.0, 500.0, 999.0])[:images]}
    if config.get("class_embed_type") == "identity":
        inputs["class_labels"] = torch.randn(images, 4 * config["block_out_channels"][0])
    elif "num_class_embeds" in config or "class_embed_type" in config:
        inputs["class_labels"] = torch.tensor([1, 4, 2])[:images]
    return model, inputs


def conditioned(config, images=3, tokens=11):
    """A text-conditioned U-Net; the number of tokens is free."""
    model = randomise(UNet2DConditionModel(**config))
    size = config["sample_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    inputs = {"sample": torch.randn(images, model.config.in_channels, height, width),
              "timestep": torch.tensor([3.0, 500.0, 999.0])[:images],
              "encoder_hidden_states": torch.randn(images, tokens, config["cross_attention_dim"])}
    if "num_class_embeds" in config:
        inputs["class_labels"] = torch.tensor([1, 4, 2])[:images]
    return model, inputs


def dit(config, images=2):
    model = randomise(DiTTransformer2DModel(**config))
    size = config["sample_size"] - config["sample_size"] % model.config.patch_size
    return model, {"sample": torch.randn(images, config["in_channels"], size, size), "timestep": torch.tensor([3.0, 700.0])[:images],
                   "class_labels": torch.tensor([1, config["num_embeds_ada_norm"]])[:images]}


def vae(config, images=2):
    model = randomise(AutoencoderKL(**config))
    return model, {"latent": torch.randn(images, model.config.latent_channels, 8, 12)}


@torch.no_grad()
def forward(model, inputs):
    if "latent" in inputs:
        return model.decode(inputs["latent"]).sample
    if isinstance(model, DiTTransformer2DModel):
        return model(inputs["sample"], timestep=inputs["timestep"], class_labels=inputs["class_labels"]).sample
    return model(**inputs).sample


def as_float(inputs):
    return {k: v.float() for k, v in inputs.items()}
