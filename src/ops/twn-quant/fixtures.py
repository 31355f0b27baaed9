"""Writes fixtures.json beside this file: codes and scales of ternary weight networks, as PyTorch computes them in float64.

By hand, with PyTorch: python3 src/ops/twn-quant/fixtures.py.
"""
import json
import pathlib

import torch

torch.manual_seed(6)
weights = {
    "normal": torch.randn(5, 9),
    "heavy tails": torch.randn(4, 8) ** 3,
    "one": torch.tensor([[-0.5]]),
    "all alike": torch.full((2, 3), 0.25),
}
data = []
for name, w in weights.items():
    for threshold in (0.7, 0.75, 1.2):
        w64 = w.double()
        q = torch.where(w64.abs() > threshold * w64.abs().mean(), w64.sign(), torch.zeros_like(w64))
        kept = w64.abs()[q != 0]
        data.append({
            "name": f"{name}, {threshold}",
            "threshold": threshold,
            "w": w.tolist(),
            "codes": (q + 1).int().tolist(),
            "survivors": kept.mean().item() if kept.numel() > 0 else 0.0,
            "mean": w64.abs().mean().item(),
        })
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
