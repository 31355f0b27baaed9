"""Writes fixtures.json beside this file: a linear layer whose quantisation is let in by degrees, with its gradients.

By hand, once, with PyTorch 2.15: python3 src/ops/quant-ramp/fixtures.py. The quantisers are those of transformers' AutoBitLinear;
the ramp is that of Hugging Face's "Fine-tuning LLMs to 1.58bit": x + lambda * (quant(x) - x).detach().
"""
import json
import pathlib

import torch

torch.manual_seed(7)


def weight_quant(w):
    scale = 1.0 / w.abs().mean().clamp_(min=1e-5)
    return (w * scale).round().clamp(-1, 1) / scale


def activation_quant(x):
    scale = 127 / x.abs().max(dim=-1, keepdim=True).values.clamp_(min=1e-5)
    return (x * scale).round().clamp(-128, 127) / scale


x0, w0, dy = torch.randn(3, 10), torch.randn(5, 10), torch.randn(3, 5)
cases = []
for ramp in (0.0, 0.25, 0.8):
    x, w = x0.clone().double().requires_grad_(), w0.clone().double().requires_grad_()
    xr = x + ramp * (activation_quant(x) - x).detach()
    wr = w + ramp * (weight_quant(w) - w).detach()
    y = xr @ wr.T
    y.backward(dy.double())
    rows = lambda t: [[float(f"{v:.8g}") for v in row] for row in t.tolist()]
    cases.append({"lambda": ramp, "y": rows(y), "dx": rows(x.grad), "dw": rows(w.grad)})
exact = lambda t: [[float(v) for v in row] for row in t.tolist()]
data = {"x": exact(x0), "w": exact(w0), "dy": exact(dy), "cases": cases}
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(data, indent=1) + "\n")
