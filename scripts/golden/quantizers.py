#!/usr/bin/env python3
"""Writes testdata/golden/quantizers.json: GPTQ restated in NumPy from its paper (Frantar et al. 2022) on the inputs
of common/method/tests/test_quantizers.c, and the levels of the 4-bit codebooks. Needs numpy alone:

    build/oracle/bin/python3 scripts/golden/quantizers.py
"""
import json

import numpy as np

OUT = "testdata/golden/quantizers.json"
MASK = (1 << 64) - 1


class SplitMix:
    """common/method/prng.h."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        return (z >> 32) * n >> 32


def gptq(w, h, step):
    """The plain algorithm: the whole inverse, its upper Cholesky factor, one column after the other."""
    order = np.argsort(-np.diag(h), kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    w = w[:, order].copy()
    q = np.zeros_like(w)
    for c in range(w.shape[1]):
        q[:, c] = np.rint(w[:, c] / step) * step
        w[:, c:] -= np.outer((w[:, c] - q[:, c]) / upper[c, c], upper[c, c:])
    back = np.empty_like(q)
    back[:, order] = q
    return back


def error(w, q, h):
    return float(np.einsum("ni,ij,nj->", w - q, h, w - q))


def levels(group, rng):
    """Lloyd-Max for Gaussian groups divided by their largest magnitude, symmetric, 8 magnitudes."""
    x = rng.standard_normal((400000, group))
    a = np.sort(np.abs(x / np.abs(x).max(1, keepdims=True)).ravel())
    total = np.concatenate([[0], np.cumsum(a)])
    m = np.linspace(0.05, 1, 8)
    for _ in range(2000):
        edge = np.concatenate([[0], np.searchsorted(a, (m[1:] + m[:-1]) / 2), [len(a)]])
        new = (total[edge[1:]] - total[edge[:-1]]) / (edge[1:] - edge[:-1])
        if np.abs(new - m).max() < 1e-7:
            break
        m = new
    return [round(float(v), 5) for v in m]


def main():
    n, k, step, r = 11, 300, 0.125, SplitMix(21)
    x = np.array([np.float32(r.below(2001) / 1000 - 1) for _ in range(2 * k * k)]).reshape(2 * k, k)
    w = np.array([np.float32(r.below(2001) / 1000 - 1) for _ in range(n * k)], dtype=np.float64).reshape(n, k)
    mixed = (x + x[:, np.arange(k) // 2]).astype(np.float64)
    h = mixed.T @ mixed / (2 * k) + 0.01 * np.eye(k)
    out = {"gptq": [error(w, gptq(w, h, step), h), error(w, np.rint(w / step) * step, h)],
           "levels": {str(g): levels(g, np.random.default_rng(7)) for g in (16, 32, 64)}}
    with open(OUT, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
