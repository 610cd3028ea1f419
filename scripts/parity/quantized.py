#!/usr/bin/env python3
"""PyTorch runs what export makes of a quantized model, against generate --once on the quantized model itself.

    scripts/parity/quantized.py [--bin BIN] [--quick] [SOURCE...]       needs torch, diffusers, safetensors, the program zstd

SOURCE: diffusers directories of a DiT or a U-Net (default: the embedded fashion-dit and fashion-unet; a test takes
tiny ones, and --quick, two types and two layers). Quantized by every type (with a sampler calibrated, so that biases are
corrected and rotation is chosen), exported, loaded with from_pretrained, one forward on random inputs, relative L2 of
our output and PyTorch's:
- types with float inputs: at most 1e-5, and from float16 5e-4, since weights are rounded to it on their way out, each by
  2e-4 or so.
- types with 8-bit inputs: PyTorch rounds inputs as well, restated here from man/hasten-quantize.1: 256 codes with a zero
  point for a row in linear layers, after its rotation, and for an image and a part of a joined input in convolutions.
  Some layers one at a time: at most a tenth of what the rounding moves the output by, since a few codes lie so near the
  middle that the order of sums decides, and 2e-6 for those sums. All layers together: a code that falls the other way
  moves the next layer's input, and some layers on the two roundings are independent, so at most 1.5 times what rounding
  moves, of which the root of two is independence.
Exported tensors must have the types of the original's. Exits 1 where one is beyond its limit."""
import argparse
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "..", "..", "bin")
MODELS = os.path.join(HERE, "..", "..", "testdata", "models")
TYPES = ("w8a16", "fp8", "w4a16", "w8a8", "w4a8")
FLOAT32, FLOAT16, SUMS = 1e-5, 5e-4, 2e-6
ONE, ALL = 0.1, 1.5  # shares of what rounding moves
SINGLE = 6  # layers that are tried alone


def run(*args):
    subprocess.run([os.path.join(OPTIONS.bin, args[0]), *args[1:], "-q"], check=True, stdout=subprocess.DEVNULL)


def error(got, want):
    return ((got.double() - want).norm() / want.double().norm()).item()


def load(folder):
    """The network of a directory in float32, and the folder of its tensors."""
    part = next(p for p in ("transformer", "unet", "") if os.path.isfile(os.path.join(folder, p, "config.json")))
    kind = DiTTransformer2DModel if part == "transformer" else UNet2DModel
    variant = "fp16" if glob.glob(os.path.join(folder, part, "*.fp16.safetensors")) else None
    model = kind.from_pretrained(os.path.join(folder, part), torch_dtype=torch.float32, low_cpu_mem_usage=False, variant=variant)
    return model.eval(), os.path.join(folder, part)


def types_of(folder):
    return {k: v.dtype for f in glob.glob(f"{folder}/*.safetensors") for k, v in load_file(f).items()}


def layers(path):
    """name: attributes of the quantized layers, from the model file's graph."""
    data = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
    nodes = json.loads(header["hasten"])["components"]["denoiser"]["nodes"]
    return {n["name"]: n["attr"] for n in nodes if "format" in n.get("attr", {})}


def codes(x, dims):
    top, low = x.amax(dims, keepdim=True).clamp(min=0), x.amin(dims, keepdim=True).clamp(max=0)
    scale = (top / 255 - low / 255).clamp(min=1e-30)
    zero = torch.round(-low / scale)
    return (torch.clamp(torch.round(x / scale) + zero, 0, 255) - zero) * scale


def turn(x, size):
    """Blocks of `size` by the regular Hadamard matrix, which is its own inverse."""
    four = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]], dtype=x.dtype) / 2
    h = torch.ones(1, 1, dtype=x.dtype)
    while len(h) < size:
        h = torch.kron(h, four)
    return (x.unflatten(-1, (-1, size)) @ h).flatten(-2)


def rounding(attributes):
    """A forward_pre_hook that rounds the input as the layer's kernel does."""
    def linear(_, inputs):
        x, size = inputs[0], int(attributes.get("rotate", 0))
        return (turn(codes(turn(x, size), -1), size) if size else codes(x, -1),)

    def conv(_, inputs):
        x, split = inputs[0], int(attributes.get("split", 0))
        return (torch.cat([codes(h, (1, 2, 3)) for h in (x.split([split, x.shape[1] - split], 1) if split else (x,))], 1),)

    return lambda module: module.register_forward_pre_hook(conv if isinstance(module, torch.nn.Conv2d) else linear)


def inputs_of(model):
    c, g = model.config, torch.Generator().manual_seed(7)
    size = c.sample_size if isinstance(c.sample_size, (list, tuple)) else (c.sample_size, c.sample_size)
    x = {"sample": torch.randn(4, c.in_channels, *size, generator=g),
         "timestep": torch.tensor([900.0, 600.0, 300.0, 20.0])}
    classes = c.num_embeds_ada_norm if "num_embeds_ada_norm" in c else c.num_class_embeds
    return dict(x, class_labels=torch.arange(4) % classes) if classes else x


def forward(model, x):
    with torch.no_grad():
        return model(x["sample"], timestep=x["timestep"], class_labels=x.get("class_labels")).sample


class Source:
    def __init__(self, path, folder):
        self.name, self.folder, self.failed = os.path.basename(path.rstrip("/")), folder, 0
        model, tensors = load(path)
        self.inputs, self.types = inputs_of(model), types_of(tensors)
        self.floats = FLOAT32 if set(self.types.values()) == {torch.float32} else FLOAT16
        self.original = forward(model, self.inputs)
        sampler = os.path.isdir(os.path.join(path, "scheduler"))
        self.calibrate = ["--calibrate", "1", "--calibration", f"{folder}/calibration.zst", "--steps", "4"] if sampler else []
        run("import", path, "-o", f"{folder}/model.zst")
        save_file({k: v.float() for k, v in self.inputs.items()}, f"{folder}/in.safetensors")

    def check(self, what, share, *options):
        """Quantize and compare; the names of the layers that were."""
        small, back = f"{self.folder}/small.zst", tempfile.mkdtemp(dir=self.folder)
        run("quantize", f"{self.folder}/model.zst", *self.calibrate, "--validate", "0", *options, "-o", small)
        run("generate", small, "--once", f"{self.folder}/in.safetensors", "-o", f"{self.folder}/out.safetensors")
        run("export", small, "-o", back)
        model, tensors = load(back)
        got, want, limit, text = load_file(f"{self.folder}/out.safetensors")["sample"], forward(model, self.inputs), self.floats, ""
        found = layers(small)
        if share:
            plain = want
            for name, attributes in found.items():
                rounding(attributes)(model.get_submodule(name))
            want = forward(model, self.inputs)
            limit = share * error(plain, want) + SUMS
            text = f"  rounded inputs move it by {error(plain, want):.2e}"
        kept = all(v == self.types[k] for k, v in types_of(tensors).items())
        good = kept and error(got, want) <= limit
        self.failed |= not good
        print(f"{self.name:13} {what:44} {error(got, want):.2e} (limit {limit:.2e})  from the original {error(got, self.original):.2e}"
              f"{text}{'' if kept else '  types of tensors differ'}{'' if good else '  FAILED'}", flush=True)
        return list(found)

    def run(self):
        for kind in TYPES[2:4] if OPTIONS.quick else TYPES:
            names = self.check(kind, ALL if kind.endswith("a8") else 0, "--type", kind)
        for name in names[::max(1, len(names) // (2 if OPTIONS.quick else SINGLE))]:
            self.check(name, ONE, "--type-of", "*=plain", "--type-of", f"{name}=w8a8")


def main():
    torch.set_num_threads(2)
    failed = 0
    for path in OPTIONS.source or [os.path.join(MODELS, m) for m in ("fashion-dit", "fashion-unet")]:
        with tempfile.TemporaryDirectory() as folder:
            source = Source(path, folder)
            source.run()
            failed |= source.failed
    return failed


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--bin", default=BIN)
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("source", nargs="*")
    OPTIONS = asked.parse_args()
    sys.exit(main())
