#!/usr/bin/env python3
"""A diffusers directory of a DiT with random weights, for timing: DiT-XL/2 at 256 x 256 unless told otherwise.

    scripts/bench/random_dit.py DIR [--layers 28] [--heads 16] [--head-dim 72] [--size 32] [--dtype bf16|f32] [--seed 0]

Weights are normal with a standard deviation of 0.5 / sqrt(inputs), so that values stay of the size that they have in a
trained network. Needs numpy. Nothing but time may be concluded from such a model."""
import argparse
import json
import os
import struct

import numpy


def shapes(o):
    """name -> shape, as diffusers names them."""
    width = o.heads * o.head_dim
    out = {"pos_embed.proj.weight": (width, 4, 2, 2), "pos_embed.proj.bias": (width,),
           "proj_out_1.weight": (2 * width, width), "proj_out_1.bias": (2 * width,),
           "proj_out_2.weight": (32, width), "proj_out_2.bias": (32,)}
    for i in range(o.layers):
        block, embedder = f"transformer_blocks.{i}.", f"transformer_blocks.{i}.norm1.emb."
        out[embedder + "class_embedder.embedding_table.weight"] = (1001, width)
        layers = {embedder + "timestep_embedder.linear_1": (width, 256),
                  embedder + "timestep_embedder.linear_2": (width, width), block + "norm1.linear": (6 * width, width),
                  block + "attn1.to_q": (width, width), block + "attn1.to_k": (width, width),
                  block + "attn1.to_v": (width, width), block + "attn1.to_out.0": (width, width),
                  block + "ff.net.0.proj": (4 * width, width), block + "ff.net.2": (width, 4 * width)}
        for name, shape in layers.items():
            out[name + ".weight"], out[name + ".bias"] = shape, shape[:1]
    return out


def numbers(name, shape, o):
    # All blocks have the embedders of the first, as trained DiTs do.
    key = name.split(".emb.")[-1] if ".emb." in name else name
    random = numpy.random.default_rng([o.seed, *key.encode()])
    inputs = numpy.prod(shape[1:]) if len(shape) > 1 else 100
    x = random.standard_normal(shape, numpy.float32) * (0.5 / numpy.sqrt(inputs)).astype(numpy.float32)
    if o.dtype == "f32":
        return x.tobytes()
    bits = x.view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16).tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--head-dim", type=int, default=72)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    part = os.path.join(o.folder, "transformer")
    os.makedirs(part, exist_ok=True)
    os.makedirs(os.path.join(o.folder, "scheduler"), exist_ok=True)
    header, at, bytes_of = {}, 0, 2 if o.dtype == "bf16" else 4
    table = shapes(o)
    for name, shape in table.items():
        size = int(numpy.prod(shape)) * bytes_of
        header[name] = {"dtype": "BF16" if o.dtype == "bf16" else "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(part, "diffusion_pytorch_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in table.items():
            f.write(numbers(name, shape, o))
    config = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": o.heads, "attention_head_dim": o.head_dim,
              "in_channels": 4, "out_channels": 8, "num_layers": o.layers, "sample_size": o.size, "patch_size": 2,
              "num_embeds_ada_norm": 1000, "norm_elementwise_affine": False, "norm_eps": 1e-6,
              "activation_fn": "gelu-approximate", "attention_bias": True, "norm_type": "ada_norm_zero", "dropout": 0.0,
              "norm_num_groups": 32, "upcast_attention": False}
    scheduler = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
                 "beta_schedule": "linear", "clip_sample": False, "set_alpha_to_one": True}
    files = {"model_index.json": {"_class_name": "DiTPipeline", "transformer": ["diffusers", "DiTTransformer2DModel"],
                                  "scheduler": ["diffusers", "DDIMScheduler"]},
             "transformer/config.json": config, "scheduler/scheduler_config.json": scheduler}
    for name, content in files.items():
        with open(os.path.join(o.folder, name), "w") as f:
            json.dump(content, f, indent=1)


if __name__ == "__main__":
    main()
