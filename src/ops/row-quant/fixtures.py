"""Writes fixtures.json beside this file: weights rounded to b bits a row, and the gradient, by PyTorch in float32.

By hand, once, with PyTorch 2.15: python3 src/ops/row-quant/fixtures.py. The quantizer is torch.fake_quantize_per_channel_affine
with the scale max|w| / (2^(b-1) - 1) of each row and no zero point.
"""
import json
import pathlib

import torch

torch.manual_seed(23)
exact = lambda t: [[float(v) for v in row] for row in t.tolist()]
w0, dy = torch.randn(4, 11), torch.randn(4, 11)
cases = []
for bits in (2, 3, 4, 8):
    levels = 2 ** (bits - 1) - 1
    w = w0.clone().requires_grad_()
    scale = w0.abs().amax(dim=1) / levels
    y = torch.fake_quantize_per_channel_affine(w, scale, torch.zeros(4, dtype=torch.int32), 0, -levels, levels)
    y.backward(dy)
    cases.append({"bits": bits, "y": exact(y.detach()), "dw": exact(w.grad)})
data = {"w": exact(w0), "dy": exact(dy), "cases": cases}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
