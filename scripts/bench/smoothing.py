#!/usr/bin/env python3
"""Would smoothing and low-rank repair pay beside rotation, zero points and GPTQ? An experiment in NumPy on real layers.

    build/oracle/bin/python3 scripts/bench/smoothing.py [--blocks N] [--rows N]

Inputs of the linear layers of the embedded fashion-dit are taken from PyTorch's run of it (DDIM, 10 steps; 4 images to
calibrate with, 4 others to judge by), and each place is quantized as quantize does: w8a8 and w4a8 weights (rows of
int8; groups of 16 with 16 levels), GPTQ over moments about the mean with 1 % damping, corrected biases, inputs of 256
codes a row with a zero point. Smoothing (SmoothQuant: inputs divided, weights multiplied by max|x|^a / max|w|^(1-a))
where it folds exactly: the adaLN norms, whose modulation can carry it, and the output projection of attention, whose
values can; a of 0 .. 0.8 by the error over the calibration inputs. Low-rank repair: the best matrix of rank r against
what is left of the weights' error under the same moments, after GPTQ. Relative L2 of outputs over the judging inputs,
as means over the blocks."""
import argparse
import json
import os

import numpy as np
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(ROOT, "testdata", "models", "fashion-dit")
ALPHAS = (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
RANKS = (8, 16, 32)
# place: (the module whose input is taken, layers that read it, does smoothing fold)
PLACES = {"q, k, v": ("attn1.to_q", ("attn1.to_q", "attn1.to_k", "attn1.to_v"), True),
          "out": ("attn1.to_out.0", ("attn1.to_out.0",), True),
          "fc1": ("ff.net.0.proj", ("ff.net.0.proj",), True),
          "fc2": ("ff.net.2", ("ff.net.2",), False)}


def record(blocks, rows):
    """Inputs of every place, calibrating and judging: {(block, place): (x, x)}, and the model."""
    model = DiTTransformer2DModel.from_pretrained(MODEL, subfolder="transformer").eval()
    seen = {}
    for b in range(blocks):
        for name, (module, _, _) in PLACES.items():
            layer = model.transformer_blocks[b].get_submodule(module)
            layer.register_forward_pre_hook(lambda _, x, at=(b, name): seen.setdefault(at, []).append(
                x[0].detach().reshape(-1, x[0].shape[-1])))
    scheduler = DDIMScheduler.from_pretrained(MODEL, subfolder="scheduler")
    halves = []
    for seed in (1, 2):
        seen.clear()
        scheduler.set_timesteps(10)
        x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(4) + 4 * (seed - 1)
        with torch.no_grad():
            for t in scheduler.timesteps:
                noise = model(x, timestep=t.expand(4), class_labels=labels).sample
                x = scheduler.step(noise, t, x).prev_sample
        pick = np.random.default_rng(seed)
        halves.append({})
        for at, parts in seen.items():
            all_rows = torch.cat(parts).double().numpy()
            halves[-1][at] = all_rows[pick.permutation(len(all_rows))[:rows]]
    return model, {at: (halves[0][at], halves[1][at]) for at in halves[0]}


def hadamard(k):
    """Blocks of 256, 64 or 16 of the regular matrix, as the kernels have it."""
    four = np.array([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]) / 2
    size = next(s for s in (256, 64, 16) if k % s == 0)
    h = np.eye(1)
    while len(h) < size:
        h = np.kron(h, four)
    return np.kron(np.eye(k // size), h)


def codes(x):
    """256 codes a row, with a zero point."""
    top, low = np.maximum(x.max(1, keepdims=True), 0), np.minimum(x.min(1, keepdims=True), 0)
    scale = (top - low) / 255
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale


class Bytes:
    def __init__(self, w, _):
        self.scale = np.abs(w).max(1) / 127

    def __call__(self, column, v):
        return np.clip(np.rint(v / self.scale), -127, 127) * self.scale


class Table:
    """16 levels times a scale for each group of 16 (not rounded to e4m3 here), refined twice."""
    with open(os.path.join(ROOT, "testdata", "golden", "quantizers.json")) as f:
        half = np.array(json.load(f)["levels"]["16"])
    levels = np.concatenate([-half[::-1], half])

    def __init__(self, w, importance):
        n, k = w.shape
        g, h = w.reshape(n, k // 16, 16), importance.reshape(1, k // 16, 16)
        self.scale = np.abs(g).max(2)
        for _ in range(2):
            c = self.levels[np.abs(g[..., None] / self.scale[..., None, None] - self.levels).argmin(3)]
            self.scale = np.maximum((h * g * c).sum(2) / (h * c * c).sum(2), 1e-12)

    def __call__(self, column, v):
        scale = self.scale[:, column // 16]
        return self.levels[np.abs((v / scale)[:, None] - self.levels).argmin(1)] * scale


def gptq(w, h, rounding):
    order = np.argsort(-np.diag(h), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w, q = w[:, order].copy(), np.zeros_like(w)
    for c in range(w.shape[1]):
        q[:, c] = rounding(order[c], w[:, c])
        w[:, c + 1:] -= np.outer((w[:, c] - q[:, c]) / upper[c, c], upper[c, c + 1:])
    back = np.empty_like(q)
    back[:, order] = q
    return back


def moment(x):
    centred = x - x.mean(0)
    h = centred.T @ centred / len(x)
    return h + 0.01 * np.trace(h) / len(h) * np.eye(len(h))


def made(w, x, kind, nearest=False):
    """Weights as stored, and what the bias gets, for calibration inputs x."""
    h = moment(x)
    rounding = kind(w, np.diag(h) / np.diag(h).mean())
    q = np.stack([rounding(c, w[:, c]) for c in range(w.shape[1])], 1) if nearest else gptq(w, h, rounding)
    return q, (w - q) @ x.mean(0)


def error(w, stored, x, repair=None):
    want, got = x @ w.T, codes(x) @ stored[0].T + stored[1]
    if repair is not None:
        got = got + x @ repair.T
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def scales(w, x, a):
    s = np.abs(x).max(0) ** a / np.maximum(np.abs(w).max(0), 1e-9) ** (1 - a)
    s = np.clip(s, 1e-4, 1e4)
    return s / np.exp(np.log(s).mean())


def best_smoothing(w, x, kind, r):
    """The exponent that is best over the calibration inputs with weights rounded to nearest; 0: none."""
    tried = {}
    for a in ALPHAS:
        s = scales(w, x, a) if a else np.ones(w.shape[1])
        tried[a] = error((w * s) @ r, made((w * s) @ r, (x / s) @ r, kind, True), (x / s) @ r)
    return min(tried, key=tried.get)


def repaired(w, stored, x, rank):
    """The best change of rank `rank` of the weights under the moments of x."""
    e = w - stored[0]
    lower = np.linalg.cholesky(moment(x))
    u, _, _ = np.linalg.svd(e @ lower, full_matrices=False)
    return u[:, :rank] @ (u[:, :rank].T @ e)


def place(name, w, x, y, fold):
    rows = {}
    for kind, label in ((Bytes, "w8a8"), (Table, "w4a8")):
        for turned in (0, 1):
            r = hadamard(w.shape[1]) if turned else np.eye(w.shape[1])
            for smooth in (0, 1) if fold else (0,):
                a = best_smoothing(w, x, kind, r) if smooth else 0
                s = scales(w, x, a) if a else np.ones(w.shape[1])
                ws, xs, ys = (w * s) @ r, (x / s) @ r, (y / s) @ r
                stored = made(ws, xs, kind)
                what = f"{label}{', rotated' if turned else ''}"
                rows[what + (", smoothed" if smooth else "")] = error(ws, stored, ys)
                if kind is Table and not smooth:
                    for rank in RANKS:
                        fix = repaired(ws, stored, xs, rank)
                        left = stored[0], (ws - stored[0] - fix) @ xs.mean(0)
                        rows[f"{what}, rank {rank}"] = error(ws, left, ys, fix)
    return rows


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--blocks", type=int, default=8)
    args.add_argument("--rows", type=int, default=1960)
    o = args.parse_args()
    torch.set_num_threads(1)
    model, inputs = record(o.blocks, o.rows)
    for name, (_, layers, fold) in PLACES.items():
        all_rows = []
        for b in range(o.blocks):
            block = model.transformer_blocks[b]
            w = np.concatenate([block.get_submodule(n).weight.detach().double().numpy() for n in layers])
            all_rows.append(place(name, w, *inputs[b, name], fold))
        for what in all_rows[0]:
            v = np.array([r[what] for r in all_rows])
            print(f"| {name} | {what} | {v.mean():.4f} | {v.min():.4f} to {v.max():.4f} |", flush=True)


if __name__ == "__main__":
    main()
