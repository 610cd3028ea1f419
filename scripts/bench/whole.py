#!/usr/bin/env python3
"""Whole programs: the embedded DiT against PyTorch, loading, and peak memory.

    scripts/bench/whole.py prepare FOLDER          # once: the embedded DiT as float32, W8A8, and a schedule for it
    scripts/bench/whole.py trajectory FOLDER [--batch 1,16] [--rounds N]
    scripts/bench/whole.py load FILE... [--rounds N]

trajectory: 50 calls of DDIM with guidance 1.5, N images in one batch. Ours is the wall clock of `generate` from start to end,
with loading, plans and the output file; PyTorch's (eager, float32) is the loop alone, in a process that is warm. In turn, as
ratios with their range; beside them the relative L2 of the final latents against PyTorch's.
load: the wall clock of `generate --steps 1` without guidance less that of its network call, against the bytes of the
model's tensors; and the peak of its resident memory less what `profile --plan` predicts.
Needs torch and diffusers (build/oracle/bin/python3). Leave the machine to it."""
import argparse
import json
import os
import statistics
import subprocess
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DIT = os.path.join(ROOT, "testdata", "models", "fashion-dit")
STEPS, GUIDANCE = 50, 1.5


def tool(name, *args):
    """Seconds, peak of resident memory in MiB, standard output."""
    start = time.perf_counter()
    p = subprocess.Popen([os.path.join(ROOT, "bin", name), *map(str, args), "-q"], stdout=subprocess.PIPE, text=True)
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        raise SystemExit(f"{name}: status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out


def prepare(folder):
    os.makedirs(folder, exist_ok=True)
    full, small, schedule = (os.path.join(folder, n) for n in ("f32.zst", "w8a8.zst", "schedule.zst"))
    tool("import", DIT, "-o", full)
    tool("quantize", full, "-o", small)
    tool("cache-schedule", small, "--steps", STEPS, "--guidance", GUIDANCE, "--speedup", 2, "-o", schedule)


def torch_trajectory(count):
    """DDIM with eta 0 on the model's own betas; noise and labels as generate draws them."""
    import torch
    from diffusers import DiTTransformer2DModel
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = DiTTransformer2DModel.from_pretrained(os.path.join(DIT, "transformer")).float().eval()
    bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float32), 0).double()
    label = torch.cat([torch.arange(count) % 10, torch.full((count,), 10)])
    noise = torch.cat([torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(i)) for i in range(count)])

    @torch.inference_mode()
    def run():
        x, ratio = noise, 1000 // STEPS
        for t in range((STEPS - 1) * ratio, -1, -ratio):
            both = model(torch.cat([x, x]), timestep=torch.full((2 * count,), t), class_labels=label).sample
            e = both[count:] + GUIDANCE * (both[:count] - both[count:])
            a, b = float(bar[t]), float(bar[t - ratio]) if t >= ratio else 1.0
            x = b ** 0.5 * (x - (1 - a) ** 0.5 * e) / a ** 0.5 + (1 - b) ** 0.5 * e
        return x.numpy()
    return run


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def trajectory(folder, batches, rounds):
    import numpy as np
    from safetensors.numpy import load_file
    full, small, schedule, out = (os.path.join(folder, n) for n in ("f32.zst", "w8a8.zst", "schedule.zst", "out.safetensors"))
    for count in batches:
        run, ratios, seconds, off, eager = torch_trajectory(count), {}, {}, {}, []
        want = run()
        for _ in range(rounds):
            start = time.perf_counter()
            run()
            eager.append(time.perf_counter() - start)
            for name, how in {"float32": (full, "--steps", STEPS), "W8A8": (small, "--steps", STEPS),
                              "W8A8 + schedule": (small, "--schedule", schedule)}.items():
                took, _, _ = tool("generate", *how, "--guidance", GUIDANCE, "--class", "0-9", "--count", count,
                                  "--batch", count, "--latents", out)
                got = load_file(out)
                got = next(iter(got.values())).reshape(want.shape)
                seconds.setdefault(name, []).append(took)
                ratios.setdefault(name, []).append(eager[-1] / took)
                off[name] = float(np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want))
        print(f"batch {count}: PyTorch eager float32 {statistics.median(eager):.3f} s, the loop alone")
        for name in ratios:
            print(f"  {name:16} {statistics.median(seconds[name]):.3f} s, the whole program; {spread(ratios[name])} times as fast; "
                  f"relative L2 {off[name]:.1e}", flush=True)


def load(files, rounds):
    for path in files:
        plan = json.loads(tool("profile", path, "--plan", "--steps", 1, "--guidance", 1, "--json")[2])
        stage = next(s for s in plan["stages"] if s["stage"] == "denoiser")
        call = json.loads(tool("profile", path, "--actions", "off", "--repeat", 3, "--json")[2])["full_ms"] / 1e3
        rates, peaks = [], []
        for _ in range(rounds):
            took, peak, _ = tool("generate", path, "--steps", 1, "--guidance", 1, "--latents", os.path.join("/tmp", "load.safetensors"))
            rates.append(stage["file_bytes"] / (took - call) / 1e9)
            peaks.append(peak)
        planned = stage["total_bytes"] / 2 ** 20
        print(f"{path}: {stage['file_bytes'] / 1e9:.2f} GB of tensors, loaded and packed at {spread(rates)} GB/s; peak {max(peaks):.0f} MiB, "
              f"planned {planned:.0f}, {max(peaks) - planned:+.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    parts.add_parser("prepare").add_argument("folder")
    p = parts.add_parser("trajectory")
    p.add_argument("folder")
    p.add_argument("--batch", default="1,16")
    p.add_argument("--rounds", type=int, default=3)
    p = parts.add_parser("load")
    p.add_argument("file", nargs="+")
    p.add_argument("--rounds", type=int, default=3)
    o = parser.parse_args()
    if o.what == "prepare":
        prepare(o.folder)
    elif o.what == "trajectory":
        trajectory(o.folder, list(map(int, o.batch.split(","))), o.rounds)
    else:
        load(o.file, o.rounds)


if __name__ == "__main__":
    main()
