#!/usr/bin/env python3
"""Write testdata/tiny: diffusers directories of a few kilobytes with what diffusers makes of them, for tests without torch.

    scripts/parity/make_tiny.py [FOLDER]        needs torch, diffusers, safetensors; the same bytes at every run

Each is stored in another way that files are met in: flat, old names, sharded, the fp16 variant alone. `golden.safetensors`
holds one forward (inputs and `expected`), SAMPLER.safetensors the final `latents` of a short run, image i from seed i."""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, PNDMScheduler

import parity
import pipelines

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "testdata", "tiny")
FILE = "diffusion_pytorch_model.safetensors"
STEPS, IMAGES = 5, 2
UNET = dict(sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 12), layers_per_block=1, norm_num_groups=4,
            attention_head_dim=4, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, num_class_embeds=3,
            down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D"))
RESAMPLE = dict(sample_size=(8, 16), in_channels=2, out_channels=2, block_out_channels=(8, 8), layers_per_block=1,
                norm_num_groups=2, resnet_time_scale_shift="scale_shift", downsample_type="resnet", upsample_type="resnet",
                mid_block_scale_factor=2, act_fn="relu", center_input_sample=True,
                down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("ResnetUpsampleBlock2D", "AttnUpBlock2D"))
DIT = dict(num_attention_heads=2, attention_head_dim=4, num_layers=3, sample_size=8, num_embeds_ada_norm=3, in_channels=2,
           out_channels=4, norm_elementwise_affine=True)
CONDITIONED = dict(sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=(2, 4),
                   cross_attention_dim=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE = dict(block_out_channels=(8, 16), norm_num_groups=4, latent_channels=2, scaling_factor=0.5, sample_size=16,
           down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)


def old_names(tensors):
    """As diffusers before 0.13 called them; very old files have convolutions of one pixel."""
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    out = {}
    for name, value in tensors.items():
        for new, old in names.items():
            if new in name and "attentions" in name:
                name = name.replace(new, old)
                value = value[:, :, None, None] if value.dim() == 2 else value
        out[name] = value
    return out


def save(tensors, path):
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f, indent=1, sort_keys=True)
        f.write("\n")


def write_index(folder, kind, part, model, **more):
    write_json(folder, "model_index.json", {"_class_name": kind, "_diffusers_version": "0.42.0", **more,
                                            part: ["diffusers", type(model).__name__],
                                            "scheduler": ["diffusers", "DDIMScheduler"]})


@torch.no_grad()
def run(scheduler, x, generators, predict):
    scheduler.set_timesteps(STEPS)
    x = x * scheduler.init_noise_sigma
    noisy = {"generator": generators} if "generator" in scheduler.step.__code__.co_varnames else {}
    for t in scheduler.timesteps:
        x = scheduler.step(predict(scheduler.scale_model_input(x, t), t), t, x, **noisy).prev_sample
    return x


def schedulers(folder):
    """As a user changes them: from_config drops what its source never spelled out, and a file spells out everything."""
    base = DDIMScheduler.from_pretrained(folder)
    kinds = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "pndm": PNDMScheduler, "dpmpp-2m": DPMSolverMultistepScheduler}
    return {name: kind.from_config(base.config) for name, kind in kinds.items()}


def make_unet(folder):
    """Flat, with the old names of attention weights."""
    model, inputs = pipelines.unet(UNET)
    inputs["class_labels"] = torch.tensor([0, 1, 2])
    model.save_pretrained(folder)
    DDIMScheduler(clip_sample=False).save_pretrained(folder)
    write_index(folder, "DDIMPipeline", "unet", model)
    save(old_names(model.state_dict()), f"{folder}/{FILE}")
    save({**pipelines.as_float(inputs), "expected": pipelines.forward(model, inputs)}, f"{folder}/golden.safetensors")
    for name, scheduler in schedulers(folder).items():
        generators, x = parity.noise_of(model, IMAGES)
        x = run(scheduler, x, generators, lambda v, t: model(v, t, torch.tensor([0, 1])).sample)
        save({"latents": x}, f"{folder}/{name}.safetensors")


def make_resample(folder):
    """A single component whose only weights are the fp16 variant."""
    model, inputs = pipelines.unet(RESAMPLE, images=1)
    model = model.half()
    model.save_pretrained(folder, variant="fp16")
    model = model.float()
    save({**inputs, "expected": pipelines.forward(model, inputs)}, f"{folder}/golden.safetensors")


def make_dit(folder):
    """Nested and sharded, as an old Transformer2DModel with a stored position table."""
    model, inputs = pipelines.dit(DIT)
    model = pipelines.share_embedders(model)
    part = f"{folder}/transformer"
    base = DDIMScheduler(clip_sample=False)
    model.save_pretrained(part)
    base.save_pretrained(f"{folder}/scheduler")
    with open(f"{part}/config.json") as f:
        config = json.load(f)
    write_json(part, "config.json", {**config, "_class_name": "Transformer2DModel", "caption_channels": None})
    tensors = {**load_file(f"{part}/{FILE}"), "pos_embed.pos_embed": model.pos_embed.pos_embed}
    os.remove(f"{part}/{FILE}")
    names, shards = sorted(tensors), {}
    for i, chosen in enumerate((names[:len(names) // 2], names[len(names) // 2:])):
        shard = FILE.replace(".safetensors", f"-0000{i + 1}-of-00002.safetensors")
        save({n: tensors[n] for n in chosen}, f"{part}/{shard}")
        shards.update({n: shard for n in chosen})
    write_json(part, f"{FILE}.index.json", {"metadata": {}, "weight_map": shards})
    write_index(folder, "DiTPipeline", "transformer", model, id2label={"0": "egg", "1": "hen", "2": "cock"})
    generators, x = parity.noise_of(model, IMAGES)
    labels = torch.tensor([2, 0, 3, 3])

    def predict(v, t):
        out = model(torch.cat([v, v]), timestep=t.expand(4), class_labels=labels).sample[:, :2]
        return out[2:] + 4 * (out[:2] - out[2:])

    save({**pipelines.as_float(inputs), "expected": pipelines.forward(model, inputs)}, f"{folder}/golden.safetensors")
    save({"latents": run(base, x, generators, predict)}, f"{folder}/ddim.safetensors")


def make_vae(folder):
    """A single component with its encoder."""
    model, inputs = pipelines.vae(VAE)
    model.save_pretrained(folder)
    save({**inputs, "expected": pipelines.forward(model, inputs)}, f"{folder}/golden.safetensors")


def make_conditioned(folder):
    """A single component that looks at an encoder's tokens."""
    model, inputs = pipelines.conditioned(CONDITIONED, images=2, tokens=77)
    model.half().save_pretrained(folder)
    save({**pipelines.as_float(inputs), "expected": pipelines.forward(model.float(), inputs)}, f"{folder}/golden.safetensors")


def main():
    for i, make in enumerate((make_unet, make_resample, make_dit, make_vae, make_conditioned)):
        folder = os.path.join(ROOT, make.__name__[5:])
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        torch.manual_seed(i)
        make(folder)
        for path, _, files in os.walk(folder):
            for name in files:
                os.chmod(os.path.join(path, name), 0o644)


if __name__ == "__main__":
    main()
