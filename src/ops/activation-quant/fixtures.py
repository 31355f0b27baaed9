"""Writes the codes in fixtures.json beside this file: activations with ties, zeros, denormals, huge values, NaN, infinity.

In float32, as PyTorch rounds: k = 127 / max(absmax, 1e-5); q = clip(round(x * k), -127, 127); dequant = q / k. NaN and the
infinities are strings. By hand, with PyTorch: python3 src/ops/activation-quant/fixtures.py.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import numbers, report, write

path = pathlib.Path(__file__).with_name("fixtures.json")
data = json.loads(path.read_text())
for name, case in data.items():
    x = torch.tensor([float(v) for v in case["x"]], dtype=torch.float32)
    k = 127.0 / x.abs().max().clamp(min=1e-5)
    q = (x * k).round().clamp(-127, 127)
    k_number = numbers(k.item()) if not torch.isfinite(k) else k.item()
    made = {"x": case["x"], "k": k_number, "q": numbers(q), "dequant": numbers(q / k)}
    report(name, case, made)
    data[name] = made
write(path, data)
