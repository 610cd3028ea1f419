#!/usr/bin/env python3
"""How well profile --predict prices kernels of a model and a machine that the prior has not seen.

    scripts/bench/predictor.py [--repeat N] [--folder DIR [--measure MODEL...]]

The machines are this one's CPU levels and thread counts, the models the embedded ones (and, where ../shared is, those
there), in float, W8A8 and bfloat16. For every pair the prior is learnt from all profiles of the other models on the other machines; then the model's
kernels are predicted from the reference network's few milliseconds and held against their measured times: Spearman's
rank correlation (ties share their mean rank) over shapes, each of them once with its median time, over the shapes that
take 2 microseconds or more, and over all kernels; the median relative error of a kernel, and the error of the whole
call. Needs python3; ../shared's
networks also numpy and safetensors. With --folder the profiles stay there, and what is there is not measured again;
--measure only measures these models, so that a machine need not be quiet for minutes in one go."""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report


def profile(*args):
    done = subprocess.run([os.path.join(ROOT, "bin", "profile"), *map(str, args), "-q"], capture_output=True, text=True)
    if done.returncode == 2 and "--cpu-level" in done.stderr:
        return None
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def ranks(v):
    order, out = sorted(range(len(v)), key=v.__getitem__), [0.0] * len(v)
    at = 0
    while at < len(v):
        end = at
        while end < len(v) and v[order[end]] == v[order[at]]:
            end += 1
        for i in order[at:end]:
            out[i] = (at + end - 1) / 2
        at = end
    return out


def spearman(pairs):
    x, y = (ranks(v) for v in zip(*pairs))
    mean = (len(x) - 1) / 2
    spread = [sum((a - mean) ** 2 for a in v) for v in (x, y)]
    return sum((a - mean) * (b - mean) for a, b in zip(x, y)) / (spread[0] * spread[1]) ** 0.5 if all(spread) else 0


def by_shape(kernels, pairs):
    """One pair a shape: with the medians of what is alike."""
    alike = {}
    for k, p in zip(kernels, pairs):
        key = tuple(k[name] for name in ("form", "flops", "bytes", "rows", "columns", "depth", "taps", "activation"))
        alike.setdefault(key, []).append(p)
    return [tuple(statistics.median(v) for v in zip(*p)) for p in alike.values()]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--repeat", type=int, default=9)
    args.add_argument("--folder")
    args.add_argument("--measure", nargs="*", choices=[[], *report.WORK])
    options = args.parse_args()
    repeat, chosen = options.repeat, options.measure
    machines = [(level, threads) for level in ("avx2", "avx512", "avx512-vnni", "avx512-bf16")
                for threads in range(1, len(os.sched_getaffinity(0)) + 1)]
    names = [n for n in report.WORK if report.is_here(n)]
    names = [n for n in names if not chosen or n in chosen]
    with contextlib.nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as folder:
        models, measured = {}, {}
        os.makedirs(folder, exist_ok=True)
        for n in names:
            models[n] = os.path.join(folder, n + ".zst")
            models[n + " w8a8"] = os.path.join(folder, n + ".small.zst")
            if not os.path.exists(models[n]):
                report.model_file(n, folder)
            if not os.path.exists(models[n + " w8a8"]):
                report.tool("quantize", models[n], "-o", models[n + " w8a8"], "--validate", 0)
            models[n + " bf16"] = os.path.join(folder, n + ".bf16.zst")
            if not os.path.exists(models[n + " bf16"]):
                tensors, source = os.path.join(folder, n + ".safetensors"), report.WORK[n][2]
                source = [source] if os.path.isdir(source) else [tensors, "--graph", os.path.join(folder, n + ".json")]
                report.tool("import", *source, "--dtype", "bf16", "-o", models[n + " bf16"])
        for n, path in models.items():
            for m in machines:
                if n.endswith(" bf16") and m[0] != "avx512-bf16":
                    continue  # float products there
                kept = os.path.join(folder, f"{n}.{m[0]}.{m[1]}.profile")
                if os.path.exists(kept) and os.path.exists(kept + ".json"):
                    with open(kept + ".json", encoding="utf-8") as f:
                        measured[n, m] = json.load(f)
                    continue
                got = profile(path, "--actions", "off", "--repeat", repeat, "--cpu-level", m[0], "-j", m[1], "--json",
                              "-o", kept)
                if got:
                    measured[n, m] = got
                    with open(kept + ".json", "w", encoding="utf-8") as f:
                        json.dump(got, f)
        if chosen:
            return
        base = {n: n.split()[0] for n in models}
        rows = []
        for (n, m), want in measured.items():
            learn = [a for (o, d) in measured if base[o] != base[n] and d != m
                     for a in ("--learn", os.path.join(folder, f"{o}.{d[0]}.{d[1]}.profile"))]
            prior = os.path.join(folder, "prior.zst")
            profile(*learn, "-o", prior, "--json")
            got = profile(models[n], "--predict", prior, "--cpu-level", m[0], "-j", m[1], "--json")
            assert [k["node"] for k in got["kernels"]] == [k["node"] for k in want["kernels"]]
            pairs = [(p["ms"], k["ms"]) for p, k in zip(got["kernels"], want["kernels"])]
            shapes = [p for p in by_shape(want["kernels"], pairs) if p[1] > 0]
            pairs = [p for p in pairs if p[1] > 0]
            rank, every = spearman(shapes), spearman(pairs)
            slow = spearman([p for p in shapes if p[1] >= 2e-3])
            error = statistics.median(abs(p / t - 1) for p, t in pairs)
            whole = got["predicted_ms"] / want["kernel_sum_ms"] - 1
            rows.append((n, rank, slow, every, error, abs(whole)))
            print(f"{n:28} {m[0]:12} {m[1]} threads   {len(shapes):2d} shapes: Spearman {rank:.3f}, {slow:.3f} of 2 us "
                  f"and more   {len(pairs):3d} kernels: {every:.3f}   kernel {100 * error:5.1f} %   "
                  f"call {100 * whole:+6.1f} %   ({want['kernel_sum_ms']:.2f} ms)", flush=True)
        for name in [*models, ""]:
            some = [r for r in rows if r[0] == name or not name]
            if some:
                of = [statistics.median(r[i] for r in some) for i in range(1, 6)]
                print(f"median over {name or 'all'} ({len(some)}): Spearman {of[0]:.3f} (worst {min(r[1] for r in some):.3f}), "
                      f"{of[1]:.3f} of 2 us and more, {of[2]:.3f} of all kernels; kernel {100 * of[3]:.1f} %, "
                      f"call {100 * of[4]:.1f} %")


if __name__ == "__main__":
    main()
