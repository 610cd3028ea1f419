#!/usr/bin/env python3
"""Sample a trained model with diffusers and let the classifiers look at the pictures.

    scripts/train/judge.py fashion-dit --guidance 2 --sheet dit.png
    scripts/train/judge.py fashion-unet --sheet unet.png

Prints the Fréchet distance between the pictures' features and those of the 10 000 test pictures. With fashion-dit, which is
asked for each class in turn, also how often fashion-judge sees the class that was asked for; with fashion-unet, how often it
sees each class. Distances of few pictures are too large: compare them at equal counts only."""
import argparse
import os

import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel, UNet2DModel
from PIL import Image
from safetensors.torch import load_file

from classifiers import load, run
from common import CLASSES, ROOT

NULL = len(CLASSES)


def noise_of(name):
    """The model as a function (latent, timestep, labels, guidance) -> noise."""
    if name == "fashion-unet":
        unet = UNet2DModel.from_pretrained(os.path.join(ROOT, name, "unet"), torch_dtype=torch.float32).eval()
        return lambda x, t, labels, guidance: unet(x, t).sample
    dit = DiTTransformer2DModel.from_pretrained(os.path.join(ROOT, name, "transformer"), torch_dtype=torch.float32).eval()

    def guided(x, t, labels, guidance):
        both = torch.cat([labels, torch.full_like(labels, NULL)])
        asked, null = dit(torch.cat([x, x]), timestep=t.expand(len(both)), class_labels=both).sample.chunk(2)
        return null + guidance * (asked - null)
    return guided


@torch.no_grad()
def sample(name, labels, steps, guidance, seed):
    """Pictures in [-1, 1], one a label, by deterministic DDIM."""
    noise = noise_of(name)
    scheduler = DDIMScheduler.from_pretrained(os.path.join(ROOT, name, "scheduler"))
    scheduler.set_timesteps(steps)
    x = torch.randn((len(labels), 1, 28, 28), generator=torch.Generator().manual_seed(seed))
    parts = []
    for latent, part in zip(x.split(100), labels.split(100)):
        for t in scheduler.timesteps:
            latent = scheduler.step(noise(latent, t, part, guidance), t, latent).prev_sample
        parts.append(latent)
    return torch.cat(parts).clamp(-1, 1)


def frechet(features, reference):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); the trace of the root from the eigenvalues of a symmetric product."""
    f = features.double()
    mean, cov = reference["mean"].double(), reference["cov"].double()
    values, vectors = torch.linalg.eigh(cov)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ torch.cov(f.T) @ root).clamp(min=0).sqrt().sum()
    return ((f.mean(0) - mean).square().sum() + torch.trace(torch.cov(f.T)) + torch.trace(cov) - 2 * cross).item()


def sheet(pictures, path, columns):
    """A contact sheet at twice the size."""
    rows = len(pictures) // columns
    grid = pictures[:rows * columns, 0].reshape(rows, columns, 28, 28).permute(0, 2, 1, 3).reshape(rows * 28, columns * 28)
    image = Image.fromarray(grid.add(1).mul(127.5).round().byte().numpy())
    image.resize((image.width * 2, image.height * 2), Image.NEAREST).save(path)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("name", choices=["fashion-dit", "fashion-unet"])
    args.add_argument("--count", type=int, default=300)
    args.add_argument("--steps", type=int, default=50)
    args.add_argument("--guidance", type=float, default=2)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--sheet", help="PNG file to write; one column a class")
    options = args.parse_args()
    torch.set_num_threads(options.threads)
    labels = torch.arange(options.count) % len(CLASSES)
    pictures = sample(options.name, labels, options.steps, options.guidance, options.seed)
    seen = run(load("fashion-judge"), pictures)[0].argmax(1)
    features = run(load("fashion-features"), pictures)[1]
    reference = load_file(os.path.join(ROOT, "fashion-features", "reference.safetensors"))
    if options.name == "fashion-dit":
        print(f"agreement {(seen == labels).float().mean():.4f}")
        for c, title in enumerate(CLASSES):
            print(f"  {title:12} {(seen == labels)[labels == c].float().mean():.3f}")
    else:
        for c, title in enumerate(CLASSES):
            print(f"  {title:12} {(seen == c).float().mean():.3f}")
    print(f"Fréchet distance {frechet(features, reference):.3f} of {options.count} pictures")
    if options.sheet:
        sheet(pictures, options.sheet, 2 * len(CLASSES))


if __name__ == "__main__":
    main()
