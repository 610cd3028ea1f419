#!/usr/bin/env python3
"""Train the two small classifiers: fashion-features (32 features for Frechet distances) and fashion-judge.

    scripts/train/classifiers.py --minutes 4        (each)

They differ in shape and seed, so that the judge knows nothing of the features. arch.json lists the layers in order;
scripts/export_graph turns it into a graph. Reference statistics of the features come from the 10 000 test pictures."""
import argparse
import json
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from common import ROOT, Average, Clock, batches, data, save

# (kind, settings); "feature" marks the value that the output `features` names.
NETWORKS = {
    "fashion-features": (11, [("conv", 1, 32, 3, 1), ("norm", 8, 32), ("silu",), ("conv", 32, 64, 3, 2), ("norm", 8, 64),
                              ("silu",), ("conv", 64, 64, 3, 1), ("norm", 8, 64), ("silu",), ("conv", 64, 96, 3, 2),
                              ("norm", 8, 96), ("silu",), ("mean",), ("linear", 96, 32), ("feature",), ("silu",),
                              ("linear", 32, 10)]),
    "fashion-judge": (12, [("conv", 1, 24, 5, 2), ("relu",), ("conv", 24, 48, 3, 1), ("norm", 4, 48), ("relu",),
                           ("conv", 48, 96, 3, 2), ("norm", 4, 96), ("relu",), ("conv", 96, 96, 3, 1), ("relu",),
                           ("mean",), ("linear", 96, 64), ("relu",), ("linear", 64, 10)]),
}


class Classifier(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.kinds = [layer[0] for layer in layers]
        made = {"conv": lambda i, o, k, s: nn.Conv2d(i, o, k, s, k // 2), "norm": nn.GroupNorm, "linear": nn.Linear}
        self.layers = nn.ModuleList([made[l[0]](*l[1:]) if l[0] in made else nn.Identity() for l in layers])

    def forward(self, x):
        features = None
        for kind, layer in zip(self.kinds, self.layers):
            if kind == "mean":
                x = x.mean((2, 3))
            elif kind in ("silu", "relu"):
                x = getattr(F, kind)(x)
            elif kind == "feature":
                features = x
            else:
                x = layer(x)
        return x, features


def load(name):
    model = Classifier(NETWORKS[name][1])
    model.load_state_dict({k: v.float() for k, v in load_file(os.path.join(ROOT, name, "weights.safetensors")).items()})
    return model.eval()


@torch.no_grad()
def run(model, x):
    parts = [model(p) for p in x.split(500)]
    return torch.cat([p[0] for p in parts]), None if parts[0][1] is None else torch.cat([p[1] for p in parts])


def train(name, minutes):
    seed, layers = NETWORKS[name]
    folder = os.path.join(ROOT, name)
    torch.manual_seed(seed)
    model = Classifier(layers)
    average, clock = Average(model, 0.998), Clock(minutes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    draw = torch.Generator().manual_seed(seed + 100)
    for step, (x, y) in enumerate(batches(*data("train"), 128, seed)):
        # Shifts by up to two pixels and a little noise: generated pictures are never exactly aligned or clean.
        dx, dy = torch.randint(-2, 3, (2,), generator=draw).tolist()
        x = torch.roll(x, (dy, dx), (2, 3)) + 0.05 * torch.randn(x.shape, generator=draw)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * clock.factor(step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)[0]
        loss = F.cross_entropy(logits.float(), y, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model)
        clock.report(step, loss.item())
        if clock.share() >= 1:
            break
    save(average.value, os.path.join(folder, "weights.safetensors"))
    with open(os.path.join(folder, "arch.json"), "w") as f:
        json.dump({"layers": layers, "input": [1, 28, 28]}, f)
        f.write("\n")
    model = load(name)
    x, y = data("t10k")
    logits, features = run(model, x)
    print(f"{name}: {step} steps, test accuracy {(logits.argmax(1) == y).float().mean():.4f}", flush=True)
    if features is not None:
        f64 = features.double()
        save_file({"mean": f64.mean(0).float(), "cov": torch.cov(f64.T).float().contiguous(),
                   "count": torch.tensor([float(len(f64))])}, os.path.join(folder, "reference.safetensors"))


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--minutes", type=float, default=4)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("names", nargs="*", default=list(NETWORKS))
    options = args.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        train(name, options.minutes)


if __name__ == "__main__":
    main()
