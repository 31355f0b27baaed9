"""Writes fixtures.json beside this file: values that GGUF's Q4_0 holds, by the quantizer of the Python package gguf.

By hand, with gguf and numpy: python3 src/ops/int4-blocks/fixtures.py.
"""
import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, dequantize, quantize

random = np.random.default_rng(4)
w = random.normal(size=(4, 64)).astype(np.float32)
w[1] *= 1e-3
w[2, :32] = 0
w[3] = np.round(w[3] * 4) / 4  # ties, of magnitude and between levels
y = dequantize(quantize(w, GGMLQuantizationType.Q4_0), GGMLQuantizationType.Q4_0)
data = {"w": [[float(v) for v in row] for row in w], "y": [[float(v) for v in row] for row in y]}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
