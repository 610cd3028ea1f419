#!/usr/bin/env python3
"""Writes testdata/golden/samplers.json: what diffusers 0.42 and torch 2.15 make of the cases that
common/run/tests/test_sampler.c and common/base/tests/test_torch_random.c run (pip install torch diffusers).

The network of all cases: output = a * input + b * (t / T), variance = a / 2 + 0.1 * (t / T), number by number."""
import inspect
import json
import math

import diffusers
import numpy as np
import torch

OUT = "testdata/golden/samplers.json"
N = 20  # numbers of a latent: (1, 1, 4, 5)
diffusers.utils.logging.set_verbosity_error()

a = np.float32(-0.4) + np.float32(0.07) * np.arange(N, dtype=np.float32)
b = np.float32(0.3) - np.float32(0.03) * np.arange(N, dtype=np.float32)
start = torch.randn(N, generator=torch.Generator().manual_seed(7)).numpy()

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
V = {"prediction_type": "v_prediction"}
SAMPLE = {"prediction_type": "sample"}
betas = [float(np.float32(0.001 + 0.02 * (i / 29) ** 2)) for i in range(30)]

# (class, config, steps) or (class, config, steps, set_timesteps, step_kwargs)
runs = [
    ("DDIM", {"clip_sample": False}, 5),
    ("DDIM", {}, 5),
    ("DDIM", {**SD, **V, "clip_sample_range": 0.5, "steps_offset": 1, "set_alpha_to_one": False}, 7),
    ("DDIM", {**SD, **SAMPLE, "timestep_spacing": "linspace", "clip_sample": False}, 6),
    ("DDIM", {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}, 5),
    ("DDIM", {**SD, **V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}, 6),
    ("DDIM", {**COSINE, "num_train_timesteps": 10}, 10),
    ("DDIM", {"num_train_timesteps": 1}, 1),
    ("DDIM", {"num_train_timesteps": 30, "trained_betas": betas, "clip_sample": False}, 4),
    ("DDIM", {**SD, "clip_sample": False}, 5, {}, {"eta": 0.5}),
    ("DDIM", {**SAMPLE, "num_train_timesteps": 100}, 8, {}, {"eta": 1.0}),
    ("DDPM", {}, 8),
    ("DDPM", {"variance_type": "fixed_large", "clip_sample_range": 2.0}, 6),
    ("DDPM", {"variance_type": "fixed_small_log", **SAMPLE}, 5),
    ("DDPM", {"variance_type": "learned_range", "clip_sample": False}, 6),
    ("DDPM", {"variance_type": "learned", "clip_sample": False}, 4),
    ("DDPM", {**V, **COSINE, "num_train_timesteps": 12}, 12),
    ("DDPM", {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 2.0}, 5),
    ("DDPM", {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 5),
    ("DDPM", {"num_train_timesteps": 1}, 1),
    ("DDPM", {"timestep_spacing": "linspace", "beta_schedule": "sigmoid"}, 4),
    ("PNDM", {**SD, "skip_prk_steps": True, "steps_offset": 1}, 8),
    ("PNDM", {}, 7),
    ("PNDM", {**V, "set_alpha_to_one": True}, 4),
    ("PNDM", {"skip_prk_steps": True, **V, "timestep_spacing": "trailing"}, 5),
    ("PNDM", {"skip_prk_steps": True, "timestep_spacing": "linspace"}, 2),
    ("PNDM", {"skip_prk_steps": True}, 1),
    ("EulerDiscrete", {**SD, "steps_offset": 1, "timestep_spacing": "leading"}, 6),
    ("EulerDiscrete", {**SD, **V, "timestep_spacing": "trailing"}, 6),
    ("EulerDiscrete", {**SD, **SAMPLE, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, 6),
    ("EulerDiscrete", {**SD, "use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0}, 5),
    ("EulerDiscrete", {**COSINE, "num_train_timesteps": 50}, 1),
    ("EulerDiscrete", {**SD, "timestep_spacing": "leading", "steps_offset": 1, "num_train_timesteps": 10}, 10),
    ("EulerAncestralDiscrete", {**SD, "timestep_spacing": "trailing"}, 6),
    ("EulerAncestralDiscrete", {**SD, **V}, 6),
    ("EulerAncestralDiscrete", {**SD, "timestep_spacing": "leading", "steps_offset": 1}, 1),
    ("HeunDiscrete", {"use_karras_sigmas": True}, 5),
    ("HeunDiscrete", {**V, "clip_sample": True, "clip_sample_range": 0.7, "timestep_spacing": "trailing"}, 4),
    ("HeunDiscrete", {**SAMPLE, **SD}, 3),
    ("HeunDiscrete", {}, 1),
    ("LMSDiscrete", {**SD, "use_karras_sigmas": True}, 6),
    ("LMSDiscrete", {**SD, **V, "timestep_spacing": "trailing"}, 9),
    ("LMSDiscrete", {**SAMPLE, "timestep_spacing": "leading", "steps_offset": 1}, 5),
    ("DPMSolverMultistep", {**SD, "solver_order": 1}, 5),
    ("DPMSolverMultistep", {**SD, "solver_order": 3}, 7),
    ("DPMSolverMultistep", {**SD, **V, "solver_order": 3, "lower_order_final": False}, 7),
    ("DPMSolverMultistep", {**SD, "use_karras_sigmas": True}, 6),
    ("DPMSolverMultistep", {**COSINE, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, 6),
    ("DPMSolverMultistep", {**COSINE, "lambda_min_clipped": -5.1}, 6),
    ("DPMSolverMultistep", {**SD, "solver_type": "heun", "timestep_spacing": "leading", "steps_offset": 1}, 6),
    ("DPMSolverMultistep", {**SD, "solver_type": "bh2", "algorithm_type": "deis", "final_sigmas_type": "sigma_min",
                            "timestep_spacing": "trailing"}, 16),
    ("DPMSolverMultistep", {**SD, "final_sigmas_type": "sigma_min", "euler_at_final": True, **SAMPLE}, 5),
    ("DPMSolverMultistep", {**SD, "thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.2}, 5),
    ("DPMSolverMultistep", {**FLOW, "flow_shift": 3.0}, 5),
    ("DPMSolverMultistep", {**FLOW, "use_dynamic_shifting": True}, 5, {"mu": 0.83}),
    ("UniPCMultistep", {**SD, "solver_order": 1}, 5),
    ("UniPCMultistep", {**SD, "solver_order": 3}, 7),
    ("UniPCMultistep", {**SD, **V, "solver_type": "bh1", "final_sigmas_type": "sigma_min",
                        "lower_order_final": False}, 5),
    ("UniPCMultistep", {**SD, "use_karras_sigmas": True, "sigma_max": 12.0, "solver_type": "midpoint"}, 6),
    ("UniPCMultistep", {**SD, **SAMPLE, "timestep_spacing": "trailing", "thresholding": True,
                        "sample_max_value": 1.3}, 5),
    ("UniPCMultistep", {**SD}, 30),
    ("UniPCMultistep", {**FLOW, "flow_shift": 5.0}, 5),
    ("UniPCMultistep", {**FLOW, "flow_shift": 2.0, "final_sigmas_type": "sigma_min"}, 4),
    ("UniPCMultistep", {**FLOW, "use_dynamic_shifting": True, "shift_terminal": 0.02}, 6, {"mu": 1.15}),
    ("UniPCMultistep", {**FLOW, "use_dynamic_shifting": True, "time_shift_type": "linear"}, 4, {"mu": 0.5}),
    ("LCM", {}, 4),
    ("LCM", {**V, "clip_sample": True, "clip_sample_range": 0.8, "original_inference_steps": 20}, 3),
    ("LCM", {**SAMPLE, "timestep_scaling": 5.0, "set_alpha_to_one": False}, 7),
    ("LCM", {}, 1),
    ("FlowMatchEulerDiscrete", {"shift": 3.0}, 5),
    ("FlowMatchEulerDiscrete", {"shift": 0.4, "num_train_timesteps": 300, "shift_terminal": 0.1}, 6),
    ("FlowMatchEulerDiscrete", {"use_dynamic_shifting": True}, 4, {"mu": 0.7}),
    ("FlowMatchEulerDiscrete", {"use_dynamic_shifting": True, "time_shift_type": "linear", "shift_terminal": 0.02}, 4,
     {"mu": 1.15, "sigmas": [1.0, 0.75, 0.5, 0.25]}),
    ("FlowMatchEulerDiscrete", {"shift": 3.0}, 3, {"sigmas": [0.9, 0.6, 0.1]}),
    ("FlowMatchEulerDiscrete", {"shift": 3.0}, 1),
]

# (class, config, steps, our name of the class to convert to)
NAMES = {"ddim": "DDIM", "ddpm": "DDPM", "pndm": "PNDM", "euler": "EulerDiscrete", "euler-a": "EulerAncestralDiscrete",
         "heun": "HeunDiscrete", "lms": "LMSDiscrete", "dpmpp-1": "DPMSolverMultistep",
         "dpmpp-2m": "DPMSolverMultistep", "unipc": "UniPCMultistep", "lcm": "LCM",
         "flow-euler": "FlowMatchEulerDiscrete"}
noise_models = [
    ("PNDM", {**SD, "skip_prk_steps": True, "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}),
    ("DDIM", {"num_train_timesteps": 300, "beta_end": 0.03, **V, "timestep_spacing": "trailing",
              "clip_sample_range": 0.6}),
    ("DPMSolverMultistep", {**SD, "solver_order": 3, "solver_type": "midpoint", "algorithm_type": "dpmsolver++",
                            "final_sigmas_type": "sigma_min", "use_karras_sigmas": True,
                            "variance_type": "learned_range"}),
]
conversions = [(cls, config, 5, name) for cls, config in noise_models for name in NAMES
               if name != "flow-euler" and not (name == "pndm" and cls == "DPMSolverMultistep")]
conversions += [("FlowMatchEulerDiscrete", {"shift": 3.0}, 5, name)
                for name in ("dpmpp-1", "dpmpp-2m", "unipc", "flow-euler")]
conversions += [("UniPCMultistep", {**FLOW, "flow_shift": 5.0}, 4, "dpmpp-2m"),
                ("DPMSolverMultistep", {**FLOW, "flow_shift": 2.0}, 4, "unipc")]


def scheduler_class(short):
    return getattr(diffusers, short + "Scheduler")


def converted(cls, config, name):
    """from_config, with what a flow model needs in another class and the order that is part of our names."""
    target, extra = scheduler_class(NAMES[name]), {}
    if name.startswith("dpmpp"):
        extra["solver_order"] = 1 if name == "dpmpp-1" else 2
    if cls == "FlowMatchEulerDiscrete" and name != "flow-euler":
        extra.update(FLOW, flow_shift=config["shift"])
    return target.from_config(scheduler_class(cls).from_config(config).config, **extra)  # unknown keys are kept


def run(s, steps, times, kwargs, seed):
    """Timesteps, first sigma and the latent after every call."""
    if "sigmas" in times:
        s.set_timesteps(**times)
    else:
        s.set_timesteps(steps, **times)
    if hasattr(s, "set_begin_index"):  # equal first timesteps would start at the second otherwise
        s.set_begin_index(0)
    first = float(getattr(s, "init_noise_sigma", 1.0))
    x = torch.tensor(start).reshape(1, 1, 4, 5) * getattr(s, "init_noise_sigma", 1.0)
    g = torch.Generator().manual_seed(seed)
    known = inspect.signature(s.step).parameters
    learned = isinstance(s, diffusers.DDPMScheduler) and s.config.variance_type in ("learned", "learned_range")
    trace = []
    for t in s.timesteps:
        seen = s.scale_model_input(x, t) if hasattr(s, "scale_model_input") else x
        u = np.float32(np.float32(float(t)) / np.float32(s.config.num_train_timesteps))
        out = torch.tensor(a * seen.numpy().ravel() + b * u).reshape(x.shape)
        if learned:
            more = torch.tensor(a / 2 + np.float32(0.1) * u).reshape(x.shape)
            if s.config.variance_type == "learned":
                more = more.abs()
            out = torch.cat([out, more], dim=1)
        x = s.step(out, t, x, **({"generator": g} if "generator" in known else {}), **kwargs).prev_sample
        trace.append(x.numpy().ravel().copy())
    return [float(t) for t in s.timesteps], first, trace


def number(x):
    return float("%.9g" % x)


def case(cls, config, steps, times=None, kwargs=None, name=None, seed=11):
    times, kwargs = times or {}, kwargs or {}
    s = converted(cls, config, name) if name else scheduler_class(cls)(**config)
    with np.errstate(all="ignore"):
        timesteps, first, trace = run(s, steps, times, kwargs, seed)
    assert np.isfinite(trace).all(), (cls, config)
    c = {"cls": cls + "Scheduler", "config": config, "steps": steps, "seed": seed,
         "timesteps": [number(t) for t in timesteps], "init_sigma": number(first),
         "trace": [[number(v) for v in row] for row in trace]}
    extra = {"as": name, "set_timesteps": times, "step_kwargs": kwargs}
    return {**c, **{key: value for key, value in extra.items() if value}}


def our_rules():
    """The two keys that no diffusers class has, in double: DDIM over a list, and flow without shift."""
    steps, x = 6, start.astype(np.float64)
    bar = np.cumprod(1 - np.float64(betas))
    times = [round(t) for t in np.linspace(29, 0, steps)]
    trace = []
    for i, t in enumerate(times):
        out = a * x + b * (t / 30)
        clean = (x - math.sqrt(1 - bar[t]) * out) / math.sqrt(bar[t])
        after = bar[times[i + 1]] if i + 1 < steps else 1.0
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * out
        trace.append([number(v) for v in x])
    yield {"cls": "DDIMScheduler", "steps": steps, "seed": 11, "timesteps": times, "init_sigma": 1, "trace": trace,
           "config": {"num_train_timesteps": 30, "trained_betas": betas, "clip_sample": False,
                      "timestep_spacing": "linspace", "previous_timestep": "list"}}
    x, trace, times = start.astype(np.float64), [], []
    for i in range(steps):
        times.append(number(1000 * (1 - i / steps)))
        x = x - (a * x + b * (1 - i / steps)) / steps
        trace.append([number(v) for v in x])
    yield {"cls": "FlowMatchEulerDiscreteScheduler", "steps": steps, "seed": 11, "timesteps": times, "init_sigma": 1,
           "trace": trace, "config": {"shift": 3.0, "sigma_spacing": "uniform"}}


def noise():
    """Draws in order from one generator each: [["randn" or "rand", count], ...] and all numbers."""
    orders = [(0, [["randn", 1], ["randn", 16], ["randn", 1]]), (42, [["randn", 15]]), (2**32, [["randn", 31]]),
              (3, [["randn", 17], ["randn", 3], ["rand", 4], ["randn", 33]]), (1234567890123, [["randn", 48]]),
              (5, [["rand", 5], ["randn", 2]]), (9, [["randn", 700]])]
    for seed, draws in orders:
        g = torch.Generator().manual_seed(seed)
        values = [number(v) for what, n in draws for v in getattr(torch, what)(n, generator=g).tolist()]
        yield {"seed": seed, "draws": draws, "values": values[:160],
               "sum": number(sum(values)), "abs_sum": number(sum(map(abs, values)))}


with open(OUT, "w") as f:
    cases = [case(*r) for r in runs] + [case(*r[:3], name=r[3]) for r in conversions] + list(our_rules())
    f.write('{"a": %s,\n"b": %s,\n"start": %s,\n' % tuple(json.dumps([number(v) for v in x]) for x in (a, b, start)))
    f.write('"noise": [\n' + ",\n".join(json.dumps(n) for n in noise()) + '],\n"cases": [\n')
    f.write(",\n".join(json.dumps(c) for c in cases) + "]}\n")
print(len(cases), "cases")
