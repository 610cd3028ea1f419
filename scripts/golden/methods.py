#!/usr/bin/env python3
"""Writes testdata/golden/methods.json: what NumPy, SciPy and scikit-image make of the inputs that the tests of
common/method use (pip install numpy scipy scikit-image)."""
import json

import numpy as np
import scipy.linalg
from skimage.metrics import structural_similarity

OUT = "testdata/golden/methods.json"
rng = np.random.default_rng(20)


def flat(x):
    return [float(v) for v in np.asarray(x).ravel()]


def short(x):
    """Random inputs with few digits, exact in float32 after reading."""
    return np.float32(np.round(np.asarray(x), 3))


def ssim():
    cases = []
    for channels, height, width, noise, data_range in ((1, 28, 28, 0.1, 2.0), (3, 17, 23, 0.5, 1.0), (1, 11, 11, 0.02, 255.0)):
        base = rng.normal(0, data_range / 4, (channels, height, width))
        a = short(np.cumsum(base, axis=2) / 3)
        b = short(a + rng.normal(0, noise * data_range, a.shape))
        values = []
        for c in range(channels):
            _, full = structural_similarity(
                a[c].astype(np.float64), b[c].astype(np.float64), gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False, data_range=data_range, full=True)
            values.append(full[5:-5, 5:-5].mean())
        cases.append({"channels": channels, "height": height, "width": width, "range": data_range,
                      "a": flat(a), "b": flat(b), "ssim": float(np.mean(values))})
    return cases


def distances():
    a, b = short(rng.normal(0, 1, (4, 60))), short(rng.normal(0, 1, (4, 60)))
    b = short(a + 0.1 * b)
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    peak = a64.max() - a64.min()
    mse = ((a64 - b64) ** 2).mean(axis=1)
    return {"a": flat(a), "b": flat(b), "range": float(peak), "psnr": float((10 * np.log10(peak**2 / mse)).mean()),
            "rel_l2": float((np.linalg.norm(a64 - b64, axis=1) / np.linalg.norm(a64, axis=1)).mean())}


def eigen():
    cases = []
    for n in (1, 2, 3, 12, 40):
        x = rng.normal(0, 1, (n, n))
        a = np.round(x + x.T, 4)
        if n == 12:  # rank 5
            x = np.round(rng.normal(0, 1, (n, 5)), 3)
            a = x @ x.T
        cases.append({"n": n, "a": flat(a), "values": flat(np.linalg.eigvalsh(a))})
    cases.append({"n": 4, "a": flat(np.diag([3.0, -1, 3, 0])), "values": [-1.0, 0.0, 3.0, 3.0]})
    return cases


def frechet():
    dim = 8
    mix = rng.normal(0, 1, (dim, dim))
    a = short(rng.normal(0, 1, (60, dim)) @ mix + 1)
    b = short(rng.normal(0, 1.2, (40, dim)) @ (mix + 0.3 * rng.normal(0, 1, (dim, dim))))
    ca, cb = np.cov(a.astype(np.float64), rowvar=False), np.cov(b.astype(np.float64), rowvar=False)
    ma, mb = a.astype(np.float64).mean(0), b.astype(np.float64).mean(0)
    root = scipy.linalg.sqrtm(ca @ cb).real
    value = ((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * root)
    return {"dim": dim, "a": flat(a), "b": flat(b), "mean_a": flat(ma), "cov_a": flat(ca), "distance": float(value)}


def main():
    with open(OUT, "w") as f:
        json.dump({"ssim": ssim(), "distances": distances(), "eigen": eigen(), "frechet": frechet()}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
