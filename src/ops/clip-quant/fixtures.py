"""Writes fixtures.json beside this file: PACT in its symmetric form and its gradients, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/clip-quant/fixtures.py. The clip is written as PACT's own, half the difference
of two absolute values, whose gradient autograd gives; rounding is passed straight through. No input lies at a rounding tie.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import numbers, write

torch.manual_seed(31)
x0, dy = torch.randn(4, 9) * 1.5, torch.randn(4, 9)
cases = []
for levels, clip, ramp in ((127, 2.0, 1.0), (7, 1.25, 1.0), (7, 1.25, 0.5)):
    x = x0.double().requires_grad_()
    a = torch.tensor(clip, dtype=torch.float64, requires_grad=True)
    clipped = 0.5 * ((x + a).abs() - (x - a).abs())
    step = (a / levels).detach()
    q = clipped + ((clipped / step).round() * step - clipped).detach()
    y = x + ramp * (q - x)
    y.backward(dy.double())
    case = {"levels": levels, "clip": clip, "lambda": ramp}
    cases.append({**case, "y": numbers(y), "dx": numbers(x.grad), "dclip": numbers(a.grad)})
write(pathlib.Path(__file__).with_name("fixtures.json"), {"x": numbers(x0), "dy": numbers(dy), "cases": cases})
