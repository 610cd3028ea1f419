#!/usr/bin/env python3
"""Full-size networks with random weights: DiT-XL/2 and google/ddpm-cifar10-32's U-Net, one forward each in diffusers and
here, with the time and memory of both sides.

    scripts/parity/full_size.py [BIN]       needs torch, diffusers, safetensors, 12 GB of memory and 9 GB in TMPDIR

Prints JSON lines; exits 1 where the relative error is above 1e-4. `--torch FOLDER` is its own other half: one forward of
the pipeline in FOLDER, in a process of its own."""
import json
import os
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file
from diffusers import AutoModel, DDIMScheduler, DiTTransformer2DModel, UNet2DModel

import pipelines

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "..", "..", "bin")
LIMIT = 1e-4
CIFAR = dict(sample_size=32, block_out_channels=(128, 256, 256, 256), attention_head_dim=None, downsample_padding=0,
             flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
             down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
             up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"))
DIT_XL = dict(out_channels=8)  # the class's defaults are DiT-XL/2 at 256 x 256


# A process starts with its parent's peak, so a small one stands between.
STARTER = """
import os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
print(status, time.perf_counter() - start, usage.ru_maxrss / 1024)
"""


def measured(*args):
    """Seconds and peak MiB of a child process."""
    out = subprocess.run([sys.executable, "-c", STARTER, *args], check=True, capture_output=True, text=True).stdout
    status, seconds, mib = out.split()[-3:]
    if status != "0":
        sys.exit(f"{args[0]} failed")
    return float(seconds), float(mib)


@torch.no_grad()
def torch_side(folder):
    inputs = load_file(f"{folder}/in.safetensors")
    inputs = {k: v if k == "sample" else v.long() for k, v in inputs.items()}
    model = AutoModel.from_pretrained(f"{folder}/part")
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        out = pipelines.forward(model.eval(), inputs)
        best = min(best, time.perf_counter() - start)
    save_file({"sample": out.contiguous(), "seconds": torch.tensor(best)}, f"{folder}/expected.safetensors")


def compare(name, folder, model, inputs):
    model = pipelines.randomise(model)
    if isinstance(model, DiTTransformer2DModel):
        pipelines.share_embedders(model)
    parameters = sum(p.numel() for p in model.parameters())
    model.save_pretrained(f"{folder}/part")
    DDIMScheduler().save_pretrained(f"{folder}/part/scheduler")
    del model
    save_file(inputs, f"{folder}/in.safetensors")
    _, torch_mib = measured(sys.executable, "-W", "ignore", os.path.abspath(__file__), "--torch", folder)
    import_s, import_mib = measured(f"{BIN}/import", f"{folder}/part", "-q", "-o", f"{folder}/m.zst")
    once = (f"{BIN}/generate", f"{folder}/m.zst", "-q", "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    once_s, once_mib = measured(*once)
    expected, got = load_file(f"{folder}/expected.safetensors"), load_file(f"{folder}/out.safetensors")["sample"]
    error = ((got.double() - expected["sample"]).norm() / expected["sample"].double().norm()).item()
    print(json.dumps({"name": name, "parameters": parameters, "relative_error": error,
                      "torch_forward_s": round(expected["seconds"].item(), 4), "torch_peak_mib": round(torch_mib),
                      "import_s": round(import_s, 2), "import_peak_mib": round(import_mib),
                      "once_s": round(once_s, 2), "once_peak_mib": round(once_mib),
                      "model_mib": round(os.path.getsize(f"{folder}/m.zst") / 2 ** 20)}), flush=True)
    return error <= LIMIT


def main():
    global BIN
    if len(sys.argv) > 2 and sys.argv[1] == "--torch":
        return torch_side(sys.argv[2])
    BIN = sys.argv[1] if len(sys.argv) > 1 else BIN
    torch.manual_seed(0)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        good &= compare("ddpm-cifar10-32", folder, UNet2DModel(**CIFAR),
                        {"sample": torch.randn(1, 3, 32, 32), "timestep": torch.tensor([500.0])})
    with tempfile.TemporaryDirectory() as folder:
        good &= compare("DiT-XL/2", folder, DiTTransformer2DModel(**DIT_XL),
                        {"sample": torch.randn(1, 4, 32, 32), "timestep": torch.tensor([500.0]), "class_labels": torch.tensor([207.0])})
    sys.exit(not good)


if __name__ == "__main__":
    main()
