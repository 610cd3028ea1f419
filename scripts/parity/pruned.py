#!/usr/bin/env python3
"""PyTorch runs what prune makes of a diffusers DiT, against generate --once on the pruned model itself.

    scripts/parity/pruned.py [BIN]        needs torch, diffusers, safetensors; prints the relative error of each

Whole blocks gone: export writes a directory, which diffusers loads as it is. Heads and neurons cut, branches left out:
diffusers has no configuration for that (a block's heads times their size are the width of all tokens, and the
feed-forward part is four times as wide), so export must refuse and name a layer; there the layers of diffusers' own
model take the smaller tensors, and branches that are not there give nothing. Exits 1 above 1e-5."""
import os
import subprocess
import sys
import tempfile

import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file, save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BIN = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "bin")
SOURCE = os.path.join(ROOT, "testdata", "models", "fashion-dit")
LIMIT = 1e-5
CUTS = {
    "cut and refitted": ["--speedup", "1.2", "--score", "latent", "--seeds", "2", "--calls", "2"],
    "cut by magnitude": ["--speedup", "1.3", "--score", "magnitude", "--compensate", "off"],
    "branches left out": ["--remove", "transformer_blocks.2.attn1*", "--remove", "transformer_blocks.4.ff*"],
}


def run(*args, status=0):
    done = subprocess.run([os.path.join(BIN, args[0]), *args[1:], "-q"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode != status:
        sys.exit(f"{args[0]}: exit {done.returncode}, not {status}: {done.stderr.strip()}")
    return done.stderr


def load(path):
    return DiTTransformer2DModel.from_pretrained(path, subfolder="transformer", low_cpu_mem_usage=False).eval()


class Nothing(torch.nn.Module):
    def forward(self, x, *_, **__):
        return torch.zeros_like(x)


def smaller(model, tensors):
    """Gives the modules of a diffusers DiT the tensors of a pruned one."""
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and f"{path}.weight" in tensors:
            module.weight = torch.nn.Parameter(tensors[f"{path}.weight"].float())
            module.bias = torch.nn.Parameter(tensors[f"{path}.bias"].float())
    head = model.config.attention_head_dim
    for i, block in enumerate(model.transformer_blocks):
        if f"transformer_blocks.{i}.attn1.to_q.weight" in tensors:
            block.attn1.heads = block.attn1.to_q.weight.shape[0] // head
        else:
            block.attn1 = Nothing()
        if f"transformer_blocks.{i}.ff.net.2.weight" not in tensors:
            block.ff = Nothing()
    return model


def forward(model, x):
    with torch.no_grad():
        return model(x["sample"], timestep=x["timestep"], class_labels=x["class_labels"].long()).sample


def error(model, pruned, x, folder):
    run("generate", pruned, "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    got, want = load_file(f"{folder}/out.safetensors")["sample"].double(), forward(model, x).double()
    return ((got - want).norm() / want.norm()).item()


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        full, original = f"{folder}/full.zst", load(SOURCE)
        run("import", SOURCE, "-o", full)
        c, g = original.config, torch.Generator().manual_seed(7)
        x = {"sample": torch.randn(4, c.in_channels, c.sample_size, c.sample_size, generator=g),
             "timestep": torch.tensor([900.0, 600.0, 300.0, 20.0]), "class_labels": torch.arange(4).float()}
        save_file(x, f"{folder}/in.safetensors")
        results = {"as it is": error(original, full, x, folder)}
        run("prune", full, "--remove", "transformer_blocks.3.*", "--validate", "0", "-o", f"{folder}/blocks.zst")
        run("export", f"{folder}/blocks.zst", "-o", f"{folder}/blocks")
        loaded = load(f"{folder}/blocks")
        assert loaded.config.num_layers == c.num_layers - 1
        results["a block gone, exported"] = error(loaded, f"{folder}/blocks.zst", x, folder)
        for what, options in CUTS.items():
            pruned = f"{folder}/pruned.safetensors"
            run("prune", full, *options, "--validate", "0", "-o", pruned)
            told = run("export", pruned, "-o", f"{folder}/refused", status=4)
            assert "transformer_blocks" in told and not os.path.exists(f"{folder}/refused"), told
            tensors = {k.removeprefix("denoiser."): v for k, v in load_file(pruned).items()}
            results[f"{what}, refused by export"] = error(smaller(load(SOURCE), tensors), pruned, x, folder)
    for what, e in results.items():
        print(f"{what:40} {e:.2e}")
        failed += not e < LIMIT
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
