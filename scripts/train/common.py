"""What the training scripts share: Fashion-MNIST from Debian's package, an average of the weights, export."""
import gzip
import os
import struct
import time

import numpy as np
import torch
from safetensors.torch import save_file

DATA = "/usr/share/datasets/fashion-mnist"  # Debian package dataset-fashion-mnist (MIT licence)
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "testdata", "models")


def _idx(path):
    with gzip.open(path, "rb") as f:
        zero, kind, rank = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * rank, f.read(4 * rank))
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8).reshape(shape).copy())


def data(split):
    """Pictures (n, 1, 28, 28) in [-1, 1] and labels (n) of "train" (60 000) or "t10k" (10 000)."""
    if not os.path.isdir(DATA):
        raise SystemExit("install the Debian package dataset-fashion-mnist")
    images = _idx(f"{DATA}/{split}-images-idx3-ubyte.gz")
    labels = _idx(f"{DATA}/{split}-labels-idx1-ubyte.gz")
    return images.float().div(127.5).sub(1).unsqueeze(1), labels.long()


def batches(x, y, size, seed):
    """Endless shuffled batches."""
    order = torch.Generator().manual_seed(seed)
    while True:
        for part in torch.randperm(len(x), generator=order).split(size):
            if len(part) == size:
                yield x[part], y[part]


class Average:
    """Exponential moving average of a model's weights; young averages forget faster."""

    def __init__(self, model, decay):
        self.decay, self.steps = decay, 0
        self.value = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def update(self, model):
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        for k, v in model.state_dict().items():
            self.value[k].lerp_(v.detach().float(), 1 - keep) if v.is_floating_point() else self.value[k].copy_(v)


def alphas_bar():
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)


def save(tensors, path):
    """Store as float16, whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({k: v.half().contiguous().clone() for k, v in tensors.items()}, path + ".tmp", metadata={"format": "pt"})
    os.replace(path + ".tmp", path)


class Clock:
    """Learning-rate factor by elapsed budget: short warm-up, then half a cosine; progress lines every minute."""

    def __init__(self, minutes):
        self.start, self.budget, self.losses = time.time(), 60 * minutes, []
        self.shown = self.start

    def share(self):
        return (time.time() - self.start) / self.budget

    def factor(self, step):
        return min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1, self.share()))))

    def report(self, step, loss):
        """Print a line when a minute has passed since the last one; true if so, which is the time to export."""
        self.losses.append(loss)
        if time.time() - self.shown > 60:
            self.shown = time.time()
            print(f"{self.share():6.1%} step {step} loss {np.mean(self.losses[-200:]):.5f}", flush=True)
            return True
        return False
