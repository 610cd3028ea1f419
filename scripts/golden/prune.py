#!/usr/bin/env python3
"""Writes testdata/golden/prune.json: the order and the cost of channels by optimal brain surgeon, and the repair by
least squares, as NumPy makes them from the definitions: inverses of whole matrices, nothing brought up to date.

Seed 41; needs numpy."""
import json

import numpy as np

OUT = "testdata/golden/prune.json"
rng = np.random.default_rng(41)
N, ROWS, OUTPUTS = 12, 60, 7


def flat(x):
    return [float(v) for v in np.asarray(x).ravel()]


def cost_of(dropped, covariance, w):
    """tr(W_R [C^-1]_RR^-1 W_R'): what dropping these columns costs when the others are fitted again."""
    inverse = np.linalg.inv(covariance)[np.ix_(dropped, dropped)]
    return float(np.trace(w[:, dropped] @ np.linalg.inv(inverse) @ w[:, dropped].T))


def order(covariance, w, block, groups):
    gone, costs, size = [], [], N // groups
    for _ in range(N // (block * groups) - 1):
        for g in range(groups):
            first = range(g * size, (g + 1) * size, block) if groups > 1 else range(0, N, block)
            free = [i for i in first if i not in gone]
            best = min(free, key=lambda i: cost_of(gone + list(range(i, i + block)), covariance, w))
            gone += list(range(best, best + block))
        costs.append(cost_of(gone, covariance, w))
    return {"block": block, "groups": groups, "order": gone, "cost": costs}


def repair(x, damp):
    """x from noisy kept channels y: A = S + (C_xy - S C_yy) (C_yy + damp mean(diag C_yy) I)^-1, by rows."""
    place = [0, 1, 4, 6, 9]
    y = x[:, place] + 0.1 * rng.normal(size=(ROWS, len(place)))
    dx, dy = x - x.mean(0), y - y.mean(0)
    cyy = dy.T @ dy / ROWS
    s = np.zeros((N, len(place)))
    s[place, range(len(place))] = 1
    left = (dx - dy @ s.T).T @ dy / ROWS
    a = s + left @ np.linalg.inv(cyy + damp * cyy.diagonal().mean() * np.eye(len(place)))
    return {"place": place, "damp": damp, "cross": flat(x.T @ y / ROWS), "own": flat(y.T @ y / ROWS),
            "mean": flat(x.mean(0)), "kept_mean": flat(y.mean(0)), "a": flat(a), "shift": flat(x.mean(0) - a @ y.mean(0))}


def main():
    x = rng.normal(size=(ROWS, N)) @ rng.normal(size=(N, N)) + rng.normal(size=N)
    w = rng.normal(size=(OUTPUTS, N))
    covariance = np.cov(x.T, bias=True) + 0.01 * np.eye(N)
    out = {"covariance": flat(covariance), "gram": flat(w.T @ w),
           "orders": [order(covariance, w, *shape) for shape in ((1, 1), (3, 1), (1, 4))],
           "repairs": [repair(x, damp) for damp in (0, 0.01, 1)]}
    with open(OUT, "w", encoding="utf-8") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
