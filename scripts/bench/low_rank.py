#!/usr/bin/env python3
"""Does a branch pay as a low-rank map? x + f(u) -> x + U V u + c against leaving f out and against a narrower f.

    build/oracle/bin/python3 scripts/bench/low_rank.py [--images N] [--steps N] [--blocks 2,4,6]

On testdata/models/fashion-dit, one branch at a time: f is replaced by its mean, by the best map of rank r of its input
(reduced-rank regression on calibration rows, ridge 1 % of the mean diagonal; attention also reads the mean over the
tokens), or, with the same operations as rank r, by its own r neurons that contribute most, the last layer fitted again;
attention also by one or two of its heads.
Printed: the relative error of the branch's output on rows of unseen images, and the relative L2 of final latents on
these images against the whole model, and what that costs per millisecond saved (--ff-ms and --attention-ms: of the
branch, from a profile; rank r and r neurons take r / 768 of the first)."""
import argparse
import os

import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "testdata", "models", "fashion-dit")


class Map(torch.nn.Module):
    """u (and the mean over the tokens) @ w + c"""

    def __init__(self, w, c, tokens):
        super().__init__()
        self.w, self.c, self.tokens = w, c, tokens

    def forward(self, u, *args, **more):
        return with_tokens(u, self.tokens) @ self.w + self.c


def with_tokens(u, tokens):
    return torch.cat([u, u.mean(1, keepdim=True).expand_as(u)], 2) if tokens else u


@torch.no_grad()
def sample(model, seeds, steps, guidance=1.5):
    scheduler = DDIMScheduler.from_pretrained(MODEL, subfolder="scheduler")
    scheduler.set_timesteps(steps)
    x = torch.stack([torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(s)) for s in seeds])
    label = torch.tensor([s % 10 for s in seeds] + [10] * len(seeds))
    for t in scheduler.timesteps:
        e = model(torch.cat([x, x]), t.expand(2 * len(seeds)), class_labels=label).sample[:, :1]
        c, u = e.chunk(2)
        x = scheduler.step(u + guidance * (c - u), t, x).prev_sample
    return x


class Rows:
    """Inputs and outputs of a branch while the model samples."""

    def __init__(self, branch):
        self.u, self.y = [], []
        self.hook = branch.register_forward_hook(self.keep, with_kwargs=True)

    def keep(self, module, args, kwargs, y):
        u = args[0] if args else kwargs["hidden_states"]
        self.u.append(u.detach())
        self.y.append(y.detach())

    def take(self):
        self.hook.remove()
        return torch.cat(self.u), torch.cat(self.y)


def solve(u, y):
    """Ridge regression of y on u with a constant."""
    u, y = u.reshape(-1, u.shape[-1]).double(), y.reshape(-1, y.shape[-1]).double()
    mu, my = u.mean(0), y.mean(0)
    c = (u - mu).T @ (u - mu)
    w = torch.linalg.solve(c + 0.01 * c.diagonal().mean() * torch.eye(len(c)), (u - mu).T @ (y - my))
    return w, my - mu @ w, c


def low_rank(u, y, rank, tokens):
    w, _, c = solve(with_tokens(u, tokens), y)
    vectors = torch.linalg.eigh(w.T @ c @ w).eigenvectors[:, -rank:]
    w = w @ vectors @ vectors.T
    mean = with_tokens(u, tokens).reshape(-1, w.shape[0]).double().mean(0)
    return Map(w.float(), (y.reshape(-1, y.shape[-1]).double().mean(0) - mean @ w).float(), tokens)


def narrow(ff, u, y, neurons):
    hidden = ff.net[0](u)
    weight = ff.net[2].weight
    score = hidden.double().square().mean((0, 1)) * weight.double().square().sum(0)
    keep = score.argsort(descending=True)[:neurons]
    w, c, _ = solve(hidden[..., keep], y)

    class Narrow(torch.nn.Module):
        def forward(self, u, *args, **more):
            return ff.net[0](u)[..., keep] @ w.float() + c.float()
    return Narrow()


def mixed(attention, u):
    """What the heads make of u, before the last layer."""
    q, k, v = (f(u).unflatten(2, (attention.heads, -1)).transpose(1, 2)
               for f in (attention.to_q, attention.to_k, attention.to_v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def fewer_heads(attention, u, y, heads):
    hidden = torch.cat([mixed(attention, x) for x in u.split(64)])
    weight = attention.to_out[0].weight
    score = (hidden.double().square().mean((0, 1)) * weight.double().square().sum(0)).unflatten(0, (attention.heads, -1)).sum(1)
    keep = torch.arange(hidden.shape[-1]).unflatten(0, (attention.heads, -1))[score.argsort(descending=True)[:heads]].flatten()
    w, c, _ = solve(hidden[..., keep], y)

    class Fewer(torch.nn.Module):
        def forward(self, u, *args, **more):
            return mixed(attention, u)[..., keep] @ w.float() + c.float()
    return Fewer()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--images", type=int, default=8)
    args.add_argument("--steps", type=int, default=20)
    args.add_argument("--blocks", default="1,3,5,6", type=lambda s: [int(x) for x in s.split(",")])
    args.add_argument("--ranks", default="16,32,64", type=lambda s: [int(x) for x in s.split(",")])
    args.add_argument("--ff-ms", type=float, default=0.293)
    args.add_argument("--attention-ms", type=float, default=0.175)
    o = args.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    model = DiTTransformer2DModel.from_pretrained(MODEL, subfolder="transformer").eval()
    test = list(range(o.images))
    learn = [2 ** 31 + i for i in range(4 * o.images)]
    full = sample(model, test, o.steps)
    for b in o.blocks:
        block = model.transformer_blocks[b]
        for name, ms in (("ff", o.ff_ms), ("attn1", o.attention_ms)):
            branch, tokens = getattr(block, name), name == "attn1"
            rows = Rows(branch)
            sample(model, learn, o.steps)
            u, y = rows.take()
            rows = Rows(branch)
            sample(model, test, o.steps)
            u_test, y_test = rows.take()
            some = slice(0, None, 3)
            u, y = u[some], y[some]
            choices = [("mean", Map(torch.zeros(u.shape[-1], y.shape[-1]), y.mean((0, 1)), False), 0)]
            for r in o.ranks:
                choices.append((f"rank {r}", low_rank(u, y, r, tokens), r))
                if name == "ff":
                    choices.append((f"{r} neurons", narrow(branch, u, y, r), r))
            if name == "ff":
                choices.append(("192 neurons", narrow(branch, u, y, 192), 192))
            else: # in ranks of the same time
                choices += [(f"{h} of 4 heads", fewer_heads(branch, u, y, h),
                             h / 4 * o.attention_ms / o.ff_ms * 768 / 1.5) for h in (1, 2)]
            for label, other, r in choices:
                setattr(block, name, other)
                got = sample(model, test, o.steps)
                local = ((other(u_test) - y_test).norm() / (y_test - y_test.mean((0, 1))).norm()).item()
                setattr(block, name, branch)
                error = ((got - full).flatten(1).norm(dim=1) / full.flatten(1).norm(dim=1)).mean().item()
                saved = ms - o.ff_ms * r / 768 * (1.5 if tokens else 1)
                print(f"block {b} {name:5} {label:12} branch {local:.3f}   final {error:.4f}   saves {saved:.3f} ms   "
                      f"{error / saved:.3f} a ms", flush=True)


if __name__ == "__main__":
    main()
