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


def gram():
    """Features of 5 samples over 7 calls, 6 rows, 10 channels in 4 groups; errors by forming every residual."""
    samples, calls, rows, channels, groups = 5, 7, 6, 10, 4
    first = [g * channels // groups for g in range(groups + 1)]
    drift = np.cumsum(rng.normal(0, 0.3, (1, calls, 1, channels)), axis=1)
    base = rng.normal(0, 1, (samples, 1, rows, channels))
    x = base * (1 + 0.2 * np.arange(calls)[None, :, None, None]) + drift
    x = short(x + rng.normal(0, 0.05, x.shape))
    x64 = x.astype(np.float64)
    reuse, corrected, l1 = (np.zeros((calls, calls)) for _ in range(3))
    a, b = np.ones((calls, calls, groups)), np.zeros((calls, calls, groups))
    for t in range(calls):
        for s in range(t):
            reuse[t, s] = ((x64[:, t] - x64[:, s]) ** 2).mean()
            l1[t, s] = np.abs(x64[:, t] - x64[:, s]).sum()
            total = 0
            for g in range(groups):
                u, v = (x64[:, k, :, first[g] : first[g + 1]].ravel() for k in (s, t))
                a[t, s, g], b[t, s, g] = np.polyfit(u, v, 1)
                total += ((v - a[t, s, g] * u - b[t, s, g]) ** 2).sum()
            corrected[t, s] = total / (samples * rows * channels)
    fit = [np.polyfit(x64[:, 1, :, c].ravel(), x64[:, 4, :, c].ravel(), 1) for c in range(channels)]
    rest = [((x64[:, 4, :, c] - fit[c][0] * x64[:, 1, :, c] - fit[c][1]) ** 2).mean() for c in range(channels)]
    channel = {"a": [f[0] for f in fit], "b": [f[1] for f in fit], "mse": float(np.mean(rest))}
    return {"samples": samples, "calls": calls, "rows": rows, "channels": channels, "groups": groups, "x": flat(x),
            "power": flat((x64**2).mean(axis=(0, 2, 3))), "reuse": flat(reuse), "corrected": flat(corrected),
            "l1": flat(l1), "a": flat(a), "b": flat(b), "channel_1_to_4": channel}


def quantize():
    """Rows with outliers, a row of zeros, ties; float32 throughout, as the C code has it."""
    w = short(rng.normal(0, 1, (7, 24)))
    w[1] *= np.float32(0.001)
    w[2, 5] = 40
    w[3] = 0
    w[4] = np.float32(np.arange(24) - 12) * np.float32(0.5)
    w[4, 0] = 127
    w[5, :] = short(0.02 * rng.normal(0, 1, 24))
    w[5, 3] = 3
    out = {"rows": 7, "columns": 24, "w": flat(w)}
    scales = [float(np.abs(row).max() / np.float32(127)) for row in w]
    codes = [np.clip(np.rint(row / np.float32(c)), -127, 127) if c else np.zeros(24) for row, c in zip(w, scales)]
    restored = np.array(codes) * np.array(scales)[:, None]
    w64 = w.astype(np.float64)
    out["plain"] = {"scale": scales, "q": flat(np.array(codes)),
                    "rel_l2": float(np.linalg.norm(restored - w64) / np.linalg.norm(w64))}
    return out


def latents():
    a = short(rng.normal(0, 1, (6, 30)) + 5)
    b = short(a + 0.3 * rng.normal(0, 1, (6, 30)))
    x, y = a.astype(np.float64), b.astype(np.float64)
    score = np.linalg.norm(x.mean(0) - y.mean(0)) + np.linalg.norm(x.std(0, ddof=1) - y.std(0, ddof=1))
    return {"a": flat(a), "b": flat(b), "seeds": 6, "elements": 30, "score": float(score),
            "paired": float(np.linalg.norm(x - y, axis=1).mean())}


def main():
    with open(OUT, "w") as f:
        json.dump({"ssim": ssim(), "distances": distances(), "eigen": eigen(), "frechet": frechet(), "gram": gram(),
                   "quantize": quantize(), "latents": latents()}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
