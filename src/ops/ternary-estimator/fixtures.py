"""Writes fixtures.json beside this file: the gradient that each estimator gives the weights, by PyTorch's autograd in float64.

By hand, once, with PyTorch 2.15: python3 src/ops/ternary-estimator/fixtures.py. Each rule is written as a forward whose
autograd gradient it is, with the quantized value put in by detach(), as the sources do; EWGS, whose factor reads the
gradient, as an autograd function. Weights lie on both sides of every threshold of every rule, none near one.
"""
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "test/fixtures/pytorch"))
from fixtures import numbers, write

s = torch.tensor(0.8, dtype=torch.float32).double()
u = [0.02, 0.13, 0.31, 0.46, 0.48, 0.53, 0.57, 0.71, 0.9, 1.07, 1.21, 1.33, 1.46, 1.57, 2.3]
w0 = torch.tensor([sign * v * 0.8 for v in u for sign in (1, -1)], dtype=torch.float32)
torch.manual_seed(5)
dy = torch.randn(len(w0))
q0 = (w0.double() / s).round().clamp(-1, 1)


def quest(w, trust):
    mask = ((w - q0 * s).abs() <= trust * s).double().detach()
    return w * mask + (q0 * s - w * mask).detach()


def soft(w, t_from, t_to, b, progress):
    t = t_from * (t_to / t_from) ** progress
    k = max(1 / t, 1)
    v = w / s
    return s * k / 2 * (torch.tanh(t * (v - b)) + torch.tanh(t * (v + b)))


class Ewgs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, delta):
        ctx.save_for_backward(w / s, q0)
        ctx.delta = delta
        return q0 * s

    @staticmethod
    def backward(ctx, g):
        x, xq = ctx.saved_tensors
        return g * (1 + ctx.delta * torch.sign(g) * (x - xq)), None


def reste(w, o_to, limit, center, b, progress):
    o = 1 + (o_to - 1) * progress
    v = ((w / s).abs() - b) / (1 - b)
    power = torch.sign(v) * v.abs().clamp(min=center) ** (1 / o)
    line = v * center ** (1 / o) / center
    y = torch.where(v.abs() <= center, line, power)
    y = torch.where(v.abs() <= limit, y, y.detach())
    return s * (1 - b) * torch.sign(w).detach() * y


cases = [
    ("trust", {"trust": 0.5}, lambda w: quest(w, 0.5)),
    ("trust", {"trust": 0.3}, lambda w: quest(w, 0.3)),
]
for threshold in (0.5, 0.0):
    for progress in (0.0, 0.4, 1.0):
        cases.append((
            "soft",
            {"from": 0.1, "to": 10, "threshold": threshold, "progress": progress},
            lambda w, b=threshold, p=progress: soft(w, 0.1, 10, b, p),
        ))
for delta in (0.0, 0.001, 0.5):
    cases.append(("ewgs", {"delta": delta}, lambda w, d=delta: Ewgs.apply(w, d)))
for threshold in (0.5, 0.0):
    for progress in (0.0, 0.4, 1.0):
        cases.append((
            "reste",
            {"to": 3, "limit": 1.5, "center": 0.1, "threshold": threshold, "progress": progress},
            lambda w, b=threshold, p=progress: reste(w, 3, 1.5, 0.1, b, p),
        ))

data = {"w": numbers(w0), "scale": numbers(s), "dy": numbers(dy), "cases": []}
for rule, params, forward in cases:
    w = w0.double().requires_grad_()
    forward(w).backward(dy.double())
    data["cases"].append({"rule": rule, "params": params, "dw": numbers(w.grad)})
write(pathlib.Path(__file__).with_name("fixtures.json"), data)
