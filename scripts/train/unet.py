#!/usr/bin/env python3
"""Train testdata/models/fashion-unet: an unconditional U-Net in diffusers' layout.

    scripts/train/unet.py --minutes 35"""
import argparse
import json
import os

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel

from common import ROOT, Average, Clock, alphas_bar, batches, data, save

CONFIG = dict(sample_size=28, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=[32, 64, 96],
              down_block_types=["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
              up_block_types=["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"], norm_num_groups=8, attention_head_dim=None,
              norm_eps=1e-5, act_fn="silu", downsample_padding=1, flip_sin_to_cos=True, freq_shift=0)
FOLDER = os.path.join(ROOT, "fashion-unet")


def write_configs():
    for name, content in {
        "model_index.json": {"_class_name": "DDIMPipeline", "_diffusers_version": "0.42.0",
                             "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DModel"]},
        "unet/config.json": {"_class_name": "UNet2DModel", "_diffusers_version": "0.42.0", **CONFIG},
        "scheduler/scheduler_config.json": {"_class_name": "DDIMScheduler", "_diffusers_version": "0.42.0",
                                            "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02,
                                            "beta_schedule": "linear", "clip_sample": False, "prediction_type": "epsilon",
                                            "set_alpha_to_one": True, "steps_offset": 0},
    }.items():
        path = os.path.join(FOLDER, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            json.dump(content, f, indent=2)
            f.write("\n")


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--minutes", type=float, default=35)
    args.add_argument("--threads", type=int, default=2)
    minutes, threads = vars(args.parse_args()).values()
    torch.manual_seed(21)
    torch.set_num_threads(threads)
    write_configs()
    model = UNet2DModel(**CONFIG).train().to(memory_format=torch.channels_last)
    average = Average(model, 0.999)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-4, weight_decay=0.01, betas=(0.9, 0.99))
    clock, bar, draw = Clock(minutes), alphas_bar(), torch.Generator().manual_seed(22)
    for step, (x, _) in enumerate(batches(*data("train"), 64, 23)):
        t = torch.randint(0, 1000, (len(x),), generator=draw)
        noise = torch.randn(x.shape, generator=draw)
        a = bar[t][:, None, None, None]
        for group in optimizer.param_groups:
            group["lr"] = 8e-4 * clock.factor(step)
        with torch.autocast("cpu", torch.bfloat16):
            got = model(a.sqrt() * x + (1 - a).sqrt() * noise, t).sample
        loss = F.mse_loss(got.float(), noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        if clock.report(step, loss.item()) or clock.share() >= 1:
            save(average.value, os.path.join(FOLDER, "unet", "diffusion_pytorch_model.safetensors"))
        if clock.share() >= 1:
            break


if __name__ == "__main__":
    main()
