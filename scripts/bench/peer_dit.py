#!/usr/bin/env python3
"""What DiT-XL/2 takes in PyTorch on this device: eager, torch.compile, torch.compile with CUDA graphs; random weights.

    scripts/bench/peer_dit.py [--steps 50] [--size 256] [--batch 1,8] [--dtype bf16] [--modes eager,compile,graphs]

For every mode and batch one JSON line: milliseconds of a whole trajectory with guidance (both passes in one batch, DDIM
steps on the device, no decoder) per image, of one network call, and the peak of device memory. Median of 5 after 3 to
warm up. Compilation is not in the times. Needs torch with CUDA."""
import argparse
import json
import math
import statistics

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, LAYERS, HEADS, CLASSES, PATCH, CHANNELS = 1152, 28, 16, 1000, 2, 4


class Block(nn.Module):
    """adaLN-Zero (Peebles and Xie 2023)."""

    def __init__(self):
        super().__init__()
        self.modulation = nn.Linear(WIDTH, 6 * WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, condition):
        parts = self.modulation(F.silu(condition)).unsqueeze(1).chunk(6, dim=-1)
        h = F.layer_norm(x, (WIDTH,), eps=1e-6) * (1 + parts[1]) + parts[0]
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in self.qkv(h).chunk(3, dim=-1))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + parts[2] * self.out(h)
        h = F.layer_norm(x, (WIDTH,), eps=1e-6) * (1 + parts[4]) + parts[3]
        return x + parts[5] * self.down(F.gelu(self.up(h), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.grid = size // 8 // PATCH
        self.patch = nn.Conv2d(CHANNELS, WIDTH, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn(1, self.grid ** 2, WIDTH) * 0.02)
        self.time = nn.Sequential(nn.Linear(256, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.label = nn.Embedding(CLASSES + 1, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, PATCH * PATCH * 2 * CHANNELS)

    def forward(self, x, time, label):
        rate = torch.exp(torch.arange(128, device=x.device) * (-math.log(10000) / 128))
        angle = time[:, None].float() * rate
        condition = self.time(torch.cat([angle.cos(), angle.sin()], -1).to(x.dtype)) + self.label(label)
        x = self.patch(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.last(F.silu(condition)).unsqueeze(1).chunk(2, dim=-1)
        x = self.out(F.layer_norm(x, (WIDTH,), eps=1e-6) * (1 + scale) + shift)
        x = x.view(-1, self.grid, self.grid, PATCH, PATCH, 2 * CHANNELS)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(-1, 2 * CHANNELS, self.grid * PATCH, self.grid * PATCH)


def trajectory(network, x, label, steps):
    """DDIM with a linear schedule and guidance 4."""
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).tolist()
    for i in range(steps):
        t = (steps - 1 - i) * (1000 // steps)
        alpha, before = alphas[t], alphas[t - 1000 // steps] if i + 1 < steps else 1.0
        time = torch.full((2 * len(x),), float(t), device=x.device)
        both = network(torch.cat([x, x]).to(network.dtype), time, label)[:, :CHANNELS].float()
        cond, uncond = both.chunk(2)
        eps = uncond + 4.0 * (cond - uncond)
        clean = (x - math.sqrt(1 - alpha) * eps) / math.sqrt(alpha)
        x = math.sqrt(before) * clean + math.sqrt(1 - before) * eps
    return x


def milliseconds(run):
    times = []
    for i in range(8):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


@torch.inference_mode()
def measure(model, mode, batch, steps, dtype):
    run = {"eager": lambda m: m, "compile": torch.compile,
           "graphs": lambda m: torch.compile(m, mode="reduce-overhead")}[mode](model)

    def network(x, time, label):
        return run(x, time, label)
    network.dtype = dtype
    size = model.grid * PATCH
    x = torch.randn(batch, CHANNELS, size, size, device="cuda")
    label = torch.cat([torch.arange(batch), torch.full((batch,), CLASSES)]).cuda()
    time = torch.full((2 * batch,), 500.0, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    call = milliseconds(lambda: network(torch.cat([x, x]).to(dtype), time, label))
    whole = milliseconds(lambda: trajectory(network, x, label, steps))
    print(json.dumps({"mode": mode, "batch": batch, "dtype": str(dtype), "steps": steps, "ms_call": round(call, 3),
                      "ms_image": round(whole / batch, 2),
                      "peak_mib": round(torch.cuda.max_memory_allocated() / 2 ** 20)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16", "f32"])
    parser.add_argument("--modes", default="eager,compile,graphs")
    o = parser.parse_args()
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[o.dtype]
    torch.manual_seed(0)
    model = Transformer(o.size).cuda().to(dtype).eval()
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "size": o.size}), flush=True)
    for mode in o.modes.split(","):
        for batch in map(int, o.batch.split(",")):
            try:
                measure(model, mode, batch, o.steps, dtype)
            except Exception as e:  # a mode that this torch cannot is a line of the report, not its end
                print(json.dumps({"mode": mode, "batch": batch, "error": str(e)[:300]}), flush=True)


if __name__ == "__main__":
    main()
