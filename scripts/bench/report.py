#!/usr/bin/env python3
"""What each step of the pipeline costs and saves: the embedded models and, where ../shared is, the two networks there.

    scripts/bench/report.py [--count N] [--speedup X] [MODEL...]       (default: all that are here; 40 images, 2.5)

For every model: W8A8 alone, a cache schedule alone with and without correction, both, and as many full steps as take
the same milliseconds with the model's own sampler and with DPM-Solver++. Times are of whole trajectories at batch 1 in
this run, each against the full float32 run timed right before and after it (median of the ratios). Errors are of the
final latents against full float32, over seeds 0 .. N-1: calibration and validation draw from 2^31 and up. Needs
python3; the networks of ../shared also need numpy and safetensors (build/oracle/bin/python3 has them)."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODELS = os.path.join(ROOT, "testdata", "models")
SHARED = os.path.join(ROOT, "..", "shared", "models")
# name: (steps, guidance, where it comes from)
WORK = {
    "fashion-dit": (50, 1.5, os.path.join(MODELS, "fashion-dit")),
    "fashion-unet": (50, 1, os.path.join(MODELS, "fashion-unet")),
    "anime-faces-64": (20, 1, "anime_faces"),
    "mnist-flow-transformer": (50, 2, "mnist_flow"),
}


class Unreachable(RuntimeError):
    """A budget or gate is not met (exit 3)."""


def tool(name, *args, folder=os.path.join(ROOT, "bin")):
    """Run a tool quietly; its JSON report."""
    done = subprocess.run([os.path.join(folder, name), *map(str, args), "-q", "--json"], capture_output=True, text=True)
    if done.returncode:
        kind = Unreachable if done.returncode == 3 else RuntimeError
        raise kind(f"{name}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else {}


def is_here(name):
    """Says so where it is not."""
    here = os.path.isdir(WORK[name][2]) or os.path.isdir(SHARED)
    if not here:
        print(f"{name}: ../shared is not here, left out")
    return here


def model_file(name, folder):
    source, out = WORK[name][2], os.path.join(folder, name + ".zst")
    if os.path.isdir(source):
        tool("import", source, "-o", out)
        return out
    tensors, graph = (os.path.join(folder, name + end) for end in (".safetensors", ".json"))
    script = os.path.join(ROOT, "scripts", "export_graph", source + ".py")
    subprocess.run([sys.executable, script, tensors, graph], check=True, stdout=subprocess.DEVNULL)
    tool("import", tensors, "--graph", graph, "-o", out)
    return out


class Bench:
    def __init__(self, name, folder, count):
        self.steps, self.guidance, _ = WORK[name]
        self.folder, self.count = folder, count
        self.model = model_file(name, folder)
        self.full = [self.model, "--steps", self.steps]
        self.reference = self.latents(self.full, "full")

    def generate(self, args, *more):
        return tool("generate", *args, "--guidance", self.guidance, *more)

    def latents(self, args, name):
        path = os.path.join(self.folder, name + ".latents.safetensors")
        self.generate(args, "--count", self.count, "--batch", 4, "--latents", path)
        return path

    def seconds(self, args):
        scratch = os.path.join(self.folder, "timed.safetensors")
        return self.generate(args, "--count", 2, "--batch", 1, "--latents", scratch)["seconds"] / 2

    def row(self, name, args):
        ratios, mine = [], []
        before = self.seconds(self.full)
        for _ in range(3):
            mine.append(self.seconds(args))
            after = self.seconds(self.full)
            ratios.append((before + after) / 2 / mine[-1])
            before = after
        got = self.latents(args, "row")
        error = tool("evaluate", "--reference", self.reference, got)
        ratio, ms = statistics.median(ratios), 1e3 * statistics.median(mine)
        print(f"  {name:32} {ms:9.1f} ms  {ratio:5.2f}x ({min(ratios):.2f}-{max(ratios):.2f})   "
              f"rel. L2 {error['rel_l2']:.4f}   {error['psnr_db']:6.2f} dB", flush=True)
        return ratio

    def schedule(self, model, speedup, correct):
        out = os.path.join(self.folder, "schedule.zst")
        tool("cache-schedule", model, "--steps", self.steps, "--guidance", self.guidance, "--speedup", speedup,
             "--correct", correct, "-o", out)
        return [model, "--schedule", out]

    def run(self, speedup):
        small = os.path.join(self.folder, "small.zst")
        tool("quantize", self.model, "-o", small)
        self.row("full float32", self.full)
        self.row("W8A8", [small, "--steps", self.steps])
        alone = self.row("schedule", self.schedule(self.model, speedup, "on"))
        self.row("schedule, no correction", self.schedule(self.model, speedup, "off"))
        both = self.row("W8A8 + schedule", self.schedule(small, speedup, "on"))
        self.row("W8A8 + schedule, no correction", self.schedule(small, speedup, "off"))
        for ratio in (alone, both):
            steps = max(1, round(self.steps / ratio))
            self.row(f"{steps} full steps", [self.model, "--steps", steps])
            self.row(f"{steps} steps of DPM-Solver++", [self.model, "--steps", steps, "--sampler", "dpmpp-2m"])


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model", nargs="*", choices=[[], *WORK])
    args.add_argument("--count", type=int, default=40)
    args.add_argument("--speedup", type=float, default=2.5)
    options = args.parse_args()
    for name in options.model or WORK:
        if not is_here(name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(name, folder, options.count)
            print(f"{name}: {bench.steps} steps, guidance {bench.guidance}, {options.count} images")
            bench.run(options.speedup)


if __name__ == "__main__":
    main()
