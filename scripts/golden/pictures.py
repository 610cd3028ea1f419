#!/usr/bin/env python3
"""Writes testdata/golden/pictures.json: PNG files of every colour type and bit depth with the 8-bit pixels that a
reader must make of them, and the bytes that diffusers' rule makes of floats.

The files are put together here from the PNG standard and zlib, so that libpng does not check itself."""
import json
import struct
import zlib

import numpy as np

OUT = "testdata/golden/pictures.json"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: (first column, first row, column step, row step) of each pass.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(samples, depth):
    """Rows x values, each row packed and given filter type 0."""
    out = b""
    for row in samples:
        if depth == 16:
            body = row.astype(">u2").tobytes()
        elif depth == 8:
            body = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + body
    return out


def encode(values, kind, depth, interlace, palette=None, extra=b""):
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    if interlace:
        raw = b""
        for x, y, dx, dy in PASSES:
            part = values[y::dy, x::dx]
            if part.size:
                raw += pack(part.reshape(part.shape[0], -1), depth)
    else:
        raw = pack(values.reshape(height, -1), depth)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    return out + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def to8(values, depth):
    if depth == 16:  # nearest, in integers: round(v * 255 / 65535)
        return (values.astype(np.int64) * 255 + 32767) // 65535
    return values * (255 // (2**depth - 1))


def main():
    rng = np.random.default_rng(1)
    cases = []
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for interlace in (0, 1):
                width, height = (11, 9) if depth != 2 else (3, 2)
                values = rng.integers(0, 2**depth, (height, width, SAMPLES[kind]))
                palette, extra = None, b""
                if kind == 3:
                    palette = rng.integers(0, 256, (2**depth, 3))
                    extra = chunk(b"tRNS", bytes([0, 128][: 2**depth]))
                    pixels = palette[values[..., 0]]
                else:
                    pixels = to8(values[..., : 3 if kind in (2, 6) else 1], depth)
                if kind == 0 and depth == 8:
                    extra = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"tEXt", b"key\0a text")
                cases.append(
                    {
                        "name": f"type {kind}, {depth} bits, interlace {interlace}",
                        "file": encode(values, kind, depth, interlace, palette, extra).hex(),
                        "width": width,
                        "height": height,
                        "channels": pixels.shape[2],
                        "pixels": pixels.astype(np.uint8).tobytes().hex(),
                    }
                )

    # What diffusers does: (x / 2 + 0.5).clamp(0, 1) in float32, then NumPy's round() of 255 times that. Ties included.
    x = np.concatenate([
        rng.normal(0, 0.7, 1536).astype(np.float32),
        ((np.arange(256) + 0.5) / 255 * 2 - 1).astype(np.float32),
        np.float32([-1, 1, 0, -0.0, -1.0000001, 1.0000001, 1e30, -1e30]),
    ]).astype(np.float32)
    x = x[: len(x) // 3 * 3]
    unit = np.clip(x / np.float32(2) + np.float32(0.5), 0, 1)
    floats = {"x": [float(v) for v in x], "bytes": (unit * np.float32(255)).round().astype(np.uint8).tobytes().hex()}
    with open(OUT, "w") as f:
        json.dump({"files": cases, "floats": floats}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
