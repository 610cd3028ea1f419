#!/usr/bin/env python3
"""Random-weight diffusers pipelines against import and generate: forwards and whole trajectories, step by step.

    scripts/parity/parity.py [BIN]        needs torch, diffusers, safetensors; prints the largest relative error of each

Every latent of every step must agree within 1e-4; exits 1 where one does not."""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DModel
from diffusers import (DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
                       EulerDiscreteScheduler, HeunDiscreteScheduler, LMSDiscreteScheduler, PNDMScheduler,
                       UniPCMultistepScheduler)

BIN = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bin")
LIMIT = 1e-4
UNETS = {
    "unet plain": dict(sample_size=16, block_out_channels=(16, 32), norm_num_groups=4, attention_head_dim=8,
                       down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")),
    "unet ddpm-like": dict(sample_size=16, block_out_channels=(16, 32, 32), norm_num_groups=8, attention_head_dim=None,
                           downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
                           down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                           up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")),
    "unet non-square": dict(sample_size=(8, 24), block_out_channels=(24, 40), norm_num_groups=8, attention_head_dim=8,
                            layers_per_block=1, down_block_types=("AttnDownBlock2D", "DownBlock2D"),
                            up_block_types=("UpBlock2D", "AttnUpBlock2D")),
    "unet scale_shift resnet": dict(sample_size=16, block_out_channels=(16, 32), norm_num_groups=4, attn_norm_num_groups=4,
                                    resnet_time_scale_shift="scale_shift", downsample_type="resnet", upsample_type="resnet",
                                    down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
                                    up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D")),
    "unet classes": dict(sample_size=8, block_out_channels=(16, 16), norm_num_groups=4, num_class_embeds=5, attention_head_dim=4,
                         down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")),
    "unet timestep classes": dict(sample_size=8, block_out_channels=(16, 16), norm_num_groups=4, class_embed_type="timestep",
                                  add_attention=False, center_input_sample=True, mid_block_scale_factor=1.5,
                                  down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")),
    "unet learned variance": dict(sample_size=8, in_channels=3, out_channels=6, block_out_channels=(16, 16), norm_num_groups=4,
                                  down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")),
}
DITS = {
    "dit": dict(num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=3, sample_size=8,
                patch_size=2, num_embeds_ada_norm=7, norm_elementwise_affine=False, activation_fn="gelu-approximate"),
    "dit patch 4": dict(num_attention_heads=3, attention_head_dim=20, in_channels=1, out_channels=1, num_layers=2,
                        sample_size=16, patch_size=4, num_embeds_ada_norm=10, norm_elementwise_affine=False,
                        activation_fn="gelu-approximate"),
}
SCHEDULERS = {
    "ddim": DDIMScheduler(), "ddpm": DDPMScheduler(), "pndm": PNDMScheduler(), "euler": EulerDiscreteScheduler(),
    "euler-a": EulerAncestralDiscreteScheduler(), "heun": HeunDiscreteScheduler(), "lms": LMSDiscreteScheduler(),
    "dpm": DPMSolverMultistepScheduler(), "unipc": UniPCMultistepScheduler(),
    "ddpm learned": DDPMScheduler(variance_type="learned_range"),
    "ddim v": DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
}


def randomise(model):
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3 / max(1, p[0].numel()) ** 0.5 if p.dim() > 1 else 0.2)
    return model.eval()


def run(*args):
    subprocess.run([os.path.join(BIN, args[0]), *args[1:], "-q"], check=True)


def error(got, want):
    return ((got - want).norm() / want.norm()).item()


def pipeline(folder, part, model, scheduler):
    model.save_pretrained(os.path.join(folder, part))
    if scheduler:
        scheduler.save_pretrained(os.path.join(folder, "scheduler"))
    name = type(model).__name__
    with open(os.path.join(folder, "model_index.json"), "w") as f:
        json.dump({"_class_name": "Pipeline", part: ["diffusers", name], "scheduler": ["diffusers", "X"]}, f)
    run("import", folder, "-o", os.path.join(folder, "m.zst"))
    return os.path.join(folder, "m.zst")


def forward(folder, part, model, inputs, call):
    path = pipeline(folder, part, model, DDIMScheduler())
    save_file({k: v.float() for k, v in inputs.items()}, f"{folder}/in.safetensors")
    run("generate", path, "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    with torch.no_grad():
        return error(load_file(f"{folder}/out.safetensors")["sample"], call())


@torch.no_grad()
def trajectory(folder, model, name, scheduler, steps=6):
    path = pipeline(folder, "unet", model, scheduler)
    run("generate", path, "--steps", str(steps), "--count", "2", "--trace", f"{folder}/t.safetensors", "--latents", f"{folder}/l.safetensors")
    got = load_file(f"{folder}/t.safetensors")["trace"]
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    size = model.config.sample_size
    x = torch.cat([torch.randn(1, model.config.in_channels, size, size, generator=g) for g in generators])
    scheduler.set_timesteps(steps)
    x, worst = x * scheduler.init_noise_sigma, 0
    noisy = {"generator": generators} if "generator" in scheduler.step.__code__.co_varnames else {}
    for i, t in enumerate(scheduler.timesteps):
        out = model(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(out if "learned" in name else out[:, :x.shape[1]], t, x, **noisy).prev_sample
        worst = max(worst, error(got[i], x))
    return worst


def main():
    torch.manual_seed(0)
    results = {}
    with tempfile.TemporaryDirectory() as root:
        def folder():
            return tempfile.mkdtemp(dir=root)
        for name, config in UNETS.items():
            model = randomise(UNet2DModel(**config))
            size = config["sample_size"]
            h, w = size if isinstance(size, tuple) else (size, size)
            x, t, y = torch.randn(3, model.config.in_channels, h, w), torch.tensor([3., 500., 999.]), torch.tensor([0, 4, 2])
            labels = y if "class" in name else None
            inputs = {"sample": x, "timestep": t, **({"class_labels": y} if "class" in name else {})}
            results[name] = forward(folder(), "unet", model, inputs, lambda: model(x, t, labels).sample)
        for name, config in DITS.items():
            model = randomise(DiTTransformer2DModel(**config))
            x, t = torch.randn(2, config["in_channels"], config["sample_size"], config["sample_size"]), torch.tensor([3., 700.])
            y = torch.tensor([1, config["num_embeds_ada_norm"]])
            results[name] = forward(folder(), "transformer", model, {"sample": x, "timestep": t, "class_labels": y},
                                    lambda: model(x, timestep=t, class_labels=y).sample)
        vae = randomise(AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=8, latent_channels=4,
                                      down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2))
        x = torch.randn(2, 4, 8, 12)
        path = folder()
        vae.save_pretrained(path)
        run("import", path, "-o", f"{path}/m.zst")
        save_file({"latent": x}, f"{path}/in.safetensors")
        run("generate", f"{path}/m.zst", "--once", f"{path}/in.safetensors", "-o", f"{path}/out.safetensors")
        with torch.no_grad():
            results["vae decoder"] = error(load_file(f"{path}/out.safetensors")["sample"], vae.decode(x).sample)
        for name, scheduler in SCHEDULERS.items():
            channels = 6 if "learned" in name else 3
            model = randomise(UNet2DModel(**{**UNETS["unet learned variance"], "out_channels": channels}))
            results[f"trajectory {name}"] = trajectory(folder(), model, name, scheduler)
    for name, value in results.items():
        print(f"{'ok  ' if value <= LIMIT else 'FAIL'} {name:32} {value:.2e}")
    sys.exit(any(not v <= LIMIT for v in results.values()))


if __name__ == "__main__":
    main()
