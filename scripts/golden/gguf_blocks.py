#!/usr/bin/env python3
"""Blocks of GGUF's quantized types with random bytes and what the package `gguf` from PyPI (0.19.0) makes of them:
testdata/golden/gguf.json.

    pip install gguf && scripts/golden/gguf_blocks.py testdata/golden/gguf.json"""
import json
import sys

import numpy
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

# type: bytes of a block, numbers of a block, places of its float16 scales
TYPES = {"Q8_0": (34, 32, [0]), "Q4_0": (18, 32, [0]), "Q4_K": (144, 256, [0, 2]), "Q6_K": (210, 256, [208])}

random, out = numpy.random.default_rng(7), {"script": "scripts/golden/gguf_blocks.py"}
for name, (size, numbers, scales) in TYPES.items():
    blocks = random.integers(0, 256, (512 // numbers, size), dtype=numpy.uint8)
    for block in blocks:
        for at in scales:  # random bytes would be NaN now and then
            block[at:at + 2] = numpy.frombuffer(numpy.float16(random.normal() * 0.1).tobytes(), numpy.uint8)
    values = dequantize(blocks.reshape(1, -1), GGMLQuantizationType[name])[0]
    out[name] = {"bytes": blocks.ravel().tolist(), "values": [float(f"{v:.9g}") for v in values]}
with open(sys.argv[1], "w") as f:
    json.dump(out, f, separators=(",", ":"))
    f.write("\n")
