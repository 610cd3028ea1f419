#!/usr/bin/env python3
"""Write tensors and graph of ../shared/models/mnist-flow-transformer.

    scripts/export_graph/mnist_flow.py [MODEL.safetensors] OUT.safetensors OUT.json

A post-norm encoder over 16 patches, two time tokens and two class tokens. Packed projections are split, and the
transposed convolution at the end becomes a linear layer and a move of pixels."""
import os
import sys

from safetensors.numpy import load_file, save_file

from graph import Graph, write

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "models",
                      "mnist-flow-transformer", "model.safetensors")
WIDTH, HEADS, PATCH, SIDE = 64, 4, 7, 4


def prepare(stored):
    out = {}
    for name, value in stored.items():
        if "in_proj_" in name:
            kind = name.rsplit("_", 1)[1]
            for part, piece in zip("qkv", value.reshape(3, WIDTH, *value.shape[1:])):
                out[name.replace(f"in_proj_{kind}", f"{part}.{kind}")] = piece.copy()
        elif name == "unpatch.weight":  # (64, 1, 7, 7) -> rows ordered (p, q, c)
            out[name] = value.transpose(2, 3, 1, 0).reshape(-1, WIDTH).copy()
        elif name == "unpatch.bias":
            out[name] = value.repeat(PATCH * PATCH).copy()
        else:
            out[name] = value.reshape(-1, WIDTH).copy() if name == "pos_embed" else value
    return out


def build(tensors, layers):
    g = Graph(tensors)
    x = g.input("sample", "image", 1, PATCH * SIDE, PATCH * SIDE)
    time, label = g.input("timestep", "vector", 1), g.input("class_labels", "vector", 1)
    patches = g.layer("conv2d", "patch_embed", x, stride=PATCH)
    h = g.node("tokens", "patches", patches)
    h = g.node("add", "positions", h, g.node("parameter", "pos_embed", weights={"value": "pos_embed"}))
    t = g.node("timestep_embedding", "time", time, dim=2 * WIDTH, shift=1)
    t = g.node("tokens", "time_tokens", t, channels=WIDTH)
    c = g.node("embedding", "class", label, weights={"weight": "y_encoder.weight"})
    c = g.node("tokens", "class_tokens", c, channels=WIDTH)
    h = g.node("concat", "sequence", h, t, c, axis="tokens")
    for p in layers:
        q, k, v = (g.layer("linear", f"{p}.self_attn.{part}", h) for part in "qkv")
        a = g.node("attention", f"{p}.self_attn.attention", q, k, v, heads=HEADS)
        a = g.layer("linear", f"{p}.self_attn.out_proj", a)
        h = g.layer("layer_norm", f"{p}.norm1", g.node("add", f"{p}.self_attn.residual", h, a))
        f = g.layer("linear", f"{p}.linear1", h)
        f = g.layer("linear", f"{p}.linear2", g.node("gelu", f"{p}.gelu", f))
        h = g.layer("layer_norm", f"{p}.norm2", g.node("add", f"{p}.mlp.residual", h, f))
    h = g.node("slice", "image_tokens", h, axis="tokens", begin=0, length=SIDE * SIDE)
    h = g.node("grid", "image_grid", h, patches)
    h = g.layer("linear", "unpatch", h)
    g.outputs["sample"] = g.node("depth_to_space", "picture", h, block=PATCH)
    return g


def main():
    *source, out, graph = sys.argv[1:]
    tensors = prepare(load_file(source[0] if source else SOURCE))
    save_file(tensors, out)
    layers = sorted({k.split(".self_attn")[0] for k in tensors if ".self_attn" in k})
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "sigma_spacing": "uniform", "prediction_type": "sample"}
    sampler = {"config": config, "steps": 50, "guidance": 2, "guidance_interval": [0.3, 0.7], "null_class": 10, "classes": 10,
               "time_input": "one_minus_sigma"}
    write(graph, {"denoiser": build(tensors, layers)}, sampler=sampler,
          image={"channels": 1, "height": PATCH * SIDE, "width": PATCH * SIDE, "low": 0, "high": 1})


if __name__ == "__main__":
    main()
