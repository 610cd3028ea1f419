#!/usr/bin/env python3
"""Random-weight diffusers pipelines against import, generate and export: forwards, whole trajectories step by step,
pictures, and the way there and back.

    scripts/parity/parity.py [BIN]        needs torch, diffusers, safetensors; prints the largest relative error of each

Every forward and every latent of every step must agree within 1e-4, exported tensors to the bit, pixels to one step of
256 (the number printed is that in thousandths of the limit); exits 1 where one does not."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from diffusers import (DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DiTPipeline, DPMSolverMultistepScheduler,
                       EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler, LMSDiscreteScheduler,
                       PNDMScheduler, UniPCMultistepScheduler)

import pipelines

BIN = sys.argv[1] if __name__ == "__main__" and len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bin")
LIMIT = 1e-4
SCHEDULERS = {
    "ddim": DDIMScheduler(), "ddpm": DDPMScheduler(), "pndm": PNDMScheduler(), "euler": EulerDiscreteScheduler(),
    "euler-a": EulerAncestralDiscreteScheduler(), "heun": HeunDiscreteScheduler(), "lms": LMSDiscreteScheduler(),
    "dpm": DPMSolverMultistepScheduler(), "unipc": UniPCMultistepScheduler(),
    "ddpm learned": DDPMScheduler(variance_type="learned_range"),
    "ddim v": DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"),
}


def run(*args):
    subprocess.run([os.path.join(BIN, args[0]), *args[1:], "-q"], check=True, stdout=subprocess.DEVNULL)


def error(got, want):
    return ((got.double() - want).norm() / want.double().norm()).item()


def pipeline(folder, part, model, scheduler, index="Pipeline"):
    model.save_pretrained(os.path.join(folder, part))
    scheduler.save_pretrained(os.path.join(folder, "scheduler"))
    with open(os.path.join(folder, "model_index.json"), "w") as f:
        json.dump({"_class_name": index, part: ["diffusers", type(model).__name__],
                   "scheduler": ["diffusers", type(scheduler).__name__]}, f)
    run("import", folder, "-o", os.path.join(folder, "m.zst"))
    return os.path.join(folder, "m.zst")


def same_json(a, b):
    """Files hold numbers to nine digits."""
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-8 * abs(a)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_json(a[k], b[k]) for k in a)
    return a == b


def there_and_back(folder, part, path):
    """0: export gives every tensor back (of those that import has a use for) and the same configs."""
    run("export", path, "-o", f"{folder}/back")
    file = "diffusion_pytorch_model.safetensors"
    before, after = load_file(f"{folder}/{part}/{file}"), load_file(f"{folder}/back/{part}/{file}")
    encoder = {k for k in before if k.startswith(("encoder.", "quant_conv."))}
    same = before.keys() - encoder == after.keys() and all(torch.equal(v, before[k]) for k, v in after.items())
    blocks = () if part == "vae" else ("model_index.json", "scheduler/scheduler_config.json")
    for config in (f"{part}/config.json", *blocks):
        with open(f"{folder}/{config}") as f, open(f"{folder}/back/{config}") as g:
            a, b = json.load(f), json.load(g)
            a.pop("lambda_min_clipped", None)
            same &= same_json(a, b)
    return 0 if same else float("inf")


def once(folder, part, made):
    model, inputs = made
    path = pipeline(folder, part, model, DDIMScheduler())
    save_file(pipelines.as_float(inputs), f"{folder}/in.safetensors")
    run("generate", path, "--once", f"{folder}/in.safetensors", "-o", f"{folder}/out.safetensors")
    got = load_file(f"{folder}/out.safetensors")["sample"]
    return max(error(got, pipelines.forward(model, inputs)), there_and_back(folder, part, path))


def noise_of(model, count):
    generators = [torch.Generator().manual_seed(i) for i in range(count)]
    size, channels = model.config.sample_size, model.config.in_channels
    return generators, torch.cat([torch.randn(1, channels, size, size, generator=g) for g in generators])


def check_trace(folder, scheduler, x, generators, predict, steps, keep_variance=False):
    got = load_file(f"{folder}/t.safetensors")["trace"]
    scheduler.set_timesteps(steps)
    x, worst = x * scheduler.init_noise_sigma, 0
    noisy = {"generator": generators} if "generator" in scheduler.step.__code__.co_varnames else {}
    for i, t in enumerate(scheduler.timesteps):
        out = predict(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(out if keep_variance else out[:, :x.shape[1]], t, x, **noisy).prev_sample
        worst = max(worst, error(got[i], x))
    return worst


@torch.no_grad()
def trajectory(folder, model, scheduler, steps=6, keep_variance=False):
    path = pipeline(folder, "unet", model, scheduler)
    run("generate", path, "--steps", str(steps), "--count", "2", "--trace", f"{folder}/t.safetensors",
        "--latents", f"{folder}/l.safetensors")
    generators, x = noise_of(model, 2)
    return check_trace(folder, scheduler, x, generators, lambda v, t: model(v, t).sample, steps, keep_variance)


@torch.no_grad()
def guided(folder, steps=6, weight=3.0):
    """Classifier-free guidance as DiTPipeline does it: on the first half of the channels only."""
    config = pipelines.DITS["plain"]
    model = pipelines.share_embedders(pipelines.dit(config)[0])
    scheduler = DDIMScheduler(clip_sample=False)
    path = pipeline(folder, "transformer", model, scheduler)
    run("generate", path, "--steps", str(steps), "--count", "2", "--class", "1,5", "--guidance", str(weight), "--trace",
        f"{folder}/t.safetensors", "--latents", f"{folder}/l.safetensors")
    generators, x = noise_of(model, 2)
    labels = torch.tensor([1, 5, 7, 7])

    def predict(v, t):
        out = model(torch.cat([v, v]), timestep=t.expand(4), class_labels=labels).sample[:, :4]
        return out[2:] + weight * (out[:2] - out[2:])

    return max(check_trace(folder, scheduler, x, generators, predict, steps), there_and_back(folder, "transformer", path))


def pictures(folder, pipe, command, **how):
    """Diffusers' own pipeline and its own directory: the largest difference of a pixel, one is within the limit."""
    pipe.save_pretrained(folder)
    run("import", folder, "-o", f"{folder}/m.zst")
    run("generate", f"{folder}/m.zst", "--steps", "4", "--count", "2", "-o", f"{folder}/png", *command)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(generator=[torch.Generator().manual_seed(i) for i in range(2)], num_inference_steps=4, **how).images
    worst = 0
    for i, want in enumerate(images):
        got = np.asarray(Image.open(f"{folder}/png/{i:06d}.png").convert(want.mode), int)
        worst = max(worst, np.abs(got - np.asarray(want, int)).max())
    return worst * LIMIT


def pipelines_of(folder):
    unet = pipelines.unet({**pipelines.UNETS["learned variance"], "out_channels": 3})[0]
    yield "ddpm", folder(), DDPMPipeline(unet, DDPMScheduler()), (), {"batch_size": 2}
    yield "ddim", folder(), DDIMPipeline(unet, DDIMScheduler()), (), {"batch_size": 2, "eta": 0.0}
    yield "ddim, eta 0.7", folder(), DDIMPipeline(unet, DDIMScheduler()), ("--eta", "0.7"), {"batch_size": 2, "eta": 0.7}
    dit = pipelines.share_embedders(pipelines.dit({**pipelines.DITS["plain"], "num_embeds_ada_norm": 1000})[0])
    vae = pipelines.vae(pipelines.VAES["plain"])[0]
    pipe = DiTPipeline(dit, vae, DDIMScheduler(clip_sample=False), id2label={i: str(i) for i in range(7)})
    yield "dit", folder(), pipe, ("--class", "6,2"), {"class_labels": [6, 2]}


def main():
    torch.manual_seed(0)
    results = {}
    with tempfile.TemporaryDirectory() as root:
        def folder():
            return tempfile.mkdtemp(dir=root)
        for name, config in pipelines.UNETS.items():
            results[f"unet: {name}"] = once(folder(), "unet", pipelines.unet(config))
        for name, config in pipelines.CONDITIONED.items():
            results[f"conditioned unet: {name}"] = once(folder(), "unet", pipelines.conditioned(config))
        for name, config in pipelines.DITS.items():
            results[f"dit: {name}"] = once(folder(), "transformer", pipelines.dit(config))
        for name, config in pipelines.VAES.items():
            results[f"vae: {name}"] = once(folder(), "vae", pipelines.vae(config))
        for name, scheduler in SCHEDULERS.items():
            learned = "learned" in name
            model = pipelines.unet({**pipelines.UNETS["learned variance"], "out_channels": 6 if learned else 3})[0]
            results[f"trajectory: {name}"] = trajectory(folder(), model, scheduler, keep_variance=learned)
        results["trajectory: guided dit"] = guided(folder())
        for name, *pipe, how in pipelines_of(folder):
            results[f"pictures: {name}"] = pictures(*pipe, **how)
    for name, value in results.items():
        print(f"{'ok  ' if value <= LIMIT else 'FAIL'} {name:40} {value:.2e}")
    sys.exit(any(not v <= LIMIT for v in results.values()))


if __name__ == "__main__":
    main()
