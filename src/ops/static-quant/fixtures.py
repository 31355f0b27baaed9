"""Writes fixtures.json beside this file: int8 rounding with one fixed scale, and its gradient.

By hand, once, with PyTorch 2.15: python3 src/ops/static-quant/fixtures.py. The rounding and the gradient are PyTorch's
fake_quantize_per_tensor_affine. Values that stand within 1e-3 of a rounding boundary are left out.
"""
import json
import pathlib

import torch

torch.manual_seed(11)
cases = []
for scale in (0.01, 0.5, 0.0078125):
    x = torch.randn(64) * 100 * scale
    x = torch.cat([x, torch.tensor([0.0, 127.4 * scale, -127.4 * scale, 128 * scale, -300 * scale])])
    code = x / scale
    x = x[((code - code.floor()) - 0.5).abs() > 1e-3].clone().requires_grad_()
    dy = torch.randn(x.shape)
    y = torch.fake_quantize_per_tensor_affine(x, scale, 0, -127, 127)
    y.backward(dy)
    row = lambda t: [float(v) for v in t.detach()]
    cases.append({"scale": scale, "x": row(x), "dy": row(dy), "y": row(y), "dx": row(x.grad)})
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
