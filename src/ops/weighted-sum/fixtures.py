"""Writes fixtures.json beside this file: a weighted sum of arrays and its gradients, by PyTorch in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/weighted-sum/fixtures.py.
"""
import json
import pathlib

import torch

torch.manual_seed(13)
arrays = [torch.randn(5) for _ in range(3)]
weights = [1.0, 1e-4, -0.25]
dy = torch.randn(5)
x = [a.double().requires_grad_() for a in arrays]
y = sum(w * a for w, a in zip(weights, x))
y.backward(dy.double())
data = {
    "arrays": [a.tolist() for a in arrays],
    "weights": weights,
    "dy": dy.tolist(),
    "y": y.tolist(),
    "gradients": [a.grad.tolist() for a in x],
}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
