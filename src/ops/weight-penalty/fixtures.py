"""Writes fixtures.json beside this file: penalties on weights and their gradients, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/weight-penalty/fixtures.py. Quantized values and the scale are detached, as
in the sources; kurtosis is that of the population (no n - 1).
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import numbers, write

torch.manual_seed(21)
w0 = torch.randn(5, 7) * 0.9
w0[0, 0], w0[1, 2], w0[2, 3] = 0.0, 3.1, -2.7
s = w0.abs().mean()
q = (w0 / s).round().clamp(-1, 1)
s64, q64 = s.double(), q.double()

penalties = {
    "dampening": lambda w: ((w.clamp(-s64, s64) - s64 * q64) ** 2).sum(),
    "proximal": lambda w: 0.5 * ((w - s64 * q64) ** 2).sum(),
    "range": lambda w: ((w.abs() - 1.5 * s64).clamp(min=0) ** 2).sum(),
    "l1": lambda w: w.abs().sum(),
}


def kurtosis(w):
    z = (w - w.mean()) / w.var(unbiased=False).sqrt()
    return ((z**4).mean() - 1.8) ** 2


data = {"w": numbers(w0), "codes": (q + 1).int().tolist(), "scale": numbers(s), "limit": 1.5, "target": 1.8, "expect": {}}
for name, penalty in {**penalties, "kurtosis": kurtosis}.items():
    w = w0.double().requires_grad_()
    loss = penalty(w)
    loss.backward()
    data["expect"][name] = {"loss": numbers(loss), "dw": numbers(w.grad)}
write(pathlib.Path(__file__).with_name("fixtures.json"), data)
