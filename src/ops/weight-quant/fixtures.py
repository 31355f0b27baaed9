"""Writes the codes in fixtures.json beside this file: weights with ties, zeros, denormals, huge values, NaN, infinity.

In float32, as PyTorch rounds, under both rules of the scale:
  add    s = mean(|W|) + 1e-5;             q = clip(round(W / s), -1, 1);  dequant = q * s
  clamp  k = 1 / max(mean(|W|), 1e-5);     q = clip(round(W * k), -1, 1);  dequant = q / k;  s = 1 / k
NaN and the infinities are strings. By hand, with PyTorch: python3 src/ops/weight-quant/fixtures.py.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import numbers, report, write


def scalar(x):
    return x.item() if torch.isfinite(x) else numbers(x.item())


path = pathlib.Path(__file__).with_name("fixtures.json")
data = json.loads(path.read_text())
for name, case in data.items():
    W = torch.tensor([[float(v) for v in row] for row in case["W"]], dtype=torch.float32)
    mean = W.abs().mean()
    s = mean + 1e-5
    q = (W / s).round().clamp(-1, 1)
    add = {"scale": scalar(s), "q": numbers(q), "dequant": numbers(q * s)}
    k = 1.0 / mean.clamp(min=1e-5)
    q = (W * k).round().clamp(-1, 1)
    clamp = {"scale": scalar(1.0 / k), "q": numbers(q), "dequant": numbers(q / k)}
    made = {"W": case["W"], "add": add, "clamp": clamp}
    report(name, case, made)
    data[name] = made
write(path, data)
