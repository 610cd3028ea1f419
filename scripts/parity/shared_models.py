#!/usr/bin/env python3
"""The two real networks of ../shared/models against PyTorch restatements written from their descriptions.

    scripts/parity/shared_models.py [BIN]       needs torch, safetensors, numpy, and ../shared beside the project

anime-faces-64: its published golden forward and a 20-step DDIM run; mnist-flow-transformer: a 50-step Euler run with
guidance in an interval. Every latent within 1e-4 relative; exits 1 where one is not."""
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "..", "bin")
SHARED = os.path.join(HERE, "..", "..", "..", "shared", "models")
LIMIT = 1e-4


def run(*args):
    subprocess.run([os.path.join(BIN, args[0]), *args[1:], "-q"], check=True, stdout=subprocess.DEVNULL)


def error(got, want):
    return ((got.double() - want).norm() / want.double().norm()).item()


def export(name, folder):
    """The model file and the tensors it was made of."""
    paths = [os.path.join(folder, name + end) for end in (".safetensors", ".json", ".zst")]
    script = os.path.join(HERE, "..", "export_graph", name + ".py")
    subprocess.run([sys.executable, script, *paths[:2]], check=True, stdout=subprocess.DEVNULL)
    run("import", paths[0], "--graph", paths[1], "-o", paths[2])
    return paths[2], paths[0]


# ---- anime-faces-64: a U-Net of four levels ----

def anime(w, x, t):
    def norm(h, name):
        return F.group_norm(h, 8, w[name + ".weight"], w[name + ".bias"], 1e-3)

    def conv(h, name, **how):
        return F.conv2d(h, w[name + ".weight"], w[name + ".bias"], **how)

    def linear(h, name):
        return F.linear(h, w[name + ".weight"].flatten(1), w[name + ".bias"])

    def resnet(h, name):
        y = conv(F.silu(norm(h, name + ".norm1")), name + ".conv1", padding=1)
        y = y + linear(F.silu(time), name + ".time_emb_proj")[:, :, None, None]
        y = conv(F.silu(norm(y, name + ".norm2")), name + ".conv2", padding=1)
        return y + (conv(h, name + ".conv_shortcut") if name + ".conv_shortcut.weight" in w else h)

    def attention(h, name):
        h = norm(h, name + ".group_norm")  # the sum is with the normalised values
        rows = h.flatten(2).transpose(1, 2)
        q, k, v = (linear(rows, f"{name}.to_{p}") for p in "qkv")
        y = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1) @ v
        return h + linear(y, name + ".to_out.0").transpose(1, 2).reshape(h.shape)

    angle = t * w["time_embedding.frequencies"]
    time = linear(torch.cat([angle.sin(), angle.cos()])[None], "time_embedding.linear_1")
    time = linear(F.silu(time), "time_embedding.linear_2")
    h = conv(x, "conv_in", padding=1)
    skips = [h]
    for i in range(4):
        for j in range(2):
            h = resnet(h, f"down_blocks.{i}.resnets.{j}")
            h = attention(h, f"down_blocks.{i}.attentions.{j}") if i > 1 else h
            skips.append(h)
        if i < 3:
            h = conv(F.pad(h, (0, 1, 0, 1)), f"down_blocks.{i}.downsamplers.0.conv", stride=2)
            skips.append(h)
    h = attention(resnet(h, "mid_block.resnets.0"), "mid_block.attentions.0")
    h = resnet(h, "mid_block.resnets.1")
    for i in range(4):
        for j in range(3):
            h = resnet(torch.cat([h, skips.pop()], 1), f"up_blocks.{i}.resnets.{j}")
            h = attention(h, f"up_blocks.{i}.attentions.{j}") if i < 2 else h
        if i < 3:
            h = conv(F.interpolate(h, scale_factor=2), f"up_blocks.{i}.upsamplers.0.conv", padding=1)
    return conv(F.silu(norm(h, "conv_norm_out")), "conv_out", padding=1)


def anime_schedule():
    """Cumulative alphas of 300 cosine steps, s = 0.008, betas clipped to [1e-4, 0.9999]."""
    u = (np.arange(301) / 300 + 0.008) / 1.008
    bar = np.cos(u * np.pi / 2) ** 2
    return np.cumprod(1 - np.clip(1 - bar[1:] / bar[:-1], 1e-4, 0.9999))


def check_anime(folder, results):
    path, tensors = export("anime_faces", folder)
    w = load_file(tensors)

    def golden(name):
        x = np.fromfile(os.path.join(SHARED, "anime-faces-64", name), np.float32).reshape(1, 64, 64, 3)
        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()

    x, eps = golden("golden_x_t299.f32"), golden("golden_eps_t299.f32")
    save_file({"sample": x, "timestep": torch.tensor([299.0])}, f"{folder}/in.safetensors")
    run("generate", path, "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    results["anime-faces-64: golden forward"] = error(load_file(f"{folder}/out.safetensors")["sample"], eps)
    results["anime-faces-64: the restatement"] = error(anime(w, x, 299.0), eps)

    run("generate", path, "--steps", "20", "--trace", f"{folder}/t.safetensors", "--latents", f"{folder}/l.safetensors")
    got = load_file(f"{folder}/t.safetensors")["trace"]
    bar, worst = anime_schedule(), 0
    times = [int(round(t)) for t in np.linspace(299, 0, 20)]
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for i, t in enumerate(times):
        a, b = bar[t], bar[times[i + 1]] if i + 1 < len(times) else 1.0
        e = anime(w, x, float(t))
        clean = ((x - math.sqrt(1 - a) * e) / math.sqrt(a)).clamp(-1, 1)
        x = math.sqrt(b) * clean + math.sqrt(1 - b) * e
        worst = max(worst, error(got[i], x))
    results["anime-faces-64: 20 DDIM steps"] = worst


# ---- mnist-flow-transformer: a post-norm encoder over patches ----

def mnist(w, x, t, labels):
    def layer(h, p):
        y, _ = F.multi_head_attention_forward(
            h.transpose(0, 1), h.transpose(0, 1), h.transpose(0, 1), 64, 4, w[p + "self_attn.in_proj_weight"],
            w[p + "self_attn.in_proj_bias"], None, None, False, 0.0, w[p + "self_attn.out_proj.weight"],
            w[p + "self_attn.out_proj.bias"], training=False, need_weights=False)
        h = F.layer_norm(h + y.transpose(0, 1), (64,), w[p + "norm1.weight"], w[p + "norm1.bias"])
        y = F.gelu(F.linear(h, w[p + "linear1.weight"], w[p + "linear1.bias"]))
        y = F.linear(y, w[p + "linear2.weight"], w[p + "linear2.bias"])
        return F.layer_norm(h + y, (64,), w[p + "norm2.weight"], w[p + "norm2.bias"])

    h = F.conv2d(x, w["patch_embed.weight"], w["patch_embed.bias"], stride=7).flatten(2).transpose(1, 2)
    angle = t * torch.exp(torch.arange(64) * (-math.log(10000) / 63))
    time = torch.cat([angle.sin(), angle.cos()]).reshape(1, 2, 64).expand(len(x), 2, 64)
    h = torch.cat([h + w["pos_embed"].reshape(1, 16, 64), time, w["y_encoder.weight"][labels].reshape(-1, 2, 64)], 1)
    for p in sorted({k.split("self_attn")[0] for k in w if "self_attn" in k}):
        h = layer(h, p)
    h = h[:, :16].transpose(1, 2).reshape(-1, 64, 4, 4)
    return F.conv_transpose2d(h, w["unpatch.weight"], w["unpatch.bias"], stride=7)


def check_mnist(folder, results):
    path, _ = export("mnist_flow", folder)
    w = load_file(os.path.join(SHARED, "mnist-flow-transformer", "model.safetensors"))
    run("generate", path, "--count", "3", "--class", "0,4,7", "--trace", f"{folder}/t.safetensors", "--latents",
        f"{folder}/l.safetensors")
    got = load_file(f"{folder}/t.safetensors")["trace"]
    labels, none, worst = torch.tensor([0, 4, 7]), torch.tensor([10, 10, 10]), 0
    x = torch.cat([torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    for i in range(50):
        t = i / 50
        clean = mnist(w, x, t, labels)
        if 0.3 < t < 0.7:
            free = mnist(w, x, t, none)
            clean = free + 2.0 * (clean - free)
        x = x + (clean - x) / (1 - t) / 50
        worst = max(worst, error(got[i], x))
    results["mnist-flow-transformer: 50 Euler steps"] = worst


@torch.no_grad()
def main():
    if not os.path.isdir(SHARED):
        print("skipped: there is no ../shared/models")
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        check_anime(folder, results)
        check_mnist(folder, results)
    for name, value in results.items():
        print(f"{'ok  ' if value <= LIMIT else 'FAIL'} {name:40} {value:.2e}")
    sys.exit(any(not v <= LIMIT for v in results.values()))


if __name__ == "__main__":
    main()
