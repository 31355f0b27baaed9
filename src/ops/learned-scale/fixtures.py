"""Writes fixtures.json beside this file: ternary weights by a learned scale, with the gradients that PyTorch's autograd gives.

Each quantizer is written with operations that have gradients, and a detach where the rule passes straight through; autograd does
the rest. The weight of SEQ outside its range is the one exception: its rule there (the sign, and not 2/3 of it) is no gradient of
its forward, so it is a term of its own. By hand, with PyTorch: python3 src/ops/learned-scale/fixtures.py.
"""
import json
import math
import pathlib

import torch

torch.manual_seed(9)
straight = lambda x, y: x + (y - x).detach()  # y, with x's gradient


def scaled(a, factor):  # a, with its gradient times factor
    return (a * factor) + (a - a * factor).detach()


def learned(w, a, factor):
    t = (w / a).round().clamp(-1, 1).detach()
    return straight(w, w) + scaled(a, factor) * t - w.detach()


def lsq(w, a, factor):
    a = scaled(a, factor)
    v = (w / a).clamp(-1, 1)
    return straight(v, v.round()) * a


def seq(w, a, factor):
    a = scaled(a, factor)
    v = (w / a).clamp(-0.99, 0.99)
    middle = straight(v, (v * 1.5).round() / 1.5) * a
    outside = ((w / a).abs() > 0.99).double()
    sign = w.sign().detach()
    # In place of (2/3) a sign: the same value, with the gradient of a sign.
    edge = sign * a + (sign * a * (2 / 3) - sign * a).detach()
    return (1 - outside) * middle + outside * edge


cases = []
for name, rule in (("learned", learned), ("lsq", lsq), ("seq", seq)):
    for scale in (0.4, 1.1, 2.5):
        for factor in (None, 1.0):
            w = torch.randn(4, 7).float().double().requires_grad_()
            a = torch.tensor([scale]).float().double().requires_grad_()
            g = torch.randn(4, 7).float().double()
            used = 1 / math.sqrt(w.numel()) if factor is None else factor
            y = rule(w, a, used)
            y.backward(g)
            cases.append({
                "quantizer": name,
                "gradientScale": factor,
                "w": w.tolist(),
                "a": a.item(),
                "g": g.tolist(),
                "y": y.tolist(),
                "dw": w.grad.tolist(),
                "da": a.grad.item(),
            })
pathlib.Path(__file__).with_name("fixtures.json").write_text(json.dumps(cases, indent=1) + "\n")
