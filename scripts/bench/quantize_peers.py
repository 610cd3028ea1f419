#!/usr/bin/env python3
"""quantize beside NNCF: time and memory to quantize, bytes, error and time of one forward.

    scripts/bench/quantize_peers.py prepare MODEL FOLDER                # once: files of ours and of OpenVINO, inputs, reference
    scripts/bench/quantize_peers.py make FOLDER [--images N] [--skip ROW]   # quantizes in every way, each in a process of its own
    scripts/bench/quantize_peers.py forward FOLDER [--rounds N] [--repeat N]

MODEL: those of peers.py; dit-xl2x4 is DiT-XL/2 with 4 of its 28 blocks. `make` prints a table in Markdown: seconds of the whole
program for ours (it reads and writes files), of NNCF's call and the writing for theirs (without imports and reading), the same of
processor time, which other programs disturb less, the most memory that the process held (theirs with Python and OpenVINO, which
the first row has alone, with the model read), bytes of the file and relative L2 of one forward against PyTorch in float32, on an
input that nothing was calibrated on. `forward` prints milliseconds, in turn, and their ratios. Ours calibrates on N images of its
own sampler, 4 steps each; NNCF's on N draws of Gaussian latents at times spread over the schedule, where the measured input is one
more such draw. NNCF without data is compress_weights: int8 weights and float inputs. Needs torch, diffusers, openvino, nncf
(build/oracle/bin/python3)."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers

OURS = {"ours w8a8": ["--type", "w8a8"], "ours w8a8, calibrated": ["--type", "w8a8", "--calibrate", "N", "--steps", "4"],
        "ours w8a16": ["--type", "w8a16"], "ours w4a8": ["--type", "w4a8"]}
THEIRS = {"OpenVINO float32, read only": None, "NNCF int8 weights": "weights", "NNCF int8, calibrated": "int8"}


def file_of(folder, what, end):
    return os.path.join(folder, "made-" + what.replace(",", "").replace(" ", "-") + end)


def draws(folder, count):
    """Inputs like the measured one, other numbers, times spread evenly."""
    import numpy as np
    import torch
    stored = np.load(os.path.join(folder, "peers.npz"))
    first = [stored[f"in{i}"] for i in range(len(stored.files) - 1)]
    torch.manual_seed(2)
    out = []
    for i in range(count):
        one = [torch.randn(*first[0].shape).numpy(), *first[1:]]
        top = 1.0 if first[1].max() < 1 else 1000.0
        one[1] = np.full_like(first[1], top * (i + 0.5) / count)
        out.append(one)
    return out


def run_theirs(folder, what, images):
    """In a process of its own: prints seconds and peak memory."""
    import nncf
    import openvino as ov
    model = ov.Core().read_model(os.path.join(folder, "f32.xml"))
    inputs = draws(folder, images)
    start, before = time.perf_counter(), time.process_time()
    kind = THEIRS[what]
    if kind == "weights":
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    elif kind:
        model = nncf.quantize(model, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=images)
    if kind:
        ov.save_model(model, file_of(folder, what, ".xml"), compress_to_fp16=False)
    print(json.dumps({"s": time.perf_counter() - start, "cpu": time.process_time() - before,
                      "kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


# A small process that starts another: what a child holds at most counts what its parent held when it was started.
MEASURE = """import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
print(json.dumps({"s": time.perf_counter() - start, "cpu": used.ru_utime + used.ru_stime, "kb": used.ru_maxrss,
                  "status": status}))"""


def run_ours(folder, what, images):
    options = [str(images) if o == "N" else o for o in OURS[what]]
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, os.path.join(peers.ROOT, "bin", "quantize"),
                           os.path.join(folder, "f32.zst"), "--validate", "0", "-q", "-j", str(peers.THREADS), *options,
                           "-o", file_of(folder, what, ".zst")], stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    if result["status"]:
        raise SystemExit(f"quantize failed: {what}")
    return result


def error_of(folder, what):
    p = peers.Peers(folder)
    if what in OURS:
        out = os.path.join(folder, "out.safetensors")
        peers.tool("generate", file_of(folder, what, ".zst"), "--once", os.path.join(folder, "in.safetensors"), "-o", out)
        return peers.error(peers.load_file(out)["sample"].numpy(), p.want)
    return p.openvino(os.path.basename(file_of(folder, what, "")) if THEIRS[what] else "f32", "f32", 1)[2]


def make(folder, images, skip):
    print("| how | s | CPU s | peak MB | file MB | relative L2 |\n|---|---|---|---|---|---|")
    for what in [*OURS, *THEIRS]:
        if what in skip:
            continue
        if what in OURS:
            r, path = run_ours(folder, what, images), file_of(folder, what, ".zst")
        else:
            done = subprocess.run([sys.executable, __file__, "one", folder, "--what", what, "--images", str(images)],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            r = json.loads(done.stdout.strip().splitlines()[-1])
            path = file_of(folder, what, ".bin") if THEIRS[what] else os.path.join(folder, "f32.bin")
        print(f"| {what} | {r['s']:.2f} | {r['cpu']:.2f} | {r['kb'] / 1e3:.0f} | {os.path.getsize(path) / 1e6:.1f} "
              f"| {error_of(folder, what):.1e} |", flush=True)


def forward(folder, rounds, repeat):
    p, times = peers.Peers(folder), {}
    def theirs(form):
        return min(p.openvino(form, precision, repeat)[1] for precision in ("f32", "bf16"))
    def ours(path):
        return json.loads(peers.tool("profile", path, "--actions", "off", "--repeat", repeat, "--json"))
    made = [what for what in OURS if os.path.exists(file_of(folder, what, ".zst"))]
    for _ in range(rounds):
        for what in made:
            report = ours(file_of(folder, what, ".zst"))
            times.setdefault(what, []).append(report["full_ms"])
        for what in THEIRS:
            form = os.path.basename(file_of(folder, what, "")) if THEIRS[what] else "f32"
            times.setdefault(what, []).append(1e3 * theirs(form))
    base = times["NNCF int8, calibrated"]
    print("| how | ms | NNCF int8, calibrated / this |\n|---|---|---|")
    for what, ms in times.items():
        ratio = peers.spread([b / m for b, m in zip(base, ms)])
        print(f"| {what} | {statistics.median(ms):.1f} ({min(ms):.1f}-{max(ms):.1f}) | {ratio} |")
    print(f"\nPeaks in the last run of ours: {report['peak_f32_gflops']:.0f} GF/s float, {report['peak_int8_gops']:.0f} GOP/s int8.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["prepare", "make", "forward", "one"])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--what")
    parser.add_argument("--skip", action="append", default=[], metavar="ROW")
    o = parser.parse_args()
    if o.do == "prepare":
        peers.prepare_floats(*o.names)
    elif o.do == "make":
        make(o.names[0], o.images, o.skip)
    elif o.do == "forward":
        forward(o.names[0], o.rounds, o.repeat)
    else:
        run_theirs(o.names[0], o.what, o.images)


if __name__ == "__main__":
    main()
