#!/usr/bin/env python3
"""Pruning scores compared at equal milliseconds: random, magnitude, LD-Pruner's latent score, and the joint score with
and without the refit by least squares.

    scripts/bench/pruners.py [--cuts 5,10,15,20] [--count N] [--seeds N] [--calls N] [MODEL...]

The share of the milliseconds that goes is counted with one profile of the model, so all rows of a block have the same
budget; `measured` is what one call of the pruned model takes beside the original in the same run (median of seven
alternations). Errors are of final latents (20 steps) against the unpruned model on seeds 0 .. N-1, which neither
calibration nor validation has seen; the Frechet distance (with its 95 % interval) is to the unpruned model's pictures,
for models that have a classifier here. Models and requirements as in report.py."""
import argparse
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from report import MODELS, WORK, is_here, model_file, tool  # noqa: E402

ROWS = [
    ("random", ["--score", "random", "--compensate", "off"]),
    ("magnitude", ["--score", "magnitude", "--compensate", "off"]),
    ("latent (LD-Pruner)", ["--score", "latent", "--compensate", "off"]),
    ("joint, no refit", ["--score", "joint", "--compensate", "off"]),
    ("joint, refit", ["--score", "joint", "--compensate", "on"]),
]


def latents(model, guidance, count, path):
    tool("generate", model, "--steps", 20, "--guidance", guidance, "--count", count, "--batch", 4, "-j", 1,
         "--latents", path)
    return path


def run(name, options, folder):
    guidance = WORK[name][1]
    model = model_file(name, folder)
    profile, out = os.path.join(folder, "p.zst"), os.path.join(folder, "pruned.zst")
    tool("profile", model, "-o", profile)
    reference = latents(model, guidance, options.count, os.path.join(folder, "full.safetensors"))
    features = []
    if name.startswith("fashion"):
        source = os.path.join(MODELS, "fashion-features")
        file = os.path.join(folder, "features.zst")
        tool("import", os.path.join(source, "weights.safetensors"), "--graph", os.path.join(source, "graph.json"),
             "-o", file)
        features = ["--features", file]
    print(f"{name}: 20 steps, guidance {guidance}, {options.count} images, calibration {options.seeds} seeds x "
          f"{options.calls} calls", flush=True)
    for cut in options.cuts:
        for label, args in ROWS:
            start = time.time()
            report = os.path.join(folder, "r.json")
            try:
                tool("prune", model, "--profile", profile, "--speedup", 1 / (1 - cut / 100), "--seeds", options.seeds,
                     "--calls", options.calls, "--packages", options.packages, "--validate", 2, "-j", 1, *args,
                     "-o", out, "--report", report)
            except RuntimeError as e:
                print(f"  -{cut:2d} %  {label:20} {e}")
                continue
            with open(report, encoding="utf-8") as f:
                told = json.load(f)
            seconds = time.time() - start
            got = latents(out, guidance, options.count, os.path.join(folder, "got.safetensors"))
            error = tool("evaluate", "--reference", reference, got)
            line = (f"  -{cut:2d} %  {label:20} predicted {100 * (told['ms_predicted'] / told['ms_before'] - 1):6.1f} %  "
                    f"measured {100 * (told['ms_after'] / told['ms_before'] - 1):6.1f} %  "
                    f"rel. L2 {error['rel_l2']:.4f}  {error['psnr_db']:6.2f} dB")
            if features:
                try:
                    f = tool("evaluate", "--reference", reference, got, *features, "--resamples", 50)
                    line += f"  FD {f['frechet']:.1f} ({f['frechet_low']:.1f}-{f['frechet_high']:.1f})"
                except RuntimeError:
                    pass
            print(f"{line}  {seconds:.0f} s", flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model", nargs="*", choices=[[], *WORK])
    args.add_argument("--cuts", default="5,10,15,20", type=lambda s: [int(x) for x in s.split(",")])
    args.add_argument("--count", type=int, default=40)
    args.add_argument("--seeds", type=int, default=16)
    args.add_argument("--calls", type=int, default=10)
    args.add_argument("--packages", type=int, default=1)
    options = args.parse_args()
    for name in options.model or WORK:
        if not is_here(name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            run(name, options, folder)


if __name__ == "__main__":
    main()
