"""Writes fixtures.json beside this file: codes and scales of absmedian, in float32, as PyTorch rounds and takes medians.

  add    s = median(|W|) + 1e-5;             q = clip(round(W / s), -1, 1)
  clamp  k = 1 / max(median(|W|), 1e-5);     q = clip(round(W * k), -1, 1);  s = max(median(|W|), 1e-5)
By hand, with PyTorch: python3 src/ops/median-quant/fixtures.py.
"""
import json
import pathlib

import torch

torch.manual_seed(5)
cases = {
    "odd count": torch.randn(3, 7),
    "even count": torch.randn(4, 6),
    "an even count whose middle two differ": torch.tensor([[1.0, -2.0], [4.0, 8.0]]),
    "ties": torch.tensor([[2.0, 2.0, -2.0, -1.0], [1.0, 3.0, 0.0, 2.0]]),
    "mostly zeros": torch.tensor([[0.0, 0.0, 0.0], [0.0, -1.0, 3.0]]),
    "one": torch.tensor([[-0.25]]),
    "heavy tails": torch.randn(5, 9) ** 5,
}
data = {}
for name, W in cases.items():
    median = W.abs().median()
    s = median + 1e-5
    clamped = median.clamp(min=1e-5)
    codes = lambda q: (q.round().clamp(-1, 1) + 1).int().tolist()
    data[name] = {
        "W": W.tolist(),
        "add": {"scale": s.item(), "codes": codes(W / s)},
        "clamp": {"scale": clamped.item(), "codes": codes(W * (1.0 / clamped))},
    }
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
