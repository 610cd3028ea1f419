#!/usr/bin/env python3
"""Pruning scores compared at equal milliseconds: random, magnitude, LD-Pruner's latent score, and the joint score with
and without the refit by least squares.

    scripts/bench/pruners.py [--cuts 5,10,15,20] [--rows WORDS] [--count N] [--seeds N] [--calls N] [--folder DIR]
                             [--profile | --times] [MODEL...]

The share of the milliseconds that goes is counted with one profile of the model, so all rows of a block have the same
budget. Errors are of final latents (20 steps) against the unpruned model on seeds 0 .. N-1, which neither calibration
nor validation has seen; the Frechet distance (with its 95 % interval) is to the unpruned model's pictures, for models
that have a classifier here. `measured` is what one call of the pruned model takes beside the original in the same run
(median of seven alternations): true where the machine is quiet. With --folder the profile and the pruned models stay
there, so that a machine need not be quiet for long: --profile only measures the profiles, --times only the time of the
pruned models that are there against what was predicted, and of all kernels against the whole call. --rows takes rows
whose names hold one of the words. Models and requirements as in report.py."""
import argparse
import contextlib
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


def kept(options, folder, name, cut, label):
    return os.path.join(folder, f"{name}.{cut}.{label.replace(', ', '-').replace(' ', '-')}.zst")


def opened(name, folder):
    """The model and its profile, which is measured where it is not there."""
    model, profile = os.path.join(folder, name + ".zst"), os.path.join(folder, name + ".profile.zst")
    if not os.path.exists(model):
        model_file(name, folder)
    if not os.path.exists(profile):
        tool("profile", model, "--actions", "off", "-j", 1, "--repeat", 25, "-o", profile)
    return model, profile


def times(name, options, folder):
    """Of what is in the folder: predicted against measured, kernels against the call."""
    model, _ = opened(name, folder)
    print(f"{name}: one call of one image, one thread")
    for cut in options.cuts:
        for label, _ in ROWS:
            pruned = kept(options, folder, name, cut, label)
            if not options.wanted(label) or not os.path.exists(pruned):
                continue
            with open(pruned + ".json", encoding="utf-8") as f:
                told = json.load(f)
            predicted = told["ms_predicted"] / told["ms_before"]
            got = tool("profile", model, "--compare", pruned, "--repeat", options.repeat, "-j", 1)
            whole = tool("profile", pruned, "--actions", "off", "--repeat", options.repeat, "-j", 1)
            measured = 1 / got["ratio"]
            print(f"  -{cut:2d} %  {label:20} predicted {100 * (predicted - 1):6.1f} %  measured "
                  f"{100 * (measured - 1):6.1f} % ({100 * (1 / got['ratio_high'] - 1):.1f} to "
                  f"{100 * (1 / got['ratio_low'] - 1):.1f})  predicted time {100 * (predicted / measured - 1):+5.1f} % off  "
                  f"kernels {100 * whole['kernel_sum_ms'] / whole['full_ms']:5.1f} % of the call", flush=True)


def run(name, options, folder):
    guidance = WORK[name][1]
    model, profile = opened(name, folder)
    reference = os.path.join(folder, f"{name}.{options.count}.full.safetensors")
    if not os.path.exists(reference):
        latents(model, guidance, options.count, reference)
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
            if not options.wanted(label):
                continue
            start = time.time()
            out = kept(options, folder, name, cut, label)
            report = out + ".json"
            try:
                tool("prune", model, "--profile", profile, "--speedup", 1 / (1 - cut / 100), "--seeds", options.seeds,
                     "--calls", options.calls, "--packages", options.packages, "-j", 1, *args, "-o", out, "--report",
                     report)
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
    args.add_argument("--repeat", type=int, default=15)
    args.add_argument("--rows", type=lambda s: s.split(","))
    args.add_argument("--folder")
    args.add_argument("--profile", action="store_true")
    args.add_argument("--times", action="store_true")
    options = args.parse_args()
    options.wanted = lambda label: not options.rows or any(w in label for w in options.rows)
    do = opened if options.profile else times if options.times else run
    for name in options.model or WORK:
        if not is_here(name):
            continue
        with contextlib.nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
            os.makedirs(folder, exist_ok=True)
            do(*((name, folder) if options.profile else (name, options, folder)))


if __name__ == "__main__":
    main()
