#!/usr/bin/env python3
"""Write tensors and graph of the U-Net in ../shared/models/anime-faces-64.

    scripts/export_graph/anime_faces.py [MODEL-FOLDER] OUT.safetensors OUT.json
    import OUT.safetensors --graph OUT.json -o anime.model.zst

It is a UNet2DModel but for: group norm eps 1e-3, attention added to the normalised input, a stored table of
frequencies, and a cosine schedule of 300 steps whose DDIM goes from entry to entry of its list."""
import os
import subprocess
import sys

import numpy as np
from safetensors.numpy import load_file

from graph import Graph, write

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "models", "anime-faces-64")
GROUPS, EPS = 8, 1e-3


def resnet(g, name, x, temb):
    h = g.layer("group_norm", f"{name}.norm1", x, groups=GROUPS, eps=EPS)
    h = g.node("silu", f"{name}.act1", h)
    h = g.layer("conv2d", f"{name}.conv1", h, pad=1)
    t = g.node("silu", f"{name}.act_time", temb)
    t = g.layer("linear", f"{name}.time_emb_proj", t)
    h = g.node("add", f"{name}.time_add", h, t)
    h = g.layer("group_norm", f"{name}.norm2", h, groups=GROUPS, eps=EPS)
    h = g.node("silu", f"{name}.act2", h)
    h = g.layer("conv2d", f"{name}.conv2", h, pad=1)
    if f"{name}.conv_shortcut.weight" in g.tensors:
        x = g.layer("conv2d", f"{name}.conv_shortcut", x)
    return g.node("add", f"{name}.residual", x, h)


def attention(g, name, x):
    x = g.layer("group_norm", f"{name}.group_norm", x, groups=GROUPS, eps=EPS)
    q, k, v = (g.layer("linear", f"{name}.to_{p}", x) for p in "qkv")
    h = g.node("attention", f"{name}.attention", q, k, v)
    h = g.layer("linear", f"{name}.to_out.0", h)
    return g.node("add", f"{name}.residual", x, h)


def build(tensors):
    g = Graph(tensors)
    x, time = g.input("sample", "image", 3, 64, 64), g.input("timestep", "vector", 1)
    t = g.node("timestep_embedding", "time_proj", time, dim=256, weights={"frequencies": "time_embedding.frequencies"})
    t = g.layer("linear", "time_embedding.linear_1", t)
    t = g.node("silu", "time_embedding.act", t)
    t = g.layer("linear", "time_embedding.linear_2", t)
    h = g.layer("conv2d", "conv_in", x, pad=1)
    skips = [h]
    for i in range(4):
        for j in range(2):
            h = resnet(g, f"down_blocks.{i}.resnets.{j}", h, t)
            if i >= 2:
                h = attention(g, f"down_blocks.{i}.attentions.{j}", h)
            skips.append(h)
        if i < 3:
            h = g.layer("conv2d", f"down_blocks.{i}.downsamplers.0.conv", h, stride=2, pad=0, pad_end=1)
            skips.append(h)
    h = resnet(g, "mid_block.resnets.0", h, t)
    h = attention(g, "mid_block.attentions.0", h)
    h = resnet(g, "mid_block.resnets.1", h, t)
    for i in range(4):
        for j in range(3):
            h = g.node("concat", f"up_blocks.{i}.resnets.{j}.concat", h, skips.pop())
            h = resnet(g, f"up_blocks.{i}.resnets.{j}", h, t)
            if i < 2:
                h = attention(g, f"up_blocks.{i}.attentions.{j}", h)
        if i < 3:
            h = g.node("upsample", f"up_blocks.{i}.upsamplers.0", h)
            h = g.layer("conv2d", f"up_blocks.{i}.upsamplers.0.conv", h, pad=1)
    h = g.layer("group_norm", "conv_norm_out", h, groups=GROUPS, eps=EPS)
    h = g.node("silu", "conv_act", h)
    g.outputs["sample"] = g.layer("conv2d", "conv_out", h, pad=1)
    return g


def betas():
    s, n = 0.008, 300
    bar = np.cos((np.arange(n + 1) / n + s) / (1 + s) * np.pi / 2) ** 2
    return np.clip(1 - bar[1:] / bar[:-1], 1e-4, 0.9999)


def main():
    *source, tensors, graph = sys.argv[1:]
    subprocess.run([sys.executable, os.path.join(source[0] if source else SOURCE, "to_safetensors.py"), tensors], check=True)
    config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 300, "trained_betas": [float(b) for b in betas()],
              "clip_sample": True, "set_alpha_to_one": True, "timestep_spacing": "linspace", "previous_timestep": "list"}
    write(graph, {"denoiser": build(load_file(tensors))}, sampler={"config": config, "steps": 20},
          image={"channels": 3, "height": 64, "width": 64, "low": -1, "high": 1})


if __name__ == "__main__":
    main()
