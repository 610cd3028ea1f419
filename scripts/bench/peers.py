#!/usr/bin/env python3
"""One forward at batch 1 beside OpenVINO and PyTorch, in turn, in one run: float32, bfloat16, int8 with int8 activations.

    scripts/bench/peers.py prepare MODEL FOLDER              # once, minutes: files of ours and of OpenVINO, inputs, reference
    scripts/bench/peers.py forward FOLDER [--types f32,bf16,w8a8,w8a8-bf16] [--rounds N] [--repeat N] [--torch]

MODEL: dit-xl2, dit-xl2x4 (4 of its 28 blocks), sd15 (random weights), anime-faces-64, mnist-flow-transformer (real ones, from ../shared/models).
Per round and type the median seconds of ours, the best and the median of each peer, the ratio of the medians, and the
relative L2 of one forward against PyTorch in float32. OpenVINO's int8 is NNCF's (SmoothQuant, bias correction, calibrated on one input that
is not the measured one), with what stays float in float32 or in bfloat16: the faster of the two counts. The last lines
give the median ratio over rounds with its range. Needs torch, diffusers, openvino, nncf (build/oracle/bin/python3).
Leave the machine to it."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "parity"))
import pipelines
import shared_models

shared_models.BIN = os.path.join(ROOT, "bin")
THREADS = len(os.sched_getaffinity(0))
# ours: (OpenVINO's file, precision of what is float in it)
INT8 = [("int8", "f32"), ("int8", "bf16")]
PEERS = {"f32": [("f32", "f32")], "bf16": [("f32", "bf16")], "w8a8": INT8, "w8a8-bf16": INT8}


def tool(name, *args):
    done = subprocess.run([os.path.join(ROOT, "bin", name), *map(str, args), "-q"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def error(got, want):
    return float(np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want.astype(np.float64)))


# ---- models: a module of positional arguments, and one draw of its inputs ----

class Positional(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs)), return_dict=False)[0]


class Restated(torch.nn.Module):
    """A function of weights, as a module whose weights OpenVINO sees as constants."""

    def __init__(self, function, weights):
        super().__init__()
        self.function, self.weights = function, weights

    def forward(self, *inputs):
        return self.function(self.weights, *inputs)


def random_model(model, names):
    torch.manual_seed(0)
    model = pipelines.randomise(model())
    if hasattr(model, "transformer_blocks"):
        pipelines.share_embedders(model)
    return model, Positional(model, names)


def dit_xl2(layers=28):
    from diffusers import DiTTransformer2DModel
    return *random_model(lambda: DiTTransformer2DModel(out_channels=8, num_layers=layers), ("hidden_states", "timestep", "class_labels")), \
        lambda: (torch.randn(1, 4, 32, 32), torch.tensor([500]), torch.tensor([207]))


def sd15():
    from diffusers import UNet2DConditionModel
    def model():
        return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return *random_model(model, ("sample", "timestep", "encoder_hidden_states")), \
        lambda: (torch.randn(1, 4, 64, 64), torch.tensor([500]), torch.randn(1, 77, 768))


def anime(folder):
    path, tensors = shared_models.export("anime_faces", folder)
    module = Restated(lambda w, x, t: shared_models.anime(w, x, t[0]), load_file(tensors))
    return path, module, lambda: (torch.randn(1, 3, 64, 64), torch.tensor([150.0]))


def mnist(folder):
    path, _ = shared_models.export("mnist_flow", folder)
    weights = load_file(os.path.join(shared_models.SHARED, "mnist-flow-transformer", "model.safetensors"))
    module = Restated(lambda w, x, t, y: shared_models.mnist(w, x, t[0], y), weights)
    return path, module, lambda: (torch.randn(1, 1, 28, 28), torch.tensor([0.4]), torch.tensor([3]))


RANDOM = {"dit-xl2": dit_xl2, "dit-xl2x4": lambda: dit_xl2(4), "sd15": sd15}
NAMES = {"dit-xl2": ("sample", "timestep", "class_labels"), "dit-xl2x4": ("sample", "timestep", "class_labels"),
         "sd15": ("sample", "timestep", "encoder_hidden_states"),
         "anime-faces-64": ("sample", "timestep"), "mnist-flow-transformer": ("sample", "timestep", "class_labels")}


def save_pipeline(model, folder):
    """A DiT with a scheduler beside it, so that it can be sampled from; others alone."""
    if not hasattr(model, "transformer_blocks"):
        model.save_pretrained(folder)
        return
    from diffusers import DDIMScheduler
    model.save_pretrained(os.path.join(folder, "transformer"))
    DDIMScheduler(clip_sample=False).save_pretrained(os.path.join(folder, "scheduler"))
    index = {"_class_name": "DiTPipeline", "transformer": ["diffusers", "DiTTransformer2DModel"],
             "scheduler": ["diffusers", "DDIMScheduler"]}
    with open(os.path.join(folder, "model_index.json"), "w") as f:
        json.dump(index, f)


def prepare_ours(name, folder, quantized=True):
    """Model files by type beside the module and its inputs."""
    files = {t: os.path.join(folder, f"{t}.zst") for t in PEERS}
    if name in RANDOM:
        model, module, draw = RANDOM[name]()
        save_pipeline(model, os.path.join(folder, "source"))
        tool("import", os.path.join(folder, "source"), "-o", files["f32"])
        tool("import", os.path.join(folder, "source"), "--dtype", "bf16", "-o", files["bf16"])
    else:
        path, module, draw = (anime if name == "anime-faces-64" else mnist)(folder)
        os.replace(path, files["f32"])
        stem = "anime_faces" if name == "anime-faces-64" else "mnist_flow"
        tool("import", os.path.join(folder, f"{stem}.safetensors"), "--graph", os.path.join(folder, f"{stem}.json"),
             "--dtype", "bf16", "-o", files["bf16"])
    for end in ("", "-bf16") if quantized else ():  # with layers that are not quantized in float32, or in bfloat16
        tool("quantize", files[end[1:] or "f32"], "--validate", 0, "-o", files["w8a8" + end])
    return module.eval(), draw


@torch.no_grad()
def prepare_floats(name, folder, quantized=False):
    """Files in float, of ours and of OpenVINO, inputs and reference; gives inputs that are not the measured one."""
    import openvino as ov
    os.makedirs(folder, exist_ok=True)
    module, draw = prepare_ours(name, folder, quantized)
    torch.manual_seed(1)
    shown, inputs = draw(), draw()
    with open(os.path.join(folder, "model.txt"), "w") as f:
        f.write(name)
    save_file(pipelines.as_float(dict(zip(NAMES[name], inputs))), os.path.join(folder, "in.safetensors"))
    np.savez(os.path.join(folder, "peers.npz"), want=module(*inputs).numpy(), **{f"in{i}": x.numpy() for i, x in enumerate(inputs)})
    torch.save(module, os.path.join(folder, "module.pt")) if name in RANDOM else None
    ov.save_model(ov.convert_model(module, example_input=inputs), os.path.join(folder, "f32.xml"), compress_to_fp16=False)
    return shown


def prepare(name, folder):
    import nncf
    import openvino as ov
    shown = prepare_floats(name, folder, True)
    made = ov.Core().read_model(os.path.join(folder, "f32.xml"))
    quantized = nncf.quantize(made, nncf.Dataset([[x.numpy() for x in shown]]), model_type=nncf.ModelType.TRANSFORMER,
                              subset_size=1)
    ov.save_model(quantized, os.path.join(folder, "int8.xml"), compress_to_fp16=False)


# ---- timing ----

def timed(call, repeat):
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        out = call()
        times.append(time.perf_counter() - start)
    return min(times), statistics.median(times), out


class Peers:
    def __init__(self, folder):
        import openvino as ov
        self.core, self.folder, self.requests = ov.Core(), folder, {}
        stored = np.load(os.path.join(folder, "peers.npz"))
        self.want = stored["want"]
        self.inputs = [stored[f"in{i}"] for i in range(len(stored.files) - 1)]

    def openvino(self, form, precision, repeat):
        if (form, precision) not in self.requests:
            hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS}
            made = self.core.compile_model(os.path.join(self.folder, form + ".xml"), "CPU", hints)
            self.requests[form, precision] = made.create_infer_request()
        request = self.requests[form, precision]
        best, median, out = timed(lambda: request.infer(self.inputs), repeat)
        return best, median, error(list(out.values())[0], self.want)

    def torch(self, repeat):
        torch.set_num_threads(THREADS)
        if "torch" not in self.requests:
            self.requests["torch"] = torch.load(os.path.join(self.folder, "module.pt"), weights_only=False)
        with torch.inference_mode():
            best, median, _ = timed(lambda: self.requests["torch"](*map(torch.from_numpy, self.inputs)), repeat)
        return best, median, 0.0

    def ours(self, kind, repeat):
        path, out = os.path.join(self.folder, f"{kind}.zst"), os.path.join(self.folder, "out.safetensors")
        report = json.loads(tool("profile", path, "--actions", "off", "--repeat", repeat, "--json"))
        if not os.path.exists(out + kind):
            tool("generate", path, "--once", os.path.join(self.folder, "in.safetensors"), "-o", out)
            os.replace(out, out + kind)
        off = error(load_file(out + kind)["sample"].numpy(), self.want)
        return report["full_ms"] / 1e3, off, report


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def forward(folder, types, rounds, repeat, with_torch):
    peers, ratios = Peers(folder), {}
    with open(os.path.join(folder, "model.txt")) as f:
        name = f.read()
    for kind in types:  # files are read and plans are made here, not in a timed part
        for peer in PEERS[kind]:
            peers.openvino(*peer, 1)
    for i in range(rounds):
        for kind in types:
            median, off, report = peers.ours(kind, repeat)
            line = f"{name} {kind:9} ours {median:.4f} s, rel. L2 {off:.1e}"
            runs = [("OpenVINO " + " with ".join(p[0] == p[1] and p[:1] or p), peers.openvino(*p, repeat)) for p in PEERS[kind]]
            fastest = min(runs, key=lambda r: r[1][1])[1]
            ratios.setdefault(kind, []).append(fastest[1] / median)
            if with_torch and kind == "f32":
                runs.append(("torch", peers.torch(max(1, repeat // 2))))
            for label, (b, m, e) in runs:
                line += f"; {label} {b:.4f} / {m:.4f} s, {e:.1e}, ratio {m / median:.2f}"
            print(f"{line}   (peaks {report['peak_f32_gflops']:.0f} GF/s, {report['peak_int8_gops']:.0f} GOP/s)", flush=True)
    for kind, values in ratios.items():
        print(f"{name} {kind:9} OpenVINO / ours over {rounds} rounds: {spread(values)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    p = parts.add_parser("prepare")
    p.add_argument("model", choices=NAMES)
    p.add_argument("folder")
    p = parts.add_parser("forward")
    p.add_argument("folder")
    p.add_argument("--types", default="f32,bf16,w8a8,w8a8-bf16")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--torch", action="store_true")
    args = parser.parse_args()
    if args.what == "prepare":
        prepare(args.model, args.folder)
    else:
        forward(args.folder, args.types.split(","), args.rounds, args.repeat, args.torch)


if __name__ == "__main__":
    main()
