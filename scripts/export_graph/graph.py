"""What the graph exporters share: a list of nodes, weights by tensor name, one JSON file (hasten-model(5))."""
import json


class Graph:
    def __init__(self, tensors):
        self.tensors, self.inputs, self.nodes, self.outputs = tensors, [], [], {}

    def input(self, name, kind, channels, height=None, width=None):
        self.inputs.append({"name": name, "kind": kind, "channels": channels,
                            **({"height": height, "width": width} if height else {})})
        return name

    def node(self, op, name, *inputs, weights=None, **attr):
        node = {"name": name, "op": op, "in": list(inputs)}
        if attr:
            node["attr"] = attr
        if weights:
            for tensor in weights.values():
                if tensor not in self.tensors:
                    raise SystemExit(f"node {name}: there is no tensor {tensor}")
            node["weights"] = weights
        self.nodes.append(node)
        return name

    def layer(self, op, name, x, path=None, **attr):
        """A node with the weights path.weight and, if there is one, path.bias."""
        path = path or name
        weights = {"weight": f"{path}.weight"}
        if f"{path}.bias" in self.tensors:
            weights["bias"] = f"{path}.bias"
        return self.node(op, name, x, weights=weights, **attr)

    def component(self):
        return {"inputs": self.inputs, "nodes": self.nodes, "outputs": self.outputs}


def write(path, components, **blocks):
    with open(path, "w") as f:
        json.dump({"components": {k: g.component() for k, g in components.items()}, **blocks}, f)
        f.write("\n")
