#!/usr/bin/env python3
"""Write graph.json beside the weights of the two classifiers, from their arch.json.

    scripts/export_graph/classifiers.py [FOLDER ...]
    import FOLDER/weights.safetensors --graph FOLDER/graph.json -o features.model.zst"""
import json
import os
import sys

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "testdata", "models")


def graph(arch):
    channels, height, width = arch["input"]
    nodes, outputs, last = [], {}, "sample"
    for i, (kind, *size) in enumerate(arch["layers"]):
        name = f"layers.{i}"
        weights = {"weight": f"{name}.weight", "bias": f"{name}.bias"}
        if kind == "feature":
            outputs["features"] = last
            continue
        node = {"name": name, "in": [last]}
        if kind == "conv":
            node.update(op="conv2d", attr={"stride": size[3], "pad": size[2] // 2}, weights=weights)
        elif kind == "norm":
            node.update(op="group_norm", attr={"groups": size[0]}, weights=weights)
        elif kind == "linear":
            node.update(op="linear", weights=weights)
        else:
            node.update(op={"mean": "mean_pool"}.get(kind, kind))
        nodes.append(node)
        last = name
    outputs["logits"] = last
    inputs = [{"name": "sample", "kind": "image", "channels": channels, "height": height, "width": width}]
    return {"components": {"classifier": {"inputs": inputs, "nodes": nodes, "outputs": outputs}},
            "image": {"channels": channels, "height": height, "width": width, "low": -1, "high": 1}}


def main():
    folders = sys.argv[1:] or [os.path.join(MODELS, n) for n in ("fashion-features", "fashion-judge")]
    for folder in folders:
        with open(os.path.join(folder, "arch.json")) as f:
            made = graph(json.load(f))
        with open(os.path.join(folder, "graph.json"), "w") as f:
            json.dump(made, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
