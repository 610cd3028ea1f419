#!/usr/bin/env python3
"""Train testdata/models/fashion-dit: a class-conditional DiT in diffusers' layout.

    scripts/train/dit.py --minutes 60
    scripts/train/dit.py --minutes 45 --resume      (goes on from the stored average, with a smaller rate)

All blocks share one timestep and label embedder, as DiT-XL/2's do; the file stores the copies. One label in ten is
replaced by the null class 10, which guidance needs."""
import argparse
import json
import os

import torch
import torch.nn.functional as F
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file

from common import CLASSES, ROOT, Average, Clock, alphas_bar, batches, data, save

CONFIG = dict(num_attention_heads=4, attention_head_dim=48, in_channels=1, out_channels=1, num_layers=8, sample_size=28,
              patch_size=4, num_embeds_ada_norm=10, norm_type="ada_norm_zero", norm_elementwise_affine=False,
              activation_fn="gelu-approximate", attention_bias=True)
FOLDER = os.path.join(ROOT, "fashion-dit")


def build():
    model = DiTTransformer2DModel(**CONFIG)
    for block in model.transformer_blocks:
        block.norm1.emb = model.transformer_blocks[0].norm1.emb
        # The embedder runs once a block and would drop other labels in each: drop() does it once a step instead.
        block.norm1.emb.class_embedder.dropout_prob = 0
        torch.nn.init.zeros_(block.norm1.linear.weight)
        torch.nn.init.zeros_(block.norm1.linear.bias)
    for layer in (model.proj_out_1, model.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


def drop(labels, generator):
    return torch.where(torch.rand(labels.shape, generator=generator) < 0.1, len(CLASSES), labels)


def export(average):
    save({k: v for k, v in average.items() if k != "pos_embed.pos_embed"},
         os.path.join(FOLDER, "transformer", "diffusion_pytorch_model.safetensors"))


def write_configs():
    for name, content in {
        "model_index.json": {"_class_name": "DiTPipeline", "_diffusers_version": "0.42.0",
                             "scheduler": ["diffusers", "DDIMScheduler"],
                             "transformer": ["diffusers", "DiTTransformer2DModel"],
                             "id2label": {str(i): c for i, c in enumerate(CLASSES)}},
        "transformer/config.json": {"_class_name": "DiTTransformer2DModel", "_diffusers_version": "0.42.0", **CONFIG},
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
    args.add_argument("--minutes", type=float, default=60)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--resume", action="store_true")
    minutes, threads, resume = vars(args.parse_args()).values()
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    write_configs()
    model, rate = build().train(), 1e-3
    if resume:
        stored = load_file(os.path.join(FOLDER, "transformer", "diffusion_pytorch_model.safetensors"))
        model.load_state_dict({k: v.float() for k, v in stored.items()}, strict=False)
        rate = 6e-4
    average = Average(model, 0.999)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.99))
    clock, bar, draw = Clock(minutes), alphas_bar(), torch.Generator().manual_seed(5 if resume else 2)
    for step, (x, y) in enumerate(batches(*data("train"), 128, 4 if resume else 3)):
        t = torch.randint(0, 1000, (len(x),), generator=draw)
        noise = torch.randn(x.shape, generator=draw)
        a = bar[t][:, None, None, None]
        for group in optimizer.param_groups:
            group["lr"] = rate * clock.factor(step)
        y = drop(y, draw)
        with torch.autocast("cpu", torch.bfloat16):
            got = model(a.sqrt() * x + (1 - a).sqrt() * noise, timestep=t, class_labels=y).sample
        loss = F.mse_loss(got.float(), noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        if clock.report(step, loss.item()) or clock.share() >= 1:
            export(average.value)
        if clock.share() >= 1:
            break


if __name__ == "__main__":
    main()
