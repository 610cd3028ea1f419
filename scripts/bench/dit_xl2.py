#!/usr/bin/env python3
"""DiT-XL/2 at 256 x 256 with random weights, one network call at batch 1: OpenVINO and this project in one run, in turn.

    scripts/bench/dit_xl2.py [--rounds N]       needs torch, diffusers, openvino (build/oracle/bin/python3), 8 GB of disk

Prints per round and type the seconds of OpenVINO (best and median of 5) and of `profile` (median of 7), their ratio, and the
relative L2 of one forward against PyTorch in float32, of both. W8A8 is ours alone. Leave the machine to it."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import openvino as ov
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file, save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "scripts", "parity"))
import pipelines

THREADS = len(os.sched_getaffinity(0))


class Positional(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, t, y):
        return self.model(x, timestep=t, class_labels=y, return_dict=False)[0]


def tool(name, *args):
    done = subprocess.run([os.path.join(ROOT, "bin", name), *map(str, args), "-q"], check=True, capture_output=True, text=True)
    return done.stdout


def error(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def prepare(folder):
    """Model files by type, the inputs, PyTorch's answer, and OpenVINO's requests by type."""
    torch.manual_seed(0)
    model = pipelines.share_embedders(pipelines.randomise(DiTTransformer2DModel(out_channels=8)))
    inputs = (torch.randn(1, 4, 32, 32), torch.tensor([500]), torch.tensor([207]))
    model.save_pretrained(f"{folder}/dit")
    save_file(pipelines.as_float(dict(zip(("sample", "timestep", "class_labels"), inputs))), f"{folder}/in.safetensors")
    files = {name: f"{folder}/{name}.zst" for name in ("f32", "bf16", "w8a8")}
    tool("import", f"{folder}/dit", "-o", files["f32"])
    tool("import", f"{folder}/dit", "--dtype", "bf16", "-o", files["bf16"])
    tool("quantize", files["f32"], "--validate", 0, "-o", files["w8a8"])
    wrapped = Positional(model)
    with torch.inference_mode():
        want = wrapped(*inputs).numpy()
    converted, core, requests = ov.convert_model(wrapped, example_input=inputs), ov.Core(), {}
    for name in ("f32", "bf16"):
        hints = {"INFERENCE_PRECISION_HINT": name, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS}
        requests[name] = core.compile_model(converted, "CPU", hints).create_infer_request()
    return files, [i.numpy() for i in inputs], want, requests


def peer(request, inputs, want):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        out = list(request.infer(inputs).values())[0]
        times.append(time.perf_counter() - start)
    return min(times), sorted(times)[2], error(out, want)


def ours(path, folder, want):
    report = json.loads(tool("profile", path, "--actions", "off", "--repeat", 7, "--json"))
    tool("generate", path, "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    return report["full_ms"] / 1e3, error(load_file(f"{folder}/out.safetensors")["sample"].numpy(), want), report


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--rounds", type=int, default=3)
    rounds = args.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        files, inputs, want, requests = prepare(folder)
        for _ in range(rounds):
            for name, path in files.items():
                seconds, off, report = ours(path, folder, want)
                line = f"{name:5} ours {seconds:.3f} s, relative L2 {off:.1e}"
                if name in requests:
                    best, median, their = peer(requests[name], inputs, want)
                    line += (f"; OpenVINO {best:.3f} / {median:.3f} s, {their:.1e}; ratio {best / seconds:.2f} / "
                             f"{median / seconds:.2f}")
                print(f"{line}   (peak {report['peak_f32_gflops']:.0f} GF/s float, {report['peak_int8_gops']:.0f} GOP/s int8)",
                      flush=True)


if __name__ == "__main__":
    main()
